//! Under which conditions was measured: machine, kernel, compiler, versions of the peers.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread;

use phase_tests::process::{run, workspace_root};

use crate::Error;

/// One paragraph of Markdown.
///
/// # Errors
/// When a program does not tell its version.
pub(super) fn text() -> Result<String, Error> {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "Conditions: {}; both ends on that machine. Peers: {}; mdns-sd {}; edge-mdns {}; {}; bonjour-service \
         {}. Two network namespaces on one veth pair, IPv4 and IPv6, no loss. Ratios within one run count; \
         the same figures of another run or machine do not compare.",
        machine()?,
        said("avahi-daemon", &["--version"])?,
        locked_version("mdns-sd"),
        locked_version("edge-mdns"),
        file("tests/peers/zeroconf/requirements.txt").replace("==", " "),
        npm_version(),
    );
    Ok(text)
}

/// The time, the machine and the compiler.
///
/// # Errors
/// When a program does not tell its version.
pub(super) fn machine() -> Result<String, Error> {
    Ok(format!(
        "{}; {}, {} shared cores; Linux {}; {}; release build",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        processor(),
        thread::available_parallelism().map_or(0, usize::from),
        said("uname", &["-r"])?,
        said("rustc", &["--version"])?,
    ))
}

fn said(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(run(command)?.trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or_else(|| "unknown processor".into(), |n| n.trim_matches([' ', '\t', ':']).into())
}

/// The version in the lock file of the peer `name`, whose crate has the same name.
fn locked_version(name: &str) -> String {
    let lock = file(&format!("tests/peers/{name}/Cargo.lock"));
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    lines.nth(1).map_or_else(String::new, |line| line.replace("version = ", "").replace('"', ""))
}

fn npm_version() -> String {
    let package = file("tests/peers/bonjour/package.json");
    let rest = package.split("\"bonjour-service\": \"").nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn file(path: &str) -> String {
    fs::read_to_string(workspace_root().join(path)).unwrap_or_default().trim().to_owned()
}
