//! One virtual machine: a board with a serial console and Ethernet cards.
//!
//! Not here: disks; a machine boots a kernel and an initramfs.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::Board;
use crate::netns::{Namespace, Segment};
use crate::process::{Finished, Process, Stream, run};
use crate::{Error, deadline};

/// A boot takes a second or two by itself, and many times that beside others on a busy machine.
pub const BOOTS_WITHIN: Duration = Duration::from_secs(90);

/// Names of what an Ethernet card consists of, for the monitor.
const CARD: &str = "card0";

/// What a clock says that has lost its battery.
const LOST: [&str; 2] = ["-rtc", "base=1970-01-01T00:00:00"];

/// Where a card is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    namespace: String,
    interface: String,
    /// Whether the card leaves checksums and long segments to the host, as it does by default.
    offloads: bool,
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    board: Board,
    kernel: PathBuf,
    initramfs: PathBuf,
    words: Vec<String>,
    memory: u32,
    processors: u32,
    taps: Vec<Tap>,
    unplugged: bool,
    lost_time: bool,
}

/// A running machine. Dropping it ends it.
#[derive(Debug)]
pub struct Vm {
    board: Board,
    process: Process,
    monitor: PathBuf,
    _directory: TempDir,
}

impl Tap {
    /// Makes a port of the switch for a card.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said, for instance that there is no `/dev/net/tun`.
    pub fn on(segment: &Segment) -> Result<Self, Error> {
        Ok(Self { interface: segment.attach_tap()?, ..Self::in_namespace(segment.switch(), "") })
    }

    /// A card on an interface that was made by `ip tuntap`.
    #[must_use]
    pub fn in_namespace(namespace: &Namespace, interface: &str) -> Self {
        let namespace = namespace.name().to_owned();
        Self { namespace, interface: interface.to_owned(), offloads: true }
    }

    /// Takes the port away again, when no machine uses it.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said.
    pub fn remove(self) -> Result<(), Error> {
        let mut ip = std::process::Command::new("ip");
        ip.args(["-n", &self.namespace, "link", "delete", "dev", &self.interface]);
        run(ip).map(drop)
    }

    /// Lets every frame leave as a wire would carry it.
    #[must_use]
    pub fn without_offloads(mut self) -> Self {
        self.offloads = false;
        self
    }

    fn device(&self, board: Board, number: usize) -> [String; 4] {
        let (interface, card) = (&self.interface, board.card());
        let mut device = format!("{card},netdev=n{number},id=card{number},mac=52:54:00:77:00:");
        device.push_str(&self.ethernet_end(number));
        if !self.offloads {
            let off =
                ["csum", "gso", "host_tso4", "host_tso6", "guest_csum", "guest_tso4", "guest_tso6"];
            device.extend(off.iter().map(|name| format!(",{name}=off")));
        }
        [
            "-netdev".to_owned(),
            format!("tap,id=n{number},ifname={interface},script=no,downscript=no"),
            "-device".to_owned(),
            device,
        ]
    }

    /// The last octet of its address: no two cards of a switch have the same.
    fn ethernet_end(&self, number: usize) -> String {
        let port: usize =
            self.interface.trim_start_matches(char::is_alphabetic).parse().unwrap_or(0);
        format!("{:02x}", (port * 4 + number + 1) % 256)
    }
}

impl Machine {
    /// A machine with 512 MiB and one processor, without a network.
    #[must_use]
    pub fn new(board: Board, kernel: &Path, initramfs: &Path) -> Self {
        Self {
            board,
            kernel: kernel.to_path_buf(),
            initramfs: initramfs.to_path_buf(),
            words: vec![board.words()],
            memory: 512,
            processors: 1,
            taps: Vec::new(),
            unplugged: false,
            lost_time: false,
        }
    }

