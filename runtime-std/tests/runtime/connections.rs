//! TCP connections of the driver, with a machine that sends back what it receives.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Input, Machine, Output,
    TransmitBuffer,
};
use phase_core::time::Instant;
use phase_provider::driver::{Driver, NetOptions};
use phase_provider::net::connections::{ConnectionLimits, Manner};
use phase_tests::deadline::GENEROUS;
use phase_tests::netns::Namespace;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the machine was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Connected(ConnectionId),
    Accepted(ConnectionId, SocketAddr),
    Received(ConnectionId, usize),
    Closed(ConnectionId, CloseReason),
}

/// One connection as the machine sees it.
#[derive(Debug, Default)]
struct Open {
    room: usize,
    unsent: VecDeque<u8>,
    received: Vec<u8>,
}

/// Sends back what it receives, and what it is given; never more than there is room for.
#[derive(Debug, Default)]
struct Echo {
    told: VecDeque<Told>,
    commands: VecDeque<(ConnectionId, ConnectionOutput)>,
    open: BTreeMap<ConnectionId, Open>,
    /// Keeps what it receives instead.
    mute: bool,
}

impl Echo {
    fn dial(&mut self, number: u32, remote: SocketAddr) -> ConnectionId {
        let id = ConnectionId::Dialed(number);
        self.commands.push_back((id, ConnectionOutput::Connect { remote }));
        id
    }

    fn send(&mut self, id: ConnectionId, octets: &[u8]) {
        self.open.get_mut(&id).unwrap().unsent.extend(octets);
    }

    /// Closes once everything was handed to the driver.
    fn close(&mut self, id: ConnectionId) {
        self.commands.push_back((id, ConnectionOutput::Close));
    }
}

impl Machine for Echo {
    type Event = Told;

