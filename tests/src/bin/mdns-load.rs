//! A load generator for multicast DNS responders: closed loop or paced.
//!
//! `closed KIND SECONDS WINDOW TYPE NAME ADDRESS...` keeps WINDOW queries outstanding on one socket per
//! ADDRESS (all of this host) and counts answers; `paced KIND COUNT INTERVAL_MS TYPE NAME ADDRESS` sends one
//! query after another and times the answers; `instance NAME ADDRESS` prints the first label that a PTR of NAME
//! points to. KIND is `legacy` (RFC 6762 §6.7: from a port other than 5353) or
//! `qu` (§5.4: from port 5353 with the unicast-response bit). The result is one line of JSON.
//!
//! Queries go to 224.0.0.251 alone; an answer by multicast is counted apart from those by unicast. Not here:
//! IPv6, checking what the answers say beyond the header.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the result goes to the terminal")]

use std::env;
use std::error::Error;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, NameBuf, Question, RecordData, Type,
};
use phase_tests::deadline::now;

/// RFC 6762 §3: the IPv4 group and port.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// Datagrams moved by one system call.
const BATCH: usize = 32;

/// A query without an answer for this long is given up, and its place in the window used again.
const GIVE_UP: Duration = Duration::from_millis(100);

/// A paced query is waited for this long: RFC 6762 §6 lets a record be multicast again after one second.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Legacy,
    Qu,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mdns-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    match arguments {
        ["closed", kind, seconds, window, rtype, name, addresses @ ..] => {
            let kind = parse_kind(kind)?;
            let duration = Duration::from_secs(seconds.parse()?);
            let query = encode_query(kind, rtype, name)?;
            let addresses: Vec<Ipv4Addr> =
                addresses.iter().map(|a| a.parse()).collect::<Result<_, _>>()?;
            closed(kind, duration, window.parse()?, &query, &addresses)
        }
        ["paced", kind, count, interval, rtype, name, address] => {
            let kind = parse_kind(kind)?;
            let interval = Duration::from_millis(interval.parse()?);
            let query = encode_query(kind, rtype, name)?;
            paced(kind, count.parse()?, interval, &query, address.parse()?)
        }
        ["instance", name, address] => instance(name, address.parse()?),
        _ => Err("usage: closed KIND SECONDS WINDOW TYPE NAME ADDRESS... \
                  | paced KIND COUNT INTERVAL_MS TYPE NAME ADDRESS | instance NAME ADDRESS"
            .into()),
    }
}

fn parse_kind(text: &str) -> Result<Kind, Box<dyn Error>> {
    match text {
        "legacy" => Ok(Kind::Legacy),
        "qu" => Ok(Kind::Qu),
        _ => Err("KIND is `legacy` or `qu`".into()),
    }
}

/// One query message with identifier 0; `name` has dots between its labels.
fn encode_query(kind: Kind, rtype: &str, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let qtype = match rtype {
        "PTR" => Type::Ptr,
        "SRV" => Type::Srv,
        "TXT" => Type::Txt,
        "A" => Type::A,
        _ => return Err("TYPE is PTR, SRV, TXT or A".into()),
    };
    let name = NameBuf::from_labels(name.split('.').map(str::as_bytes))
        .map_err(|e| format!("NAME: {e:?}"))?;
    let question = Question {
        name: name.as_name(),
        qtype,
        qclass: Class::In,
        unicast_response: kind == Kind::Qu,
    };
    let mut buffer = [0; 512];
    let mut writer = MessageWriter::new(&mut buffer, 0, Flags(0), Compression::Multicast);
    writer.question(&question).map_err(|_| "NAME is too long")?;
    let length = writer.finish().map_err(|_| "NAME is too long")?;
    Ok(buffer.get(..length).unwrap_or_default().to_vec())
}

/// One source of queries.
struct Lane {
    socket: UdpSocket,
    outstanding: usize,
    last_answer: Instant,
    next_id: u16,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    answers: u64,
    octets: u64,
    lost: u64,
}

/// What one system call brought.
#[derive(Default)]
struct Received {
    datagrams: usize,
    answers: usize,
    octets: usize,
}

