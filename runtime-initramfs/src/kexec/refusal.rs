//! Why the kernel refused to load or start another one, in words that say what to do.
//!
//! The number alone does not say it: EPERM has four causes, so the machine is asked which of them it is.
//! Spec: `kexec_load(2)`, `kexec_file_load(2)`, reboot(2); Linux `kernel/kexec.c`, `kernel/kexec_file.c`,
//! `arch/arm64/kernel/machine_kexec.c`.

use std::fmt;
use std::fs;
use std::io;

use nix::errno::Errno;

/// capabilities(7): the bit of `CAP_SYS_BOOT`.
const CAP_SYS_BOOT: u32 = 22;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `kexec_load(2)`: addresses and octets.
    Load,
    /// `kexec_file_load(2)`: files.
    FileLoad,
    /// reboot(2), which starts what was loaded.
    Start,
}

/// What decides over EPERM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether this process has `CAP_SYS_BOOT`; `None`: not known.
    pub may_boot: Option<bool>,
    /// Whether `kernel.kexec_load_disabled` is 1.
    pub disabled: Option<bool>,
    /// Whether `kernel.kexec_load_limit_reboot` is 0.
    pub used_up: Option<bool>,
    /// Whether the kernel is locked down.
    pub locked_down: Option<bool>,
}

impl Facts {
    /// Asks the machine.
    #[must_use]
    pub fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let sysctl = |name: &str| read(&format!("/proc/sys/kernel/{name}"));
        Self {
            may_boot: read("/proc/self/status").as_deref().and_then(may_boot),
            disabled: sysctl("kexec_load_disabled").map(|value| value.trim_ascii() == "1"),
            used_up: sysctl("kexec_load_limit_reboot").map(|value| value.trim_ascii() == "0"),
            locked_down: read("/sys/kernel/security/lockdown").as_deref().map(locked_down),
        }
    }
}

/// The line is `CapEff:`, white space, and hexadecimal digits.
fn may_boot(status: &str) -> Option<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let capabilities = u64::from_str_radix(line.trim_ascii(), 16).ok()?;
    Some(capabilities >> CAP_SYS_BOOT & 1 == 1)
}

/// `none [integrity] confidentiality`: the one in brackets is in force.
fn locked_down(levels: &str) -> bool {
    levels.split_ascii_whitespace().all(|level| level != "[none]")
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub call: Call,
    /// What the kernel said.
    pub errno: Errno,
    /// What is known of this machine.
    pub facts: Facts,
}

impl Refusal {
    /// A refusal on this machine.
    #[must_use]
    pub fn on_this_machine(call: Call, errno: Errno) -> Self {
        Self { call, errno, facts: Facts::read() }
    }

    /// Whether the other way to load may be allowed: `kexec_load(2)` is closed by policy or not built in.
    #[must_use]
    pub fn is_of_this_call_alone(&self) -> bool {
        let Facts { may_boot, disabled, used_up, locked_down: _ } = self.facts;
        let forbidden = may_boot == Some(false) || disabled == Some(true) || used_up == Some(true);
        matches!(self.errno, Errno::ENOSYS | Errno::EACCES)
            || self.errno == Errno::EPERM && !forbidden
    }

