//! Why a task failed.

use std::process::ExitStatus;

/// Why a task failed; the text says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A helper of the tests failed.
    #[error(transparent)]
    Helper(#[from] phase_tests::Error),
    /// A step's command failed; it has written why to the terminal.
    #[error("{step} failed ({status}): see above")]
    Step {
        /// What the step does.
        step: String,
        /// How its command ended.
        status: ExitStatus,
    },
    /// Programs are missing and cannot be installed from here.
    #[error("missing: {missing}\nInstall with:\n    {command}\nand run this again.")]
    Missing {
        /// What is missing.
        missing: String,
        /// The command that installs it.
        command: String,
    },
    /// `tidy` found something.
    #[error("{0} finding(s) against the house rules: see above")]
    Untidy(usize),
    /// Something was not as it must be.
    #[error("{what}: {found}")]
    Unexpected {
        /// What was looked at.
        what: String,
        /// What was found.
        found: String,
    },
}

impl Error {
    /// Wraps an operating system error with what was tried.
    pub(crate) fn os(what: impl Into<String>, source: std::io::Error) -> Self {
        phase_tests::Error::os(what, source).into()
    }
}
