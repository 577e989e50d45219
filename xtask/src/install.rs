//! What a machine needs beside the Rust toolchain: looked for, installed where that is allowed, named
//! where it is not.

use std::env;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use phase_tests::libp2p::Stack;
use phase_tests::peers::Peer;
use phase_tests::qemu::Board;

use crate::steps::{self, step};
use crate::{Error, steps::to_the_end};

/// Something the operating system provides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// What is looked for, in words.
    name: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// How to know that it is there.
    check: Check,
}

#[derive(Clone, Copy, Debug)]
enum Check {
    /// A program of this name is in the path, or where an administrator's programs are.
    Program(&'static str),
    /// This command exits with 0.
    Succeeds(&'static [&'static str]),
}

/// A program of a Debian package.
pub(crate) const fn program(name: &'static str, package: &'static str) -> Tool {
    Tool { name, package, check: Check::Program(name) }
}

/// What `cargo xtask test` needs.
pub(crate) const FOR_TESTS: &[Tool] = &[
    program("ip", "iproute2"),
    program("tc", "iproute2"),
    program("mount", "mount"),
    program("unshare", "util-linux"),
    program("dtc", "device-tree-compiler"),
    program("setpriv", "util-linux"),
    program("dnsmasq", "dnsmasq-base"),
    program("ethtool", "ethtool"),
    program("avahi-daemon", "avahi-daemon"),
    program("avahi-browse", "avahi-utils"),
    program("dbus-daemon", "dbus-daemon"),
    Tool {
        name: "python3 with venv",
        package: "python3-venv",
        check: Check::Succeeds(&["python3", "-c", "import venv, ensurepip"]),
    },
    // fastecdsa, which py-libp2p needs, is built from its source.
    program("cc", "gcc"),
    Tool {
        name: "the headers of Python",
        package: "python3-dev",
        check: Check::Succeeds(&["python3", "-c", PYTHON_HEADERS]),
    },
    Tool {
        name: "the headers of GMP",
        package: "libgmp-dev",
        check: Check::Succeeds(&[
            "cc",
            "-fsyntax-only",
            "-include",
            "gmp.h",
            "-x",
            "c",
            "/dev/null",
        ]),
    },
    program("node", "nodejs"),
    program("npm", "npm"),
];

/// Fails where there is no `Python.h`.
const PYTHON_HEADERS: &str =
    "import os, sysconfig; os.stat(os.path.join(sysconfig.get_path('include'), 'Python.h'))";

/// What virtual machines and their network need, beside the emulator.
pub(crate) const FOR_QEMU: &[Tool] =
    &[program("ip", "iproute2"), program("dnsmasq", "dnsmasq-base"), program("depmod", "kmod")];

/// What emulates these machines.
pub(crate) const fn emulator(board: Board) -> Tool {
    program(board.emulator(), board.emulator_package())
}

/// What linking for other machines needs, where rustup does not bring it.
pub(crate) const FOR_BARE: &[Tool] = &[program("ld.lld", "lld")];

/// Another program may be installing; seconds.
const WAIT_FOR_OTHERS: [&str; 2] = ["-o", "DPkg::Lock::Timeout=300"];

/// Makes sure that all of `tools` are there.
///
/// # Errors
/// [`Error::Missing`] with the command to run, where this user cannot install.
pub(crate) fn tools(tools: &[Tool]) -> Result<(), Error> {
    // Administrators' programs are not in every user's path.
    step("look for the programs that are needed", || {
        let missing: Vec<&Tool> = tools.iter().filter(|tool| !is_there(tool)).collect();
        if missing.is_empty() {
            println!("    all {} are there", tools.len());
            return Ok(());
        }
        install_packages(&missing)?;
        let still: Vec<&Tool> = missing.into_iter().filter(|tool| !is_there(tool)).collect();
        if still.is_empty() { Ok(()) } else { Err(missing_error(&still)) }
    })
}

