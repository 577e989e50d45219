//! How other implementations use a connection, each in its own way.

use super::*;
use crate::limits::RX_FULL;
use crate::wire::kad::Peers;

const IPFS: Dial = Dial { expected: None, prefer: Some(KadProtocol::Ipfs) };

fn serving() -> (End, Hand) {
    let mut b = End::listener(2);
    let hand = Hand::dialer(&mut b, 1);
    (b, hand)
}

fn window(id: u32, flags: Flags, delta: u32) -> (Header, &'static [u8]) {
    (Header::window_update(id, flags, delta), &[])
}

fn fin(id: u32) -> Frame {
    (Header::data(id, Flags::FIN, 0), std::vec![])
}

/// Negotiates `protocol` on a new stream as js-libp2p does: SYN in a window update, each line in its own frame and
/// only after the one before was answered.
fn negotiate(b: &mut End, hand: &mut Hand, id: u32, protocol: Line) {
    hand.send(b, &[window(id, Flags::SYN, 0)]);
    assert_eq!(hand.frames(b), [(Header::window_update(id, Flags::ACK, 0), std::vec![])]);
    for line in [Line::Multistream, protocol] {
        let octets = written(|w| line.encode(w));
        hand.data(b, id, Flags::NONE, &octets);
        let len = u32::try_from(octets.len()).unwrap();
        assert_eq!(hand.frames(b), [(Header::data(id, Flags::NONE, len), octets)]);
    }
}

/// Answers what a stream of a GET proposes, and the request if there is one, as a node does that speaks `spoken`.
fn reply(end: &mut End, hand: &mut Hand, frames: Vec<Frame>, spoken: &[Line]) {
    for (header, data) in frames.into_iter().filter(|(header, _)| header.flags == Flags::SYN) {
        let proposed = [Line::PhaseKad, Line::IpfsKad]
            .into_iter()
            .find(|line| data.starts_with(&opening(*line, |_| {})))
            .unwrap();
        let has_request = data.len() > opening(proposed, |_| {}).len();
        let answer = if !spoken.contains(&proposed) {
            opening(Line::Na, |_| {})
        } else if has_request {
            opening(proposed, |w| w.put(&response()))
        } else {
            opening(proposed, |_| {})
        };
        hand.data(end, header.stream, Flags::ACK, &answer);
    }
}

/// Gets a record from a node that speaks `spoken`; the flights it took.
fn flights(prefer: Option<KadProtocol>, spoken: &[Line], early: bool) -> usize {
    let mut a = End::<RX_SMALL>::dialer(1, Dial { expected: None, prefer });
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, early);
    assert_eq!(a.flights, 2, "the request does not wait for the answer about Yamux");
    let mut frames = hand.frames(&mut a);
    while !a.owner.has(&Told::End(5)) {
        assert!(!frames.is_empty(), "{:?}", a.owner.told);
        reply(&mut a, &mut hand, frames, spoken);
        frames = Vec::new();
        if !a.owner.has(&Told::End(5)) {
            frames = hand.frames(&mut a);
        }
    }
    assert_eq!(a.owner.told[1..].iter().filter(|it| **it == Told::End(5)).count(), 1);
    assert!(a.owner.has(&Told::Record(5, VALUE.to_vec())));
    let flights = a.flights;
    // What was learnt is used: one stream, and the protocol that was taken.
    hand.frames(&mut a);
    a.get(6);
    let next = hand.frames(&mut a);
    assert_eq!(next.len(), 1);
    assert!(next[0].1.starts_with(&opening(a.connection.kad_protocol().unwrap().line(), |_| {})));
    flights
}

#[test]
fn a_record_takes_two_flights_unless_the_node_refuses_what_all_others_speak() {
    const PHASE: &[Line] = &[Line::PhaseKad];
    const IPFS: &[Line] = &[Line::IpfsKad];
    const BOTH: &[Line] = &[Line::PhaseKad, Line::IpfsKad];
    for early in [true, false] {
        for prefer in [None, Some(KadProtocol::Phase), Some(KadProtocol::Ipfs)] {
            assert_eq!(flights(prefer, IPFS, early), 2, "{prefer:?} {early}");
            assert_eq!(flights(prefer, BOTH, early), 2, "{prefer:?} {early}");
        }
        assert_eq!(flights(None, PHASE, early), 3, "{early}");
        assert_eq!(flights(Some(KadProtocol::Phase), PHASE, early), 3, "{early}");
        assert_eq!(flights(Some(KadProtocol::Ipfs), PHASE, early), 4, "{early}");
    }
}

