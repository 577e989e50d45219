//! What remotes may do to us: each has one named and counted end, and no memory grows.

use super::*;
use crate::limits::{RX_FULL, STREAMS_PER_SIDE};

const IPFS: Dial = Dial { expected: None, prefer: Some(KadProtocol::Ipfs) };

/// A dialer with one request in progress, and its remote, which has taken nothing of it yet.
fn asking() -> (End, Hand) {
    let mut a = End::dialer(1, IPFS);
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, true);
    let frames = hand.frames(&mut a);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].0.stream, frames[0].0.flags), (1, Flags::SYN));
    (a, hand)
}

/// A listener, and the remote that has dialled it.
fn serving() -> (End, Hand) {
    let mut b = End::listener(2);
    let hand = Hand::dialer(&mut b, 1);
    (b, hand)
}

/// Why a dialer ends that is sent `octets` instead of a handshake.
fn answered(octets: &[u8]) -> Option<Error> {
    let mut a = End::<RX_SMALL>::dialer(1, Dial::default());
    a.get(5);
    a.feed(octets);
    a.owner.closed()
}

/// Why a listener ends that is sent `octets` instead of a handshake.
fn dialled(octets: &[u8]) -> Option<Error> {
    let mut b = End::<RX_SMALL>::listener(2);
    b.feed(octets);
    b.owner.closed()
}

#[test]
fn other_protocols_on_the_port_are_noticed_at_once() {
    for octets in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"H",
        b"GET /manifest HTTP/1.1\r\nHost: a\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"220 mail ESMTP\r\n",
        b"\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        // As long as the line that is expected.
        b"\x13/multistream/2.0.0\n",
        b"\x13/multistream/1.0.0\r",
    ] {
        assert_eq!(answered(octets), Some(Error::NotLibp2p), "{octets:?}");
        assert_eq!(dialled(octets), Some(Error::NotLibp2p), "{octets:?}");
    }
}

#[test]
fn remotes_without_our_protocols_are_told_apart() {
    let header = written(|w| Line::Multistream.encode(w));
    let lines = |lines: &[Line]| {
        let rest = written(|w| lines.iter().for_each(|line| line.encode(w)));
        [&header[..], &rest].concat()
    };
    assert_eq!(answered(&lines(&[Line::Na])), Some(Error::NoNoise));
    assert_eq!(answered(&lines(&[Line::Yamux])), Some(Error::NotLibp2p));
    assert_eq!(answered(&[&header[..], b"\xc8\x01"].concat()), None, "a long line may follow");
    assert_eq!(answered(&[&header[..], b"\x80\x04"].concat()), Some(Error::NotLibp2p), "too long");
    assert_eq!(dialled(&lines(&[Line::Yamux; 8])), None);
    assert_eq!(dialled(&lines(&[Line::Yamux; 9])), Some(Error::Proposals));
}

#[test]
fn refusals_of_a_listener_are_answered_line_by_line() {
    let mut b = End::<RX_SMALL>::listener(2);
    b.feed(&written(|w| {
        Line::Multistream.encode(w);
        crate::wire::multistream::encode_line(w, "/tls/1.0.0");
        crate::wire::multistream::encode_line(w, "/libp2p/simultaneous-connect");
        Line::Ls.encode(w);
        Line::Noise.encode(w);
    }));
    let answer = written(|w| {
        Line::Multistream.encode(w);
        (0..3).for_each(|_| Line::Na.encode(w));
        Line::Noise.encode(w);
    });
    assert_eq!(b.drain(1024), answer);
}

#[test]
fn a_remote_without_yamux_is_named() {
    let mut a = End::<RX_SMALL>::dialer(1, IPFS);
    a.get(5);
    let mut hand = Hand::listener_in_muxing(&mut a, 2);
    let answer = written(|w| {
        Line::Multistream.encode(w);
        Line::Na.encode(w);
    });
    a.feed(&hand.encrypt(&answer));
    assert_eq!(a.owner.closed(), Some(Error::NoYamux));
}