    fn handle_input(&mut self, _now: Instant, input: Input<'_>) {
        let Input::Connection(id, what) = input else { return };
        match what {
            ConnectionInput::Connected => {
                assert!(self.open.insert(id, Open::default()).is_none(), "{id:?} again");
                self.told.push_back(Told::Connected(id));
            }
            ConnectionInput::Accepted { remote } => {
                assert!(self.open.insert(id, Open::default()).is_none(), "{id:?} again");
                self.told.push_back(Told::Accepted(id, remote));
            }
            ConnectionInput::Received(octets) => {
                let open = self.open.get_mut(&id).expect("introduced before");
                assert!(open.room > 0 || !open.unsent.is_empty(), "writable before");
                open.received.extend(octets);
                if !self.mute {
                    open.unsent.extend(octets);
                }
                self.told.push_back(Told::Received(id, octets.len()));
            }
            ConnectionInput::Writable { room } => {
                let open = self.open.get_mut(&id).expect("introduced before");
                assert!(room > open.room, "room only grows by being told of");
                open.room = room;
            }
            ConnectionInput::Closed(reason) => {
                self.open.remove(&id);
                self.told.push_back(Told::Closed(id, reason));
            }
        }
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Told> {
        for (id, open) in &mut self.open {
            let len = open.unsent.len().min(open.room).min(buf.len());
            if len > 0 {
                for (to, octet) in buf.iter_mut().zip(open.unsent.drain(..len)) {
                    *to = octet;
                }
                open.room -= len;
                return Output::Connection(*id, ConnectionOutput::Send { len });
            }
        }
        let unsent = |id: &ConnectionId| self.open.get(id).is_some_and(|o| !o.unsent.is_empty());
        if let Some((id, command)) = self.commands.pop_front() {
            if command == ConnectionOutput::Close {
                if unsent(&id) {
                    self.commands.push_back((id, command));
                    return Output::Timeout(None);
                }
                self.open.remove(&id);
            }
            return Output::Connection(id, command);
        }
        self.told.pop_front().map_or(Output::Timeout(None), Output::Event)
    }
}

fn options(listen: &[&str]) -> NetOptions {
    NetOptions {
        without_mdns: true,
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        ..NetOptions::default()
    }
}

fn listening(address: &str) -> (Driver, SocketAddr) {
    let driver = Driver::open(options(&[address])).unwrap();
    let address = driver.listening().next().unwrap();
    (driver, address)
}

/// Runs the machine until it is told what `wanted` takes.
async fn wait_for<T>(
    driver: &mut Driver,
    machine: &mut Echo,
    what: &str,
    mut wanted: impl FnMut(&Told) -> Option<T>,
) -> T {
    let mut seen = Vec::new();
    let search = async {
        loop {
            let told = driver.next_event(machine).await;
            match wanted(&told) {
                Some(found) => return found,
                None => seen.push(told),
            }
        }
    };
    let found = tokio::time::timeout(GENEROUS, search).await;
    found.unwrap_or_else(|_| panic!("{what} did not happen; instead: {seen:?}"))
}

/// Runs the machine for as long as the other side takes.
async fn serve<T>(driver: &mut Driver, machine: &mut Echo, other: impl Future<Output = T>) -> T {
    let machine = async {
        loop {
            driver.next_event(machine).await;
        }
    };
    let both = async {
        tokio::select! {
            value = other => value,
            () = machine => unreachable!("it never ends"),
        }
    };
    tokio::time::timeout(GENEROUS, both).await.expect("in time")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn closed(told: &Told) -> Option<CloseReason> {
    match told {
        Told::Closed(_, reason) => Some(*reason),
        Told::Connected(_) | Told::Accepted(..) | Told::Received(..) => None,
    }
}

fn opened(told: &Told) -> Option<ConnectionId> {
    match told {
        Told::Connected(id) | Told::Accepted(id, _) => Some(*id),
        Told::Received(..) | Told::Closed(..) => None,
    }
}

#[tokio::test]
async fn octets_written_one_by_one_come_back_over_both_families() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (mut driver, address) = listening(address);
        let mut echo = Echo::default();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for sent in 0..=255 {
                stream.write_u8(sent).await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), sent);
            }
            stream.local_addr().unwrap()
        };
        let remote = serve(&mut driver, &mut echo, client).await;
        let reason = wait_for(&mut driver, &mut echo, "the end", closed).await;
        assert_eq!(reason, CloseReason::Ended);
        assert!(remote.ip().is_loopback() && driver.connection_counters().accepted == 1);
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order_and_costs_one_queue() {
    let (mut driver, address) = listening("127.0.0.1:0");
    let mut machine = Echo { mute: true, ..Echo::default() };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let id = wait_for(&mut driver, &mut machine, "the connection", opened).await;
    let all = pattern(20 << 20);
    machine.send(id, &all);
    let reader = async {
        let mut received = Vec::new();
        let mut buffer = vec![0; 100_000];
        while received.len() < all.len() {
            let count = stream.read(&mut buffer).await.unwrap();
            received.extend_from_slice(&buffer[..count]);
            tokio::task::yield_now().await;
        }
        received
    };
    let received = serve(&mut driver, &mut machine, reader).await;
    assert!(received == all, "every octet, in order");
}

#[tokio::test]
async fn two_drivers_send_a_megabyte_to_and_fro() {
    let (mut server, address) = listening("[::1]:0");
    let mut echo = Echo::default();
    let mut client = Driver::open(options(&[])).unwrap();
    let mut machine = Echo { mute: true, ..Echo::default() };
    let id = machine.dial(7, address);
    let all = pattern(1 << 20);
    let talk = async {
        let opened = wait_for(&mut client, &mut machine, "the connection", opened).await;
        assert_eq!(opened, id);
        machine.send(id, &all);
        while machine.open[&id].received.len() < all.len() {
            client.next_event(&mut machine).await;
        }
        assert!(machine.open[&id].received == all, "every octet, in order");
        machine.close(id);
        let ended =
            tokio::time::timeout(Duration::from_millis(100), client.next_event(&mut machine));
        assert!(ended.await.is_err(), "nothing is told of what was closed");
    };
    serve(&mut server, &mut echo, talk).await;
}

