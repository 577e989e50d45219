//! `cargo xtask demo`: the main job, from nothing.
//!
//! Makes a small sample image, starts a provider on a free port with an identity of its own, and then
//! does what a booting machine does: discovers over multicast DNS, fetches, verifies; and discovers once more in
//! the DHT, by way of a node that is not the provider. Needs no privilege. A machine without a network gets one for the demonstration: an interface in a namespace,
//! since adverts never name a loopback address.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use phase_tests::process::{Finished, Process, Stream, wait_for_tcp, workspace_root};

use crate::Error;
use crate::install::full_path;
use crate::steps::{cargo, command, step, to_the_end};

/// How to show it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave the provider running and print commands to try.
    #[arg(long)]
    keep: bool,
    /// Use this network interface instead of every usable one.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Runs in a network namespace made by this program.
    #[arg(long, hide = true)]
    own_network: bool,
}

/// Octets of the sample kernel: enough for a transfer of many packets.
const KERNEL_LEN: usize = 4 << 20;

/// Octets of the sample initramfs.
const INITRAMFS_LEN: usize = 1 << 20;

const CHANNEL: &str = "stable";

/// A discovery or a download takes milliseconds; this ends one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of `phase-discover` on a machine without a usable network.
const NO_NETWORK: i32 = 5;

/// The interface of the demonstration's own network.
const OWN_INTERFACE: &str = "demo0";

/// Makes the network, then runs the rest of the line in it. The addresses are those of RFC 5737.
const IN_OWN_NETWORK: &str = "ip link set lo up && ip link add demo0 type veth peer name demo1 && \
    ip addr add 192.0.2.1/24 dev demo0 && ip link set demo0 up && ip link set demo1 up && exec \"$@\"";

/// What the steps share.
struct Scene {
    programs: PathBuf,
    directory: PathBuf,
    interface: Option<String>,
    own_network: bool,
    architecture: &'static str,
}

/// Runs the demonstration.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    command("build the programs", cargo(&["build", "--locked", "-p", "phase-provider", "--bins"]))?;
    let base = workspace_root().join("target/demo");
    fs::create_dir_all(&base).map_err(|e| Error::os("make target/demo", e))?;
    let temporary =
        tempfile::tempdir_in(&base).map_err(|e| Error::os("make a directory for the demo", e))?;
    let scene = Scene {
        programs: workspace_root().join("target/debug"),
        directory: temporary.path().to_path_buf(),
        interface: options.interface.clone(),
        own_network: options.own_network,
        architecture: architecture(),
    };
    if scene.interface.is_none() && step("look for a network", || scene.has_no_network())? {
        return run_in_own_network(options);
    }
    step("make a sample image", || scene.make_image())?;
    let (entrance, bootstrap) = scene.start_entrance()?;
    let (mut provider, port) = scene.start_provider(&bootstrap)?;
    let peer_id = scene.peer_id(&scene.state())?;
    let outcome = scene
        .discover_fetch_verify(&peer_id)
        .and_then(|()| scene.discover_in_dht(&mut provider, &peer_id, &bootstrap));
    if let Err(error) = outcome {
        println!("--- what the provider said ---\n{}", provider.output(Stream::Stderr));
        return Err(error);
    }
    println!(
        "\nDiscovered, fetched and verified: the copy is the image, octet for octet. Found in the DHT too, by way of \
         another node."
    );
    if options.keep {
        return scene.keep(&mut provider, port, &peer_id, &bootstrap);
    }
    step("stop the other node", || expect_code("phase-provider", &entrance.terminate()?, 0))?;
    step("stop the provider (it says goodbye on the network)", || {
        let finished = provider.terminate()?;
        expect_code("phase-provider", &finished, 0)
    })
}

impl Scene {
    fn has_no_network(&self) -> Result<bool, Error> {
        let mut probe = self.program("phase-discover");
        probe.args(["--quiet", "--timeout", "0.01"]);
        Ok(Process::spawn(probe)?.wait(PATIENCE)?.code() == NO_NETWORK)
    }

    fn make_image(&self) -> Result<(), Error> {
        let image = self.image();
        let failed = |e| Error::os(format!("write {}", image.display()), e);
        fs::create_dir_all(&image).map_err(failed)?;
        fs::write(image.join("vmlinuz"), sample(KERNEL_LEN, 1)).map_err(failed)?;
        fs::write(image.join("initramfs.img"), sample(INITRAMFS_LEN, 2)).map_err(failed)?;
        fs::write(image.join("cmdline"), "console=ttyAMA0 quiet\n").map_err(failed)?;
        fs::write(image.join("version"), "2026.1\n").map_err(failed)?;
        println!("    {CHANNEL}/{}: vmlinuz, initramfs.img, cmdline, version", self.architecture);
        Ok(())
    }

