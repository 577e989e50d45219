//! rust-libp2p as a Kademlia node: TCP, Noise, Yamux, ping, identify and `kad` with its default
//! configuration (`/ipfs/kad/1.0.0`, any record stored, the last writer wins).
//!
//! `--seed N --listen MULTIADDR [--bootstrap MULTIADDR/p2p/ID]... [--no-identify] [--client] [--idle SECONDS]`:
//! the identity is the Ed25519 key of 32 octets N; a connection is closed after 10 idle seconds unless
//! `--idle` says otherwise. `--client` leaves the node in client mode, where it serves no requests.
//!
//! Standard output is one JSON object per line: `{"event": ...}` when something happens,
//! `{"answer": COMMAND, ...}` when a command is done, with `"error"` when it failed. Standard input is one
//! command per line; keys and values are hexadecimal octets:
//! `dial ADDRESS`, `bootstrap`, `put KEY VALUE`, `get KEY`, `provide KEY`, `providers KEY`, `closest KEY`,
//! `peers` (the routing table), `records` (what it stores), `held KEY` (provider records it stores).
//! The end of the input ends the node.

mod node;
mod report;

use std::error::Error;
use std::time::Duration;

use libp2p::futures::StreamExt;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use node::{Node, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut node = Node::new(&options(std::env::args().skip(1))?)?;
    let mut commands = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            command = commands.next_line() => match command? {
                Some(line) => node.obey(&line),
                None => return Ok(()),
            },
            event = node.swarm.select_next_some() => node.handle(event),
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        seed: 0,
        listen: "/ip4/127.0.0.1/tcp/0".parse()?,
        bootstraps: Vec::new(),
        identify: true,
        client: false,
        idle: Duration::from_secs(10),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--seed" => options.seed = value()?.parse()?,
            "--listen" => options.listen = value()?.parse()?,
            "--bootstrap" => options.bootstraps.push(value()?.parse()?),
            "--no-identify" => options.identify = false,
            "--client" => options.client = true,
            "--idle" => options.idle = Duration::from_secs(value()?.parse()?),
            other => return Err(format!("not an option: {other}").into()),
        }
    }
    Ok(options)
}
