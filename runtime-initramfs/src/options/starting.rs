//! What `kexec` is to start: a directory with a signed manifest, or files that nobody signed.

use super::{Command, Error, Options};

/// What to start, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starting {
    /// A directory that `fetch` left.
    pub directory: Option<String>,
    /// A kernel in a file, in place of a directory.
    pub kernel: Option<String>,
    /// Its initial RAM file system.
    pub initramfs: Option<String>,
    /// With a directory the name of a device tree in its manifest, or `none`; else a file.
    pub device_tree: Option<String>,
    /// The command line of a kernel in a file.
    pub command_line: Option<String>,
    /// A file with it.
    pub command_line_file: Option<String>,
    /// What follows the command line, in order.
    pub append: Vec<String>,
    /// Whether the image is loaded only.
    pub load_only: bool,
}

impl Options {
    /// Whether the flags of `kexec` fit together.
    pub(super) fn check_starting(&self) -> Result<(), Error> {
        let Starting { directory, kernel, initramfs, command_line, command_line_file, .. } =
            &self.starting;
        let of_kernel = [
            ("initramfs", initramfs.is_some()),
            ("cmdline", command_line.is_some()),
            ("cmdline-file", command_line_file.is_some()),
        ];
        let without_kernel = of_kernel.iter().find(|(_, given)| *given && kernel.is_none());
        if let Some((flag, _)) = without_kernel {
            return Err(Error::Value(flag, "only beside --kernel; a directory has its own".into()));
        }
        if command_line.is_some() && command_line_file.is_some() {
            return Err(Error::Conflict("cmdline", "cmdline-file"));
        }
        match (directory, kernel) {
            (None, None) => Err(Error::Needs(Command::Kexec, "a directory that fetch left, or --kernel FILE")),
            (Some(_), Some(_)) => {
                Err(Error::Value("kernel", "not beside a directory, which has its own".into()))
            }
            (None, Some(_)) if !self.insecure => Err(Error::Value(
                "kernel",
                "nobody verifies files that are given one by one; start a directory of fetch with --trust, or give \
                 --insecure to start them all the same"
                    .into(),
            )),
            (Some(_), None) if self.trust.is_empty() && !self.insecure => {
                Err(Error::Needs(Command::Kexec, "--trust PEER_ID, --trust ed25519:KEY, or --trust FILE"))
            }
            (Some(_), None) | (None, Some(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::options::Request;

    fn read(line: &str) -> Result<Starting, String> {
        let request = Options::of_arguments(line.split(' ').map(OsString::from));
        match request.map_err(|error| error.to_string())? {
            Request::Run(Command::Kexec, options) => Ok(options.starting),
            other @ (Request::Run(..) | Request::Print(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_of_kexec_is_read() {
        let read = read(
            "phase-boot kexec --kernel k --initramfs i --dtb d --cmdline quiet --append a=1 --append b --load-only \
             --insecure",
        );
        let text = |text: &str| Some(text.to_owned());
        let expected = Starting {
            directory: None,
            kernel: text("k"),
            initramfs: text("i"),
            device_tree: text("d"),
            command_line: text("quiet"),
            command_line_file: None,
            append: vec!["a=1".into(), "b".into()],
            load_only: true,
        };
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn nothing_is_started_that_nobody_verifies_unless_that_is_said() {
        let refused = |line| read(line).unwrap_err();
        assert!(refused("phase-boot kexec --kernel k").contains("--insecure"));
        assert!(refused("phase-boot kexec boot").contains("kexec needs --trust"));
        assert!(read("phase-boot kexec boot --insecure").is_ok());
        assert!(read("phase-boot kexec boot --trust /trust").is_ok());
    }

    #[test]
    fn flags_that_do_not_fit_together_are_named() {
        let cases = [
            ("phase-boot kexec", "kexec needs a directory that fetch left, or --kernel FILE"),
            ("phase-boot kexec boot --kernel k --insecure", "--kernel: not beside a directory"),
            ("phase-boot kexec boot --trust t --cmdline x", "--cmdline: only beside --kernel"),
            ("phase-boot kexec boot --trust t --initramfs x", "--initramfs: only beside --kernel"),
            (
                "phase-boot kexec --kernel k --insecure --cmdline x --cmdline-file y",
                "--cmdline and --cmdline-file exclude each other",
            ),
            ("phase-boot kexec boot other --trust t", "kexec does not take the argument \"other\""),
        ];
        for (line, text) in cases {
            let refused = read(line).unwrap_err();
            assert!(refused.starts_with(text), "{refused}");
        }
    }
}
