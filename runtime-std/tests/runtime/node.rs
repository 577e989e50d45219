//! A node of the DHT that has whatever values a test gives it, right or wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use phase_core::connection::{Answer, Identity, Tag};
use phase_core::dht::swarm::{Failure, Owner, Remote, Settings, Slot, Swarm};
use phase_core::identity::PeerId;
use phase_core::limits::{RX_FULL, TX_SERVER};
use phase_core::machine::{Input, Machine, Output, TransmitBuffer};
use phase_core::rng::Seed;
use phase_core::time::Instant;
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::Writer;
use phase_core::wire::identify::Identified;
use phase_core::wire::kad::{Part, Record, Request, Response};
use phase_core::wire::record::{AdvertKey, SignedAdvert};
use phase_provider::driver::{Driver, NetOptions};
use phase_tests::netns::Namespace;
use tokio::sync::oneshot;

use crate::publisher::{arm64, key, stable};

type ServerSlot = Slot<RX_FULL, TX_SERVER, 4>;

/// What a node answers with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// Values by key.
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Providers of everything.
    providers: Vec<Contact>,
}

impl Knowledge {
    /// Has this value under the base key of `stable` and `arm64`.
    pub(crate) fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        let key = AdvertKey::base(stable(), arm64());
        self.values.insert(key.octets().to_vec(), value.into());
        self
    }

    /// Knows this provider.
    pub(crate) fn provider(mut self, peer: PeerId, address: SocketAddr) -> Self {
        self.providers.push(Contact::at(peer, address));
        self
    }
}

/// The value of a signed advert.
pub(crate) fn value_of(advert: &SignedAdvert) -> Vec<u8> {
    let mut octets = [0; 1024];
    advert.encode_json(&mut octets).unwrap().to_vec()
}

struct Scripted {
    swarm: Swarm<Vec<ServerSlot>, RX_FULL, TX_SERVER, 4>,
    mind: Mind,
}

struct Mind(Knowledge);

impl Owner for Mind {
    fn request(&mut self, _: Tag) -> Option<Request<'_>> {
        None
    }
    fn reached(&mut self, _: Tag, _: &Remote) {}
    fn part(&mut self, _: Instant, _: Tag, _: &Remote, _: Part<'_>) {}
    fn failed(&mut self, _: Instant, _: Tag, _: &Failure) {}

    fn answer(
        &mut self,
        _: Instant,
        _: &Remote,
        request: Request<'_>,
        out: &mut Writer<'_>,
    ) -> Answer {
        let response = match request {
            Request::GetValue { key } => {
                let value = self.0.values.get(key);
                let record = value.map(|value| Record { key, value, publisher: None, ttl: 0 });
                Response::GetValue { record, closer: &[] }
            }
            Request::GetProviders { .. } => {
                Response::GetProviders { providers: &self.0.providers, closer: &[] }
            }
            Request::FindNode { .. } => Response::FindNode { closer: &[] },
            Request::PutValue { .. } | Request::AddProvider { .. } => return Answer::Reset,
        };
        response.encode(out);
        Answer::Reply
    }

    fn identified(&mut self, _: Instant, _: &Remote, _: &Identified) {}
    fn identify(&mut self, _: &Remote, _: &mut Writer<'_>) {}
    fn left(&mut self, _: Instant, _: &Remote) {}
}

impl Scripted {
    fn pump(&mut self, now: Instant) {
        while self.swarm.pump(now, &mut self.mind) {}
    }
}

impl Machine for Scripted {
    type Event = ();

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Connection(id, what) => {
                self.swarm.handle_connection(now, id, what, &mut self.mind);
            }
            Input::Timeout => self.swarm.handle_timeout(now, &mut self.mind),
            Input::Datagram(_) | Input::LinkUp(_) | Input::LinkDown(_) => {}
        }
        self.pump(now);
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<()> {
        match self.swarm.poll_output(buf, &mut self.mind) {
            Some((id, what)) => Output::Connection(id, what),
            None => Output::Timeout(self.swarm.next_wake()),
        }
    }
}

/// A node that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) peer: PeerId,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Runs a node with key `number` at `address` of a namespace.
    pub(crate) fn start(
        namespace: &Namespace,
        address: &str,
        number: u8,
        knowledge: Knowledge,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (opened_tx, opened) = std::sync::mpsc::channel();
        let path = format!("/run/netns/{}", namespace.name());
        let listen = vec![address.parse().unwrap()];
        let thread = thread::spawn(move || {
            let file = std::fs::File::open(path).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let options = NetOptions { without_mdns: true, listen, ..NetOptions::default() };
                let mut driver = Driver::open(options).unwrap();
                let settings = Settings { inbound: 4, idle: Duration::from_secs(60), prefer: None };
                let seed = Seed([number; 32]);
                let slots = (0..4).map(|_| ServerSlot::new()).collect();
                let identity = Identity::new(&key(number), &seed);
                let swarm = Swarm::new(driver.now(), slots, identity, seed, settings);
                let mut machine = Box::new(Scripted { swarm, mind: Mind(knowledge) });
                opened_tx.send(driver.listening().next().unwrap()).unwrap();
                tokio::select! {
                    () = driver.next_event(&mut *machine) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = opened.recv().unwrap();
        Self { address, peer: key(number).peer_id(), stop: Some(stop), thread: Some(thread) }
    }

    /// Where it is, with its id.
    pub(crate) fn multiaddr(&self) -> String {
        format!("{}/p2p/{}", multiaddr(self.address), self.peer)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if let (Some(Err(panic)), false) = (ended, thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A socket as people write it for a bootstrap.
pub(crate) fn multiaddr(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{}/tcp/{}", address.ip(), address.port())
}