/// Makes sure that the peers can be started: builds and downloads them into `target/peers`.
///
/// # Errors
/// What the build or the download said.
pub(crate) fn peers(peers: &[Peer]) -> Result<(), Error> {
    for peer in peers {
        step(&format!("prepare the peer {}", peer.name()), || Ok(peer.install()?))?;
    }
    Ok(())
}

/// Makes sure that the libp2p nodes can be started, as [`peers`] does.
///
/// # Errors
/// What the build or the download said.
pub(crate) fn stacks() -> Result<(), Error> {
    for stack in Stack::ALL {
        step(&format!("prepare the peer {}", stack.name()), || Ok(stack.install()?))?;
    }
    Ok(())
}

fn install_packages(missing: &[&Tool]) -> Result<(), Error> {
    if !may_install() {
        return Err(missing_error(missing));
    }
    let packages: Vec<String> = packages(missing).into_iter().map(str::to_owned).collect();
    debian(&packages, None)
}

/// Installs Debian's packages, some of which may be of another architecture than this machine's.
///
/// # Errors
/// [`Error::Missing`] with the command to run, where this user cannot install.
pub(crate) fn debian(packages: &[String], architecture: Option<&str>) -> Result<(), Error> {
    let list = packages.join(" ");
    if !may_install() {
        let sudo = if geteuid().is_root() { "" } else { "sudo " };
        let add = architecture.map_or_else(String::new, |architecture| {
            format!("{sudo}dpkg --add-architecture {architecture} && {sudo}apt-get update && ")
        });
        return Err(Error::Missing {
            missing: format!("Debian's packages {list}"),
            command: format!("{add}{sudo}apt-get install --no-install-recommends {list}"),
        });
    }
    println!("    installing {list}");
    update(architecture)?;
    let mut install = Command::new("apt-get");
    install.args(WAIT_FOR_OTHERS);
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    to_the_end("apt-get install", install)
}

/// Brings the lists of packages up to date, those of this other architecture too.
///
/// # Errors
/// [`Error::Step`] with what failed.
pub(crate) fn update(architecture: Option<&str>) -> Result<(), Error> {
    if let Some(architecture) = architecture {
        let mut add = Command::new("dpkg");
        add.args(["--add-architecture", architecture]);
        to_the_end("dpkg --add-architecture", add)?;
    }
    let mut update = Command::new("apt-get");
    update.args(WAIT_FOR_OTHERS).args(["update", "-qq"]);
    to_the_end("apt-get update", update)
}

/// Whether this user may install packages, and there is something to do it with.
pub(crate) fn may_install() -> bool {
    geteuid().is_root() && find_program("apt-get").is_some()
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn missing_error(missing: &[&Tool]) -> Error {
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    let mut command = String::new();
    let sudo = if geteuid().is_root() { "" } else { "sudo " };
    // Writing into a String cannot fail.
    let _ = write!(command, "{sudo}apt-get install --no-install-recommends ");
    command.push_str(&packages(missing).join(" "));
    command.push_str("\n(these are Debian's package names)");
    Error::Missing { missing: names.join(", "), command }
}

fn is_there(tool: &Tool) -> bool {
    match tool.check {
        Check::Program(name) => find_program(name).is_some(),
        Check::Succeeds([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        }
        Check::Succeeds([]) => true,
    }
}

/// Looks for a program in the path and where an administrator's programs are.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|p| p.join(name)).find(|p| p.is_file())
}

/// The path with the places of an administrator's programs in it.
pub(crate) fn full_path() -> std::ffi::OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Makes sure that a cargo subcommand is there, or builds it into `target/tools`; returns its path.
///
/// # Errors
/// [`Error::Step`] when it cannot be built.
pub(crate) fn cargo_tool(name: &str) -> Result<PathBuf, Error> {
    let root = phase_tests::process::workspace_root().join("target/tools");
    let own = root.join("bin").join(name);
    if let Some(path) = find_program(name).or_else(|| own.is_file().then(|| own.clone())) {
        return Ok(path);
    }
    let mut install = steps::cargo(&["install", "--quiet", "--locked", "--root"]);
    install.arg(&root).arg(name);
    steps::command(&format!("build {name} (once, into target/tools)"), install)?;
    Ok(own)
}
