//! What `--help` prints: a short manual page.

use std::fmt::Write as _;

use super::Command;
use super::flags::FLAGS;

const HEAD: &str = "\
phase-boot: finds a signed boot image from an initramfs, over a network stack of its own

Usage: phase-boot COMMAND [FLAGS]
       COMMAND may also be the name of the program: phase-discover, ...

Commands:
";

const NETWORK: &str = "
Network:
  phase-boot answers on Ethernet interfaces in place of the kernel: it gets its
  own lease by DHCP and its own IPv6 addresses. It takes interfaces up, and turns
  the kernel's IPv6 on them off while it runs. An interface with addresses of the
  kernel is refused, because both would answer: there, use phase-discover, or
  give phase-boot an interface of its own, such as
    ip link add link eth0 name boot0 type macvlan mode bridge
  Needs CAP_NET_RAW, and CAP_NET_ADMIN to take interfaces up.
";

const EXIT: &str = "
Exit status:
  0  found, fetched, verified
  1  internal error
  2  usage or configuration
  3  nothing found in time
  4  found, but none acceptable
  5  no network: no interface could be used, or none got an address
  6  fetch failed
  7  verification failed
  8  the running kernel refused to load or start the image
";

const DISCOVER_OUTPUT: &str = "
Output:
  Standard output carries the result alone: one line for each acceptable
  candidate, the best first, with URL, carrier, version, trust and peer id;
  with --quiet the URL of the best one; with --json one object a line with the
  members url, peer_id, provider_name, channel, arch, version, seq, source (lan;
  dht; direct: in the DHT, from the provider itself), trust (pinned, unpinned,
  unsigned), accepted, reason, rtt_ms and elapsed_ms, refused ones behind.
  Discovery locates, it does not authorise.
";

const TRUST: &str = "
Trust:
  At least one --trust is needed. A release key (ed25519:...) or a trust file
  with release keys decides which manifests are good. With a peer id alone,
  that provider is pinned and manifests signed by the same key are accepted
  (single-key mode).
";

const FETCH_OUTPUT: &str = "
Output:
  The directory gets manifest.json, kernel, initramfs, rootfs, dtbs/ and cmdline,
  each complete and verified. Until all of them are, it stays as it was; what is
  fetched is kept aside, and a next run goes on from there. Standard output
  carries the result alone: the path of each file, or with --json one object with
  url, peer_id, channel, arch, version, manifest_version, digest, signed_by,
  output and files.
";

const VERIFY_OUTPUT: &str = "
Output:
  Standard output carries the result alone: `verified` and what the manifest is
  for, or with --json one object with verified, reason, channel, arch, version,
  manifest_version, created_at, expires_at, digest, signed_by and files. What is
  wrong goes to standard error. Only a URL needs the network.
";

const KEXEC_OUTPUT: &str = "
Starting:
  The manifest, the kernel, the initramfs and the device tree are read into memory
  and verified there, so that what is started is what was verified. The second
  kernel gets the command line of the manifest and then what --append says, 2,047
  characters at most; nothing of this kernel's own. The running system is not shut
  down: file systems are written back and network devices stopped, no more. Where
  services run, give --load-only and let the system's own shutdown start the image.
  Needs CAP_SYS_BOOT, and on arm64 also CAP_SYS_ADMIN, to see addresses in
  /proc/iomem.
";

const BOOT_OUTPUT: &str = "
Booting:
  The kernel, the initramfs and the device trees are fetched into memory, verified
  there, and started from there; --load-only, --append and --dtb are those of kexec.
  As the first process of a machine, phase-boot mounts /proc, /sys, /dev, /run and
  /tmp, loads the modules listed in /etc/phase/modules, and takes these words of
  the kernel command line in place of flags:
    phase.channel= phase.arch= phase.mode= phase.bootstrap= phase.trust=
    phase.provider= phase.manifest= phase.fallback= phase.timeout= phase.interface=
    phase.insecure=1 phase.append= phase.dtb=
    phase.action=boot|discover|fetch|shell
    phase.on-failure=retry|reboot|poweroff|shell
  Without phase.trust= and phase.provider= it trusts whom /etc/phase/trust names.
  phase.action=fetch leaves the image in /run/phase/image.
";

/// What `--version` prints.
pub(super) fn version() -> String {
    concat!("phase-boot ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

/// What `--help` prints, of the program or of one command.
#[must_use]
pub fn help(command: Option<Command>) -> String {
    let Some(command) = command else {
        let mut text = HEAD.to_owned();
        for command in Command::ALL {
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "  {:<9} {}", command.name(), about(*command));
        }
        text.push_str("\nphase-boot COMMAND --help tells of each; --version prints the version.\n");
        text.push_str(NETWORK);
        return text;
    };
    let mut text =
        format!("phase-boot {}: {}\n\nUsage: {}\n", command.name(), about(command), usage(command));
    text.push_str("\nFlags:\n");
    for flag in FLAGS.iter().filter(|flag| flag.of.contains(&command)) {
        let _ = match flag.value {
            Some(value) => writeln!(text, "  --{} {value}", flag.name),
            None => writeln!(text, "  --{}", flag.name),
        };
        for line in flag.help {
            let _ = writeln!(text, "      {line}");
        }
    }
    text.push_str(match command {
        Command::Discover => DISCOVER_OUTPUT,
        Command::Fetch => FETCH_OUTPUT,
        Command::Verify => VERIFY_OUTPUT,
        Command::Kexec => KEXEC_OUTPUT,
        Command::Boot => BOOT_OUTPUT,
    });
    text.push_str(match command {
        Command::Discover => "",
        Command::Fetch | Command::Verify | Command::Kexec | Command::Boot => TRUST,
    });
    text.push_str(match command {
        Command::Discover | Command::Fetch | Command::Verify | Command::Boot => NETWORK,
        Command::Kexec => "",
    });
    text.push_str(EXIT);
    text
}

const fn about(command: Command) -> &'static str {
    match command {
        Command::Discover => "finds providers and prints where their manifests are",
        Command::Fetch => "fetches an image into a directory, verified",
        Command::Verify => "verifies a manifest, and the files that it names",
        Command::Kexec => "starts an image that fetch left, after verifying it",
        Command::Boot => "finds, fetches, verifies and starts an image, in memory",
    }
}

const fn usage(command: Command) -> &'static str {
    match command {
        Command::Discover => "phase-boot discover [FLAGS]",
        Command::Fetch => "phase-boot fetch [MANIFEST_URL] --output DIR [FLAGS]",
        Command::Verify => "phase-boot verify FILE|URL|- [--artifacts DIR] [FLAGS]",
        Command::Boot => "phase-boot boot [MANIFEST_URL] --trust ... [FLAGS]",
        Command::Kexec => {
            "phase-boot kexec DIR --trust ... [FLAGS]\n       phase-boot kexec --kernel FILE --insecure [FLAGS]"
        }
    }
}
