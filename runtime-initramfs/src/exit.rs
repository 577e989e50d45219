//! What the exit status means; the same numbers in every command of this project.

use std::process::{ExitCode, Termination};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Found, fetched, or verified.
    Success = 0,
    /// A fault of the program or of the system under it.
    Internal = 1,
    /// The command line or a file that it names is wrong.
    Usage = 2,
    /// Nothing was found in time.
    NothingFound = 3,
    /// Something was found and none of it was acceptable.
    NoneAcceptable = 4,
    /// No interface could be used, or none got an address.
    NoNetwork = 5,
    /// An artifact or manifest could not be fetched.
    FetchFailed = 6,
    /// What was fetched is not what was signed.
    VerificationFailed = 7,
    /// The image was verified but could not be started.
    KexecFailed = 8,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        // A field-less enum with `repr(u8)`: the discriminant is the value.
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_documented_ones() {
        let all = [
            Exit::Success,
            Exit::Internal,
            Exit::Usage,
            Exit::NothingFound,
            Exit::NoneAcceptable,
            Exit::NoNetwork,
            Exit::FetchFailed,
            Exit::VerificationFailed,
            Exit::KexecFailed,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