    /// Starts a node of the DHT that has nothing to publish; also tells how to enter by it.
    fn start_entrance(&self) -> Result<(Process, String), Error> {
        let (port, state) = (free_port()?, self.directory.join("entrance"));
        let empty = self.directory.join("empty");
        fs::create_dir_all(&empty).map_err(|e| Error::os("make an empty directory", e))?;
        let address = format!("/ip4/127.0.0.1/tcp/{port}");
        let mut serve = self.program("phase-provider");
        serve.arg("serve").arg("--artifacts").arg(empty).arg("--state-dir").arg(&state);
        serve.args(["--no-mdns", "--listen", &format!("127.0.0.1:{}", free_port()?)]);
        serve.args(["--dht-listen", &address]);
        let entrance = step("start another node of the DHT", || {
            println!("    $ {}", shown(&serve));
            let entrance = Process::spawn(serve)?;
            wait_for_tcp((Ipv4Addr::LOCALHOST, port).into())?;
            Ok(entrance)
        })?;
        let peer = self.peer_id(&state)?;
        Ok((entrance, format!("{address}/p2p/{peer}")))
    }

    fn start_provider(&self, bootstrap: &str) -> Result<(Process, u16), Error> {
        let port = free_port()?;
        let mut serve = self.program("phase-provider");
        serve.arg("serve").arg("--artifacts").arg(self.directory.join("artifacts"));
        serve.args(["--name", "demo", "--listen", &format!("0.0.0.0:{port}")]);
        serve.arg("--state-dir").arg(self.state());
        serve.args(["--dht-listen", &format!("/ip4/0.0.0.0/tcp/{}", free_port()?)]);
        serve.args(["--bootstrap", bootstrap]);
        self.on_interface(&mut serve);
        let provider = step("start a provider", || {
            println!("    $ {}", shown(&serve));
            let provider = Process::spawn(serve)?;
            wait_for_tcp((Ipv4Addr::LOCALHOST, port).into())?;
            Ok(provider)
        })?;
        Ok((provider, port))
    }

    fn peer_id(&self, state: &Path) -> Result<String, Error> {
        let mut show = self.program("phase-provider");
        show.args(["key", "show", "--state-dir"]).arg(state);
        let finished = self.said("ask for its peer id", show, 0)?;
        Ok(finished.stdout.trim().to_owned())
    }

    fn discover_fetch_verify(&self, peer_id: &str) -> Result<(), Error> {
        let wanted = ["--channel", CHANNEL, "--arch", self.architecture, "--trust", peer_id];
        let mut discover = self.program("phase-discover");
        discover.args(wanted).arg("--json");
        self.on_interface(&mut discover);
        self.said("discover it over multicast DNS", discover, 0)?;

        let fetched = self.directory.join("fetched");
        let mut fetch = self.program("phase-fetch");
        fetch.args(wanted).arg("--output").arg(&fetched);
        self.on_interface(&mut fetch);
        self.said("discover again, fetch the image, check every digest", fetch, 0)?;

        let mut verify = self.program("phase-verify");
        verify.arg(fetched.join("manifest.json")).arg("--artifacts").arg(&fetched);
        verify.args(["--trust", peer_id]);
        self.said("verify what was fetched", verify, 0)?;

        let copies = [("vmlinuz", "kernel"), ("initramfs.img", "initramfs")];
        copies.iter().try_for_each(|(original, copy)| {
            same_octets(&self.image().join(original), &fetched.join(copy))
        })
    }

    /// Finds the image by the DHT alone.
    fn discover_in_dht(
        &self,
        provider: &mut Process,
        peer_id: &str,
        bootstrap: &str,
    ) -> Result<(), Error> {
        step("wait until the provider has published it in the DHT", || {
            let line =
                provider.wait_for_line(Stream::Stderr, |line| line.contains("published "))?;
            println!("    | {}", line.trim());
            Ok(())
        })?;
        let mut discover = self.program("phase-discover");
        discover.args(["--channel", CHANNEL, "--arch", self.architecture, "--trust", peer_id]);
        discover.args(["--mode", "wan", "--bootstrap", bootstrap, "--json"]);
        self.said("discover it in the DHT, with multicast DNS off", discover, 0).map(drop)
    }

