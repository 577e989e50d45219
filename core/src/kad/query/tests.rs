//! Lookups: order, paths, ends and limits.

use super::*;
use core::net::SocketAddr;

fn contact(number: u8) -> Contact {
    let peer = PeerId::from_octets([number.max(3); 32]).unwrap();
    Contact::at(peer, SocketAddr::from(([10, 0, 0, number], 4001)))
}

fn port(contact: &Contact) -> u16 {
    contact.addresses.first().unwrap().port()
}

fn query() -> Query<48> {
    Query::new(Key::of(b"target"), None, Config::default())
}

/// The numbers, nearest to the target first.
fn sorted(numbers: core::ops::Range<u8>) -> std::vec::Vec<u8> {
    let mut numbers: std::vec::Vec<_> = numbers.collect();
    numbers.sort_by_key(|n| Key::of_peer(&contact(*n).peer).distance(&Key::of(b"target")));
    numbers
}

#[test]
fn a_lookup_without_anybody_is_over() {
    let mut query = query();
    assert!(query.is_done());
    assert_eq!(query.poll_contact(), None);
}

#[test]
fn no_more_than_alpha_are_waited_for_and_slow_ones_do_not_count() {
    let mut query = query();
    for number in 10..20 {
        assert!(query.seed(&contact(number)));
        assert!(!query.seed(&contact(number)));
    }
    let first: std::vec::Vec<_> = core::iter::from_fn(|| query.poll_contact()).collect();
    assert_eq!(first.len(), 3);
    query.slow(&first[0].peer);
    assert!(query.poll_contact().is_some());
    assert!(query.poll_contact().is_none());
    query.answered(&first[0].peer);
    assert_eq!(query.closest().count(), 1, "a late answer counts");
    assert!(!query.is_done());
}

#[test]
fn the_closest_that_answered_are_given_in_order() {
    let mut query = query();
    for number in 10..40 {
        query.seed(&contact(number));
    }
    while let Some(next) = query.poll_contact() {
        query.answered(&next.peer);
    }
    assert!(query.is_done());
    let found: std::vec::Vec<_> = query.closest().map(|one| one.peer).collect();
    let expected: std::vec::Vec<_> = sorted(10..40).into_iter().map(|n| contact(n).peer).collect();
    assert_eq!(found[..K], expected[..K]);
}

#[test]
fn peers_that_fail_are_replaced_by_farther_ones() {
    let mut query = query();
    for number in 10..50 {
        query.seed(&contact(number));
    }
    let order = sorted(10..50);
    let dead: std::vec::Vec<_> = order[..15].iter().map(|n| contact(*n).peer).collect();
    while let Some(next) = query.poll_contact() {
        if dead.contains(&next.peer) {
            query.failed(&next.peer)
        } else {
            query.answered(&next.peer)
        }
    }
    assert!(query.is_done());
    assert_eq!(query.counts().failed, 15);
    let found: std::vec::Vec<_> = query.closest().map(|one| one.peer).take(K).collect();
    let expected: std::vec::Vec<_> = order[15..35].iter().map(|n| contact(*n).peer).collect();
    assert_eq!(found, expected);
}

#[test]
fn nobody_is_asked_twice_and_never_we_ourselves() {
    let own = contact(9).peer;
    let mut query = Query::<48>::new(Key::of(b"target"), Some(own), Config::default());
    query.seed(&contact(10));
    let mut asked = std::vec::Vec::new();
    while let Some(next) = query.poll_contact() {
        assert!(!asked.contains(&next.peer) && next.peer != own);
        // A loop of peers that name each other, themselves and us.
        for number in 8..14 {
            query.heard(&next.peer, &contact(number));
        }
        query.answered(&next.peer);
        asked.push(next.peer);
    }
    assert!(query.is_done());
    assert_eq!(asked.len(), 5);
}

#[test]
fn an_answer_nobody_asked_for_is_not_taken() {
    let mut query = query();
    query.seed(&contact(10));
    query.seed(&contact(11));
    assert!(!query.heard(&contact(10).peer, &contact(20)), "10 was not asked yet");
    assert!(!query.heard(&contact(77).peer, &contact(20)), "77 is nobody");
    query.answered(&contact(10).peer);
    assert_eq!(query.closest().count(), 0);
    assert!(!query.heard(&contact(10).peer, &Contact::new(contact(30).peer)), "no address");
}

