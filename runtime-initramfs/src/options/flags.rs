//! The flags: one entry each.

use std::fmt::Display;

use phase_core::fetch::image::Selection;
use phase_core::wire::record::{Arch, Channel};

use super::{Command, Options};
use crate::cmdline::{self, Problem};
use phase_core::escape::Quoted;

/// A flag.
#[derive(Debug)]
pub(super) struct Flag {
    /// Its name without the dashes.
    pub(super) name: &'static str,
    /// What its value is called; none: it has no value.
    pub(super) value: Option<&'static str>,
    /// The commands that take it.
    pub(super) of: &'static [Command],
    /// What it does, in lines of at most 72 characters.
    pub(super) help: &'static [&'static str],
    /// Notes it; what is wrong with the value otherwise.
    pub(super) set: fn(&mut Options, &str) -> Result<(), String>,
}

/// The commands that look for providers.
const LOOKING: &[Command] = &[Command::Discover, Command::Fetch, Command::Boot];

/// The commands that use the network.
const NETWORKED: &[Command] = &[Command::Discover, Command::Fetch, Command::Verify, Command::Boot];

/// The commands that print a result.
const PRINTING: &[Command] = &[Command::Discover, Command::Fetch, Command::Verify];

/// The commands that start an image.
const STARTING: &[Command] = &[Command::Kexec, Command::Boot];

/// Every command.
const ALL: &[Command] = Command::ALL;