#[test]
fn silence_ends_a_handshake_in_every_phase() {
    let (mut whole, mut b) = (End::<RX_SMALL>::dialer(1, IPFS), End::<RX_SMALL>::listener(2));
    b.identity = identity(2).without_muxer();
    whole.get(5);
    let mut from_b = Vec::new();
    loop {
        let there = whole.drain(4096);
        b.feed(&there);
        let back = b.drain(4096);
        if there.is_empty() && back.is_empty() {
            break;
        }
        whole.feed(&back);
        from_b.extend(back);
    }
    // Multistream and Noise are in the clear; the first encrypted message answers the proposal of Yamux.
    let handshake = 20 + 8 + 2 + 200 + 2 + 34 + 16;
    for heard in 0..handshake {
        let mut a = End::<RX_SMALL>::dialer(1, IPFS);
        a.get(5);
        a.drain(4096);
        a.feed(&from_b[..heard]);
        a.drain(4096);
        a.wait(at(10_000));
        assert_eq!(a.owner.closed(), Some(Error::HandshakeTimedOut), "after {heard}");
        assert_eq!(a.owner.told.iter().filter(|it| matches!(it, Told::Failed(5, _))).count(), 1);
    }
    let mut b = End::<RX_SMALL>::listener(2);
    b.wait(at(4_999));
    assert_eq!(b.owner.closed(), None);
    b.wait(at(5_000));
    assert_eq!(b.owner.closed(), Some(Error::HandshakeTimedOut));
}

#[test]
fn a_request_that_is_not_answered_fails_and_its_stream_is_reset() {
    let (mut a, mut hand) = asking();
    a.wait(at(2_999));
    assert_eq!(a.owner.told.len(), 1);
    a.wait(at(3_000));
    assert_eq!(a.owner.told[1..], [Told::Failed(5, StreamError::TimedOut)]);
    let frames = hand.frames(&mut a);
    assert_eq!(frames, [(Header::data(1, Flags::RST, 0), std::vec![])]);
    // The answer comes after all.
    hand.data(&mut a, 1, Flags::ACK, &opening(Line::IpfsKad, |w| w.put(&response())));
    assert_eq!(a.owner.told.len(), 2);
    assert_eq!(a.owner.stats.frames_stray, 1);
    assert_eq!(a.owner.closed(), None);
}

#[test]
fn a_first_contact_that_is_not_answered_fails_once() {
    let mut a = End::<RX_SMALL>::dialer(1, Dial::default());
    a.get(5);
    let mut hand = Hand::listener(&mut a, 2, true);
    assert_eq!(hand.frames(&mut a).len(), 2);
    a.wait(at(60_000));
    assert_eq!(a.owner.told[1..], [Told::Failed(5, StreamError::TimedOut)]);
    assert_eq!(hand.frames(&mut a).len(), 2, "both streams are reset");
}

#[test]
fn a_remote_that_takes_no_octets_is_given_up() {
    let (mut b, mut hand) = serving();
    let request = opening(Line::PhaseKad, |w| Request::GetValue { key: KEY }.encode(w));
    hand.data(&mut b, 1, Flags::SYN, &request);
    b.wait(at(9_999));
    assert_eq!(b.owner.closed(), None);
    b.wait(at(10_000));
    assert_eq!(b.owner.closed(), Some(Error::Stuck));
    assert_eq!(b.connection.next_wake(), None);
}

#[test]
fn octets_that_leave_slowly_are_not_stuck() {
    let (mut b, mut hand) = serving();
    let request = opening(Line::PhaseKad, |w| Request::GetValue { key: KEY }.encode(w));
    hand.data(&mut b, 1, Flags::SYN, &request);
    for second in 1..100 {
        b.wait(at(second * 1000));
        assert_eq!(b.connection.poll_send(b.now, &mut [0], &mut b.owner), 1, "{second}");
    }
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn junk_after_the_handshake_ends_the_connection() {
    for junk in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 40], b"\0\x10aaaaaaaaaaaaaaaa", b"\0\0"] {
        let (mut a, _) = asking();
        let mut octets = junk.to_vec();
        // As long as the length it begins with says.
        octets.resize(2 + message_len([junk[0], junk[1]]).min(RX_SMALL), b'x');
        a.feed(&octets);
        let reason = a.owner.closed().unwrap();
        let too_large = Error::FrameTooLarge { len: message_len(*b"GE") };
        assert!([Error::Noise(noise::Error::Decrypt), too_large].contains(&reason), "{reason}");
        assert_eq!(a.owner.told[1], Told::Failed(5, StreamError::Closed));
    }
}

