//! `cargo xtask test`: all tests, after installing what they need.
//!
//! The tests make network namespaces. Root may do that; for another user the tests run in a user
//! namespace of their own, where the kernel allows it.

use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use phase_tests::peers::Peer;
use phase_tests::process::workspace_root;

use crate::statics::Processor;
use crate::steps::{cargo, command};
use crate::{Error, install, qemu};

/// What to run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Arguments for `cargo test`, such as `-p phase-core NAME`; without any, everything runs.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the tests.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    install::tools(install::FOR_TESTS)?;
    install::peers(&[Peer::Avahi, Peer::MdnsSd, Peer::Zeroconf, Peer::Bonjour, Peer::EdgeMdns])?;
    install::stacks()?;
    let mut boots_with = Vec::new();
    if boots(options) {
        for processor in Processor::ALL {
            boots_with.push(qemu::prepare(processor)?);
        }
    }
    command("build the programs", cargo(&["build", "--locked", "-p", "phase-provider", "--bins"]))?;
    let mut build = cargo(&["test", "--locked", "--no-run"]);
    build.args(selection(options));
    command("build the tests", build)?;
    let mut test = inside_namespaces()?;
    test.args(["test", "--locked", "--no-fail-fast"]).args(selection(options));
    test.env("PHASE_BIN_DIR", workspace_root().join("target/debug"));
    for parts in boots_with {
        test.env(parts.board.boot_directory(), parts.programs);
    }
    test.env("PATH", install::full_path());
    command("run the tests", test)
}

/// Whether some of the tests boot virtual machines.
fn boots(options: &Options) -> bool {
    let all = ["phase-tests", "--workspace"];
    options.arguments.is_empty() || options.arguments.iter().any(|a| all.contains(&a.as_str()))
}

fn selection(options: &Options) -> Vec<&str> {
    if options.arguments.is_empty() {
        return vec!["--workspace"];
    }
    options.arguments.iter().map(String::as_str).collect()
}

/// A cargo that may make network namespaces.
fn inside_namespaces() -> Result<Command, Error> {
    if geteuid().is_root() {
        return Ok(cargo(&[]));
    }
    // A private /run gives `ip netns` a place to write; tests on loopback need it up.
    const ENTER: &str = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \"$@\"";
    let arguments = ["--user", "--map-root-user", "--mount", "--net", "sh", "-c", ENTER, "sh"];
    let mut probe = Command::new("unshare");
    probe.args(arguments).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return Err(Error::Missing {
            missing: "the right to make network namespaces, as root or in a user namespace".into(),
            command: "sudo -E env PATH=\"$PATH\" cargo xtask test".into(),
        });
    }
    println!("    not root: the tests run in a user namespace of their own");
    let cargo = cargo(&[]);
    let mut command = Command::new("unshare");
    command.args(arguments).arg(cargo.get_program()).current_dir(workspace_root());
    // Without a network of its own, cargo must not look for crates.
    command.env("CARGO_NET_OFFLINE", "true");
    Ok(command)
}
