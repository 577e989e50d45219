//! The one error of the helpers: what failed, and what to do about it.

use std::process::ExitStatus;
use std::time::Duration;

/// Why a helper could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("`{tool}` is not installed: {instruction}")]
    ToolMissing {
        /// The program.
        tool: String,
        /// What the user can do.
        instruction: String,
    },
    /// The kernel refused.
    #[error("not permitted to {what}: {instruction}")]
    NotPermitted {
        /// What was tried.
        what: String,
        /// What the user can do.
        instruction: String,
    },
    /// A command ran and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    CommandFailed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error, or to standard output where that was empty.
        stderr: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {after:?}{context}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen instead; starts with its own separator, may be empty.
        context: String,
    },
    /// Something that was given cannot be used.
    #[error("{what}: {why}")]
    Unusable {
        /// What was given.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// The operating system refused.
    #[error("cannot {what}: {source}")]
    Os {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an operating system error with what was tried; a missing program or permission becomes
    /// the variant that tells what to do.
    pub fn os(what: impl Into<String>, source: std::io::Error) -> Self {
        let what = what.into();
        if source.kind() == std::io::ErrorKind::PermissionDenied {
            return Self::NotPermitted { what, instruction: AS_ROOT.to_owned() };
        }
        Self::Os { what, source }
    }

    /// The error for a program that could not be started.
    pub fn not_started(tool: &str, source: std::io::Error) -> Self {
        if source.kind() != std::io::ErrorKind::NotFound {
            return Self::os(format!("start `{tool}`"), source);
        }
        Self::ToolMissing { tool: tool.to_owned(), instruction: instruction_for(tool) }
    }
}

/// What to do where a privilege is missing.
pub(crate) const AS_ROOT: &str =
    "network namespaces need root; run `sudo -E env PATH=\"$PATH\" cargo xtask test`";

/// Tells how to get `tool`.
fn instruction_for(tool: &str) -> String {
    let package = match tool {
        "ip" | "tc" | "ss" => "iproute2",
        "mount" | "unshare" | "nsenter" => "util-linux",
        "avahi-browse" | "avahi-resolve" | "avahi-publish" => "avahi-utils",
        "avahi-daemon" => "avahi-daemon",
        "python3" => "python3-venv",
        "node" => "nodejs",
        "npm" => "npm",
        "depmod" => "kmod",
        "dnsmasq" => "dnsmasq-base",
        "qemu-system-aarch64" => "qemu-system-arm",
        _ => return "run `cargo xtask test`, which installs what the tests need".to_owned(),
    };
    format!("`apt-get install {package}`, or run `cargo xtask test`, which does it")
}
