//! A machine that sends every datagram back to its sender and tells all that it was told, and a driver that
//! runs it in a namespace.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use phase_core::machine::{
    Input, LinkId, Machine, Network, Output, Port, Transmit, TransmitBuffer, Wake,
};
use phase_core::time::Instant;
use phase_provider::driver::{Driver, NetOptions};
use phase_provider::net;
use phase_tests::deadline::GENEROUS;
use phase_tests::netns::Namespace;
use tokio::sync::oneshot;

/// What the machine was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Up { id: LinkId, networks: Vec<Network> },
    Down(LinkId),
    Heard(Heard),
    Elapsed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) link: LinkId,
    pub(crate) port: Port,
    pub(crate) remote: SocketAddr,
    pub(crate) destination: IpAddr,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) told: VecDeque<Told>,
    pub(crate) answers: VecDeque<(Transmit, Vec<u8>)>,
    /// Sent to each link that comes up.
    pub(crate) greeting: Option<(Port, SocketAddr, SocketAddr)>,
    pub(crate) wake: Option<Instant>,
}

impl Echo {
    pub(crate) fn greet(&mut self, id: LinkId) {
        let Some((port, v4, v6)) = self.greeting else { return };
        let destination = if id.family == phase_core::machine::Family::V4 { v4 } else { v6 };
        let transmit = Transmit { link: id, port, destination, len: 5 };
        self.answers.push_back((transmit, b"hello".to_vec()));
    }
}

impl Machine for Echo {
    type Event = Told;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram(d) => {
                let len = d.payload.len().min(1472);
                let answer = Transmit { link: d.link, port: d.port, destination: d.remote, len };
                self.answers.push_back((answer, d.payload[..len].to_vec()));
                self.told.push_back(Told::Heard(Heard {
                    link: d.link,
                    port: d.port,
                    remote: d.remote,
                    destination: d.destination,
                    payload: d.payload.to_vec(),
                }));
            }
            Input::LinkUp(link) => {
                self.greet(link.id);
                self.told.push_back(Told::Up { id: link.id, networks: link.networks.to_vec() });
            }
            Input::LinkDown(id) => self.told.push_back(Told::Down(id)),
            Input::Connection(..) | Input::Timeout => {}
        }
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
            self.told.push_back(Told::Elapsed);
        }
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Told> {
        if let Some((transmit, octets)) = self.answers.pop_front() {
            buf[..octets.len()].copy_from_slice(&octets);
            return Output::Transmit(transmit);
        }
        match self.told.pop_front() {
            Some(told) => Output::Event(told),
            None => Output::Timeout(self.wake.map(|at| Wake { at, why: "test" })),
        }
    }
}

/// A driver with an [`Echo`] that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    told: mpsc::Receiver<Told>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) first_binder: bool,
    pub(crate) has_mdns_port: bool,
}

impl Running {
    pub(crate) fn in_namespace(
        namespace: &Namespace,
        options: NetOptions,
        echo: Echo,
    ) -> Result<Self, net::Error> {
        let (told_tx, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (opened_tx, opened) = mpsc::channel();
        let path = format!("/run/netns/{}", namespace.name());
        let thread = thread::spawn(move || {
            let file = std::fs::File::open(path).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(options, echo, opened_tx, told_tx, stopped));
        });
        let (first_binder, has_mdns_port) = opened.recv().unwrap()?;
        Ok(Self { told, stop: Some(stop), thread: Some(thread), first_binder, has_mdns_port })
    }

    /// The next thing the machine was told that `wanted` takes; what comes before is dropped.
    pub(crate) fn wait_for<T>(&self, what: &str, mut wanted: impl FnMut(&Told) -> Option<T>) -> T {
        let mut seen = Vec::new();
        loop {
            match self.told.recv_timeout(GENEROUS) {
                Ok(told) => match wanted(&told) {
                    Some(found) => return found,
                    None => seen.push(told),
                },
                Err(_) => panic!("{what} did not happen; instead: {seen:#?}"),
            }
        }
    }

    /// What the machine was told within a time in which nothing should happen.
    pub(crate) fn told_within(&self, time: Duration) -> Option<Told> {
        self.told.recv_timeout(time).ok()
    }
}

async fn run(
    options: NetOptions,
    mut echo: Echo,
    opened: mpsc::Sender<Result<(bool, bool), net::Error>>,
    told: mpsc::Sender<Told>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut driver = match Driver::open(options) {
        Ok(driver) => driver,
        Err(error) => return opened.send(Err(error)).unwrap(),
    };
    opened.send(Ok((driver.is_first_binder(), driver.has_mdns_port()))).unwrap();
    loop {
        tokio::select! {
            // The test may have ended already.
            event = driver.next_event(&mut echo) => drop(told.send(event)),
            _ = &mut stopped => return,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if let (Some(Err(panic)), false) = (ended, thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}
