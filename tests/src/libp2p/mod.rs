//! Kademlia nodes of other libp2p implementations, controlled line by line.
//!
//! The programs are under `tests/peers/{rust,js,py,go}-libp2p`; they take the same options and commands
//! and print the same lines (described in `rust-libp2p/node/main.rs`). A [`Node`] runs in a network
//! namespace and ends when it is dropped.

pub mod link;
pub mod listener;
pub mod shelf;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::Error;
use crate::deadline::{self, GENEROUS};
use crate::install::{self, InstallLock, Profile, target};
use crate::netns::{Host, Namespace};
use crate::process::{Process, Stream};

/// An implementation of libp2p with its Kademlia DHT, of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stack {
    /// rust-libp2p 0.56.0.
    Rust056,
    /// rust-libp2p 0.57.1.
    Rust057,
    /// js-libp2p 3.3.11 with `@libp2p/kad-dht` 16.4.5.
    Js,
    /// py-libp2p 0.8.1.
    Py,
    /// go-libp2p 0.32.1 with go-libp2p-kad-dht 0.25.1, as `p2pd`.
    Go,
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The identity is the Ed25519 key of 32 such octets.
    pub seed: u8,
    /// The TCP port.
    pub port: u16,
    /// Multiaddrs with `/p2p/ID` of the nodes to join.
    pub bootstraps: Vec<String>,
    /// Whether identify runs; only rust-libp2p can be without.
    pub identify: bool,
    /// Whether requests are served.
    pub server: bool,
    /// How long rust-libp2p keeps an idle connection instead of its 10 seconds.
    pub idle: Option<Duration>,
    /// Whether rust-libp2p is built for speed, which takes longer to build.
    pub fast: bool,
}

impl Plan {
    /// A server with identify and the library's own idle time, on port 4000 + `seed`.
    #[must_use]
    pub fn server(seed: u8, bootstraps: &[&str]) -> Self {
        Self {
            seed,
            port: 4000 + u16::from(seed),
            bootstraps: bootstraps.iter().map(|one| (*one).to_owned()).collect(),
            identify: true,
            server: true,
            idle: None,
            fast: false,
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    process: Process,
    peer: String,
    socket: SocketAddr,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rust056, Self::Rust057, Self::Js, Self::Py, Self::Go];

    /// The name for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust056 => "rust-libp2p 0.56",
            Self::Rust057 => "rust-libp2p 0.57",
            Self::Js => "js-libp2p 3.3",
            Self::Py => "py-libp2p 0.8",
            Self::Go => "go-libp2p 0.32",
        }
    }

    /// Whether it stores values under `/phase` keys: go-libp2p knows `/pk` and `/ipns` alone.
    #[must_use]
    pub const fn stores_values(self) -> bool {
        !matches!(self, Self::Go)
    }

    /// Makes sure that nodes can be started.
    ///
    /// # Errors
    /// What the build or the download said.
    pub fn install(self) -> Result<(), Error> {
        static INSTALLED: Mutex<BTreeSet<Stack>> = Mutex::new(BTreeSet::new());
        // Once for each process; a panic of another test says nothing about what is installed.
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if installed.contains(&self) {
            return Ok(());
        }
        self.install_now()?;
        installed.insert(self);
        Ok(())
    }

    fn install_now(self) -> Result<(), Error> {
        let _lock = InstallLock::take()?;
        match self {
            // One workspace holds both versions.
            Self::Rust056 | Self::Rust057 => install::build("rust-libp2p", Profile::Dev, &[]),
            Self::Js => install::node_modules("js-libp2p", &["polyfill.mjs", "peer.mjs"]),
            Self::Py => install::python_environment("py-libp2p", &["--no-deps"]),
            Self::Go => install::python_environment("go-libp2p", &["--no-deps"]),
        }
    }

    /// The program in `namespace`, without its options.
    fn program(self, namespace: &Namespace, fast: bool) -> Command {
        let profile = if fast { "release" } else { "debug" };
        let rust = |name: &str| namespace.command(target().join(profile).join(name));
        let script = |interpreter: &std::ffi::OsStr, path: std::path::PathBuf| {
            let mut command = namespace.command(interpreter);
            command.arg(path);
            command
        };
        let python = |peer: &str| {
            script(install::python_of(peer).as_os_str(), install::sources(peer).join("peer.py"))
        };
        match self {
            Self::Rust056 => rust("rust-libp2p-056-peer"),
            Self::Rust057 => rust("rust-libp2p-057-peer"),
            Self::Js => script("node".as_ref(), target().join("js-libp2p/peer.mjs")),
            Self::Py => python("py-libp2p"),
            Self::Go => python("go-libp2p"),
        }
    }
}

/// Makes sure that there are rust-libp2p 0.57 nodes and [`looking_up`] clients built for speed.
///
/// # Errors
/// What the build said.
pub fn install_fast() -> Result<(), Error> {
    let _lock = InstallLock::take()?;
    install::build("rust-libp2p", Profile::Release, &["rust-libp2p-057-peer", "rust-libp2p-client"])
}

