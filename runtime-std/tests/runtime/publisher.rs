//! Providers for the client to find: the real one, and one that answers with any text a test makes up.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::thread::{self, JoinHandle};

use phase_core::identity::{PeerId, SecretKey};
use phase_core::machine::{Datagram, Input, Machine, Output, Port, Transmit, TransmitBuffer};
use phase_core::mdns::service::HostLabel;
use phase_core::provider::{Config, Event, Image, Origin, Provider};
use phase_core::rng::Seed;
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::digest::Digest;
use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, NameBuf, Question, Record, RecordData, Srv,
    Txt, Type,
};
use phase_core::wire::record::{Advert, Arch, Channel, ProviderName, SignedAdvert, Version};
use phase_core::wire::url::Url;
use phase_provider::clock::unix_time;
use phase_provider::driver::{Driver, NetOptions};
use phase_tests::netns::Namespace;
use tokio::sync::{mpsc, oneshot};

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

pub(crate) fn peer(number: u8) -> PeerId {
    key(number).peer_id()
}

pub(crate) fn stable() -> Channel {
    Channel::new("stable").unwrap()
}

pub(crate) fn arm64() -> Arch {
    Arch::new("arm64").unwrap()
}

/// A correct advert of `stable` for `arm64`, signed now.
pub(crate) fn signed(number: u8, url: &str) -> SignedAdvert {
    let advert = Advert {
        url: Url::parse(url).unwrap(),
        peer: peer(number),
        name: Some(ProviderName::new(&format!("lab-{number}")).unwrap()),
        issued: unix_time(),
        version: Version::new("2025.11.26").unwrap(),
        seq: 7,
        ttl: 3600,
        digest: None,
    };
    advert.sign(&key(number), &stable(), &arm64()).unwrap()
}

/// The data of the TXT record of a correct advert.
pub(crate) fn text_of(advert: &SignedAdvert) -> Vec<u8> {
    let mut octets = [0; 640];
    advert.encode_txt(&stable(), &arm64(), &mut octets).unwrap().to_vec()
}

/// The data of a TXT record with these strings.
pub(crate) fn text(strings: &[&str]) -> Vec<u8> {
    let octets = strings.iter().flat_map(|string| {
        std::iter::once(u8::try_from(string.len()).unwrap()).chain(string.bytes())
    });
    octets.collect()
}

/// Answers every one-shot question for an instance with its texts, one instance each.
#[derive(Debug)]
pub(crate) struct Scripted {
    instances: Vec<(String, Vec<u8>)>,
    host: Ipv4Addr,
    answers: VecDeque<(Transmit, Vec<u8>)>,
}

impl Scripted {
    pub(crate) fn new(host: Ipv4Addr, instances: &[(&str, Vec<u8>)]) -> Self {
        let instances = instances.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
        Self { instances: instances.collect(), host, answers: VecDeque::new() }
    }

    fn answer(&mut self, datagram: &Datagram<'_>) {
        let Ok(message) = Message::decode(datagram.payload) else { return };
        let Some(Ok(question)) = message.questions().next() else { return };
        let one_shot = datagram.port == Port::Mdns && datagram.remote.port() != 5353;
        if message.flags().is_response() || question.qtype != Type::Ptr || !one_shot {
            return;
        }
        for (label, text) in &self.instances {
            let octets = encode(message.id(), &question, label, text, self.host);
            let (link, port, len) = (datagram.link, datagram.port, octets.len());
            let transmit = Transmit { link, port, destination: datagram.remote, len };
            self.answers.push_back((transmit, octets));
        }
    }
}

fn encode(id: u16, question: &Question<'_>, label: &str, text: &[u8], host: Ipv4Addr) -> Vec<u8> {
    let labels = |labels: &[&[u8]]| NameBuf::from_labels(labels.iter().copied()).unwrap();
    let instance = labels(&[label.as_bytes(), b"_phase-image", b"_tcp", b"local"]);
    let target = labels(&[b"scripted", b"local"]);
    let record = |name, data| Record { name, class: Class::In, cache_flush: false, ttl: 10, data };
    let mut octets = [0; 1472];
    let mut writer =
        MessageWriter::new(&mut octets, id, Flags::RESPONSE, Compression::LegacyUnicast);
    writer.question(question).unwrap();
    writer.answer(&record(question.name, RecordData::Ptr(instance.as_name()))).unwrap();
    let srv = Srv { priority: 0, weight: 0, port: 8080, target: target.as_name() };
    writer.additional(&record(instance.as_name(), RecordData::Srv(srv))).unwrap();
    let txt = RecordData::Txt(Txt::from_octets(text).unwrap());
    writer.additional(&record(instance.as_name(), txt)).unwrap();
    writer.additional(&record(target.as_name(), RecordData::A(host))).unwrap();
    let len = writer.finish().unwrap();
    octets[..len].to_vec()
}

