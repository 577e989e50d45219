//! Complete transcripts of a client with fixed keys against nodes of other implementations: what those sent is
//! received again, by a client that has the same keys.

use super::*;
use crate::wire::kad::{ResponseParser, decode_request};

const TRANSCRIPTS: [(&str, &str); 6] = [
    ("go", include_str!("../../../../tests/vectors/libp2p/go_plain.json")),
    ("js", include_str!("../../../../tests/vectors/libp2p/js_plain.json")),
    ("js, early", include_str!("../../../../tests/vectors/libp2p/js_early.json")),
    ("py", include_str!("../../../../tests/vectors/libp2p/py_plain.json")),
    ("rust", include_str!("../../../../tests/vectors/libp2p/rust_plain.json")),
    ("rust, early", include_str!("../../../../tests/vectors/libp2p/rust_early.json")),
];

/// A transcript as it is replayed: the octets of the node, and the requests with their responses.
struct Transcript {
    sent: Vec<u8>,
    received: Vec<Vec<u8>>,
    exchanges: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    early: bool,
}

impl Transcript {
    fn read(json: &str) -> Self {
        let wire = section(json, "\"wire\"", "\"plaintext_log\"");
        let entries = |direction| {
            let marked = std::format!("\"d\": \"{direction}\"");
            let entries = wire.split("\"d\":").skip(1).map(|it| std::format!("\"d\":{it}"));
            let wanted = entries.filter(move |it| it.starts_with(&marked));
            wanted.map(|it| octets(&it, "b").unwrap()).collect::<Vec<_>>()
        };
        let results = section(json, "\"results\"", "\"wire\"").split("\"op\":").skip(1);
        let exchanges = results.map(|it| (octets(it, "req").unwrap(), octets(it, "resp")));
        Self {
            sent: entries("tx").concat(),
            received: entries("rx"),
            exchanges: exchanges.collect(),
            early: json.contains("\"early_muxer\": true"),
        }
    }

    /// What a client tells of it that takes `piece` octets at a time.
    fn replay(&self, piece: usize) -> Vec<Told> {
        let mut a = End::<RX_SMALL>::vacant(9);
        a.identity = Identity::with_static_key(&secret(9), [0x11; 32]);
        if !self.early {
            a.identity = a.identity.without_muxer();
        }
        a.connection.dial(
            a.now,
            [0x22; 32],
            Dial { prefer: Some(KadProtocol::Ipfs), expected: None },
        );
        let mut exchanges = self.exchanges.iter().zip(0..);
        let mut sent = a.drain(1024);
        assert_eq!(sent, self.sent[..sent.len()]);
        for octets in &self.received {
            for octets in octets.chunks(piece) {
                if a.connection.in_flight() == 0
                    && let Some(((request, _), tag)) = exchanges.next()
                {
                    a.open(decode_request(request).unwrap(), tag).unwrap();
                }
                a.feed(octets);
                sent.extend(a.drain(1024));
            }
        }
        assert!(exchanges.next().is_none() && a.connection.in_flight() == 0);
        assert_eq!(a.owner.closed(), None);
        // Whatever the node sent after a stream had ended was skipped.
        a.owner.told.retain(|it| !matches!(it, Told::Established(_)));
        a.owner.told
    }

    /// What the recorded responses hold.
    fn expected(&self) -> Vec<Told> {
        let mut owner = Owner::new(9);
        for ((_, response), tag) in self.exchanges.iter().zip(0..) {
            match response {
                Some(response) => {
                    let mut parser = ResponseParser::new(u32::try_from(response.len()).unwrap());
                    let peer = owner.peer;
                    parser.feed(response, &mut |part| owner.part(&peer, Tag(tag), part)).unwrap();
                }
                None => owner.failed(Tag(tag), StreamError::Reset),
            }
        }
        owner.told
    }
}

#[test]
fn recorded_nodes_answer_as_they_did() {
    for (name, json) in TRANSCRIPTS {
        let transcript = Transcript::read(json);
        let expected = transcript.expected();
        let records = expected.iter().filter(|it| matches!(it, Told::Record(..))).count();
        assert_eq!(records, if name == "go" { 0 } else { 2 }, "{name}");
        for piece in [usize::MAX, 1, 2, 13] {
            assert_eq!(transcript.replay(piece), expected, "{name} in pieces of {piece}");
        }
    }
}

fn section<'a>(json: &'a str, from: &str, to: &str) -> &'a str {
    let after = json.split_once(from).unwrap().1;
    after.split_once(to).unwrap().0
}

/// The octets of the first member `name`, when it is a string of hex digits.
fn octets(json: &str, name: &str) -> Option<Vec<u8>> {
    let after = json.split_once(&std::format!("\"{name}\": \""))?.1;
    let digits = after.split_once('"')?.0.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|it| u8::try_from(it).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