#[test]
fn nothing_follows_a_proposal_that_may_be_refused() {
    for prefer in [None, Some(KadProtocol::Phase)] {
        let mut a = End::<RX_SMALL>::dialer(1, Dial { expected: None, prefer });
        a.get(5);
        a.get(6);
        let mut hand = Hand::listener(&mut a, 2, true);
        let frames = hand.frames(&mut a);
        assert_eq!(frames.len(), 3, "one stream asks, two carry requests");
        assert_eq!(frames[0].1, opening(Line::PhaseKad, |_| {}));
        // Refused, and ended by the remote: one ends the stream, another resets it.
        for (id, flag) in [(1, Flags::FIN), (3, Flags::RST), (5, Flags::FIN)] {
            hand.data(&mut a, id, Flags::ACK, &opening(Line::Na, |_| {}));
            hand.send(&mut a, &[window(id, flag, 0)]);
        }
        let failed = [5, 6].map(|tag| Told::Failed(tag, StreamError::Refused));
        hand.frames(&mut a);
        assert_eq!(a.owner.told[1..], failed);
        assert_eq!(a.connection.in_flight(), 0);
        assert!(a.connection.mux.streams.iter().all(|it| it.is_free()));
    }
}

#[test]
fn a_refused_request_waits_for_what_the_node_speaks_but_not_without_end() {
    for answer in [None, Some(Line::PhaseKad), Some(Line::Na)] {
        let mut a = End::<RX_SMALL>::dialer(1, Dial::default());
        a.get(5);
        let mut hand = Hand::listener(&mut a, 2, true);
        hand.frames(&mut a);
        hand.data(&mut a, 3, Flags::ACK, &opening(Line::Na, |_| {}));
        assert_eq!(hand.frames(&mut a), [(Header::data(3, Flags::RST, 0), std::vec![])]);
        assert_eq!((a.owner.told.len(), a.connection.in_flight()), (1, 1));
        if let Some(answer) = answer {
            hand.data(&mut a, 1, Flags::ACK, &opening(answer, |_| {}));
            hand.frames(&mut a);
        }
        a.wait(at(10_000));
        let why =
            if answer == Some(Line::Na) { StreamError::Refused } else { StreamError::TimedOut };
        assert_eq!(a.owner.told[1..], [Told::Failed(5, why)], "{answer:?}");
        hand.frames(&mut a);
        assert!(a.connection.mux.streams.iter().all(|it| it.is_free()), "{answer:?}");
    }
}

#[test]
fn js_sends_200_094_octets_in_one_frame() {
    let mut a = End::<RX_FULL>::dialer(1, IPFS);
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, true);
    assert_eq!(hand.frames(&mut a).len(), 1);
    hand.data(&mut a, 1, Flags::ACK, &opening(Line::IpfsKad, |_| {}));
    let mut message = std::vec![0x1a];
    let value = std::vec![b'x'; 200_000];
    let record = Record { key: KEY, value: &value, publisher: None, ttl: 0 };
    let mut buffer = std::vec![0; 201_000];
    let mut w = Writer::new(&mut buffer);
    w.varint_len(record.encoded_len());
    record.encode(&mut w);
    message.extend(w.written());
    message.extend(
        written(|w| {
            Response::FindNode { closer: &[contact(7)] }.encode(w);
        })
        .split_off(1),
    );
    let mut data = written(|w| w.varint_len(message.len()));
    data.extend(&message);
    let header = Header::data(1, Flags::NONE, u32::try_from(data.len()).unwrap());
    assert!(header.len > 200_000 && header.len < 200_200);
    let frame = [&header.to_octets()[..], &data].concat();
    for part in frame.chunks(65_535 - 16) {
        let octets = hand.encrypt(part);
        // As TCP may cut it.
        octets.chunks(1448).for_each(|octets| a.feed(octets));
    }
    let peer = secret(7).peer_id();
    assert_eq!(a.owner.told[1..], [Told::Oversized(5), Told::Closer(5, peer), Told::End(5)]);
    assert_eq!(hand.frames(&mut a).last(), Some(&fin(1)));
}

