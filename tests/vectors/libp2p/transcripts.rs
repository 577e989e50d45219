//! What other implementations said in recorded connections, layer by layer: every line, payload, frame and message
//! is read, and written again where one encoding is the only one.

use std::collections::BTreeMap;

use phase_core::identity::{PeerId, SecretKey};
use phase_core::wire::identify::Identified;
use phase_core::wire::kad::{Request, decode_request};
use phase_core::wire::multiaddr::{Address, Host};
use phase_core::wire::multistream::{Line, LineReader, Read};
use phase_core::wire::noise::{Payload, message_len};
use phase_core::wire::yamux::{HEADER_LEN, Header};
use phase_core::wire::{cursor::Reader, varint};
use serde_json::Value;

use super::{octets, read, response, text, written};

const TRANSCRIPTS: [&str; 6] =
    ["go_plain", "js_early", "js_plain", "py_plain", "rust_early", "rust_plain"];

/// One entry of the log of what the layers carried.
struct Entry {
    is_ours: bool,
    what: String,
    octets: Vec<u8>,
}

fn entries(transcript: &Value) -> Vec<Entry> {
    let log = transcript["plaintext_log"].as_array().expect("a log");
    let entry = |entry: &Value| Entry {
        is_ours: text(&entry["d"]) == ">",
        what: text(&entry["what"]).to_owned(),
        octets: octets(&entry["b"]),
    };
    log.iter().map(entry).collect()
}

/// Each stream's octets, by who sent them and the stream's number.
fn streams(entries: &[Entry]) -> BTreeMap<(bool, u32), Vec<u8>> {
    let mut streams = BTreeMap::<_, Vec<u8>>::new();
    for entry in entries.iter().filter(|entry| entry.what.starts_with("yamux")) {
        let mut r = Reader::new(&entry.octets);
        let header = Header::decode(&mut r).expect("a head");
        assert_eq!(header.to_octets(), entry.octets[..HEADER_LEN]);
        assert_eq!(usize::try_from(header.body_len()).unwrap(), r.remaining());
        streams.entry((entry.is_ours, header.stream)).or_default().extend(r.rest());
    }
    streams
}

/// The known lines at the start of a stream, and what follows them.
fn lines(octets: &[u8]) -> (Vec<Line>, &[u8]) {
    let (mut lines, mut rest) = (Vec::new(), octets);
    while lines.len() < 2 && !rest.is_empty() {
        let mut reader = LineReader::new();
        let len = rest
            .iter()
            .position(|octet| {
                !matches!(reader.feed(&[*octet]).expect("a line"), (_, Read::Pending))
            })
            .expect("a whole line")
            + 1;
        let (line, after) = rest.split_at(len);
        let (_, Read::Line(known)) = LineReader::new().feed(line).expect("a line") else {
            panic!("an unknown line")
        };
        assert_eq!(written(|w| known.encode(w)), line);
        lines.push(known);
        rest = after;
    }
    (lines, rest)
}

fn message(octets: &[u8]) -> &[u8] {
    let mut r = Reader::new(octets);
    let len = usize::try_from(varint::decode(&mut r).expect("a length")).unwrap();
    r.take(len, "message").expect("the whole message")
}

fn remote(transcript: &Value) -> PeerId {
    text(&transcript["remote_peer_id"]).parse().expect("a peer id")
}

#[test]
fn noise_payloads_name_the_peer_that_was_dialled() {
    for name in TRANSCRIPTS {
        let transcript = read(name);
        let entries = entries(&transcript);
        let of =
            |what: &str| &entries.iter().find(|entry| entry.what.starts_with(what)).unwrap().octets;
        let theirs = Payload::decode(of("payload2")).expect("a payload");
        assert_eq!(theirs.peer(), Ok(remote(&transcript)), "{name}");
        assert!(theirs.signature().is_ok());
        assert_eq!(written(|w| theirs.encode(w)), *of("payload2"), "{name}");
        let muxers = theirs.extensions.iter().flat_map(|e| e.stream_muxers().collect::<Vec<_>>());
        let offers = muxers.filter(|muxer| *muxer == Line::Yamux.text().as_bytes()).count();
        assert_eq!(offers == 1, name.starts_with("go") || name.starts_with("js"), "{name}");
        for frame in ["noise msg1", "noise msg2", "noise msg3"] {
            let frame = of(frame);
            assert_eq!(message_len([frame[0], frame[1]]), frame.len() - 2, "{name}");
        }
    }
}

