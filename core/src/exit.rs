//! How a command ends, and the exit status that tells it: the same numbers in every command of this project.
//! Not here: handing the status to the system, which each runtime does at the end of `main`.

use crate::wire::manifest;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Exit {
    /// Found, fetched, verified, or stopped as asked.
    Success = 0,
    /// A fault of the program or of the system under it.
    Internal = 1,
    /// The command line, the configuration or a file that it names is wrong.
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

    /// How a command ends that was given a manifest which is not acceptable: nobody to trust is a fault of the command
    /// line, all else one of the manifest.
    #[must_use]
    pub const fn of_manifest(error: &manifest::Error) -> Self {
        if matches!(error, manifest::Error::NoTrust) {
            Self::Usage
        } else {
            Self::VerificationFailed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_documented_ones() {
        let all = [
            (Exit::Success, 0),
            (Exit::Internal, 1),
            (Exit::Usage, 2),
            (Exit::NothingFound, 3),
            (Exit::NoneAcceptable, 4),
            (Exit::NoNetwork, 5),
            (Exit::FetchFailed, 6),
            (Exit::VerificationFailed, 7),
            (Exit::KexecFailed, 8),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_manifest_without_anybody_to_trust_is_a_fault_of_the_command_line() {
        assert_eq!(Exit::of_manifest(&manifest::Error::NoTrust), Exit::Usage);
        assert_eq!(Exit::of_manifest(&manifest::Error::Expired), Exit::VerificationFailed);
    }
}