#[test]
fn a_response_of_4_mib_costs_no_memory_and_gets_its_window() {
    let mut a = End::<RX_SMALL>::dialer(1, IPFS);
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, true);
    hand.frames(&mut a);
    let body = 4 << 20;
    hand.data(
        &mut a,
        1,
        Flags::ACK,
        &opening(Line::IpfsKad, |w| {
            w.varint(body);
            // One unknown field, as long as the rest.
            w.put(b"\xfa\x01");
            w.varint(body - 6);
        }),
    );
    let (mut left, mut allowed) = (body - 6, 256 * 1024 - 200);
    while left > 0 {
        let len = left.min(allowed).min(16_000);
        assert!(len > 0, "{left} to go, and no window");
        hand.data(&mut a, 1, Flags::NONE, &std::vec![0; usize::try_from(len).unwrap()]);
        (left, allowed) = (left - len, allowed - len);
        for (header, _) in hand.frames(&mut a) {
            if header.flags == Flags::NONE {
                allowed += u64::from(header.len);
            }
        }
    }
    assert_eq!(a.owner.told[1..], [Told::End(5)]);
}

#[test]
fn go_asks_many_times_on_one_stream() {
    let (mut b, mut hand) = serving();
    negotiate(&mut b, &mut hand, 1, Line::IpfsKad);
    let provider = contact(1);
    let add = Request::AddProvider { key: KEY, providers: Peers::of(&provider) };
    for _ in 0..50 {
        // What is not answered does not wait for what is.
        let octets = written(|w| {
            add.encode(w);
            add.encode(w);
            Request::FindNode { key: KEY }.encode(w);
        });
        for part in octets.chunks(64) {
            hand.data(&mut b, 1, Flags::NONE, part);
        }
        let frames = hand.frames(&mut b);
        assert_eq!((frames.len(), frames[0].0.flags), (1, Flags::NONE));
        b.wait(b.now + Duration::from_secs(20));
    }
    assert_eq!(b.owner.told.iter().filter(|it| **it == Told::Asked("FindNode".into())).count(), 50);
    hand.send(&mut b, &[window(1, Flags::FIN, 0)]);
    assert_eq!(hand.frames(&mut b), [fin(1)]);
    assert_eq!((b.owner.stats.streams_reset, b.owner.closed()), (0, None));
}

/// What rust-libp2p asks as soon as a connection is there: a ping, and who we are.
fn greet(end: &mut End, hand: &mut Hand) {
    hand.send(end, &[(Header::ping(7), &[])]);
    hand.data(end, 2, Flags::SYN, &opening(Line::Identify, |_| {}));
}

#[test]
fn what_nobody_waits_for_leaves_a_moment_later_or_with_the_next_request() {
    for asks_more in [false, true] {
        let mut a = End::<RX_SMALL>::dialer(1, IPFS);
        a.get(5);
        let mut hand = Hand::listener(&mut a, 2, true);
        hand.frames(&mut a);
        greet(&mut a, &mut hand);
        assert_eq!(hand.frames(&mut a), [], "a response is on its way");
        if asks_more {
            a.get(6);
        } else {
            a.wait(at(99));
            assert_eq!(hand.frames(&mut a), []);
            a.wait(at(100));
        }
        let frames = hand.frames(&mut a);
        assert!(frames.contains(&(Header::pong(7), std::vec![])), "{asks_more}");
        assert!(frames.contains(&fin(2)), "{asks_more}");
        assert_eq!(hand.frames(&mut a), []);
    }
}

#[test]
fn courtesies_are_not_held_back_without_a_request_nor_in_numbers() {
    let mut a = End::<RX_SMALL>::dialer(1, IPFS);
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, true);
    hand.frames(&mut a);
    for value in 0..2 {
        hand.send(&mut a, &[(Header::ping(value), &[])]);
    }
    assert_eq!(hand.frames(&mut a).len(), 2, "there is little room for pings");
    greet(&mut a, &mut hand);
    hand.data(&mut a, 1, Flags::ACK, &opening(Line::IpfsKad, |w| w.put(&response())));
    assert!(a.owner.has(&Told::End(5)));
    let frames = hand.frames(&mut a);
    assert!(frames.contains(&fin(1)) && frames.contains(&(Header::pong(7), std::vec![])));
    greet_again(&mut a, &mut hand);
}

