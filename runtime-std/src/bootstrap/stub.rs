//! Asks the name servers of this host for TXT records, which the system's own functions do not give.
//!
//! Spec: RFC 1035 §4.2 (UDP, and TCP for what is cut off), RFC 6891 (larger datagrams), RFC 5452 §9 (an answer must
//! have our id and question and come from whom was asked, over a port of its own).
//! Not here: search domains, caching, DNSSEC. What is found says where to look, not whom to believe.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, Name, NameBuf, Question, Record, RecordData,
    Type,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// RFC 1035 §4.2.
const PORT: u16 = 53;
/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often all servers are asked.
const ROUNDS: usize = 2;
/// Servers that are asked, as the system does (resolv.conf(5)).
const SERVERS_MAX: usize = 3;
/// Octets of a datagram: DNS Flag Day 2020.
const DATAGRAM_MAX: u16 = 1232;
/// Strings looked at.
const STRINGS_MAX: usize = 64;
/// RFC 1035 §4.1.1: recursion desired.
const RECURSION_DESIRED: Flags = Flags(0x0100);
/// RFC 1035 §4.1.1: there is no such name.
const NXDOMAIN: u16 = 3;

/// Why there are no records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked for.
    #[error("not a name that can be asked for")]
    Name,
    /// Says the name server.
    #[error("no such name")]
    NoSuchName,
    /// No server gave an answer.
    #[error("name server {server}: {source}")]
    Server {
        /// The last that was asked.
        server: SocketAddr,
        /// What happened.
        source: io::Error,
    },
}

/// The name servers to ask.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Those that the system uses; the local host where it names none (resolv.conf(5)).
    pub(super) fn of_system() -> Self {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Self { servers: name_servers(&text) }
    }

    /// The strings of the TXT records of `name`, each record's joined (RFC 7208 §3.3).
    ///
    /// # Errors
    /// [`Error`]; none at all is not one.
    pub(super) async fn txt(&self, name: &str) -> Result<Vec<String>, Error> {
        let name = NameBuf::from_text(name).map_err(|_| Error::Name)?;
        let mut last = Error::Name;
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            match ask(*server, &name).await {
                Ok(Some(strings)) => return Ok(strings),
                Ok(None) => return Err(Error::NoSuchName),
                Err(source) => last = Error::Server { server: *server, source },
            }
        }
        Err(last)
    }
}

fn name_servers(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let is_server = words.next() == Some("nameserver");
            server(words.next().filter(|_| is_server)?)
        })
        .take(SERVERS_MAX)
        .collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

/// An address, perhaps with the interface of a link-local one behind `%`.
fn server(text: &str) -> Option<SocketAddr> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let mut server = SocketAddr::new(ip.parse::<IpAddr>().ok()?, PORT);
    if let (SocketAddr::V6(server), Some(zone)) = (&mut server, zone) {
        let by_name = || nix::net::if_::if_nametoindex(zone).ok();
        server.set_scope_id(zone.parse().ok().or_else(by_name)?);
    }
    Some(server)
}

/// Asks one server; `None`: there is no such name.
async fn ask(server: SocketAddr, name: &NameBuf) -> io::Result<Option<Vec<String>>> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let query = encode(u16::from_be_bytes(id), name)?;
    let answer = timeout(PATIENCE, over_udp(server, &query)).await;
    let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    match decode(&answer)? {
        Answer::Cut => {
            let answer = timeout(PATIENCE, over_tcp(server, &query)).await;
            let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            match decode(&answer)? {
                Answer::Cut => Err(malformed("an answer that is cut off")),
                Answer::Strings(strings) => Ok(strings),
            }
        }
        Answer::Strings(strings) => Ok(strings),
    }
}

fn encode(id: u16, name: &NameBuf) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 512];
    let mut query =
        MessageWriter::new(&mut buffer, id, RECURSION_DESIRED, Compression::LegacyUnicast);
    let question = Question {
        name: name.as_name(),
        qtype: Type::Txt,
        qclass: Class::In,
        unicast_response: false,
    };
    let options = Record {
        name: Name::ROOT,
        class: Class::from(DATAGRAM_MAX),
        cache_flush: false,
        ttl: 0,
        data: RecordData::Unknown { rtype: Type::Opt, rdata: &[] },
    };
    let written = query.question(&question).and_then(|()| query.additional(&options));
    let len = written.and_then(|()| query.finish());
    let len = len.map_err(|_| malformed("a name that is too long"))?;
    Ok(buffer.get(..len).unwrap_or_default().to_vec())
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; usize::from(DATAGRAM_MAX)];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..len).unwrap_or_default();
        if answers(answer, query) {
            return Ok(answer.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, query) {
        Ok(answer)
    } else {
        Err(malformed("an answer to another question"))
    }
}

/// Whether this is an answer to that query: id and question are the same.
fn answers(answer: &[u8], query: &[u8]) -> bool {
    let (Ok(answer), Ok(query)) = (Message::decode(answer), Message::decode(query)) else {
        return false;
    };
    match (answer.questions().next(), query.questions().next()) {
        (Some(Ok(a)), Some(Ok(q))) => {
            answer.flags().is_response()
                && answer.id() == query.id()
                && (a.name, a.qtype, a.qclass) == (q.name, q.qtype, q.qclass)
        }
        _ => false,
    }
}