#[test]
fn every_changed_octet_of_a_message_ends_the_connection() {
    let plain = [&Header::data(1, Flags::ACK, 38).to_octets()[..], &[0; 38]].concat();
    for changed in 2..2 + plain.len() + 16 {
        let (mut a, mut hand) = asking();
        let mut message = hand.encrypt(&plain);
        message[changed] ^= 1;
        a.feed(&message);
        assert_eq!(a.owner.closed(), Some(Error::Noise(noise::Error::Decrypt)), "octet {changed}");
    }
    let (mut a, mut hand) = asking();
    let message = hand.encrypt(&Header::ping(1).to_octets());
    a.feed(&message);
    assert_eq!(a.owner.closed(), None);
    a.feed(&message);
    assert_eq!(a.owner.closed(), Some(Error::Noise(noise::Error::Decrypt)), "replayed");
}

#[test]
fn keys_that_are_used_up_end_the_connection() {
    let (mut a, _) = asking();
    a.connection.receive = Some(Cipher::with_nonce([1; 32], u64::MAX));
    a.feed(&[0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(a.owner.closed(), Some(Error::Noise(noise::Error::Exhausted)));

    let (mut a, mut hand) = asking();
    a.connection.send = Some(Cipher::with_nonce([1; 32], u64::MAX));
    hand.send(&mut a, &[(Header::ping(1), &[]), (Header::ping(2), &[])]);
    assert_eq!(a.drain(1024), []);
    assert_eq!(a.owner.closed(), Some(Error::Noise(noise::Error::Exhausted)));
    assert_eq!(a.drain(1024), []);
    assert_eq!(a.owner.closed(), Some(Error::Noise(noise::Error::Exhausted)));
}

#[test]
fn messages_of_64_kib_are_taken_where_they_fit_and_named_where_not() {
    let data = std::vec![b'x'; 65_535 - 16 - HEADER_LEN];
    let header = Header::data(1, Flags::NONE, u32::try_from(data.len()).unwrap());

    let mut a = End::<RX_FULL>::dialer(1, IPFS);
    let mut hand = Hand::listener(&mut a, 2, true);
    hand.send(&mut a, &[(header, &data)]);
    assert_eq!(a.owner.closed(), None);
    assert_eq!(a.owner.stats.frames_stray, 1);

    let mut a = End::<RX_SMALL>::dialer(1, IPFS);
    let mut hand = Hand::listener(&mut a, 2, true);
    hand.send(&mut a, &[(header, &data)]);
    assert_eq!(a.owner.closed(), Some(Error::FrameTooLarge { len: 65_535 }));
}

#[test]
fn unknown_protocols_are_refused_one_by_one() {
    let (mut b, mut hand) = serving();
    let lines = written(|w| {
        Line::Multistream.encode(w);
        crate::wire::multistream::encode_line(w, "/ipfs/bitswap/1.2.0");
        Line::IdentifyPush.encode(w);
        Line::Ls.encode(w);
        Line::Ping.encode(w);
    });
    hand.data(&mut b, 1, Flags::SYN, &lines);
    let frames = hand.frames(&mut b);
    let answer = written(|w| {
        Line::Multistream.encode(w);
        (0..3).for_each(|_| Line::Na.encode(w));
        Line::Ping.encode(w);
    });
    let len = u32::try_from(answer.len()).unwrap();
    assert_eq!(frames, [(Header::data(1, Flags::ACK, len), answer)]);
    assert_eq!(b.owner.stats.protocols_refused, 3);

    // More refusals than are kept.
    let lines = opening(Line::Ls, |w| (0..9).for_each(|_| Line::Ls.encode(w)));
    hand.data(&mut b, 3, Flags::SYN, &lines);
    assert_eq!(hand.frames(&mut b), [(Header::data(3, Flags::RST, 0), std::vec![])]);
    assert_eq!((b.owner.stats.streams_reset, b.owner.closed()), (1, None));
}

#[test]
fn a_request_after_a_refusal_is_skipped() {
    let (mut b, mut hand) = serving();
    b.owner.serves = false;
    // One whose octets are no line, one that could be: its last octet is a newline.
    for (id, key) in [(1, &[0xff; 300][..]), (3, KEY)] {
        let request = opening(Line::PhaseKad, |w| Request::GetValue { key }.encode(w));
        hand.data(&mut b, id, Flags::SYN, &request);
        let (header, data) = hand.frames(&mut b).remove(0);
        assert_eq!((header.stream, header.flags), (id, Flags::ACK));
        assert_eq!(data[..24], opening(Line::Na, |_| {}));
        hand.data(&mut b, id, Flags::FIN, &[]);
        assert_eq!(hand.frames(&mut b), [(Header::data(id, Flags::FIN, 0), std::vec![])]);
    }
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn streams_over_the_limit_are_reset() {
    let (mut b, mut hand) = serving();
    for n in 0..20 {
        hand.data(&mut b, 2 * n + 1, Flags::SYN, &[]);
    }
    let frames = hand.frames(&mut b);
    let reset = frames.iter().filter(|(header, _)| header.flags == Flags::RST).count();
    assert_eq!(reset, 20 - STREAMS_PER_SIDE);
    assert_eq!(b.owner.stats.streams_refused, 20 - STREAMS_PER_SIDE as u64);
    assert_eq!(b.owner.closed(), None);
    b.get(1);
    assert_eq!(hand.frames(&mut b).len(), 2, "there is room for ours");
}

/// CVE-2024-32984 (rust-yamux): what is owed to a remote that does not read grew without bound. CVE-2022-23486 and
/// CVE-2022-23492 (rust-libp2p, go-libp2p): so did what many streams held.
#[test]
fn floods_end_the_connection() {
    let flood = |header: fn(u32) -> Header| {
        let (mut b, mut hand) = serving();
        let frames: Vec<(Header, &[u8])> = (0..1000).map(|n| (header(n), &[][..])).collect();
        hand.send(&mut b, &frames);
        b.owner.closed()
    };
    assert_eq!(flood(Header::ping), Some(Error::Yamux(yamux::Error::Flood)));
    let syn = |n| Header::window_update(2 * n + 1, Flags::SYN, 0);
    assert_eq!(flood(syn), Some(Error::Yamux(yamux::Error::Flood)));
    // What costs us nothing is skipped.
    assert_eq!(flood(Header::pong), None);
    assert_eq!(flood(|n| Header::data(2 * n + 1, Flags::RST, 0)), None);
    assert_eq!(flood(|n| Header::window_update(n + 1, Flags::FIN, u32::MAX)), None);
}

#[test]
fn pings_that_are_answered_in_between_are_no_flood() {
    let (mut b, mut hand) = serving();
    for value in 0..1000 {
        hand.send(&mut b, &[(Header::ping(value), &[]), (Header::ping(value + 1), &[])]);
        let pongs = [value, value + 1].map(|value| (Header::pong(value), std::vec![]));
        assert_eq!(hand.frames(&mut b), pongs);
    }
}

#[test]
fn frames_that_break_the_rules_end_the_connection() {
    use yamux::Error as E;
    let sent = |frames: &[(Header, &[u8])]| {
        let (mut a, mut hand) = asking();
        hand.send(&mut a, frames);
        a.owner.closed()
    };
    let syn = |id| (Header::window_update(id, Flags::SYN, 0), &[][..]);
    assert_eq!(sent(&[syn(0)]), Some(Error::Yamux(E::StreamId)));
    assert_eq!(sent(&[syn(7)]), Some(Error::Yamux(E::StreamId)), "a number of ours");
    assert_eq!(sent(&[syn(2), syn(2)]), Some(Error::Yamux(E::Duplicate)));
    let data = Header::data(0, Flags::NONE, 1);
    assert_eq!(sent(&[(data, b"x")]), Some(Error::Yamux(E::StreamId)));
    for code in [0, 1, 2, 7] {
        let header = Header::go_away(code.into());
        assert_eq!(sent(&[(header, &[])]), Some(Error::GoAway(code)));
    }
    for octets in [*b"\x01\0\0\0\0\0\0\0\0\0\0\0", *b"\0\x09\0\0\0\0\0\0\0\0\0\0"] {
        let (mut a, mut hand) = asking();
        let message = hand.encrypt(&octets);
        a.feed(&message);
        assert!(matches!(a.owner.closed(), Some(Error::Yamux(E::Header(_)))));
    }
}

#[test]
fn data_past_the_window_ends_the_connection() {
    let window = crate::wire::yamux::INITIAL_WINDOW;
    // In one frame that only says so.
    let (mut a, mut hand) = asking();
    hand.send(&mut a, &[(Header::data(1, Flags::NONE, window + 1), &[])]);
    assert_eq!(a.owner.closed(), Some(Error::Yamux(yamux::Error::Window)));
    // In many, whose window updates never leave.
    let (mut a, mut hand) = asking();
    hand.data(&mut a, 1, Flags::ACK, &opening(Line::IpfsKad, |w| w.varint(4 << 20)));
    let mut sent = 41;
    while a.owner.closed().is_none() {
        hand.data(&mut a, 1, Flags::NONE, &[0x5a; 8000]);
        sent += 8000;
        assert!(sent <= window + 8000);
    }
    assert!(sent > window);
    assert_eq!(a.owner.closed(), Some(Error::Yamux(yamux::Error::Window)));
}

#[test]
fn windows_that_grow_without_end_do_no_harm() {
    let (mut b, mut hand) = serving();
    let request = opening(Line::PhaseKad, |w| Request::GetValue { key: KEY }.encode(w));
    hand.data(&mut b, 1, Flags::SYN, &request);
    for _ in 0..10 {
        hand.send(&mut b, &[(Header::window_update(1, Flags::NONE, u32::MAX), &[])]);
    }
    assert_eq!(hand.frames(&mut b).len(), 1);
    assert_eq!(b.connection.mux.stream(1).unwrap().send_window, u32::MAX);
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn responses_that_are_none_fail_their_request() {
    for (body, why) in [
        // More than 4 MiB; a length that is no number; a field that is none.
        (&b"\x81\x80\x80\x02"[..], StreamError::Malformed),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", StreamError::Malformed),
        (b"\x02\x1b\0", StreamError::Malformed),
    ] {
        let (mut a, mut hand) = asking();
        hand.data(&mut a, 1, Flags::ACK, &opening(Line::IpfsKad, |w| w.put(body)));
        assert_eq!(a.owner.told[1..], [Told::Failed(5, why)], "{body:?}");
        assert_eq!(hand.frames(&mut a), [(Header::data(1, Flags::RST, 0), std::vec![])]);
        assert_eq!(a.owner.closed(), None);
    }
    // Another protocol than was proposed; no negotiation at all.
    for answer in [opening(Line::PhaseKad, |_| {}), b"\x03no\n".to_vec(), b"\0".to_vec()] {
        let (mut a, mut hand) = asking();
        hand.data(&mut a, 1, Flags::ACK, &answer);
        assert_eq!(a.owner.told[1..], [Told::Failed(5, StreamError::Malformed)]);
    }
}

#[test]
fn requests_that_are_none_are_reset_and_counted() {
    type Case = (&'static [u8], fn(&Stats) -> u64);
    let requests: [Case; 4] = [
        (b"\0", |stats| stats.requests_malformed),
        (b"\x02\x08\x05", |stats| stats.requests_malformed),
        (b"\x03\x08\x01\x12", |stats| stats.requests_malformed),
        // Longer than 16 KiB.
        (b"\x81\x80\x01", |stats| stats.streams_reset),
    ];
    for (body, counted) in requests {
        let (mut b, mut hand) = serving();
        hand.data(&mut b, 1, Flags::SYN, &opening(Line::IpfsKad, |w| w.put(body)));
        let frames = hand.frames(&mut b);
        assert_eq!(frames.last(), Some(&(Header::data(1, Flags::RST, 0), std::vec![])), "{body:?}");
        assert_eq!(counted(&b.owner.stats), 1, "{body:?}");
        assert_eq!(b.owner.closed(), None);
    }
}

/// GHSA-xqvc-92cf-94j4: a length in front of a message reserves nothing.
#[test]
fn half_requests_take_no_more_than_their_places() {
    let (mut b, mut hand) = serving();
    let half = opening(Line::IpfsKad, |w| w.put(b"\x40\x08\x01"));
    for n in 0..5 {
        hand.data(&mut b, 2 * n + 1, Flags::SYN, &half);
    }
    assert_eq!(b.owner.stats.requests_over_limit, 1, "there are four places");
    // One that is longer than a place.
    let long = opening(Line::IpfsKad, |w| w.put(b"\xd0\x0f\x12\xcd\x0f"));
    hand.data(&mut b, 1, Flags::RST, &[]);
    hand.data(&mut b, 11, Flags::SYN, &long);
    hand.data(&mut b, 11, Flags::NONE, &[0; 1500]);
    assert_eq!(b.owner.stats.requests_over_limit, 2);
    // The others end by their time.
    hand.frames(&mut b);
    b.wait(at(60_000));
    assert!(b.connection.mux.assemblers.iter().all(|it| matches!(it, mux::Assembler::Free)));
    assert_eq!(hand.frames(&mut b).len(), 3);
    assert!(b.connection.mux.streams.iter().all(|it| it.is_free()));
}

#[test]
fn requests_without_end_to_a_remote_that_does_not_read_are_bounded() {
    let (mut b, mut hand) = serving();
    let request = written(|w| Request::GetValue { key: KEY }.encode(w));
    hand.data(&mut b, 1, Flags::SYN, &opening(Line::IpfsKad, |w| w.put(&request)));
    let mut sent = 0;
    while b.owner.stats.streams_reset == 0 {
        hand.data(&mut b, 1, Flags::NONE, &request);
        sent += 1;
        assert!(sent < 100);
    }
    // What was asked was answered as long as there was room; the rest is refused.
    assert!(b.owner.told.len() > 5);
    assert_eq!(b.owner.stats.requests_over_limit, 1);
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn a_stream_may_be_reset_or_ended_at_any_octet() {
    let answer = opening(Line::IpfsKad, |w| w.put(&response()));
    let request = opening(Line::IpfsKad, |w| Request::GetValue { key: KEY }.encode(w));
    for flag in [Flags::RST, Flags::FIN] {
        for cut in 0..answer.len() {
            let (mut a, mut hand) = asking();
            hand.data(&mut a, 1, Flags::NONE, &answer[..cut]);
            hand.send(&mut a, &[(Header::window_update(1, flag, 0), &[])]);
            hand.data(&mut a, 1, Flags::NONE, &answer[cut..]);
            let why = if flag == Flags::RST { StreamError::Reset } else { StreamError::Ended };
            assert_eq!(a.owner.told.last(), Some(&Told::Failed(5, why)), "{cut}");
            hand.frames(&mut a);
            assert!(a.connection.mux.streams.iter().all(|it| it.is_free()), "{cut}");
            let free = |it: &mux::Assembler| matches!(it, mux::Assembler::Free);
            assert!(a.connection.mux.assemblers.iter().all(free), "{cut}");
            assert_eq!(a.owner.closed(), None);
        }
        for cut in 0..request.len() {
            let (mut b, mut hand) = serving();
            hand.data(&mut b, 1, Flags::SYN, &request[..cut]);
            hand.send(&mut b, &[(Header::data(1, flag, 0), &[])]);
            hand.data(&mut b, 1, Flags::NONE, &request[cut..]);
            let frames = hand.frames(&mut b);
            let fin = (Header::data(1, Flags::FIN, 0), std::vec![]);
            assert_eq!(frames.last() == Some(&fin), flag == Flags::FIN, "{cut}");
            assert!(b.connection.mux.streams.iter().all(|it| it.is_free()), "{cut}");
            assert_eq!((b.owner.told.len(), b.owner.closed()), (1, None));
        }
    }
}

#[test]
fn streams_of_the_remote_that_are_silent_end() {
    let (mut b, mut hand) = serving();
    for (id, octets) in [(1, &[][..]), (3, &opening(Line::Ping, |_| {})), (5, b"\x13/multi")] {
        hand.data(&mut b, id, Flags::SYN, octets);
    }
    hand.frames(&mut b);
    b.wait(at(59_999));
    assert_eq!(hand.frames(&mut b), []);
    b.wait(at(60_000));
    let reset = [1, 3, 5].map(|id| (Header::data(id, Flags::RST, 0), std::vec![]));
    assert_eq!(hand.frames(&mut b), reset);
    assert_eq!(b.owner.closed(), None);
}
