//! What a run is to do: from the arguments of a command, or from the kernel command line.
//!
//! Each flag is one entry of `flags::FLAGS`, with the commands that take it and its line of `--help`. Not here: what the
//! values lead to, and trust files, which are read when they are needed.

mod flags;
mod help;
mod starting;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser};
use phase_core::client::Carriers;
use phase_core::fetch::image::Selection;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::url::Url;

use self::flags::FLAGS;
pub use self::help::help;
pub use self::starting::Starting;
use crate::cmdline::{self, Action, OnFailure};
use phase_core::escape::{Escaped, Quoted};

/// The channel that most machines boot from.
const DEFAULT_CHANNEL: &str = "stable";

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Find providers and print where their manifests are.
    Discover,
    /// Fetch an image into a directory, verified.
    Fetch,
    /// Verify a manifest and files.
    Verify,
    /// Start an image.
    Kexec,
    /// All of it: find, fetch, verify, start.
    Boot,
}

impl Command {
    /// Every command of this program.
    pub const ALL: &[Self] = &[Self::Discover, Self::Fetch, Self::Verify, Self::Kexec, Self::Boot];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Kexec => "kexec",
            Self::Boot => "boot",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|command| command.name() == name).copied()
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Printing {
    /// As JSON, one object a line.
    pub json: bool,
    /// The URL alone, and no steps.
    pub quiet: bool,
    /// Also what was refused and why, the interfaces, and counts.
    pub explain: bool,
}

/// What was said of an image, and is not a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The channel.
    pub channel: bool,
    /// The architecture.
    pub arch: bool,
}

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The channel; `stable` when nothing is said.
    pub channel: Channel,
    /// The architecture by its canonical name; this machine's own when nothing is said.
    pub arch: Arch,
    /// Which of the two was said.
    pub said: Said,
    /// Where to look.
    pub carriers: Carriers,
    /// Nodes to enter the DHT by.
    pub bootstraps: Vec<Address>,
    /// Whom to trust: peer ids, release keys, paths of trust files.
    pub trust: Vec<String>,
    /// Accept records without a signature.
    pub insecure: bool,
    /// Take this manifest instead of discovering one.
    pub manifest: Option<Url>,
    /// The manifest to verify: a file, a URL, or `-` for standard input.
    pub document: Option<String>,
    /// The directory that becomes the image.
    pub output: Option<PathBuf>,
    /// The files to fetch; empty: all.
    pub selection: Vec<Selection>,
    /// The directory of the files to verify.
    pub artifacts: Option<PathBuf>,
    /// Manifests to try when discovery finds nothing.
    pub fallbacks: Vec<Url>,
    /// Use these interfaces and no others; empty: every Ethernet interface that nobody uses.
    pub interfaces: Vec<String>,
    /// When to give up; the default is the command's.
    pub timeout: Option<Duration>,
    /// Give the lease to the kernel in the end.
    pub apply_lease: bool,
    /// How results are printed.
    pub printing: Printing,
    /// What the first process does.
    pub action: Action,
    /// What the first process does when that fails.
    pub on_failure: OnFailure,
    /// What is started, and how.
    pub starting: Starting,
}

/// What the arguments ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Run a command.
    Run(Command, Box<Options>),
    /// Print this and end well.
    Print(String),
}