enum Answer {
    Cut,
    Strings(Option<Vec<String>>),
}

fn decode(octets: &[u8]) -> io::Result<Answer> {
    let message = Message::decode(octets).map_err(io::Error::other)?;
    let flags = message.flags();
    match flags.rcode() {
        _ if flags.is_truncated() => return Ok(Answer::Cut),
        0 => {}
        NXDOMAIN => return Ok(Answer::Strings(None)),
        code => return Err(io::Error::other(format!("it failed with code {code}"))),
    }
    // Behind an alias the records have another name: who was asked for it found the way.
    let texts = message.answers().filter_map(Result::ok).filter_map(|record| match record.data {
        RecordData::Txt(txt) => {
            let joined: Vec<u8> = txt.strings().flatten().copied().collect();
            String::from_utf8(joined).ok()
        }
        RecordData::A(_)
        | RecordData::Aaaa(_)
        | RecordData::Ptr(_)
        | RecordData::Srv(_)
        | RecordData::Nsec(_)
        | RecordData::Unknown { .. } => None,
    });
    Ok(Answer::Strings(Some(texts.take(STRINGS_MAX).collect())))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use tokio::net::TcpListener;

    use super::*;

    /// The TXT records of a server: name to texts.
    pub(in crate::bootstrap) type Zone = BTreeMap<&'static str, Vec<String>>;

    /// A name server on the loopback interface, over UDP and TCP on one port.
    pub(in crate::bootstrap) struct Server {
        address: SocketAddr,
        tasks: Vec<tokio::task::JoinHandle<()>>,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }

    impl Server {
        pub(in crate::bootstrap) async fn start(zone: Zone) -> Self {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            let udp = UdpSocket::bind(address).await.unwrap();
            let for_tcp = zone.clone();
            let datagrams = tokio::spawn(async move {
                let mut buffer = [0; 2000];
                loop {
                    let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
                    let mut stale = respond(&zone, &buffer[..len], usize::from(DATAGRAM_MAX));
                    stale[0] ^= 1;
                    udp.send_to(&stale, from).await.unwrap();
                    let answer = respond(&zone, &buffer[..len], usize::from(DATAGRAM_MAX));
                    udp.send_to(&answer, from).await.unwrap();
                }
            });
            let streams = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = tcp.accept().await.unwrap();
                    let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
                    stream.read_exact(&mut query).await.unwrap();
                    let answer = respond(&for_tcp, &query, 65_535);
                    let len = u16::try_from(answer.len()).unwrap();
                    stream.write_all(&[&len.to_be_bytes()[..], &answer].concat()).await.unwrap();
                }
            });
            Self { address, tasks: vec![datagrams, streams] }
        }

        pub(in crate::bootstrap) fn resolver(&self) -> Resolver {
            Resolver { servers: vec![self.address] }
        }
    }

    fn respond(zone: &Zone, query: &[u8], max: usize) -> Vec<u8> {
        let query = Message::decode(query).unwrap();
        let question = query.questions().next().unwrap().unwrap();
        let name = question.name.to_string().trim_end_matches('.').to_owned();
        let found = zone.get(name.as_str());
        let code = if found.is_some() { 0 } else { NXDOMAIN };
        let mut buffer = vec![0; max];
        let flags = Flags(0x8180 | code);
        let mut answer =
            MessageWriter::new(&mut buffer, query.id(), flags, Compression::LegacyUnicast);
        answer.question(&question).unwrap();
        for text in found.into_iter().flatten() {
            let mut rdata = Vec::new();
            for part in text.as_bytes().chunks(100) {
                rdata.push(u8::try_from(part.len()).unwrap());
                rdata.extend(part);
            }
            let data = RecordData::Unknown { rtype: Type::Txt, rdata: &rdata };
            let record =
                Record { name: question.name, class: Class::In, cache_flush: false, ttl: 60, data };
            if answer.answer(&record).is_err() {
                answer.set_flags(Flags(flags.0 | 0x0200));
            }
        }
        let len = answer.finish().unwrap();
        buffer.truncate(len);
        buffer
    }

    #[tokio::test]
    async fn long_records_and_many_come_over_tcp() {
        let texts: Vec<_> = (0..40).map(|n| format!("{n}:{}", "x".repeat(300))).collect();
        let server = Server::start(Zone::from([("long.example", texts.clone())])).await;
        assert_eq!(server.resolver().txt("long.example").await.unwrap(), texts);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_and_the_next_one_asked() {
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let alone = Resolver { servers: vec![nobody] };
        let error = alone.txt("a.example").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("name server {nobody}: ")), "{error}");

        let server = Server::start(Zone::from([("a.example", vec!["x".to_owned()])])).await;
        let both = Resolver { servers: vec![nobody, server.address] };
        assert_eq!(both.txt("a.example").await.unwrap(), ["x"]);
    }

    #[test]
    fn name_servers_are_read_as_the_system_does() {
        let text = "# made by hand\nsearch example.org\nnameserver 192.0.2.1\nnameserver  fe80::1%2\n\
                    nameserver nonsense\noptions edns0\nnameserver ::1\nnameserver 192.0.2.2\n";
        let servers: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[fe80::1%2]:53", "[::1]:53"]);
        assert_eq!(name_servers("")[0].to_string(), "127.0.0.1:53");
    }
}
