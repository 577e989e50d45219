//! Child processes with captured output, ended by process id when the guard is dropped.
//!
//! Standard output and standard error are read line by line by two threads, so a child never blocks on
//! a full pipe, and a test can wait for the line it needs. Standard input is closed.

use std::env;
use std::fmt::{self, Write as _};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::Error;
use crate::deadline::{self, Deadline, GENEROUS};

/// One of the two outputs of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A running child. Dropping it kills it and waits for it.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Captured,
    stderr: Captured,
}

/// What a child left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command` with both outputs captured.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] when there is no such program, [`Error::Os`] when it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self, Error> {
        command.stdin(Stdio::null());
        Self::start(command)
    }

    /// Starts `command` with both outputs captured and a standard input for [`Process::say`].
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_with_input(mut command: Command) -> Result<Self, Error> {
        command.stdin(Stdio::piped());
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, Error> {
        let name = describe(&command);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::not_started(&command.get_program().to_string_lossy(), e))?;
        Ok(Self::capturing(name, child))
    }

    fn capturing(name: String, mut child: Child) -> Self {
        let stdout = Captured::of(child.stdout.take());
        let stderr = Captured::of(child.stderr.take());
        let stdin = child.stdin.take();
        Self { name, child, stdin, stdout, stderr }
    }

    /// Writes one line to the standard input of a child started with [`Process::spawn_with_input`].
    ///
    /// # Errors
    /// [`Error::Os`] when the child does not read any more.
    pub fn say(&mut self, line: &str) -> Result<(), Error> {
        let what = || format!("write to `{}`", self.name);
        let closed = || Error::os(what(), std::io::ErrorKind::BrokenPipe.into());
        let stdin = self.stdin.as_mut().ok_or_else(closed)?;
        stdin.write_all(format!("{line}\n").as_bytes()).map_err(|e| Error::os(what(), e))
    }

    /// Closes the standard input of a child started with [`Process::spawn_with_input`].
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits up to [`GENEROUS`] for a line that `wanted` accepts, after the last line waited for on
    /// this stream, and returns it without its line feed.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all output so far when the line does not come, at once when the child
    /// closes the stream.
    pub fn wait_for_line(
        &mut self,
        stream: Stream,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Error> {
        self.wait_for(stream, &format!("the awaited line on {stream:?}"), GENEROUS, wanted)
    }

    /// As [`Process::wait_for_line`], for `within`; `what` names the line in the error.
    ///
    /// # Errors
    /// As [`Process::wait_for_line`].
    pub fn wait_for(
        &mut self,
        stream: Stream,
        what: &str,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Error> {
        let captured = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        match captured.next_line(&wanted, within) {
            Some(line) => Ok(line),
            None => Err(self.too_late(what, within)),
        }
    }

    /// Everything written to `stream` so far.
    #[must_use]
    pub fn output(&self, stream: Stream) -> String {
        match stream {
            Stream::Stdout => self.stdout.text(),
            Stream::Stderr => self.stderr.text(),
        }
    }

    /// Sends `signal`; a child that has ended already is left alone.
    ///
    /// # Errors
    /// [`Error::Os`] when the kernel refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.has_ended()? {
            return Ok(());
        }
        signal::kill(self.nix_pid(), signal)
            .map_err(|e| Error::os(format!("send {signal} to `{}`", self.name), e.into()))
    }

    /// Whether the child has ended.
    ///
    /// # Errors
    /// [`Error::Os`] when its state cannot be read.
    pub fn has_ended(&mut self) -> Result<bool, Error> {
        let status = self.child.try_wait();
        status.map(|s| s.is_some()).map_err(|e| Error::os(format!("wait for `{}`", self.name), e))
    }

    /// Waits up to `within` for the child to end by itself.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all output so far; the child is killed then.
    pub fn wait(mut self, within: Duration) -> Result<Finished, Error> {
        let deadline = Deadline::after(within);
        // Both outputs end when the child does, unless it left a grandchild behind.
        while !self.has_ended()? {
            if deadline.has_passed() {
                return Err(self.too_late("its end", within));
            }
            self.stdout.wait_for_change(deadline.remaining().min(Duration::from_millis(5)));
        }
        let status =
            self.child.wait().map_err(|e| Error::os(format!("wait for `{}`", self.name), e))?;
        self.stdout.wait_for_end(deadline);
        self.stderr.wait_for_end(deadline);
        Ok(Finished { status, stdout: self.stdout.text(), stderr: self.stderr.text() })
    }

    /// Asks the child to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// As [`Process::signal`] and [`Process::wait`].
    pub fn terminate(mut self) -> Result<Finished, Error> {
        self.signal(Signal::SIGTERM)?;
        self.wait(GENEROUS)
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn too_late(&self, what: &str, after: Duration) -> Error {
        let mut context = String::new();
        // Writing into a String cannot fail.
        let _ = write!(
            context,
            "\n--- stdout ---\n{}--- stderr ---\n{}",
            self.stdout.text(),
            self.stderr.text()
        );
        Error::TooLate { what: format!("{what} of `{}`", self.name), after, context }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error here means that the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (pid {})", self.name, self.child.id())
    }
}

