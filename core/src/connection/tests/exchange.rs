//! Two connections joined by buffers: requests and answers, at every cut.

use super::*;

const PHASE: Dial = Dial { expected: None, prefer: Some(KadProtocol::Phase) };

/// What a GET of the served record tells under `tag`.
fn got(tag: u32) -> [Told; 4] {
    let closer = |seed| Told::Closer(tag, secret(seed).peer_id());
    [Told::Record(tag, VALUE.to_vec()), closer(7), closer(8), Told::End(tag)]
}

#[test]
fn a_record_is_got_in_two_flights() {
    for prefer in [None, Some(KadProtocol::Phase), Some(KadProtocol::Ipfs)] {
        let expected = Some(secret(2).peer_id());
        let mut a = End::<RX_SMALL>::dialer(1, Dial { expected, prefer });
        let mut b = End::<RX_SMALL>::listener(2);
        a.get(5);
        while !a.owner.has(&Told::End(5)) {
            let there = a.drain(4096);
            b.feed(&there);
            let back = b.drain(4096);
            assert!(!back.is_empty());
            a.feed(&back);
        }
        assert_eq!(a.flights, 2, "{prefer:?}");
        join(&mut a, &mut b, usize::MAX, 4096);
        let told = [&[Told::Established(secret(2).peer_id())][..], &got(5)].concat();
        assert_eq!(a.owner.told, told);
        assert_eq!(b.owner.told[0], Told::Established(secret(1).peer_id()));
        assert_eq!(b.owner.told[1..], [Told::Asked("GetValue".into())]);
        let shown = match prefer {
            Some(KadProtocol::Ipfs) => KadProtocol::Ipfs,
            Some(KadProtocol::Phase) | None => KadProtocol::Phase,
        };
        assert_eq!(a.connection.kad_protocol(), Some(shown));
        assert_eq!(a.connection.idle_since(), Some(Instant::ZERO));
        assert_eq!(b.connection.idle_since(), Some(Instant::ZERO));
        assert!(a.connection.mux.streams.iter().all(|it| it.is_free()));
        assert!(b.connection.mux.streams.iter().all(|it| it.is_free()));
    }
}

#[test]
fn every_cut_of_an_exchange_makes_no_difference() {
    // The whole exchange once, as what each side sends in turn.
    let (mut a, mut b) =
        (End::<RX_SMALL>::dialer(1, Dial::default()), End::<RX_SMALL>::listener(2));
    a.get(5);
    join(&mut a, &mut b, usize::MAX, 4096);
    let (told_a, told_b) = (a.owner.told.clone(), b.owner.told.clone());
    let mut total = usize::MAX;
    let mut cut = 0;
    while cut < total {
        let (mut a, mut b) =
            (End::<RX_SMALL>::dialer(1, Dial::default()), End::<RX_SMALL>::listener(2));
        a.get(5);
        // All octets arrive whole, but for those before and after the cut.
        let mut seen = 0;
        let mut carry = |octets: &[u8], to: &mut End| {
            let at = cut.saturating_sub(seen).min(octets.len());
            seen += octets.len();
            for part in [&octets[..at], &octets[at..]] {
                to.feed(part);
            }
        };
        loop {
            let there = a.drain(4096);
            carry(&there, &mut b);
            let back = b.drain(4096);
            carry(&back, &mut a);
            if there.is_empty() && back.is_empty() {
                break;
            }
        }
        assert_eq!((&a.owner.told, &b.owner.told), (&told_a, &told_b), "cut at {cut}");
        total = seen;
        cut += 1;
    }
    assert!(total > 900, "{total}");
}

#[test]
fn one_octet_at_a_time_and_room_for_one_make_no_difference() {
    for (piece, room) in [(1, 4096), (4096, 1), (1, 1), (7, 3)] {
        let mut a = End::<RX_SMALL>::dialer(1, Dial::default());
        let mut b = End::<RX_SMALL>::listener(2);
        a.get(5);
        a.open(Request::GetProviders { key: KEY }, 6).unwrap();
        join(&mut a, &mut b, piece, room);
        assert!(got(5).iter().all(|it| a.owner.has(it)), "{piece} {room}");
        assert!(a.owner.has(&Told::Provider(6, secret(7).peer_id())) && a.owner.has(&Told::End(6)));
    }
}

#[test]
fn every_request_has_its_end() {
    let (mut a, mut b) = (End::<RX_SMALL>::dialer(1, PHASE), End::<RX_SMALL>::listener(2));
    let record = Record { key: KEY, value: VALUE, publisher: None, ttl: 7200 };
    let provider = contact(1);
    let requests = [
        Request::GetValue { key: KEY },
        Request::PutValue { record },
        Request::FindNode { key: KEY },
        Request::GetProviders { key: KEY },
        Request::AddProvider { key: KEY, providers: crate::wire::kad::Peers::of(&provider) },
    ];
    for (tag, request) in (0..).zip(requests) {
        a.open(request, tag).unwrap();
    }
    assert_eq!(a.connection.in_flight(), 5);
    assert_eq!(a.connection.idle_since(), None);
    join(&mut a, &mut b, usize::MAX, 4096);
    assert_eq!(a.connection.in_flight(), 0);
    for tag in 0..5 {
        assert_eq!(a.owner.told.iter().filter(|it| **it == Told::End(tag)).count(), 1, "{tag}");
    }
    let asked = ["GetValue", "PutValue", "FindNode", "GetProviders", "AddProvider"];
    assert_eq!(b.owner.told[1..], asked.map(|it| Told::Asked(it.into())));
    assert!(a.owner.has(&Told::Record(1, VALUE.to_vec())), "a PUT is echoed");
}