/// The smallest rust-libp2p program that looks up a record, which prints `found VALUE`: `bootstraps` are multiaddrs
/// with `/p2p/ID`.
#[must_use]
pub fn looking_up(namespace: &Namespace, key: &[u8], bootstraps: &[&str]) -> Command {
    let mut command = namespace.command(target().join("release/rust-libp2p-client"));
    command.arg(hex(key)).args(bootstraps);
    command
}

impl Node {
    /// Starts a node on `host`'s IPv4 address; returns when it listens and has dialled its bootstraps.
    ///
    /// # Errors
    /// As [`Node::start_at`].
    pub fn start(stack: Stack, host: &Host, plan: &Plan) -> Result<Self, Error> {
        Self::start_at(stack, &host.namespace, host.ipv4.into(), plan)
    }

    /// Starts a node on an address of `namespace`; returns when it listens and has dialled its
    /// bootstraps.
    ///
    /// # Errors
    /// What installing or starting it said, [`Error::TooLate`] with its output.
    pub fn start_at(
        stack: Stack,
        namespace: &Namespace,
        address: IpAddr,
        plan: &Plan,
    ) -> Result<Self, Error> {
        if plan.fast {
            install_fast()?
        } else {
            stack.install()?
        }
        let mut starting = Self::spawn(stack, namespace, address, plan)?;
        starting.wait_until_ready()?;
        Ok(starting)
    }

    /// Starts a node without waiting for it.
    fn spawn(
        stack: Stack,
        namespace: &Namespace,
        address: IpAddr,
        plan: &Plan,
    ) -> Result<Self, Error> {
        let mut command = stack.program(namespace, plan.fast);
        let socket = SocketAddr::new(address, plan.port);
        command.args(["--seed", &plan.seed.to_string(), "--listen", &multiaddr(socket)]);
        for bootstrap in &plan.bootstraps {
            command.args(["--bootstrap", bootstrap]);
        }
        let idle = plan.idle.map(|idle| idle.as_secs().to_string());
        if let Some(idle) = idle.filter(|_| matches!(stack, Stack::Rust056 | Stack::Rust057)) {
            command.args(["--idle", &idle]);
        }
        let flags = [(!plan.identify, "--no-identify"), (!plan.server, "--client")];
        command.args(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag));
        let process = Process::spawn_with_input(command)?;
        Ok(Self { process, peer: String::new(), socket })
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let line = self.process.wait_for_line(Stream::Stdout, |line| {
            line.contains("\"event\"") && is(line, "ready")
        })?;
        self.peer = text_of(&json(&line), "peer");
        Ok(())
    }

    /// The peer id, as `12D3KooW...`.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Where it listens, with its peer id.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}/p2p/{}", multiaddr(self.socket), self.peer)
    }

    /// Commands the node and waits for its answer, which may hold an `error`.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all its output.
    pub fn ask(&mut self, command: &str) -> Result<Value, Error> {
        self.process.say(command)?;
        let verb = format!("\"{}\"", command.split(' ').next().unwrap_or_default());
        let answers = |line: &str| line.contains("\"answer\"") && line.contains(&verb);
        self.process.wait_for_line(Stream::Stdout, answers).map(|line| json(&line))
    }

    /// As [`Node::ask`]; what it found.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all its output, also when the answer is an error.
    pub fn find(&mut self, command: &str) -> Result<Vec<Value>, Error> {
        let answer = self.ask(command)?;
        match answer.get("error") {
            None => Ok(answer.get("found").and_then(Value::as_array).cloned().unwrap_or_default()),
            Some(error) => Err(Error::TooLate {
                what: format!("`{command}` at {}", self.peer),
                after: Duration::ZERO,
                context: format!(": {error}\n{}", self.output()),
            }),
        }
    }

    /// Connects to a node.
    ///
    /// # Errors
    /// As [`Node::find`].
    pub fn dial(&mut self, address: &str) -> Result<(), Error> {
        self.find(&format!("dial {address}")).map(drop)
    }

    /// Puts a value into the DHT; the peers that stored it, as far as the stack tells.
    ///
    /// # Errors
    /// As [`Node::find`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<String>, Error> {
        Ok(texts(&self.find(&format!("put {} {}", hex(key), hex(value)))?))
    }

    /// Looks a value up in the DHT; all that were found, which may be equal.
    ///
    /// # Errors
    /// As [`Node::find`]; a value that is nowhere is an error in some stacks.
    pub fn get(&mut self, key: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let found = self.find(&format!("get {}", hex(key)))?;
        Ok(found.iter().map(|one| octets(&text_of(one, "value"))).collect())
    }

    /// Announces the node as a provider of a multihash.
    ///
    /// # Errors
    /// As [`Node::find`].
    pub fn provide(&mut self, multihash: &[u8]) -> Result<(), Error> {
        self.find(&format!("provide {}", hex(multihash))).map(drop)
    }

    /// Looks the providers of a multihash up; their peer ids.
    ///
    /// # Errors
    /// As [`Node::find`].
    pub fn providers(&mut self, multihash: &[u8]) -> Result<Vec<String>, Error> {
        Ok(texts(&self.find(&format!("providers {}", hex(multihash)))?))
    }

    /// Looks the closest peers to a key up; their peer ids.
    ///
    /// # Errors
    /// As [`Node::find`].
    pub fn closest(&mut self, key: &[u8]) -> Result<Vec<String>, Error> {
        Ok(texts(&self.find(&format!("closest {}", hex(key)))?))
    }

    /// The peer ids in its routing table (of go-libp2p: those it is connected to).
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn peers(&mut self) -> Result<Vec<String>, Error> {
        let answer = self.ask("peers")?;
        let peers = answer.get("peers").and_then(Value::as_object);
        Ok(peers.into_iter().flat_map(serde_json::Map::keys).cloned().collect())
    }

    /// The value it stores under a key.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn stored(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let answer = self.ask("records")?;
        let records = answer.get("records").and_then(Value::as_array);
        let found = records.into_iter().flatten().find(|one| text_of(one, "key") == hex(key));
        Ok(found.map(|one| octets(&text_of(one, "value"))))
    }

    /// All events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let output = self.process.output(Stream::Stdout);
        output.lines().filter(|line| line.contains("\"event\"")).map(json).collect()
    }

    /// Waits until an event of that name, of the peer if one is given, has happened since the start.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all its output.
    pub fn wait_for(&self, event: &str, peer: Option<&str>) -> Result<Value, Error> {
        let wanted = |one: &Value| {
            text_of(one, "event") == event && peer.is_none_or(|peer| text_of(one, "peer") == peer)
        };
        let what = format!("the event `{event}` of {peer:?}");
        let found = deadline::until(&what, GENEROUS, || Ok(self.events().into_iter().find(wanted)));
        found.map_err(|error| self.with_output(error))
    }

    /// Everything it wrote, for messages of tests.
    #[must_use]
    pub fn output(&self) -> String {
        let [stdout, stderr] = [Stream::Stdout, Stream::Stderr].map(|s| self.process.output(s));
        format!("{stdout}{stderr}")
    }

    fn with_output(&self, error: Error) -> Error {
        let Error::TooLate { what, after, context } = error else { return error };
        let context = format!("{context}; {} printed:\n{}", self.peer, self.output());
        Error::TooLate { what, after, context }
    }
}