#[test]
fn every_line_is_known() {
    for name in TRANSCRIPTS {
        let entries = entries(&read(name));
        let said = entries.iter().filter(|entry| entry.what.starts_with("multistream"));
        let said: Vec<_> = said.flat_map(|entry| lines(&entry.octets).0).collect();
        assert!(said.starts_with(&[Line::Multistream, Line::Noise]), "{name}: {said:?}");
        for ((_, id), octets) in streams(&entries).iter().filter(|((_, id), _)| *id != 0) {
            let (lines, _) = lines(octets);
            assert_eq!(lines[0], Line::Multistream, "{name}, stream {id}");
        }
    }
}

#[test]
fn requests_are_written_as_they_were_and_their_responses_read() {
    for name in TRANSCRIPTS {
        let transcript = read(name);
        let streams = streams(&entries(&transcript));
        let results = transcript["results"].as_array().expect("results");
        assert_eq!(results.len(), 4, "{name}");
        for (result, id) in results.iter().zip([1, 3, 5, 7]) {
            let (spoken, sent) = lines(&streams[&(true, id)]);
            assert_eq!(spoken, [Line::Multistream, Line::IpfsKad], "{name}");
            assert_eq!(message(sent), octets(&result["req"]), "{name}");
            let request = decode_request(message(sent)).expect("a request");
            assert_eq!(written(|w| request.encode(w)), sent, "{name}");
            if text(&result["resp"]) == "RST" {
                continue;
            }
            let (_, received) = lines(&streams[&(false, id)]);
            assert_eq!(message(received), octets(&result["resp"]), "{name}");
            check_response(name, &transcript, &request, message(received));
        }
    }
}

/// What every implementation answers: the record that was put before it was got, peers of its own.
fn check_response(name: &str, transcript: &Value, request: &Request<'_>, message: &[u8]) {
    let response = response(message);
    let put = octets(&transcript["results"][1]["req"]);
    let Request::PutValue { record: put } = decode_request(&put).expect("a request") else {
        panic!("the second request puts a value")
    };
    match request {
        Request::PutValue { .. } | Request::GetValue { .. } => {
            // go refused the value, so it has none.
            let Some((key, value, ..)) = &response.record else {
                return assert!(name.starts_with("go"), "{name}");
            };
            assert_eq!((&key[..], &value[..]), (put.key, put.value), "{name}");
        }
        Request::FindNode { .. } => {
            let address: Address = text(&transcript["peer"]).parse().expect("an address");
            let Host::Ip(ip) = address.host else { panic!("{name}: an IP address") };
            let itself = response.closer.iter().filter(|one| one.peer == remote(transcript));
            // Where they stand in their own list, go and js say where; py leaves it to a signed record, and rust,
            // alone, knows of nobody.
            for contact in itself.clone().filter(|one| !one.addresses.is_empty()) {
                let socket = contact.addresses.first().expect("an address");
                assert_eq!((socket.ip(), Some(socket.port())), (ip, address.port), "{name}");
            }
            assert_eq!(itself.count() > 0, !name.starts_with("rust"), "{name}");
        }
        Request::GetProviders { .. } => assert_eq!(response.providers, [], "{name}"),
        Request::AddProvider { .. } => panic!("nobody answers this"),
    }
}

#[test]
fn the_identify_message_that_they_took_is_one() {
    for name in TRANSCRIPTS {
        let streams = streams(&entries(&read(name)));
        let answers: Vec<_> = streams
            .iter()
            .filter(|((is_ours, id), _)| *is_ours && *id != 0)
            .map(|(_, octets)| lines(octets))
            .filter(|(lines, _)| lines.contains(&Line::Identify))
            .collect();
        assert_eq!(answers.len(), 1, "{name}");
        let identified = Identified::decode(message(answers[0].1)).expect("a message");
        let own = SecretKey::from_seed(&[9; 32]).peer_id();
        assert_eq!(identified.peer, Some(own), "{name}");
        assert!(identified.speaks(Line::Identify), "{name}");
    }
}