#[tokio::test]
async fn what_was_given_is_sent_before_a_connection_closes() {
    let (mut driver, address) = listening("127.0.0.1:0");
    let mut machine = Echo { mute: true, ..Echo::default() };
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Octets that the machine never sees must not turn the end into a reset.
    stream.write_all(&pattern(1000)).await.unwrap();
    let id = wait_for(&mut driver, &mut machine, "the connection", opened).await;
    machine.send(id, &pattern(60_000));
    machine.close(id);
    let reader = async {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received
    };
    let received = serve(&mut driver, &mut machine, reader).await;
    assert!(received == pattern(60_000));
}

#[tokio::test]
async fn a_brief_connection_is_broken_off_by_its_dialer_once_all_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (manner, expected) in [
        (Manner::Brief, io::ErrorKind::ConnectionReset),
        (Manner::Orderly, io::ErrorKind::UnexpectedEof),
    ] {
        let mut driver = Driver::open(NetOptions { manner, ..options(&[]) }).unwrap();
        let mut machine = Echo { mute: true, ..Echo::default() };
        let id = machine.dial(0, listener.local_addr().unwrap());
        wait_for(&mut driver, &mut machine, "the connection", opened).await;
        machine.send(id, &pattern(5000));
        let listening = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = vec![0; 5000];
            stream.read_exact(&mut received).await.unwrap();
            assert!(received == pattern(5000));
            stream
        };
        let mut stream = serve(&mut driver, &mut machine, listening).await;
        machine.close(id);
        let end = async { stream.read_u8().await.unwrap_err().kind() };
        assert_eq!(serve(&mut driver, &mut machine, end).await, expected, "{manner:?}");
    }
}

#[tokio::test]
async fn a_closed_connection_whose_other_side_takes_nothing_is_given_up() {
    let (mut driver, address) = listening("127.0.0.1:0");
    let mut machine = Echo { mute: true, ..Echo::default() };
    let stream = TcpStream::connect(address).await.unwrap();
    let id = wait_for(&mut driver, &mut machine, "the connection", opened).await;
    machine.close(id);
    let began = driver.now();
    let gone = async {
        while driver.connections() > 0 {
            let turn = driver.next_event(&mut machine);
            drop(tokio::time::timeout(Duration::from_millis(50), turn).await);
        }
    };
    tokio::time::timeout(GENEROUS, gone).await.unwrap();
    assert!(driver.now().since(began) >= Duration::from_secs(2), "it has its time");
    drop(stream);
}

#[tokio::test]
async fn the_reason_of_an_end_is_told() {
    let (mut driver, address) = listening("127.0.0.1:0");
    let mut machine = Echo::default();
    let stream = TcpStream::connect(address).await.unwrap();
    wait_for(&mut driver, &mut machine, "the connection", opened).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    let reason = wait_for(&mut driver, &mut machine, "the reset", closed).await;
    assert_eq!(reason, CloseReason::Reset);

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    machine.dial(0, nobody);
    let reason = wait_for(&mut driver, &mut machine, "the refusal", closed).await;
    assert_eq!(reason, CloseReason::Refused);

    // Without a scope it leads nowhere.
    machine.dial(1, "[fe80::1]:4001".parse().unwrap());
    let reason = wait_for(&mut driver, &mut machine, "the error", closed).await;
    assert_eq!(reason, CloseReason::Unreachable);
}

#[test]
fn a_host_without_a_network_reaches_nobody_and_says_so() {
    let namespace = Namespace::new("alone").unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = namespace.inside(|| {
        let run = async {
            let mut driver = Driver::open(options(&[])).unwrap();
            let mut machine = Echo::default();
            for (number, remote) in [(0, "192.0.2.1:4001"), (1, "[2001:db8::1]:4001")] {
                machine.dial(number, remote.parse().unwrap());
                let reason = wait_for(&mut driver, &mut machine, "the error", closed).await;
                assert_eq!(reason, CloseReason::Unreachable);
            }
            Ok(())
        };
        runtime().block_on(run)
    });
    told.unwrap();
}