#[test]
fn a_listener_asks_as_well() {
    let (mut a, mut b) = (End::<RX_SMALL>::dialer(1, PHASE), End::<RX_SMALL>::listener(2));
    assert_eq!(b.open(Request::GetValue { key: KEY }, 1), Err(NoRoom), "before the handshake");
    join(&mut a, &mut b, usize::MAX, 4096);
    b.get(1);
    b.connection.open_identify(b.now).unwrap();
    join(&mut a, &mut b, usize::MAX, 4096);
    assert!(b.owner.has(&Told::End(1)));
    let identified = b.owner.told.iter().find_map(|it| {
        if let Told::Identified(identified) = it { Some(identified.clone()) } else { None }
    });
    let identified = identified.unwrap();
    assert_eq!(identified.peer, Some(secret(1).peer_id()));
    assert!(identified.speaks(Line::PhaseKad));
    assert_eq!(identified.agent, "test");
    assert!(b.connection.mux.streams.iter().all(|it| it.is_free()));
}

#[test]
fn a_client_refuses_kademlia_and_says_so() {
    let (mut a, mut b) =
        (End::<RX_SMALL>::dialer(1, Dial::default()), End::<RX_SMALL>::listener(2));
    b.owner.serves = false;
    a.get(5);
    join(&mut a, &mut b, usize::MAX, 4096);
    assert_eq!(a.owner.told[1..], [Told::Failed(5, StreamError::Refused)]);
    assert!(b.owner.stats.protocols_refused >= 2);
    assert_eq!(b.owner.closed(), None);
}

#[test]
fn a_refused_request_is_reset() {
    let (mut a, mut b) = (End::<RX_SMALL>::dialer(1, PHASE), End::<RX_SMALL>::listener(2));
    b.owner.answer = Answer::Reset;
    a.get(5);
    join(&mut a, &mut b, usize::MAX, 4096);
    assert_eq!(a.owner.told[1..], [Told::Failed(5, StreamError::Reset)]);
    b.owner.answer = Answer::Reply;
    a.get(6);
    join(&mut a, &mut b, usize::MAX, 4096);
    assert!(a.owner.has(&Told::End(6)), "the connection goes on");
}

#[test]
fn another_peer_at_the_address_is_named_and_learns_nothing() {
    let expected = Some(secret(3).peer_id());
    let mut a = End::<RX_SMALL>::dialer(1, Dial { expected, prefer: None });
    let mut b = End::<RX_SMALL>::listener(2);
    a.get(5);
    join(&mut a, &mut b, usize::MAX, 4096);
    assert_eq!(a.flights, 1, "nothing follows the first");
    let found = secret(2).peer_id();
    assert_eq!(a.owner.closed(), Some(Error::WrongPeer { found }));
    assert_eq!(a.owner.told[0], Told::Failed(5, StreamError::Closed));
    assert_eq!(b.owner.told, []);
}

#[test]
fn closing_fails_what_is_in_progress_and_tells_the_remote() {
    let (mut a, mut b) =
        (End::<RX_SMALL>::dialer(1, Dial::default()), End::<RX_SMALL>::listener(2));
    join(&mut a, &mut b, usize::MAX, 4096);
    a.get(5);
    a.connection.close(&mut a.owner);
    assert_eq!(
        a.owner.told[1..],
        [Told::Failed(5, StreamError::Closed), Told::Closed(Error::Closed)]
    );
    join(&mut a, &mut b, usize::MAX, 4096);
    assert_eq!(b.owner.closed(), Some(Error::GoAway(0)));
    assert_eq!(a.owner.closed(), Some(Error::Closed));
    assert!(a.connection.is_closed() && a.connection.next_wake().is_none());
    a.connection.reset();
    assert!(a.connection.is_vacant());
}

#[test]
fn a_place_is_used_again() {
    let (mut a, mut b) =
        (End::<RX_SMALL>::dialer(1, Dial::default()), End::<RX_SMALL>::listener(2));
    for round in 0..3 {
        a.connection.dial(a.now, [round; 32], Dial::default());
        b.connection.accept(b.now, [round + 7; 32]);
        a.get(u32::from(round));
        a.get(100 + u32::from(round));
        if round == 1 {
            // Left in the middle of everything.
            let first = a.drain(4096);
            b.feed(&first);
            let half = b.drain(4096);
            a.feed(&half[..half.len() / 2]);
            continue;
        }
        join(&mut a, &mut b, usize::MAX, 4096);
        assert!(a.owner.has(&Told::End(100 + u32::from(round))));
    }
}

#[test]
fn losing_tcp_at_any_point_fails_each_request_once() {
    for lost in (0..1100).step_by(3) {
        let mut a = End::<RX_SMALL>::dialer(1, Dial::default());
        let mut b = End::<RX_SMALL>::listener(2);
        a.get(5);
        a.get(6);
        let mut left = lost;
        loop {
            let there = a.drain(4096);
            b.feed(&there);
            let mut back = b.drain(4096);
            back.truncate(left);
            left -= back.len();
            a.feed(&back);
            if back.is_empty() {
                break;
            }
        }
        a.connection.handle_lost(&mut a.owner);
        a.connection.handle_lost(&mut a.owner);
        for tag in [5, 6] {
            let ends = a.owner.told.iter().filter(|it| {
                **it == Told::End(tag) || matches!(it, Told::Failed(failed, _) if *failed == tag)
            });
            assert_eq!(ends.count(), 1, "lost after {lost}: {:?}", a.owner.told);
        }
        assert_eq!(a.owner.closed(), Some(Error::Lost));
    }
}