/// Stock rust-libp2p nodes that all know each other, on one host.
#[derive(Debug)]
pub struct Ring {
    /// The nodes; the even ones are rust-libp2p 0.56, the odd ones 0.57.
    pub nodes: Vec<Node>,
}

impl Ring {
    /// Starts `count` nodes with identities 101, 102, ... and waits until each has all others in its
    /// routing table.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start(host: &Host, count: u8) -> Result<Self, Error> {
        let first = Node::start(Stack::Rust056, host, &Plan::server(FIRST_SEED, &[]))?;
        let bootstrap = first.address();
        let mut nodes = vec![first];
        for number in 1..count {
            let stack = if number % 2 == 0 { Stack::Rust056 } else { Stack::Rust057 };
            let plan = Plan::server(FIRST_SEED + number, &[&bootstrap]);
            nodes.push(Node::spawn(stack, &host.namespace, host.ipv4.into(), &plan)?);
        }
        nodes.iter_mut().skip(1).try_for_each(Node::wait_until_ready)?;
        let mut ring = Self { nodes };
        ring.wait_until_joined()?;
        Ok(ring)
    }

    fn wait_until_joined(&mut self) -> Result<(), Error> {
        let others = self.nodes.len().saturating_sub(1);
        deadline::until("a ring in which all know all", GENEROUS, || {
            for node in &mut self.nodes {
                if node.peers()?.len() < others {
                    // Those that joined later were not told of.
                    node.ask("bootstrap")?;
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// How many nodes store exactly `value` under `key`.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn holders(&mut self, key: &[u8], value: &[u8]) -> Result<usize, Error> {
        let mut count = 0;
        for node in &mut self.nodes {
            count += usize::from(node.stored(key)?.as_deref() == Some(value));
        }
        Ok(count)
    }
}

/// The identity of the first node of a ring.
const FIRST_SEED: u8 = 101;

/// The key that `ADD_PROVIDER` takes on every stack: the SHA-256 multihash of a value's key.
#[must_use]
pub fn multihash(key: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    [&[0x12, 0x20], Sha256::digest(key).as_slice()].concat()
}

/// `/ip4/ADDRESS/tcp/PORT`.
#[must_use]
pub fn multiaddr(socket: SocketAddr) -> String {
    let family = if socket.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{}/tcp/{}", socket.ip(), socket.port())
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// The octets of hexadecimal digits; none where they are none.
fn octets(hex: &str) -> Vec<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    hex.as_bytes().chunks(2).filter_map(pair).collect()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}

fn is(line: &str, event: &str) -> bool {
    text_of(&json(line), "event") == event
}

fn text_of(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