#[tokio::test]
async fn connections_past_the_limits_are_refused_and_others_go_on() {
    let limits = ConnectionLimits { total: 40, accepted: 30, accepted_per_address: 20 };
    let mut options = options(&["127.0.0.1:0"]);
    options.connections = limits;
    let mut driver = Driver::open(options).unwrap();
    let address = driver.listening().next().unwrap();
    let mut echo = Echo::default();
    let clients = async {
        let mut open = Vec::new();
        for source in ["127.0.0.1", "127.0.0.2"] {
            for _ in 0..25 {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
                open.push(socket.connect(address).await.unwrap());
            }
        }
        let mut served = Vec::new();
        for stream in &mut open {
            let mut octet = [0];
            let sent = stream.write_all(b"x").await;
            served.push(sent.is_ok() && matches!(stream.read(&mut octet).await, Ok(1)));
        }
        let per_source: Vec<_> =
            served.chunks(25).map(|all| all.iter().filter(|ok| **ok).count()).collect();
        assert_eq!(per_source, [20, 10]);
        // One that goes makes room.
        drop(open.remove(0));
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut octet = [0];
            let sent = stream.write_all(b"x").await;
            if sent.is_ok() && matches!(stream.read(&mut octet).await, Ok(1)) {
                return;
            }
        }
    };
    serve(&mut driver, &mut echo, clients).await;
    let counters = driver.connection_counters();
    assert_eq!(counters.accepted, 31);
    assert!(counters.refused_per_address >= 5 && counters.refused_total >= 15, "{counters:?}");
}

#[tokio::test]
async fn many_connections_are_served_at_once() {
    let (mut driver, address) = listening("127.0.0.1:0");
    let mut echo = Echo::default();
    let clients = async {
        let mut open = Vec::new();
        for _ in 0..40 {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        for round in 0..50_u8 {
            for stream in &mut open {
                stream.write_all(&[round; 700]).await.unwrap();
            }
            for stream in &mut open {
                let mut answer = [0; 700];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, [round; 700]);
            }
        }
    };
    serve(&mut driver, &mut echo, clients).await;
    assert_eq!(driver.connection_counters().octets_received, 40 * 50 * 700);
    assert_eq!(driver.connection_counters().octets_sent, 40 * 50 * 700);
}

#[tokio::test]
async fn nothing_is_lost_when_waiting_is_broken_off() {
    let (mut driver, address) = listening("127.0.0.1:0");
    let mut echo = Echo::default();
    let impatient = async {
        loop {
            tokio::select! {
                biased;
                _ = driver.next_event(&mut echo) => {}
                () = tokio::task::yield_now() => {}
            }
        }
    };
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let all = pattern(300_000);
        let (mut reader, mut writer) = stream.split();
        let mut back = vec![0; all.len()];
        let (sent, received) = tokio::join!(writer.write_all(&all), reader.read_exact(&mut back));
        sent.unwrap();
        received.unwrap();
        assert!(back == all);
    };
    let both = async {
        tokio::select! {
            () = client => {}
            () = impatient => {}
        }
    };
    tokio::time::timeout(GENEROUS, both).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Driver::open(options(&[&address.to_string()])).unwrap_err();
    let expected = format!("cannot listen on TCP {address}: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
    let phase_provider::net::Error::Listen { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn ipv4_and_ipv6_listen_on_the_same_port_side_by_side() {
    let (first, address) = listening("0.0.0.0:0");
    let second = Driver::open(options(&[&format!("[::]:{}", address.port())])).unwrap();
    assert_eq!(first.listening().chain(second.listening()).count(), 2);
}