fn closed(
    kind: Kind,
    duration: Duration,
    window: usize,
    query: &[u8],
    addresses: &[Ipv4Addr],
) -> Result<String, Box<dyn Error>> {
    let mut lanes = Vec::new();
    for address in addresses {
        let socket = open(kind, *address)?;
        lanes.push(Lane { socket, outstanding: 0, last_answer: now(), next_id: 1 });
    }
    let group = listen(*addresses.first().ok_or("an ADDRESS is needed")?)?;
    let mut counts = Counts::default();
    let mut multicast = 0;
    let start = now();
    while start.elapsed() < duration {
        for lane in &mut lanes {
            lane.refill(query, window, &mut counts)?;
        }
        wait(&lanes, &group)?;
        for lane in &mut lanes {
            lane.collect(&mut counts)?;
        }
        multicast += drain(&group)?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let Counts { sent, answers, octets, lost } = counts;
    Ok(format!(
        "{{\"elapsed_s\":{elapsed:.3},\"sent\":{sent},\"answers\":{answers},\"octets\":{octets},\
         \"lost\":{lost},\"multicast\":{multicast}}}"
    ))
}

impl Lane {
    /// Sends queries until the window is full; gives up those whose answer does not come.
    fn refill(&mut self, query: &[u8], window: usize, counts: &mut Counts) -> io::Result<()> {
        if self.outstanding >= window && self.last_answer.elapsed() > GIVE_UP {
            counts.lost += self.outstanding as u64;
            self.outstanding = 0;
            self.last_answer = now();
        }
        while self.outstanding < window {
            let count = (window - self.outstanding).min(BATCH);
            let sent = self.send(query, count)?;
            self.outstanding += sent;
            counts.sent += sent as u64;
            if sent < count {
                break;
            }
        }
        Ok(())
    }

    fn send(&mut self, query: &[u8], count: usize) -> io::Result<usize> {
        let rest = query.get(2..).unwrap_or_default();
        let mut ids = [[0; 2]; BATCH];
        for id in ids.iter_mut().take(count) {
            *id = self.next_id.to_be_bytes();
            self.next_id = self.next_id.wrapping_add(1);
        }
        let messages: Vec<[IoSlice<'_>; 2]> =
            ids.iter().take(count).map(|id| [IoSlice::new(id), IoSlice::new(rest)]).collect();
        let destinations = [Some(SockaddrIn::from(GROUP)); BATCH];
        let mut headers = MultiHeaders::preallocate(count, None);
        let descriptor = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        match sendmmsg(descriptor, &mut headers, &messages, destinations, [], flags) {
            Ok(results) => Ok(results.count()),
            // The queue of the interface is full: the network has had enough for the moment.
            Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts what has arrived.
    fn collect(&mut self, counts: &mut Counts) -> io::Result<()> {
        loop {
            let received = receive(&self.socket)?;
            if received.answers > 0 {
                self.last_answer = now();
            }
            counts.answers += received.answers as u64;
            counts.octets += received.octets as u64;
            self.outstanding = self.outstanding.saturating_sub(received.answers);
            if received.datagrams < BATCH {
                return Ok(());
            }
        }
    }
}

/// Receives up to a batch without waiting.
fn receive(socket: &UdpSocket) -> io::Result<Received> {
    let mut octets = [[0; 64]; BATCH];
    let mut slices: Vec<[IoSliceMut<'_>; 1]> =
        octets.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let lengths: Vec<usize> =
        match recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None) {
            // With MSG_TRUNC the length is that of the datagram, not of what the buffer holds.
            Ok(results) => results.map(|message| message.bytes).collect(),
            // ECONNREFUSED: a query met a host without a responder.
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
    let mut received = Received { datagrams: lengths.len(), ..Received::default() };
    for (octets, length) in octets.iter().zip(lengths).filter(|(octets, _)| is_answer(*octets)) {
        debug_assert!(length >= 12, "{octets:?}");
        received.answers += 1;
        received.octets += length;
    }
    Ok(received)
}

/// RFC 1035 §4.1.1: a response (QR) with at least one answer.
fn is_answer(octets: &[u8]) -> bool {
    matches!(octets, [_, _, flags, _, _, _, high, low, ..] if flags & 0x80 != 0 && (high | low) != 0)
}

fn drain(socket: &UdpSocket) -> io::Result<usize> {
    let mut total = 0;
    loop {
        let received = receive(socket)?;
        total += received.answers;
        if received.datagrams < BATCH {
            return Ok(total);
        }
    }
}

fn wait(lanes: &[Lane], group: &UdpSocket) -> io::Result<()> {
    let sockets = lanes.iter().map(|lane| &lane.socket).chain([group]);
    let mut ready: Vec<PollFd<'_>> =
        sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut ready, PollTimeout::from(10_u8))?;
    Ok(())
}

fn paced(
    kind: Kind,
    count: usize,
    interval: Duration,
    query: &[u8],
    address: Ipv4Addr,
) -> Result<String, Box<dyn Error>> {
    let lane = open(kind, address)?;
    let group = listen(address)?;
    let (mut times, mut multicast) = (Vec::new(), 0);
    let start = now();
    for number in 0..count {
        let due = interval * u32::try_from(number)?;
        thread::sleep(due.saturating_sub(start.elapsed()));
        // What came late answers nothing any more.
        drain(&lane)?;
        drain(&group)?;
        let mut message = query.to_vec();
        let id = u16::try_from(number % 0xffff)? + 1;
        if let Some(field) = message.first_chunk_mut() {
            *field = id.to_be_bytes();
        }
        let sent = now();
        lane.send_to(&message, GROUP)?;
        if let Some(by_multicast) = await_answer(&lane, &group)? {
            times.push(sent.elapsed());
            multicast += usize::from(by_multicast);
        }
    }
    times.sort();
    let micros = |q: f64| percentile(&times, q).as_secs_f64() * 1e6;
    let (p50, p95, p99) = (micros(0.50), micros(0.95), micros(0.99));
    let unanswered = count - times.len();
    Ok(format!(
        "{{\"count\":{count},\"unanswered\":{unanswered},\"multicast\":{multicast},\
         \"p50_us\":{p50:.1},\"p95_us\":{p95:.1},\"p99_us\":{p99:.1}}}"
    ))
}

/// Waits for one answer; `Some(true)` when it came by multicast.
fn await_answer(lane: &UdpSocket, group: &UdpSocket) -> io::Result<Option<bool>> {
    let sent = now();
    while sent.elapsed() < PATIENCE {
        let sockets = [lane.as_fd(), group.as_fd()];
        let mut ready = sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN));
        poll(&mut ready, PollTimeout::from(100_u8))?;
        if receive(lane)?.answers > 0 {
            return Ok(Some(false));
        }
        if receive(group)?.answers > 0 {
            return Ok(Some(true));
        }
    }
    Ok(None)
}

/// Asks by legacy unicast until a PTR comes.
fn instance(name: &str, address: Ipv4Addr) -> Result<String, Box<dyn Error>> {
    let query = encode_query(Kind::Legacy, "PTR", name)?;
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 1500];
    for _ in 0..10 {
        socket.send_to(&query, GROUP)?;
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
        let octets = buffer.get(..length).unwrap_or_default();
        let message = Message::decode(octets).map_err(|e| format!("the answer: {e:?}"))?;
        let target = message.answers().flatten().find_map(|record| {
            if let RecordData::Ptr(target) = record.data { Some(target) } else { None }
        });
        if let Some((label, _)) = target.and_then(|target| target.split_first()) {
            return Ok(String::from_utf8_lossy(label).into_owned());
        }
    }
    Err("no PTR came within ten tries".into())
}

fn percentile(sorted: &[Duration], quantile: f64) -> Duration {
    let last = sorted.len().saturating_sub(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index between 0 and the length"
    )]
    let index = (last * quantile).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// Opens a socket bound to `address`, which also chooses the interface for multicast.
fn open(kind: Kind, address: Ipv4Addr) -> io::Result<UdpSocket> {
    let port = if kind == Kind::Qu { GROUP.port() } else { 0 };
    let socket = UdpSocket::bind((address, port)).map_err(|e| named(&e, address))?;
    // The listener of this host need not hear the queries.
    socket.set_multicast_loop_v4(false)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Opens a socket that hears the group alone.
fn listen(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from(GROUP))?;
    socket.join_multicast_v4(GROUP.ip(), &address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn named(error: &io::Error, address: Ipv4Addr) -> io::Error {
    io::Error::new(error.kind(), format!("cannot bind {address}: {error}"))
}