impl Finished {
    /// The exit code; -1 when a signal ended the child.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// [`Error::CommandFailed`] with what it wrote when it does not exit with 0, or as
/// [`Process::spawn`].
pub fn run(mut command: Command) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::not_started(&command.get_program().to_string_lossy(), e))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let stderr = if stderr.is_empty() { stdout.trim().to_owned() } else { stderr };
    Err(Error::CommandFailed { command: describe(&command), status: output.status, stderr })
}

/// Where [`binary`] looks, when somebody has chosen.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Lets [`binary`] take programs from this directory, in the whole process; the first choice stays.
pub fn take_binaries_from(directory: PathBuf) {
    // Whoever comes second wants the same: a process measures one build.
    let _ = CHOSEN.set(directory);
}

/// The path of one of the workspace's programs (`phase-provider`, `phase-discover`, ...).
///
/// They are taken from the directory named by `PHASE_BIN_DIR`, or built once per test process in the
/// `dev` profile.
///
/// # Errors
/// [`Error::CommandFailed`] when the build fails, [`Error::ToolMissing`] when there is no such program.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    let directory = match (CHOSEN.get(), env::var_os("PHASE_BIN_DIR")) {
        (Some(directory), _) => directory.clone(),
        (None, Some(directory)) => PathBuf::from(directory),
        (None, None) => built_directory()?,
    };
    let path = directory.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let instruction = format!("no such file in {}", directory.display());
    Err(Error::ToolMissing { tool: name.to_owned(), instruction })
}

/// The root directory of the workspace.
#[must_use]
pub fn workspace_root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