#[test]
fn a_liar_spends_his_paths_share_and_no_more() {
    let mut query = Query::<96>::new(Key::of(b"target"), None, Config::default());
    let order = sorted(10..250);
    // Three seeds, far away; one of them, and all that he names, lie.
    let (near, seeds) = (&order[..60], &order[237..]);
    for seed in seeds {
        query.seed(&contact(*seed));
    }
    let liar = contact(seeds[0]).peer;
    let mut invented = 0_u16;
    let mut honest = near.iter().skip(10).copied();
    let mut contacts_of_liar = 0;
    while let Some(next) = query.poll_contact() {
        let named_by_liar = port(&next) == 6666;
        if next.peer == liar || named_by_liar {
            contacts_of_liar += 1;
            for _ in 0..20 {
                invented += 1;
                let [high, low] = invented.to_be_bytes();
                let mut octets = [0x55; 32];
                octets[30..].copy_from_slice(&[high, low]);
                let address = SocketAddr::from(([10, 6, high, low], 6666));
                let fake = Contact::at(PeerId::from_octets(octets).unwrap(), address);
                query.heard(&next.peer, &fake);
            }
            query.answered(&next.peer);
        } else {
            for number in honest.by_ref().take(8) {
                query.heard(&next.peer, &contact(number));
            }
            query.answered(&next.peer);
        }
    }
    assert!(query.is_done());
    assert!(contacts_of_liar <= PEERS_PER_LOOKUP.div_ceil(3), "{contacts_of_liar}");
    let honest = query.closest().filter(|one| port(one) == 4001).count();
    assert!(honest >= 14, "{honest}");
}

#[test]
fn peers_that_do_not_exist_give_way_on_a_full_path() {
    let config = Config { paths: 1, ..Config::default() };
    let mut query = Query::<12>::new(Key::of(b"target"), None, config);
    let order = sorted(10..60);
    query.seed(&contact(order[45]));
    let seed = query.poll_contact().unwrap().peer;
    for number in &order[..11] {
        assert!(query.heard(&seed, &contact(*number)));
    }
    while let Some(next) = query.poll_contact() {
        query.failed(&next.peer);
    }
    assert!(query.heard(&seed, &contact(order[20])));
    assert_eq!(query.poll_contact(), Some(contact(order[20])));
}

#[test]
fn one_source_cannot_hide_a_peer_behind_wrong_addresses() {
    let mut query = query();
    query.seed(&contact(10));
    query.seed(&contact(11));
    let (a, b) = (query.poll_contact().unwrap().peer, query.poll_contact().unwrap().peer);
    let honest = contact(99);
    let mut bent = Contact::new(honest.peer);
    for port in 1..=4 {
        bent.addresses.add(SocketAddr::from(([192, 0, 2, 66], port)));
    }
    query.heard(&a, &bent);
    query.heard(&b, &honest);
    query.answered(&a);
    let next = query.poll_contact().unwrap();
    assert_eq!(next.peer, honest.peer);
    assert_eq!(next.addresses.iter().nth(1), honest.addresses.first());
    assert_eq!(next.addresses.count(), 4);
}

#[test]
fn a_bootstrap_that_the_caller_asks_by_itself_is_one_of_the_asked() {
    let mut query = query();
    assert!(query.asked(&contact(10)));
    assert!(!query.asked(&contact(10)));
    assert!(!query.is_done());
    assert!(query.heard(&contact(10).peer, &contact(20)));
    query.answered(&contact(10).peer);
    assert_eq!(query.poll_contact(), Some(contact(20)));
    assert_eq!(query.counts().contacted, 2);
}

#[test]
fn a_single_bootstrap_answer_is_dealt_to_all_paths() {
    let mut query = query();
    query.seed(&contact(10));
    query.poll_contact();
    for number in 20..32 {
        query.heard(&contact(10).peer, &contact(number));
    }
    let on = |path| query.candidates.iter().filter(|one| one.path == path).count();
    assert_eq!([on(0), on(1), on(2)], [5, 4, 4]);
}

#[test]
fn no_more_peers_are_asked_than_allowed() {
    let config = Config { contacts: 7, paths: 1, ..Config::default() };
    let mut query = Query::<48>::new(Key::of(b"target"), None, config);
    for number in 10..40 {
        query.seed(&contact(number));
    }
    while let Some(next) = query.poll_contact() {
        query.failed(&next.peer);
    }
    assert!(query.is_done());
    assert_eq!(query.counts(), &Counts { contacted: 7, failed: 7, ..Counts::default() });
}