    /// Adds words to the kernel's command line.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        self.words.push(words.to_owned());
        self
    }

    /// Sets its memory; MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Sets how many processors it has.
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Adds an Ethernet card.
    #[must_use]
    pub fn card(mut self, tap: Tap) -> Self {
        self.taps.push(tap);
        self
    }

    /// Starts with the first card's cable unplugged, until [`Vm::plug`].
    #[must_use]
    pub fn unplugged(mut self) -> Self {
        self.unplugged = true;
        self
    }

    /// Lets its clock begin in 1970.
    #[must_use]
    pub fn without_clock(mut self) -> Self {
        self.lost_time = true;
        self
    }

    /// Starts it, inside the network namespace of its cards.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] when QEMU is not installed, [`Error::TooLate`] when its monitor does not answer.
    pub fn start(&self) -> Result<Vm, Error> {
        let directory =
            TempDir::new().map_err(|e| Error::os("make a directory for a machine", e))?;
        let monitor = directory.path().join("monitor");
        let program = self.board.emulator();
        let mut command = match self.taps.first() {
            Some(tap) => {
                let mut command = std::process::Command::new("ip");
                command.args(["netns", "exec", &tap.namespace, program]);
                command
            }
            None => std::process::Command::new(program),
        };
        command.args(self.board.options());
        command.args(["-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot", "-S"]);
        command.args(["-m", &self.memory.to_string(), "-smp", &self.processors.to_string()]);
        command.args(["-serial", "stdio", "-monitor"]);
        command.arg(format!("unix:{},server=on,wait=off", monitor.display()));
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        command.args(["-append", &self.words.join(" ")]);
        if self.lost_time {
            command.args(LOST);
        }
        for (number, tap) in self.taps.iter().enumerate() {
            command.args(tap.device(self.board, number));
        }
        let process = Process::spawn(command)?;
        let mut vm = Vm { board: self.board, process, monitor, _directory: directory };
        if self.unplugged {
            vm.unplug()?;
        }
        // Paused until here, so that nothing happens before it is as it should be.
        vm.tell("cont")?;
        Ok(vm)
    }
}

impl Vm {
    /// Waits up to [`BOOTS_WITHIN`] for a line on the console that has `text` in it, after the last line waited for.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the whole console when it does not come.
    pub fn wait_for(&mut self, text: &str) -> Result<String, Error> {
        let what = format!("`{text}` on the console");
        self.process.wait_for(Stream::Stdout, &what, BOOTS_WITHIN, |line| line.contains(text))
    }

    /// Waits up to [`BOOTS_WITHIN`] for the next line on the console.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the whole console when none comes, at once when the machine has ended.
    pub fn next_line(&mut self) -> Result<String, Error> {
        self.process.wait_for(Stream::Stdout, "a line on the console", BOOTS_WITHIN, |_| true)
    }

    /// Everything on the console so far.
    #[must_use]
    pub fn console(&self) -> String {
        self.process.output(Stream::Stdout)
    }

    /// The process id of the emulator.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits up to [`BOOTS_WITHIN`] until the machine is switched off or starts anew.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the whole console.
    pub fn wait_for_end(self) -> Result<Finished, Error> {
        self.process.wait(BOOTS_WITHIN)
    }

    /// Takes the cable out of the first card.
    ///
    /// # Errors
    /// As [`Machine::start`].
    pub fn unplug(&mut self) -> Result<(), Error> {
        self.tell(&format!("set_link {CARD} off"))
    }

    /// Puts it in again.
    ///
    /// # Errors
    /// As [`Machine::start`].
    pub fn plug(&mut self) -> Result<(), Error> {
        self.tell(&format!("set_link {CARD} on"))
    }

    /// Gives the monitor a command, and waits until it has followed it.
    fn tell(&mut self, command: &str) -> Result<(), Error> {
        let what = || format!("tell the machine `{command}`");
        let mut stream = deadline::until("the machine's monitor", deadline::GENEROUS, || {
            if self.process.has_ended()? {
                let said = self.process.output(Stream::Stderr);
                let what = self.board.emulator().to_owned();
                return Err(Error::Unusable { what, why: said });
            }
            Ok(UnixStream::connect(&self.monitor).ok())
        })?;
        stream.set_read_timeout(Some(deadline::GENEROUS)).map_err(|e| Error::os(what(), e))?;
        // The prompt comes once in the beginning and again after the command.
        let answer = writeln!(stream, "{command}").and_then(|()| read_prompts(&mut stream, 2));
        let answer = answer.map_err(|e| Error::os(what(), e))?;
        if answer.contains("Error") || answer.contains("unknown") {
            return Err(Error::Unusable { what: what(), why: answer });
        }
        Ok(())
    }
}

fn read_prompts(stream: &mut UnixStream, count: usize) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut said = Vec::new();
    let mut octet = [0];
    loop {
        if stream.read(&mut octet)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        said.push(octet[0]);
        let text = String::from_utf8_lossy(&said);
        if text.matches("(qemu) ").count() == count {
            return Ok(text.into_owned());
        }
    }
}