impl Machine for Scripted {
    /// Tells nothing.
    type Event = std::convert::Infallible;

    fn handle_input(&mut self, _now: Instant, input: Input<'_>) {
        if let Input::Datagram(datagram) = input {
            self.answer(&datagram);
        }
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Self::Event> {
        match self.answers.pop_front() {
            Some((transmit, octets)) => {
                buf[..octets.len()].copy_from_slice(&octets);
                Output::Transmit(transmit)
            }
            None => Output::Timeout(None),
        }
    }
}

/// Something that runs in a namespace until it is dropped.
#[derive(Debug)]
pub(crate) struct Publisher {
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Publish(&'static str, oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

impl Publisher {
    /// Answers with made-up texts; asked from the first moment on.
    pub(crate) fn scripted_on(
        namespace: &Namespace,
        interfaces: &[&str],
        mut script: Scripted,
    ) -> Self {
        Self::start(namespace, interfaces, async move |mut driver: Driver, mut commands| {
            tokio::select! {
                never = driver.next_event(&mut script) => match never {},
                command = commands.recv() => assert!(command.is_none(), "a script takes no command"),
            }
        })
    }

    /// The provider of the core with key `number`, holding `stable` for `arm64` as soon as it is told to.
    pub(crate) fn real(namespace: &Namespace, number: u8) -> Self {
        Self::start(namespace, &[], async move |mut driver: Driver, mut commands| {
            let config = Config {
                seed: Seed([number; 32]),
                key: key(number),
                name: Some(ProviderName::new("real").unwrap()),
                host: HostLabel::from_hostname("real"),
                origin: Origin::Auto { port: 8080 },
                ttl: 3600,
            };
            let mut provider = Box::new(Provider::<4>::new(driver.now(), config));
            let mut seq = 1;
            let mut waiting: Option<oneshot::Sender<()>> = None;
            let mut stopping: Option<oneshot::Sender<()>> = None;
            loop {
                tokio::select! {
                    event = driver.next_event(&mut *provider) => match event {
                        Event::SignatureDue { .. } => {
                            seq = provider.sign(driver.now(), unix_time(), seq);
                        }
                        Event::Announced { .. } => drop(waiting.take().map(|tx| tx.send(()))),
                        Event::Stopped => drop(stopping.take().map(|tx| tx.send(()))),
                        Event::Conflict(_)
                        | Event::Renamed(_)
                        | Event::NoName(_)
                        | Event::Dht(_) => {}
                    },
                    command = commands.recv() => match command {
                        Some(Command::Publish(version, done)) => {
                            provider.publish(driver.now(), image(version)).unwrap();
                            waiting = Some(done);
                        }
                        Some(Command::Stop(done)) => {
                            provider.stop(driver.now());
                            stopping = Some(done);
                        }
                        None => return,
                    },
                }
            }
        })
    }

    fn start<F>(namespace: &Namespace, interfaces: &[&str], run: F) -> Self
    where
        F: AsyncFnOnce(Driver, mpsc::UnboundedReceiver<Command>) + Send + 'static,
    {
        let (commands_tx, commands) = mpsc::unbounded_channel();
        let (opened_tx, opened) = std::sync::mpsc::channel();
        let path = format!("/run/netns/{}", namespace.name());
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let thread = thread::spawn(move || {
            let file = std::fs::File::open(path).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let driver =
                    Driver::open(NetOptions { interfaces, ..NetOptions::default() }).unwrap();
                opened_tx.send(()).unwrap();
                run(driver, commands).await;
            });
        });
        opened.recv().unwrap();
        Self { commands: Some(commands_tx), thread: Some(thread) }
    }

    /// Publishes a version and waits until it is announced.
    pub(crate) fn publish(&self, version: &'static str) {
        self.command(|done| Command::Publish(version, done));
    }

    /// Says goodbye.
    pub(crate) fn stop(&self) {
        self.command(Command::Stop);
    }

    fn command(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done_tx, done) = oneshot::channel();
        self.commands.as_ref().unwrap().send(command(done_tx)).unwrap();
        done.blocking_recv().unwrap();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(self.commands.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if let (Some(Err(panic)), false) = (ended, thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}

fn image(version: &str) -> Image {
    Image {
        channel: stable(),
        arch: arm64(),
        version: Version::new(version).unwrap(),
        digest: Digest::of(version.as_bytes()),
    }
}

/// A time long past for expired adverts.
pub(crate) const LONG_AGO: UnixTime = UnixTime(1_764_158_400);