/// Nothing is under way: every ping is answered at once.
fn greet_again(a: &mut End, hand: &mut Hand) {
    hand.send(a, &[(Header::ping(8), &[])]);
    assert_eq!(hand.frames(a), [(Header::pong(8), std::vec![])]);
}

#[test]
fn js_pings_every_10_s_on_a_new_stream() {
    let (mut b, mut hand) = serving();
    for n in 0..10 {
        let id = 2 * n + 1;
        negotiate(&mut b, &mut hand, id, Line::Ping);
        let value = [u8::try_from(n).unwrap(); 32];
        hand.data(&mut b, id, Flags::NONE, &value);
        assert_eq!(hand.frames(&mut b), [(Header::data(id, Flags::NONE, 32), value.to_vec())]);
        hand.send(&mut b, &[window(id, Flags::FIN, 0)]);
        assert_eq!(hand.frames(&mut b), [fin(id)], "or it ends the connection at the next ping");
        b.wait(b.now + Duration::from_secs(10));
    }
    assert_eq!((b.owner.stats.streams_reset, b.owner.closed()), (0, None));
    assert_eq!(b.connection.idle_since().map(|it| it < at(95_000)), Some(true));
}

#[test]
fn rust_pings_every_15_s_on_one_stream() {
    let (mut b, mut hand) = serving();
    hand.data(&mut b, 1, Flags::SYN, &opening(Line::Ping, |_| {}));
    hand.frames(&mut b);
    for n in 0..20 {
        hand.send(&mut b, &[(Header::ping(n), &[])]);
        hand.data(&mut b, 1, Flags::NONE, &[7; 32]);
        let frames = hand.frames(&mut b);
        assert!(frames.contains(&(Header::pong(n), std::vec![])));
        assert!(frames.contains(&(Header::data(1, Flags::NONE, 32), [7; 32].to_vec())));
        b.wait(b.now + Duration::from_secs(15));
    }
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn pings_without_end_get_their_window() {
    let (mut b, mut hand) = serving();
    hand.data(&mut b, 1, Flags::SYN, &opening(Line::Ping, |_| {}));
    hand.frames(&mut b);
    let mut updates = 0;
    for _ in 0..2000 {
        hand.data(&mut b, 1, Flags::NONE, &[7; 256]);
        let frames = hand.frames(&mut b);
        assert_eq!(frames[0].1, [7; 256]);
        let given = frames[1..].iter().map(|(header, _)| header.len).sum::<u32>();
        updates += given;
        hand.send(&mut b, &[window(1, Flags::NONE, 256)]);
    }
    assert!(updates > 2000 * 256 - 140_000, "{updates}");
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn rust_sends_everything_in_its_first_frame() {
    let (mut b, mut hand) = serving();
    let request = opening(Line::IpfsKad, |w| Request::GetValue { key: KEY }.encode(w));
    hand.data(&mut b, 1, Flags::SYN, &request);
    let frames = hand.frames(&mut b);
    assert_eq!(frames.len(), 1, "acknowledgement, negotiation and answer are one frame");
    assert_eq!((frames[0].0.flags, frames[0].0.stream), (Flags::ACK, 1));
    assert!(frames[0].1.starts_with(&opening(Line::IpfsKad, |_| {})));
    hand.data(&mut b, 1, Flags::FIN, &[]);
    assert_eq!(hand.frames(&mut b), [fin(1)]);
}

#[test]
fn identify_is_one_data_frame_and_an_empty_one_with_fin() {
    let (mut b, mut hand) = serving();
    let lines = opening(Line::Identify, |_| {});
    hand.data(&mut b, 3, Flags::SYN, &lines);
    let frames = hand.frames(&mut b);
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[0].0.flags, frames[1].clone()), (Flags::ACK, fin(3)));
    let message = frames[0].1.strip_prefix(&lines[..]).unwrap();
    let mut r = crate::wire::cursor::Reader::new(message);
    let len = crate::wire::varint::decode(&mut r).unwrap();
    assert_eq!(len, r.remaining() as u64);
    let identified = Identified::decode(r.rest()).unwrap();
    assert_eq!(identified.peer, Some(secret(2).peer_id()));
    assert!(b.connection.mux.streams.iter().all(|it| it.id != 3));
}