/// Why the arguments were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no command.
    NoCommand,
    /// There is no such command.
    UnknownCommand(String),
    /// The command, or without one the program, takes no such flag.
    UnknownFlag(Option<Command>, String),
    /// Flag and what is wrong with its value.
    Value(&'static str, String),
    /// What lexopt says of an argument.
    Syntax(String),
    /// An argument that is not text.
    NotText(OsString),
    /// A manifest whose URL cannot be one; says why.
    Manifest(String),
    /// An argument that is not wanted.
    Unexpected(Command, String),
    /// Two flags that contradict each other.
    Conflict(&'static str, &'static str),
    /// A flag that has no effect beside a manifest that was named.
    Looking(&'static str),
    /// What the command cannot do without.
    Needs(Command, &'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("no command; --help lists them"),
            Self::UnknownCommand(name) => {
                write!(f, "there is no command {}; --help lists them", Quoted(name))
            }
            Self::UnknownFlag(Some(command), flag) => {
                let (command, flag) = (command.name(), Escaped(flag));
                write!(f, "{command} has no flag {flag}; phase-boot {command} --help lists them")
            }
            Self::UnknownFlag(None, flag) => {
                write!(f, "a command comes before {}; --help lists them", Escaped(flag))
            }
            Self::Value(flag, problem) => write!(f, "--{flag}: {problem}"),
            Self::NotText(argument) => {
                let argument = argument.to_string_lossy();
                write!(f, "the argument {} is not text in UTF-8", Quoted(&argument))
            }
            Self::Syntax(problem) | Self::Manifest(problem) => f.write_str(problem),
            Self::Unexpected(command, argument) => {
                write!(f, "{} does not take the argument {}", command.name(), Quoted(argument))
            }
            Self::Conflict(one, other) => {
                write!(f, "--{one} and --{other} exclude each other; leave one out")
            }
            Self::Looking(flag) => {
                write!(f, "--{flag} has no effect where a manifest is named; leave one out")
            }
            Self::Needs(command, what) => {
                let command = command.name();
                write!(f, "{command} needs {what}; phase-boot {command} --help tells more")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

impl Default for Options {
    #[expect(clippy::unwrap_used, reason = "a test parses the same constants")]
    fn default() -> Self {
        Self {
            channel: Channel::new(DEFAULT_CHANNEL).unwrap(),
            arch: Arch::canonical(std::env::consts::ARCH).unwrap(),
            said: Said::default(),
            carriers: Carriers::Auto,
            bootstraps: Vec::new(),
            trust: Vec::new(),
            insecure: false,
            manifest: None,
            document: None,
            output: None,
            selection: Vec::new(),
            artifacts: None,
            fallbacks: Vec::new(),
            interfaces: Vec::new(),
            timeout: None,
            apply_lease: false,
            printing: Printing::default(),
            action: Action::default(),
            on_failure: OnFailure::default(),
            starting: Starting::default(),
        }
    }
}

impl Options {
    /// Reads the kernel command line.
    ///
    /// # Errors
    /// The first word of ours that cannot be followed.
    pub fn of_kernel(command_line: &str) -> Result<Self, cmdline::Error<'_>> {
        let words = cmdline::Options::parse(command_line)?;
        let owned =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        let default = Self::default();
        let mut trust = owned(&words.trust);
        trust.extend(words.providers.iter().map(ToString::to_string));
        Ok(Self {
            said: Said { channel: words.channel.is_some(), arch: words.arch.is_some() },
            channel: words.channel.unwrap_or(default.channel),
            arch: words.arch.unwrap_or(default.arch),
            carriers: words.mode.unwrap_or(default.carriers),
            bootstraps: words.bootstraps.iter().cloned().collect(),
            trust,
            insecure: words.insecure,
            manifest: words.manifest,
            fallbacks: words.fallback.iter().cloned().collect(),
            interfaces: owned(&words.interfaces),
            timeout: words.timeout,
            action: words.action,
            on_failure: words.on_failure,
            starting: Starting {
                device_tree: words.device_tree.map(str::to_owned),
                append: owned(&words.append),
                ..Starting::default()
            },
            ..Self::default()
        })
    }

    /// Reads the arguments of a process, the first of which is the name it was called by: a name such as
    /// `phase-discover` is the command.
    ///
    /// # Errors
    /// [`Error`], which names the flag.
    pub fn of_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Error> {
        let mut parser = Parser::from_iter(arguments);
        let called = parser.bin_name().unwrap_or_default();
        let called = called.rsplit('/').next().unwrap_or_default();
        // The program's own name is no command.
        let by_name = called.strip_prefix("phase-").and_then(Command::of_name);
        let mut command = by_name.filter(|command| *command != Command::Boot);
        let mut options = Box::<Self>::default();
        while let Some(argument) = parser.next()? {
            let flag = match argument {
                Arg::Short('h') => "help".to_owned(),
                Arg::Short('V') => "version".to_owned(),
                Arg::Short(letter) => {
                    return Err(Error::UnknownFlag(command, format!("-{letter}")));
                }
                Arg::Long(name) => name.to_owned(),
                Arg::Value(value) => {
                    let value = value.into_string().map_err(Error::NotText)?;
                    match command {
                        None => {
                            let named = Command::of_name(&value);
                            command = Some(named.ok_or(Error::UnknownCommand(value))?);
                        }
                        Some(command) => options.take_argument(command, value)?,
                    }
                    continue;
                }
            };
            match (flag.as_str(), command) {
                ("help", _) => return Ok(Request::Print(help(command))),
                ("version", _) => return Ok(Request::Print(help::version())),
                (_, None) => return Err(Error::UnknownFlag(None, format!("--{flag}"))),
                (name, Some(command)) => options.take(command, name, &mut parser)?,
            }
        }
        let command = command.ok_or(Error::NoCommand)?;
        options.check(command)?;
        Ok(Request::Run(command, options))
    }

    /// Whether the flags fit together.
    fn check(&self, command: Command) -> Result<(), Error> {
        if self.printing.json && self.printing.quiet {
            return Err(Error::Conflict("json", "quiet"));
        }
        if self.manifest.is_some() && self.carriers != Carriers::Auto {
            return Err(Error::Looking("mode"));
        }
        if self.manifest.is_some() && !self.bootstraps.is_empty() {
            return Err(Error::Looking("bootstrap"));
        }
        match command {
            Command::Fetch if self.output.is_none() => Err(Error::Needs(command, "--output DIR")),
            Command::Verify if self.document.is_none() => {
                Err(Error::Needs(command, "a FILE, a URL, or -"))
            }
            Command::Kexec => self.check_starting(),
            Command::Discover | Command::Fetch | Command::Verify | Command::Boot => Ok(()),
        }
    }

    /// Takes an argument that is no flag.
    fn take_argument(&mut self, command: Command, value: String) -> Result<(), Error> {
        match command {
            Command::Fetch | Command::Boot if self.manifest.is_none() => match Url::parse(&value) {
                Ok(url) => self.manifest = Some(url),
                Err(error) => {
                    let problem = format!(
                        "{}: {} {error}; expected http://HOST[:PORT]/CHANNEL/ARCH/manifest.json",
                        Quoted(&value),
                        error.code()
                    );
                    return Err(Error::Manifest(problem));
                }
            },
            Command::Verify if self.document.is_none() => self.document = Some(value),
            Command::Kexec if self.starting.directory.is_none() => {
                self.starting.directory = Some(value);
            }
            Command::Discover
            | Command::Fetch
            | Command::Verify
            | Command::Kexec
            | Command::Boot => {
                return Err(Error::Unexpected(command, value));
            }
        }
        Ok(())
    }

    /// Takes one flag with its value.
    fn take(&mut self, command: Command, name: &str, parser: &mut Parser) -> Result<(), Error> {
        let flag = FLAGS.iter().find(|flag| flag.name == name && flag.of.contains(&command));
        let Some(flag) = flag else {
            return Err(Error::UnknownFlag(Some(command), format!("--{name}")));
        };
        let value = match flag.value {
            None if parser.optional_value().is_some() => Err("takes no value".to_owned()),
            None => Ok(String::new()),
            Some(kind) => match parser.value() {
                Ok(value) => Ok(value.into_string().map_err(Error::NotText)?),
                Err(_) => Err(format!("needs a value: {kind}")),
            },
        };
        value
            .and_then(|value| (flag.set)(self, &value))
            .map_err(|problem| Error::Value(flag.name, problem))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";

    fn read(line: &str) -> Result<Request, Error> {
        Options::of_arguments(line.split(' ').map(OsString::from))
    }

    fn options(line: &str) -> Options {
        match read(line) {
            Ok(Request::Run(_, options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn complaint(line: &str) -> String {
        read(line).unwrap_err().to_string()
    }

    #[test]
    fn every_flag_of_discover_is_read() {
        let options = options(&format!(
            "phase-boot discover --channel testing --arch aarch64 --mode all --timeout 2.5 --interface eth0 \
             --interface eth1 --bootstrap /ip4/192.0.2.1/tcp/4001 --trust {PEER} --insecure --json --explain \
             --apply-lease"
        ));
        assert_eq!(options.channel.as_str(), "testing");
        assert_eq!(options.arch.as_str(), "arm64");
        assert_eq!(options.carriers, Carriers::All);
        assert_eq!(options.timeout, Some(Duration::from_millis(2500)));
        assert_eq!(options.interfaces, ["eth0", "eth1"]);
        assert_eq!(options.bootstraps[0].to_string(), "/ip4/192.0.2.1/tcp/4001");
        assert_eq!(options.trust, [PEER]);
        assert!(options.insecure && options.apply_lease);
        assert_eq!(options.printing, Printing { json: true, quiet: false, explain: true });
    }

    #[test]
    fn a_command_is_also_known_by_the_name_it_is_called_by() {
        let options = options("/usr/bin/phase-discover --quiet");
        assert!(options.printing.quiet);
        assert_eq!(options.channel.as_str(), "stable");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_flag() {
        let cases = [
            ("phase-boot", "no command; --help lists them"),
            ("phase-boot frobnicate", "there is no command \"frobnicate\"; --help lists them"),
            (
                "phase-boot discover --watch",
                "discover has no flag --watch; phase-boot discover --help lists them",
            ),
            ("phase-boot discover --channel UP", "--channel: \"UP\" is not a channel"),
            (
                "phase-boot discover --mode both",
                "--mode: \"both\" is not a choice of auto, lan, wan, all",
            ),
            (
                "phase-boot discover --timeout 0",
                "--timeout: \"0\" is not a number of seconds from 0.001 to 86400",
            ),
            ("phase-boot discover x", "discover does not take the argument \"x\""),
            (
                "phase-boot discover --json --quiet",
                "--json and --quiet exclude each other; leave one out",
            ),
        ];
        for (line, text) in cases {
            assert_eq!(complaint(line), text, "{line}");
        }
        assert_eq!(
            complaint("phase-boot discover --trust"),
            "--trust: needs a value: FILE|PEER_ID|KEYID"
        );
        assert_eq!(complaint("phase-boot discover --json=yes"), "--json: takes no value");
        assert_eq!(
            complaint("phase-boot --json discover"),
            "a command comes before --json; --help lists them"
        );
        assert_eq!(
            complaint("phase-boot discover -x"),
            "discover has no flag -x; phase-boot discover --help lists them"
        );
        let not_text = OsString::from_vec(vec![b'a', 0xff]);
        let refused = Options::of_arguments(["phase-boot".into(), "verify".into(), not_text]);
        let refused = refused.unwrap_err().to_string();
        assert_eq!(refused, "the argument \"a\u{fffd}\" is not text in UTF-8");
        let bad = complaint("phase-boot discover --bootstrap 10.0.0.1:4001");
        assert!(bad.starts_with("--bootstrap: \"10.0.0.1:4001\""), "{bad}");
    }

    #[test]
    fn what_to_fetch_and_to_verify_is_read() {
        let url = "http://10.0.0.1:8080/stable/arm64/manifest.json";
        let fetch = options(&format!(
            "phase-fetch {url} --output /boot --artifact kernel --artifact dtbs --trust {PEER}"
        ));
        assert_eq!(fetch.manifest.unwrap().as_str(), url);
        assert_eq!(fetch.output.unwrap().to_str(), Some("/boot"));
        assert_eq!(fetch.selection, [Selection::Kernel, Selection::Dtbs]);
        assert_eq!(fetch.said, Said::default());
        let verify = options("phase-boot verify - --artifacts /boot --arch amd64 --json");
        assert_eq!(verify.document.as_deref(), Some("-"));
        assert_eq!(verify.artifacts.unwrap().to_str(), Some("/boot"));
        assert_eq!(verify.said, Said { channel: false, arch: true });
        let cases = [
            ("phase-fetch", "fetch needs --output DIR; phase-boot fetch --help tells more"),
            (
                "phase-verify",
                "verify needs a FILE, a URL, or -; phase-boot verify --help tells more",
            ),
            ("phase-verify a b", "verify does not take the argument \"b\""),
            (
                "phase-verify a --output b",
                "verify has no flag --output; phase-boot verify --help lists them",
            ),
            (
                "phase-fetch --output a --artifact kernels",
                "--artifact: \"kernels\" is not one of kernel, initramfs, rootfs, dtbs, all",
            ),
        ];
        for (line, text) in cases {
            assert_eq!(complaint(line), text, "{line}");
        }
        let bad = complaint("phase-fetch http://10.0.0.1/kernel --output a");
        assert!(bad.contains("E-URL:manifest"), "{bad}");
        let bad = complaint(&format!("phase-fetch {url} --output a --mode lan"));
        assert_eq!(bad, "--mode has no effect where a manifest is named; leave one out");
    }

    #[test]
    fn the_kernel_command_line_says_the_same() {
        let line = format!(
            "quiet phase.mode=wan phase.bootstrap=/ip4/192.0.2.1/tcp/4001 phase.provider={PEER} phase.trust=/trust \
             phase.interface=eth0 phase.timeout=9 phase.append=\"a b\""
        );
        let options = Options::of_kernel(&line).unwrap();
        assert_eq!((options.carriers, options.bootstraps.len()), (Carriers::Wan, 1));
        assert_eq!(options.trust, ["/trust", PEER]);
        assert_eq!(options.interfaces, ["eth0"]);
        assert_eq!(options.timeout, Some(Duration::from_secs(9)));
        assert_eq!(options.starting.append, ["a b"]);
        assert_eq!(Options::of_kernel("phase.turst=x").unwrap_err().word, "turst");
    }

    #[test]
    fn help_lists_every_flag_of_a_command_and_no_other() {
        let Ok(Request::Print(text)) = read("phase-boot discover --help") else { panic!() };
        for flag in FLAGS {
            let is_its = flag.of.contains(&Command::Discover);
            let is_told = text
                .lines()
                .any(|line| line.trim().split(' ').next() == Some(&format!("--{}", flag.name)));
            assert_eq!(is_told, is_its, "{}", flag.name);
        }
        let Ok(Request::Print(text)) = read("phase-boot --help") else { panic!() };
        assert!(Command::ALL.iter().all(|command| text.contains(command.name())), "{text}");
    }
}