    /// Why, and what to do; `None` for what no kernel is known to say here.
    fn explanation(&self) -> Option<&'static str> {
        Some(match (self.call, self.errno) {
            (_, Errno::EPERM) => self.permission(),
            (_, Errno::EBUSY) => {
                "the other processors cannot be stopped (they spin in a loop of the firmware, without PSCI), or \
                 another program loads a kernel at this moment; start this kernel with nr_cpus=1, or try again"
            }
            (_, Errno::ENOMEM) => {
                "not enough memory to hold the second image beside the running system; give the machine more memory \
                 or make the image smaller"
            }
            (Call::Load, Errno::EADDRNOTAVAIL) => {
                "a place for the image is not in memory that the kernel can use; this is a fault of phase-boot: report \
                 it with /proc/iomem"
            }
            (Call::Load, Errno::EINVAL) => {
                "the image is larger than half of the memory, or its parts overlap; give the machine more memory or \
                 make the image smaller"
            }
            (Call::FileLoad, Errno::EINVAL) => {
                "the kernel file is not one that it loads, its command line is too long for it, or the image is larger \
                 than half of the memory"
            }
            (Call::Load, Errno::ENOSYS) => {
                "this kernel cannot start another one: build it with CONFIG_KEXEC=y"
            }
            (Call::FileLoad, Errno::ENOSYS) => {
                "this kernel cannot start another one: build it with CONFIG_KEXEC_FILE=y"
            }
            (Call::FileLoad, Errno::ENOEXEC) => {
                "the kernel file is of no format that it loads: it must be uncompressed and for this architecture"
            }
            (
                Call::FileLoad,
                Errno::ENODATA
                | Errno::ENOKEY
                | Errno::EKEYREJECTED
                | Errno::EBADMSG
                | Errno::ELIBBAD,
            ) => {
                "it wants a kernel file with a signature that its own keyrings know (Secure Boot or \
                 CONFIG_KEXEC_SIG_FORCE), which is apart from the manifest's: provide a kernel that is signed so"
            }
            (_, Errno::EACCES) => {
                "its integrity policy (IMA) allows no kernel that it cannot appraise: provide a kernel that is signed \
                 for it, or change the policy"
            }
            (Call::Start, Errno::EINVAL) => {
                "no kernel is loaded any more: another program unloaded it; run the command again"
            }
            (Call::Start, Errno::ENOSYS) => {
                "this kernel cannot start another one: build it with CONFIG_KEXEC=y"
            }
            _ => return None,
        })
    }

    fn permission(&self) -> &'static str {
        let Facts { may_boot, disabled, used_up, locked_down } = self.facts;
        if may_boot == Some(false) {
            "this process may not start another kernel: run it as root, with CAP_SYS_BOOT"
        } else if disabled == Some(true) {
            "kernel.kexec_load_disabled is 1, which stays until the next start of the machine: remove what sets it"
        } else if used_up == Some(true) {
            "kernel.kexec_load_limit_reboot is 0: no more kernels may be loaded until the next start of the machine"
        } else if locked_down == Some(true) {
            "it is locked down (Secure Boot, or lockdown= on its command line), and takes only a kernel file with a \
             signature that it knows, if it is built with CONFIG_KEXEC_FILE and CONFIG_KEXEC_SIG: provide such a \
             kernel, or start without lockdown"
        } else {
            "a security policy forbids it (lockdown, seccomp, or a container): start without it"
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.call {
            Call::Load => "load the image (kexec_load",
            Call::FileLoad => "load the image (kexec_file_load",
            Call::Start => "start the image (reboot",
        };
        // Not by nix's own texts: its tables of all errors are 8 KiB.
        let error = io::Error::from(self.errno);
        write!(f, "the running kernel did not {what}: {error})")?;
        match self.explanation() {
            Some(explanation) => write!(f, ": {explanation}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Facts = Facts {
        may_boot: Some(true),
        disabled: Some(false),
        used_up: Some(false),
        locked_down: Some(false),
    };

    fn text(call: Call, errno: Errno, facts: Facts) -> String {
        Refusal { call, errno, facts }.to_string()
    }

    #[test]
    fn each_cause_of_a_missing_permission_is_told() {
        let cases = [
            (Facts { may_boot: Some(false), ..KNOWN }, "run it as root, with CAP_SYS_BOOT"),
            (Facts { disabled: Some(true), ..KNOWN }, "kernel.kexec_load_disabled is 1"),
            (Facts { used_up: Some(true), ..KNOWN }, "kernel.kexec_load_limit_reboot is 0"),
            (Facts { locked_down: Some(true), ..KNOWN }, "it is locked down"),
            (KNOWN, "a security policy forbids it"),
            (Facts::default(), "a security policy forbids it"),
        ];
        for (facts, part) in cases {
            let text = text(Call::Load, Errno::EPERM, facts);
            assert!(text.contains(part), "{text}");
            assert!(text.starts_with(
                "the running kernel did not load the image (kexec_load: Operation not permitted (os error 1)): "
            ));
        }
    }

    #[test]
    fn every_refusal_that_kernels_know_is_explained() {
        let cases = [
            (Call::Load, Errno::EBUSY, "nr_cpus=1"),
            (Call::Load, Errno::ENOMEM, "more memory"),
            (Call::Load, Errno::EADDRNOTAVAIL, "/proc/iomem"),
            (Call::Load, Errno::EINVAL, "half of the memory"),
            (Call::Load, Errno::ENOSYS, "CONFIG_KEXEC=y"),
            (Call::FileLoad, Errno::ENOSYS, "CONFIG_KEXEC_FILE=y"),
            (Call::FileLoad, Errno::ENOEXEC, "uncompressed"),
            (Call::FileLoad, Errno::ENODATA, "CONFIG_KEXEC_SIG_FORCE"),
            (Call::FileLoad, Errno::ENOKEY, "CONFIG_KEXEC_SIG_FORCE"),
            (Call::FileLoad, Errno::EKEYREJECTED, "CONFIG_KEXEC_SIG_FORCE"),
            (Call::FileLoad, Errno::EINVAL, "command line is too long"),
            (Call::Load, Errno::EACCES, "IMA"),
            (Call::Start, Errno::EBUSY, "nr_cpus=1"),
            (Call::Start, Errno::EINVAL, "no kernel is loaded"),
        ];
        for (call, errno, part) in cases {
            let text = text(call, errno, KNOWN);
            assert!(text.contains(part), "{text}");
        }
        let other = text(Call::Start, Errno::EIO, KNOWN);
        assert!(
            other.starts_with("the running kernel did not start the image (reboot: "),
            "{other}"
        );
        assert!(other.ends_with("(os error 5))"), "{other}");
    }

    #[test]
    fn the_other_call_is_tried_only_where_it_may_be_allowed() {
        let alone =
            |errno, facts| Refusal { call: Call::Load, errno, facts }.is_of_this_call_alone();
        assert!(alone(Errno::ENOSYS, KNOWN) && alone(Errno::EACCES, KNOWN));
        assert!(alone(Errno::EPERM, Facts { locked_down: Some(true), ..KNOWN }));
        assert!(alone(Errno::EPERM, Facts::default()));
        assert!(!alone(Errno::EPERM, Facts { may_boot: Some(false), ..KNOWN }));
        assert!(!alone(Errno::EPERM, Facts { disabled: Some(true), ..KNOWN }));
        assert!(!alone(Errno::EPERM, Facts { used_up: Some(true), ..KNOWN }));
        assert!(!alone(Errno::ENOMEM, KNOWN));
    }

    #[test]
    fn the_kernels_own_words_are_read() {
        assert_eq!(may_boot("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(true));
        assert_eq!(may_boot("CapEff:\t00000000a80425fb\n"), Some(false));
        assert_eq!(may_boot("CapEff:\tx\n"), None);
        assert!(!locked_down("[none] integrity confidentiality\n"));
        assert!(locked_down("none [integrity] confidentiality\n"));
    }

    #[test]
    fn this_machine_says_whether_this_process_may_boot() {
        assert!(Facts::read().may_boot.is_some());
    }
}
