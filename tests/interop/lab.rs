//! A provider under test, a discovery, what it printed, and how long it may take.

use std::time::Duration;

use phase_tests::deadline;
use phase_tests::netns::{Host, Namespace};
use phase_tests::process::{Finished, Process, Stream, binary, run};
use phase_tests::subject::{Phase, Running, Subject as _, Wanted};
use serde_json::Value;
use tempfile::TempDir;

/// The service type, as browsers want it.
pub(crate) const KIND: &str = "_phase-image._tcp";

/// How long a stop, an addition or a withdrawal may take to be seen.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// How often something may take too long: a busy machine is no fault of the provider.
const ATTEMPTS: usize = 3;

/// Checks that what `attempt` times takes no longer than `limit` in one attempt at least.
pub(crate) fn assert_within(limit: Duration, what: &str, attempt: impl Fn() -> Duration) {
    let mut late = Vec::new();
    while late.len() < ATTEMPTS {
        let took = attempt();
        if took <= limit {
            return;
        }
        late.push(took);
    }
    panic!("{what} took {late:?} in {ATTEMPTS} attempts; the limit is {limit:?}");
}

/// A running `phase-provider serve`.
pub(crate) struct Provider {
    running: Option<Box<dyn Running>>,
    directory: TempDir,
}

impl Provider {
    /// Starts a provider called `name` with images of the given channels and architectures.
    pub(crate) fn start(host: &Host, name: &str, pairs: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        let running = Phase.start(host, &Wanted::new(name, pairs), directory.path()).unwrap();
        Self { running: Some(running), directory }
    }

    pub(crate) fn running(&mut self) -> &mut dyn Running {
        &mut **self.running.as_mut().unwrap()
    }

    /// Waits until it has told `text` on standard error.
    pub(crate) fn wait_until_told(&self, text: &str) {
        let told =
            || Ok(self.running.as_ref().is_some_and(|r| r.output().contains(text)).then_some(()));
        deadline::until(text, deadline::GENEROUS, told).unwrap();
    }

    /// Stops it with SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.running.take().unwrap().stop().unwrap();
    }

    /// The peer id of its key, which is made by its first start.
    pub(crate) fn peer_id(&self) -> String {
        let mut command = std::process::Command::new(binary("phase-provider").unwrap());
        command.args(["key", "show", "--state-dir"]).arg(self.directory.path().join("state"));
        deadline::until("the provider's key", deadline::GENEROUS, || {
            let mut again = std::process::Command::new(command.get_program());
            again.args(command.get_args());
            Ok(run(again).ok())
        })
        .unwrap()
        .trim()
        .to_owned()
    }
}

/// A started `phase-discover` for a channel and an architecture.
pub(crate) fn discover(namespace: &Namespace, pair: (&str, &str), more: &[&str]) -> Process {
    let mut command = namespace.command(binary("phase-discover").unwrap());
    command.args(["--json", "--channel", pair.0, "--arch", pair.1]).args(more);
    Process::spawn(command).unwrap()
}

/// Runs `phase-discover` for stable arm64 to its end.
pub(crate) fn discovered(namespace: &Namespace, more: &[&str]) -> Finished {
    discover(namespace, ("stable", "arm64"), more).wait(Duration::from_secs(20)).unwrap()
}

/// The candidates that it printed.
pub(crate) fn candidates(done: &Finished) -> Vec<Value> {
    done.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Runs `phase-discover` for stable arm64 until it exits with 0: a provider needs a second to begin.
pub(crate) fn discovered_at_last(namespace: &Namespace, more: &[&str]) -> Vec<Value> {
    let wanted = deadline::until("a discovery", Duration::from_secs(20), || {
        let done = discovered(namespace, more);
        Ok((done.code() == 0).then(|| candidates(&done)))
    });
    wanted.unwrap()
}

/// Waits for an event that a watching `phase-discover` prints.
pub(crate) fn wait_for_event(watcher: &mut Process, event: &str) -> Value {
    let wanted = format!("\"event\":\"{event}\"");
    let line = watcher.wait_for_line(Stream::Stdout, |l| l.contains(&wanted)).unwrap();
    serde_json::from_str(&line).unwrap()
}
