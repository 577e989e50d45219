//! libp2p's small formats: numbers, protobuf fields, lines, handshake payloads, frame heads, addresses and identify
//! messages. Each reader of pieces gives what the reader of the whole gives.

use phase_core::limits::{ADDRESSES_PER_PEER, MULTISTREAM_LINE_MAX};
use phase_core::wire::cursor::{Reader, Writer};
use phase_core::wire::identify::{AGENT_MAX, Identified, Parser};
use phase_core::wire::multiaddr::{self, Address, Multiaddr};
use phase_core::wire::multistream::{Line, LineReader, Read};
use phase_core::wire::noise::Payload;
use phase_core::wire::protobuf::{Fields, Scanner, Take, Value, Visitor};
use phase_core::wire::varint::{self, Form, LEN_MAX, Partial};
use phase_core::wire::yamux::{HEADER_LEN, Header, Kind};

/// What `encode` writes; it must fit into `room` octets, and leave those behind it alone.
pub(super) fn written(room: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xa5; room + 1];
    let mut w = Writer::new(&mut buffer[..room]);
    encode(&mut w);
    let len = w.finish().expect("it fits");
    assert!(buffer[len..].iter().all(|octet| *octet == 0xa5), "octets behind the end were written");
    buffer.truncate(len);
    buffer
}

/// The size of pieces, from the first octet, and what is cut into them.
pub(super) fn pieces(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first() {
        Some((size, rest)) => (usize::from(*size).max(1), rest),
        None => (1, data),
    }
}

/// Holds that a number has one strict encoding, and that both forms agree on it.
///
/// # Panics
/// When a law is broken.
pub fn varint(data: &[u8]) {
    let mut r = Reader::new(data);
    let strict = varint::decode(&mut r);
    if let Ok(value) = strict {
        let taken = &data[..r.position()];
        assert_eq!(varint::encoded_len(value), taken.len());
        assert_eq!(written(LEN_MAX, |w| w.varint(value)), taken);
    }
    let lax = varint::decode_protobuf(&mut Reader::new(data));
    if let Ok(value) = strict {
        assert_eq!(lax, Ok(value));
    }
    if let Ok(value) = lax {
        let shortest = written(10, |w| w.varint(value));
        let same = varint::decode(&mut Reader::new(&shortest));
        assert_eq!(same.ok(), (shortest.len() <= LEN_MAX).then_some(value));
    }
    let mut partial = Partial::new(Form::Strict);
    let pushed = data.iter().find_map(|octet| partial.push(*octet).transpose());
    assert_eq!(pushed.and_then(Result::ok), strict.ok());
}

/// The fields of a message, as text, at both levels: field 3 is entered.
#[derive(Default)]
struct Told(Vec<String>, Vec<u8>);

impl Visitor for Told {
    fn begin(&mut self, number: u32, len: u32) -> Take {
        self.0.push(format!("{number} of {len}"));
        self.1.clear();
        if number == 3 { Take::Enter } else { Take::Copy }
    }

    fn octets(&mut self, octets: &[u8]) {
        self.1.extend(octets);
    }

    fn end(&mut self, number: u32) {
        self.0.push(format!("end of {number}: {:x?}", self.1));
        self.1.clear();
    }

    fn varint(&mut self, number: u32, value: u64) {
        self.0.push(format!("{number} = {value}"));
    }
}

/// The same, by reading messages whole; whether they could be read to their end.
fn tell(message: &[u8], is_outer: bool, told: &mut Told) -> bool {
    for field in Fields::new(message) {
        let Ok(field) = field else { return false };
        match field.value {
            Value::Varint(value) => told.varint(field.number, value),
            Value::Bytes(octets) => {
                let take = told.begin(field.number, u32::try_from(octets.len()).expect("short"));
                if take == Take::Enter && is_outer {
                    if !tell(octets, false, told) {
                        return false;
                    }
                    told.end(field.number);
                } else if take == Take::Copy {
                    told.octets(octets);
                    told.end(field.number);
                }
            }
            Value::Fixed32(_) | Value::Fixed64(_) => {}
        }
    }
    true
}

/// Holds that a message in pieces is the message in one.
///
/// # Panics
/// When a law is broken.
pub fn protobuf(data: &[u8]) {
    let (size, message) = pieces(data);
    let mut whole = Told::default();
    let good = tell(message, true, &mut whole);
    let mut scanner = Scanner::new(u32::try_from(message.len()).expect("short"));
    let mut scanned = Told::default();
    let outcome = message.chunks(size).try_for_each(|piece| scanner.feed(piece, &mut scanned));
    assert_eq!(outcome.is_ok(), good, "{:?}\n{:?}", whole.0, scanned.0);
    if good {
        assert_eq!(whole.0, scanned.0);
        assert!(scanner.is_complete());
        assert!(scanner.feed(&[0], &mut scanned).is_err(), "nothing follows");
    }
}