fn built_directory() -> Result<PathBuf, Error> {
    static BUILT: OnceLock<Mutex<Option<PathBuf>>> = OnceLock::new();
    let mut built = lock(BUILT.get_or_init(Mutex::default));
    if let Some(directory) = built.as_ref() {
        return Ok(directory.clone());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(workspace_root()).args([
        "build",
        "--quiet",
        "--package",
        "phase-provider",
        "--bins",
    ]);
    run(build)?;
    let directory = target_directory()?;
    *built = Some(directory.clone());
    Ok(directory)
}

/// The directory that holds the `deps` directory of this test program.
fn target_directory() -> Result<PathBuf, Error> {
    let this = env::current_exe().map_err(|e| Error::os("find this program's path", e))?;
    let deps = this.ancestors().find(|p| p.ends_with("deps")).and_then(Path::parent);
    Ok(deps.or_else(|| this.parent()).unwrap_or(&this).to_path_buf())
}

/// The command line, for messages.
fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The lines read from one stream, filled by a thread of its own.
struct Captured {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    /// Index of the first line no wait has looked past.
    next: usize,
    _reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Captured {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let shared = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let reader = stream.map(|stream| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || read_lines(stream, &shared))
        });
        Self { shared, next: 0, _reader: reader }
    }

    fn next_line(&mut self, wanted: &impl Fn(&str) -> bool, within: Duration) -> Option<String> {
        let deadline = Deadline::after(within);
        let (lines, changed) = &*self.shared;
        let mut guard = lock(lines);
        loop {
            while let Some(line) = guard.lines.get(self.next) {
                self.next += 1;
                if wanted(line) {
                    return Some(line.clone());
                }
            }
            if guard.ended || deadline.has_passed() {
                return None;
            }
            guard = wait(changed, guard, deadline.remaining());
        }
    }

    fn wait_for_change(&self, within: Duration) {
        let (lines, changed) = &*self.shared;
        let guard = lock(lines);
        if guard.ended {
            drop(guard);
            thread::sleep(within);
        } else {
            drop(wait(changed, guard, within));
        }
    }

    /// Waits until the stream is closed, one second at most: a grandchild may hold it open.
    fn wait_for_end(&self, deadline: Deadline) {
        let deadline_here = Deadline::after(deadline.remaining().min(Duration::from_secs(1)));
        let (lines, changed) = &*self.shared;
        let mut guard = lock(lines);
        while !guard.ended && !deadline_here.has_passed() {
            guard = wait(changed, guard, deadline_here.remaining());
        }
    }

    fn text(&self) -> String {
        let guard = lock(&self.shared.0);
        guard.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

fn read_lines(stream: impl Read, shared: &(Mutex<Lines>, Condvar)) {
    let (lines, changed) = shared;
    let mut reader = BufReader::new(stream);
    let mut raw = Vec::new();
    // A read error ends the capture as the end of the stream does.
    while matches!(reader.read_until(b'\n', &mut raw), Ok(count) if count > 0) {
        let line = String::from_utf8_lossy(&raw);
        lock(lines).lines.push(line.trim_end_matches(['\n', '\r']).to_owned());
        raw.clear();
        changed.notify_all();
    }
    lock(lines).ended = true;
    changed.notify_all();
}

/// A panicking test must not hide its cause behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>, within: Duration) -> MutexGuard<'a, T> {
    changed.wait_timeout(guard, within).unwrap_or_else(PoisonError::into_inner).0
}

/// Waits until a TCP port of this namespace accepts a connection.
///
/// # Errors
/// [`Error::TooLate`] when nothing listens within [`GENEROUS`].
pub fn wait_for_tcp(address: std::net::SocketAddr) -> Result<(), Error> {
    deadline::until(&format!("a listener on {address}"), GENEROUS, || {
        Ok(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok().map(drop))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_are_found_in_order_on_both_streams() {
        let mut child =
            Process::spawn(shell("echo one; echo two; echo three >&2; echo two again")).unwrap();
        assert_eq!(child.wait_for_line(Stream::Stdout, |l| l.starts_with("two")).unwrap(), "two");
        assert_eq!(
            child.wait_for_line(Stream::Stdout, |l| l.starts_with("two")).unwrap(),
            "two again"
        );
        assert_eq!(child.wait_for_line(Stream::Stderr, |_| true).unwrap(), "three");
    }

    #[test]
    fn a_line_that_never_comes_is_an_error_with_the_output() {
        let mut child = Process::spawn(shell("echo something else")).unwrap();
        let error = child.wait_for_line(Stream::Stdout, |l| l == "ready").unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
    }

    #[test]
    fn a_finished_child_gives_its_code_and_output() {
        let done = Process::spawn(shell("echo out; echo err >&2; exit 4")).unwrap();
        let done = done.wait(GENEROUS).unwrap();
        assert_eq!(
            (done.code(), done.stdout.as_str(), done.stderr.as_str()),
            (4, "out\n", "err\n")
        );
    }

    #[test]
    fn dropping_the_guard_ends_the_child() {
        let child = Process::spawn(shell("exec sleep 600")).unwrap();
        let entry = PathBuf::from(format!("/proc/{}", child.pid()));
        assert!(entry.exists());
        drop(child);
        assert!(!entry.exists());
    }

    #[test]
    fn terminate_sends_sigterm() {
        let mut child = Process::spawn(shell(
            "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
        ))
        .unwrap();
        child.wait_for_line(Stream::Stdout, |l| l == "ready").unwrap();
        let done = child.terminate().unwrap();
        assert_eq!((done.code(), done.stdout.ends_with("bye\n")), (0, true));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(Command::new("phase-no-such-program")).unwrap_err();
        assert!(
            matches!(error, Error::ToolMissing { ref tool, .. } if tool.starts_with("phase-no"))
        );
    }
}