/// Every flag, in the order of `--help`.
pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "output",
        value: Some("DIR"),
        of: &[Command::Fetch],
        help: &["Directory for the image; made if it is missing."],
        set: |options, value| {
            options.output = Some(filled(value)?.into());
            Ok(())
        },
    },
    Flag {
        name: "artifact",
        value: Some("NAME"),
        of: &[Command::Fetch],
        help: &[
            "Fetch only this: kernel, initramfs, rootfs, dtbs, or all; may be given",
            "more than once. The default is all.",
        ],
        set: |options, value| {
            let names = "kernel, initramfs, rootfs, dtbs, all";
            let selection = Selection::parse(value);
            let one =
                selection.ok_or_else(|| format!("{} is not one of {names}", Quoted(value)))?;
            options.selection.push(one);
            Ok(())
        },
    },
    Flag {
        name: "artifacts",
        value: Some("DIR"),
        of: &[Command::Verify],
        help: &[
            "Also verify the files in this directory: an output directory of fetch,",
            "or a provider's directory of one channel and architecture.",
        ],
        set: |options, value| {
            options.artifacts = Some(filled(value)?.into());
            Ok(())
        },
    },
    Flag {
        name: "kernel",
        value: Some("FILE"),
        of: &[Command::Kexec],
        help: &[
            "Start this kernel in place of a directory. Nobody verifies it, so that",
            "--insecure must say that it is wanted.",
        ],
        set: |options, value| {
            options.starting.kernel = Some(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "initramfs",
        value: Some("FILE"),
        of: &[Command::Kexec],
        help: &["Its initial RAM file system."],
        set: |options, value| {
            options.starting.initramfs = Some(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "dtb",
        value: Some("NAME|FILE"),
        of: STARTING,
        help: &[
            "The device tree: with a directory its name in the manifest below dtbs/,",
            "or none; with --kernel a file. The default is the one of the manifest",
            "that is for this board, else the one this machine runs with.",
        ],
        set: |options, value| {
            options.starting.device_tree = Some(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "cmdline",
        value: Some("TEXT"),
        of: &[Command::Kexec],
        help: &["The command line of a kernel in a file."],
        set: |options, value| {
            options.starting.command_line = Some(value.to_owned());
            Ok(())
        },
    },
    Flag {
        name: "cmdline-file",
        value: Some("FILE"),
        of: &[Command::Kexec],
        help: &["A file with that command line."],
        set: |options, value| {
            options.starting.command_line_file = Some(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "append",
        value: Some("TEXT"),
        of: STARTING,
        help: &["Add this to the command line; may be given more than once."],
        set: |options, value| {
            options.starting.append.push(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "load-only",
        value: None,
        of: STARTING,
        help: &["Load the image, and start nothing: kexec -e or systemctl kexec does."],
        set: |options, _| {
            options.starting.load_only = true;
            Ok(())
        },
    },
    Flag {
        name: "channel",
        value: Some("CHANNEL"),
        of: ALL,
        help: &[
            "Release channel; the default is what a manifest's URL or a file says,",
            "else stable.",
        ],
        set: |options, value| {
            options.said.channel = true;
            options.channel = parsed(value, "a channel", Channel::new)?;
            Ok(())
        },
    },
    Flag {
        name: "arch",
        value: Some("ARCH"),
        of: NETWORKED,
        help: &[
            "Architecture: arm64 (or aarch64), x86_64 (or amd64), or another name",
            "that providers use; the default is what a manifest's URL or a file",
            "says, else this machine's own.",
        ],
        set: |options, value| {
            options.said.arch = true;
            options.arch = parsed(value, "the name of an architecture", Arch::canonical)?;
            Ok(())
        },
    },
    Flag {
        name: "mode",
        value: Some("MODE"),
        of: LOOKING,
        help: &[
            "Where to look: auto (the local network, after 0.3 s the DHT too), lan,",
            "wan (the DHT alone), or all (both, to the end); the default is auto.",
        ],
        set: |options, value| {
            options.carriers = cmdline::mode(value).map_err(|problem| tell(value, problem))?;
            Ok(())
        },
    },
    Flag {
        name: "bootstrap",
        value: Some("MULTIADDR"),
        of: LOOKING,
        help: &[
            "Enter the DHT by this node: /ip4/ADDRESS/tcp/PORT, /ip6/..., /dns/NAME/",
            "tcp/PORT, /dns4/... or /dns6/..., best with /p2p/PEER_ID behind it, so",
            "that nobody can stand in for it. May be given more than once.",
        ],
        set: |options, value| {
            options.bootstraps.push(value.parse().map_err(|error| quoted(value, &error))?);
            Ok(())
        },
    },
    Flag {
        name: "timeout",
        value: Some("SECONDS"),
        of: NETWORKED,
        help: &[
            "Stop looking after this time, fractions allowed. The default is 10 s for",
            "getting an address, then 3 s on the local network and 15 in the DHT.",
        ],
        set: |options, value| {
            let time = cmdline::seconds(value).map_err(|problem| tell(value, problem))?;
            options.timeout = Some(time);
            Ok(())
        },
    },
    Flag {
        name: "interface",
        value: Some("IF"),
        of: NETWORKED,
        help: &[
            "Use this interface and no others; may be given more than once. Without",
            "it: every Ethernet interface that nobody uses.",
        ],
        set: |options, value| {
            options.interfaces.push(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "trust",
        value: Some("FILE|PEER_ID|KEYID"),
        of: ALL,
        help: &[
            "Whom to trust: a provider by its peer id (12D3KooW...), a release key",
            "(ed25519: and 64 hexadecimal digits), or a trust file. May be given",
            "more than once.",
        ],
        set: |options, value| {
            options.trust.push(filled(value)?);
            Ok(())
        },
    },
    Flag {
        name: "insecure",
        value: None,
        of: ALL,
        help: &["Accept records without a signature. For development only."],
        set: |options, _| {
            options.insecure = true;
            Ok(())
        },
    },
    Flag {
        name: "apply-lease",
        value: None,
        of: &[Command::Discover, Command::Fetch],
        help: &[
            "In the end give address, routes and name servers to the kernel and to",
            "/etc/resolv.conf, so that other programs have a network.",
        ],
        set: |options, _| {
            options.apply_lease = true;
            Ok(())
        },
    },
    Flag {
        name: "json",
        value: None,
        of: PRINTING,
        help: &["Print results as JSON, one object a line."],
        set: |options, _| {
            options.printing.json = true;
            Ok(())
        },
    },
    Flag {
        name: "quiet",
        value: None,
        of: &[Command::Discover],
        help: &["Print the URL alone, and no steps on standard error."],
        set: |options, _| {
            options.printing.quiet = true;
            Ok(())
        },
    },
    Flag {
        name: "explain",
        value: None,
        of: &[Command::Discover],
        help: &[
            "Also show what was refused, with the code of the reason, which",
            "interfaces are used, and counts.",
        ],
        set: |options, _| {
            options.printing.explain = true;
            Ok(())
        },
    },
];

fn filled(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("needs a value".to_owned()) } else { Ok(value.to_owned()) }
}

fn parsed<T, E>(
    value: &str,
    kind: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    parse(value).map_err(|_| format!("{} is not {kind}", Quoted(value)))
}

fn quoted(value: &str, error: &dyn Display) -> String {
    format!("{}: {error}", Quoted(value))
}

/// What is wrong with a value, in the words of the kernel command line.
fn tell(value: &str, problem: Problem) -> String {
    match problem {
        Problem::Empty => "needs a value".to_owned(),
        Problem::NotA(kind) => format!("{} is not a {kind}", Quoted(value)),
        Problem::Unknown => format!("{} is not known", Quoted(value)),
        Problem::TooMany => "is given too often".to_owned(),
    }
}