#[test]
fn py_sends_the_length_by_itself_and_a_window_update_for_each_frame() {
    let mut a = End::<RX_SMALL>::dialer(1, IPFS);
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, true);
    hand.frames(&mut a);
    hand.send(&mut a, &[window(1, Flags::ACK, 0)]);
    let answer = opening(Line::IpfsKad, |w| w.put(&response()));
    for (part, n) in answer.chunks(1).zip(0..) {
        hand.send(&mut a, &[window(1, Flags::NONE, 1 << (n % 21))]);
        hand.data(&mut a, 1, Flags::NONE, part);
    }
    assert!(a.owner.has(&Told::Record(5, VALUE.to_vec())) && a.owner.has(&Told::End(5)));
    assert_eq!(hand.frames(&mut a), [fin(1)]);
    // It resets what has ended.
    hand.send(&mut a, &[window(1, Flags::RST, 0)]);
    assert_eq!(a.owner.closed(), None);
}

#[test]
fn responses_may_come_in_any_order_and_interleaved() {
    let mut a = End::<RX_SMALL>::dialer(1, IPFS);
    for tag in 0..3 {
        a.get(tag);
    }
    let mut hand = Hand::listener(&mut a, 2, true);
    hand.frames(&mut a);
    let answer = opening(Line::IpfsKad, |w| w.put(&response()));
    for at in 0..answer.len() {
        for id in [5, 1, 3] {
            hand.data(&mut a, id, Flags::NONE, &answer[at..=at]);
        }
    }
    for tag in 0..3 {
        assert!(a.owner.has(&Told::Record(tag, VALUE.to_vec())) && a.owner.has(&Told::End(tag)));
    }
}

#[test]
fn answers_wait_for_room_and_lose_nothing() {
    let (mut b, mut hand) = serving();
    b.owner.value = std::vec![b'v'; 1000];
    let request = opening(Line::IpfsKad, |w| Request::GetValue { key: KEY }.encode(w));
    // Six at once: there is room for the answers of some, the others wait in their places.
    let frames: Vec<(Header, &[u8])> = (0..6)
        .map(|n| {
            let len = u32::try_from(request.len()).unwrap();
            (Header::data(2 * n + 1, Flags::SYN, len), &request[..])
        })
        .collect();
    hand.send(&mut b, &frames);
    let mut answered: Vec<u32> = hand.frames(&mut b).iter().map(|it| it.0.stream).collect();
    answered.sort_unstable();
    // A negotiation does not wait with the answer.
    assert_eq!(answered, [1, 3, 5, 7, 9, 9, 11, 11]);
    assert_eq!(b.owner.told.len(), 1 + 6, "each is asked once");
    assert!(b.connection.mux.assemblers.iter().all(|it| matches!(it, mux::Assembler::Free)));
}

#[test]
fn a_remote_that_has_ended_its_side_is_answered_still() {
    let (mut b, mut hand) = serving();
    b.owner.value = std::vec![b'v'; 1000];
    let request = opening(Line::IpfsKad, |w| Request::GetValue { key: KEY }.encode(w));
    for n in 0..6 {
        hand.data(&mut b, 2 * n + 1, Flags::SYN.with(Flags::FIN), &request);
    }
    let frames = hand.frames(&mut b);
    for n in 0..6 {
        let of: Vec<_> = frames.iter().filter(|it| it.0.stream == 2 * n + 1).collect();
        assert_eq!((of[0].0.flags, of.last().copied()), (Flags::ACK, Some(&fin(2 * n + 1))));
        assert!(of.iter().map(|(_, data)| data.len()).sum::<usize>() > 1000, "stream {n}");
    }
}

#[test]
fn kademlia_is_served_under_both_names() {
    let (mut b, mut hand) = serving();
    for (id, line) in [(1, Line::PhaseKad), (3, Line::IpfsKad)] {
        let request = opening(line, |w| Request::GetValue { key: KEY }.encode(w));
        hand.data(&mut b, id, Flags::SYN, &request);
    }
    assert!(hand.frames(&mut b).iter().all(|(_, data)| data.len() > 80));
    assert_eq!(b.owner.told.len(), 3);
}