/// Holds that lines are what they are however they are cut.
///
/// # Panics
/// When a law is broken.
pub fn multistream(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let Ok((taken, read)) = LineReader::new().feed(rest) else { return };
        let (line, after) = rest.split_at(taken);
        let mut reader = LineReader::new();
        for (at, octet) in line.iter().enumerate() {
            let expected = if at + 1 == taken { read } else { Read::Pending };
            assert_eq!(reader.feed(&[*octet]), Ok((1, expected)));
        }
        assert!(taken <= MULTISTREAM_LINE_MAX + 2);
        match read {
            Read::Line(known) => {
                assert_eq!(written(taken, |w| known.encode(w)), line);
                assert_eq!(known.encoded_len(), taken);
            }
            Read::Unknown => {
                let text = &line[line.len().min(1 + usize::from(line[0] >= 0x80))..taken - 1];
                assert!(Line::ALL.iter().all(|line| line.text().as_bytes() != text));
                assert_eq!(line[taken - 1], b'\n');
            }
            Read::Pending => assert!(after.is_empty()),
        }
        rest = after;
    }
}

/// Holds the laws of handshake payloads.
///
/// # Panics
/// When a law is broken.
pub fn noise_payload(data: &[u8]) {
    let Ok(payload) = Payload::decode(data) else { return };
    let again = written(payload.encoded_len(), |w| payload.encode(w));
    assert_eq!(again.len(), payload.encoded_len());
    assert_eq!(Payload::decode(&again), Ok(payload));
    assert_eq!(payload.signature().is_ok(), payload.identity_sig.len() == 64);
    let muxers = payload.extensions.iter().flat_map(|extensions| extensions.stream_muxers());
    assert!(muxers.count() <= data.len());
    if let Ok(peer) = payload.peer() {
        assert_eq!(phase_core::wire::peer_id::encode_protobuf(&peer), payload.identity_key);
    }
}

/// Holds that a head has one encoding.
///
/// # Panics
/// When a law is broken.
pub fn yamux(data: &[u8]) {
    let decoded = Header::decode(&mut Reader::new(data));
    match data.first_chunk::<HEADER_LEN>() {
        None => assert!(decoded.is_err()),
        Some(head) => {
            assert_eq!(decoded.is_ok(), head[0] == 0 && head[1] < 4);
            assert_eq!(Header::from_octets(head), decoded);
            if let Ok(header) = decoded {
                assert_eq!(&header.to_octets(), head);
                let body = if header.kind == Kind::Data { header.len } else { 0 };
                assert_eq!(header.body_len(), body);
            }
        }
    }
}

/// Holds the laws of addresses, as octets and as text.
///
/// # Panics
/// When a law is broken.
pub fn multiaddr(data: &[u8]) {
    let read = Multiaddr::new(data);
    let shown = read.to_string();
    let protocols: Result<Vec<_>, _> = read.protocols().collect();
    if let Ok(protocols) = &protocols {
        let again = written(data.len(), |w| protocols.iter().for_each(|one| one.encode(w)));
        assert_eq!(again, data, "one encoding of each protocol is taken");
    }
    if let Some(socket) = read.socket_addr() {
        assert!(protocols.is_ok());
        let address: Result<Address, _> = shown.parse();
        if let (Ok(address), true) = (&address, socket.port() != 0) {
            assert_eq!(address.to_string(), shown);
            assert_eq!((address.peer, address.port), (read.peer(), Some(socket.port())));
            let again = written(multiaddr::encoded_len(socket, address.peer.is_some()), |w| {
                multiaddr::encode(socket, address.peer.as_ref(), w);
            });
            assert_eq!(again, data);
        }
    }
    if let Ok(address) = String::from_utf8_lossy(data).parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

/// Holds that an identify message is the same however it is cut, and keeps little.
///
/// # Panics
/// When a law is broken.
pub fn identify(data: &[u8]) {
    let (size, message) = pieces(data);
    let whole = Identified::decode(message);
    let mut parser = Parser::new(u32::try_from(message.len()).expect("short"));
    let mut last = parser.feed(&[]).map(|read| read.cloned());
    for piece in message.chunks(size) {
        if last.is_ok() {
            last = parser.feed(piece).map(|read| read.cloned());
        }
    }
    match whole {
        Ok(whole) => {
            assert!(
                whole.addresses.count() <= ADDRESSES_PER_PEER && whole.agent.len() <= AGENT_MAX
            );
            assert!(whole.agent.bytes().all(|octet| matches!(octet, b' '..=b'~')));
            assert_eq!(last, Ok(Some(whole)));
        }
        Err(_) => assert!(last.is_err()),
    }
}