    fn keep(
        &self,
        provider: &mut Process,
        port: u16,
        peer_id: &str,
        bootstrap: &str,
    ) -> Result<(), Error> {
        let wanted = format!("--channel {CHANNEL} --arch {}", self.architecture);
        let interface =
            self.interface.as_ref().map_or_else(String::new, |name| format!(" --interface {name}"));
        // From another terminal, whose network is another one.
        let enter = if self.own_network {
            format!("nsenter --target {} --user --net --preserve-credentials ", provider.pid())
        } else {
            String::new()
        };
        let programs = format!("{enter}{}", self.programs.display());
        println!(
            "\nThe provider keeps running (pid {}); Ctrl-C ends it. To try in another terminal:\n\n\
             {programs}/phase-discover {wanted} --trust {peer_id}{interface} --json\n\
             {programs}/phase-discover {wanted}{interface} --explain --watch\n\
             {programs}/phase-discover {wanted} --trust {peer_id} --mode wan --bootstrap {bootstrap} --explain\n\
             {programs}/phase-fetch {wanted} --trust {peer_id}{interface} --output image\n\
             {programs}/phase-provider status --state-dir {}\n\
             {enter}curl http://127.0.0.1:{port}/\n",
            provider.pid(),
            self.state().display()
        );
        while !provider.has_ended()? {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Runs a command to its end and shows what it said.
    fn said(&self, what: &str, command: Command, code: i32) -> Result<Finished, Error> {
        step(what, || {
            let line = shown(&command);
            println!("    $ {line}");
            let finished = Process::spawn(command)?.wait(PATIENCE)?;
            for text in finished.stdout.lines().chain(finished.stderr.lines()) {
                println!("    | {text}");
            }
            expect_code(&line, &finished, code)?;
            Ok(finished)
        })
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        // Nothing of this user's own configuration belongs in a demonstration.
        command.env("HOME", &self.directory).env_remove("XDG_CONFIG_HOME");
        command.current_dir(workspace_root());
        command
    }

    fn on_interface(&self, command: &mut Command) {
        if let Some(name) = &self.interface {
            command.args(["--interface", name]);
        }
    }

    fn image(&self) -> PathBuf {
        self.directory.join("artifacts").join(CHANNEL).join(self.architecture)
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

/// Octets that do not repeat within a file and differ between `stream`s: a multiplicative generator.
fn sample(len: usize, stream: u64) -> Vec<u8> {
    let mut state = stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(len);
    while octets.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        octets.extend_from_slice(&(state >> 16).to_le_bytes()[..4]);
    }
    octets.truncate(len);
    octets
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|a| a.port()).map_err(|e| Error::os("find a free TCP port", e))
}

/// Does the same again in a network of its own.
fn run_in_own_network(options: &Options) -> Result<(), Error> {
    println!("    this machine has no usable network: the demo makes one of its own");
    let this = std::env::current_exe().map_err(|e| Error::os("find this program", e))?;
    let mut again = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        again.args(["--user", "--map-root-user"]);
    }
    again.args(["--net", "sh", "-c", IN_OWN_NETWORK, "sh"]).arg(this);
    again.args(["demo", "--own-network", "--interface", OWN_INTERFACE]);
    again.args(options.keep.then_some("--keep"));
    again.env("PATH", full_path()).env("CARGO_NET_OFFLINE", "true");
    to_the_end("the demo in a network of its own", again)
}

fn expect_code(what: &str, finished: &Finished, code: i32) -> Result<(), Error> {
    if finished.code() == code {
        return Ok(());
    }
    let found = format!("exit code {} instead of {code}\n{}", finished.code(), finished.stderr);
    Err(Error::Unexpected { what: format!("`{what}`"), found })
}

fn same_octets(original: &Path, copy: &Path) -> Result<(), Error> {
    let read =
        |path: &Path| fs::read(path).map_err(|e| Error::os(format!("read {}", path.display()), e));
    if read(original)? == read(copy)? {
        return Ok(());
    }
    let found = format!("differs from {}", original.display());
    Err(Error::Unexpected { what: copy.display().to_string(), found })
}

/// A command line as a person would type it.
fn shown(command: &Command) -> String {
    let root = format!("{}/", workspace_root().display());
    let mut text = command.get_program().to_string_lossy().replace(&root, "");
    for argument in command.get_args() {
        // Writing into a String cannot fail.
        let _ = write!(text, " {}", argument.to_string_lossy().replace(&root, ""));
    }
    text
}
