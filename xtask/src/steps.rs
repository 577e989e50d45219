//! Steps: what is done is said before it is done, and how long it took after.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use phase_tests::deadline;
use phase_tests::process::workspace_root;

use crate::Error;

/// Says `what`, does `work`, says how long it took.
///
/// # Errors
/// Those of `work`.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    println!("==> {what}");
    let start = deadline::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    println!("    {verdict} in {}", seconds(start.elapsed()));
    result
}

/// Runs `command` as a step; its output goes to the terminal.
///
/// # Errors
/// [`Error::Step`] when it does not exit with 0.
pub(crate) fn command(what: &str, command: Command) -> Result<(), Error> {
    step(what, || to_the_end(what, command))
}

/// Runs `command`, its output to the terminal, without saying so.
///
/// # Errors
/// [`Error::Step`] when it does not exit with 0.
pub(crate) fn to_the_end(what: &str, mut command: Command) -> Result<(), Error> {
    let status = command.stdin(Stdio::null()).status().map_err(|e| {
        phase_tests::Error::not_started(&command.get_program().to_string_lossy(), e)
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Step { step: what.to_owned(), status })
}

/// A command of this cargo in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace_root());
    command
}

/// `12.3 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
