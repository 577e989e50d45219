//! Lookups in networks of 1,000 and 10,000 peers: only who knows whom is simulated, no time and no connections.

use std::net::SocketAddr;

use phase_core::identity::PeerId;
use phase_core::kad::query::{Config, Counts};
use phase_core::kad::{Contact, K, Key, Query};
use phase_core::rng::{Rng, Seed};

/// What a peer does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Names the peers it knows that are closest.
    Honest,
    /// Answers nobody.
    Silent,
    /// Names peers that do not exist, close to everything.
    Liar,
    /// Names itself, who asks, and those of its kind, again and again.
    Loop,
    /// Names all the peers it knows, in no order.
    Huge,
}

struct Peer {
    id: PeerId,
    point: Key,
    manner: Manner,
    /// Numbers of the peers it knows.
    knows: Vec<usize>,
}

/// Peers in the order of their points.
struct World {
    peers: Vec<Peer>,
    rng: Rng,
    invented: u32,
}

fn random_id(rng: &mut Rng) -> PeerId {
    let mut octets = [0; 32];
    octets.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.u64().to_be_bytes()));
    PeerId::from_octets(octets).expect("no weak key is drawn")
}

fn below(rng: &mut Rng, end: usize) -> usize {
    usize::try_from(rng.u64() % u64::try_from(end).expect("fits")).expect("fits")
}

impl World {
    /// `bad`: how many of ten are not honest.
    fn new(count: usize, bad: usize, seed: u8) -> Self {
        let mut rng = Seed([seed; 32]).stream("world");
        let manners = [Manner::Silent, Manner::Liar, Manner::Loop, Manner::Huge];
        let mut peers: Vec<Peer> = (0..count)
            .map(|number| {
                let id = random_id(&mut rng);
                let is_bad = number % 10 < bad;
                let manner =
                    if is_bad { manners[number / 10 % manners.len()] } else { Manner::Honest };
                Peer { id, point: Key::of_peer(&id), manner, knows: Vec::new() }
            })
            .collect();
        peers.sort_by_key(|peer| peer.point);
        let mut world = Self { peers, rng, invented: 0 };
        for number in 0..count {
            world.peers[number].knows = world.table_of(number);
        }
        world
    }

    /// Up to 20 peers of each bucket: those whose points share a prefix of some length and differ in the next bit.
    fn table_of(&mut self, number: usize) -> Vec<usize> {
        let own = self.peers[number].point;
        let (mut low, mut high) = (0, self.peers.len());
        let mut knows = Vec::new();
        for bit in 0..256 {
            let is_set = |point: &Key| point.0[bit / 8] & (0x80 >> (bit % 8)) != 0;
            let middle = low + self.peers[low..high].partition_point(|peer| !is_set(&peer.point));
            let (ours, other) = if is_set(&own) {
                ((middle, high), (low, middle))
            } else {
                ((low, middle), (middle, high))
            };
            let span = other.1 - other.0;
            if span <= K {
                knows.extend(other.0..other.1);
            } else {
                let mut drawn: Vec<usize> =
                    (0..K).map(|_| other.0 + below(&mut self.rng, span)).collect();
                drawn.sort_unstable();
                drawn.dedup();
                knows.extend(drawn);
            }
            (low, high) = ours;
            if high - low <= 1 {
                break;
            }
        }
        knows
    }

    fn contact(&self, number: usize) -> Contact {
        let [_, a, b, c] = u32::try_from(number).expect("fits").to_be_bytes();
        Contact::at(self.peers[number].id, SocketAddr::from(([10, a, b, c], 4001)))
    }

    fn number_of(&self, contact: &Contact) -> Option<usize> {
        let SocketAddr::V4(at) = contact.addresses.first()? else { return None };
        let [ten, a, b, c] = at.ip().octets();
        let number = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("fits");
        (ten == 10 && self.peers.get(number)?.id == contact.peer).then_some(number)
    }

    fn sorted(&self, mut numbers: Vec<usize>, target: &Key) -> Vec<usize> {
        numbers.sort_by_key(|number| self.peers[*number].point.distance(target));
        numbers
    }

    /// What a peer answers; `None`: nothing.
    fn answer(&mut self, number: usize, asker: usize, target: &Key) -> Option<Vec<Contact>> {
        let knows = self.peers[number].knows.clone();
        let contacts = |world: &Self, numbers: &[usize]| {
            numbers.iter().map(|number| world.contact(*number)).collect::<Vec<_>>()
        };
        Some(match self.peers[number].manner {
            Manner::Silent => return None,
            Manner::Honest => {
                let sorted = self.sorted(knows, target);
                contacts(self, &sorted[..K.min(sorted.len())])
            }
            Manner::Huge => contacts(self, &knows),
            Manner::Loop => {
                let kin = (0..self.peers.len()).filter(|n| self.peers[*n].manner == Manner::Loop);
                let kin: Vec<usize> = kin.take(18).chain([number, asker]).collect();
                contacts(self, &kin)
            }
            Manner::Liar => (0..K).map(|_| self.invent(target)).collect(),
        })
    }

    /// A peer that does not exist, closer to the target than one in thousands.
    fn invent(&mut self, target: &Key) -> Contact {
        self.invented += 1;
        let [a, b, c, d] = self.invented.to_be_bytes();
        let near = (0..64).map(|_| random_id(&mut self.rng));
        let id = near.min_by_key(|id| Key::of_peer(id).distance(target)).expect("one of 64");
        Contact::at(id, SocketAddr::from(([66, b ^ a, c, d], 4001)))
    }

    /// Looks up a random target from a random honest peer. How many of the 20 closest honest peers answered, whether
    /// the closest is among them, and what it took.
    fn look_up(&mut self) -> (usize, bool, Counts) {
        let target = Key::of(&self.rng.u64().to_be_bytes());
        let asker = loop {
            let number = below(&mut self.rng, self.peers.len());
            if self.peers[number].manner == Manner::Honest {
                break number;
            }
        };
        let mut query = Query::<96>::new(target, Some(self.peers[asker].id), Config::default());
        let seeds = self.sorted(self.peers[asker].knows.clone(), &target);
        seeds[..K.min(seeds.len())].iter().for_each(|seed| _ = query.seed(&self.contact(*seed)));
        while let Some(next) = query.poll_contact() {
            let number = self.number_of(&next);
            match number.and_then(|number| self.answer(number, asker, &target)) {
                Some(contacts) => {
                    contacts.iter().for_each(|contact| _ = query.heard(&next.peer, contact));
                    query.answered(&next.peer);
                }
                None => query.failed(&next.peer),
            }
        }
        assert!(query.is_done());
        let honest = (0..self.peers.len())
            .filter(|n| self.peers[*n].manner == Manner::Honest && *n != asker)
            .collect();
        let closest = self.sorted(honest, &target);
        let found: Vec<PeerId> = query.closest().map(|contact| contact.peer).collect();
        let is_found = |number: &usize| found.contains(&self.peers[*number].id);
        let hits = closest[..K].iter().filter(|number| is_found(number)).count();
        (hits, is_found(&closest[0]), *query.counts())
    }
}

/// Of `lookups`: how many found the closest peer, how many of the 20 closest were found on average, and how many
/// peers were asked on average.
fn measure(count: usize, bad: usize, lookups: usize) -> (usize, f64, f64) {
    let mut world = World::new(count, bad, 7);
    let (mut closest, mut hits, mut contacted) = (0, 0, 0);
    for _ in 0..lookups {
        let (found, is_closest, counts) = world.look_up();
        closest += usize::from(is_closest);
        hits += found;
        contacted += counts.contacted;
    }
    let mean = |sum: usize| {
        f64::from(u32::try_from(sum).expect("fits"))
            / f64::from(u32::try_from(lookups).expect("fits"))
    };
    (closest, mean(hits), mean(contacted))
}

#[test]
fn honest_networks_give_the_twenty_closest_at_a_cost_that_grows_as_the_logarithm() {
    let (small, small_hits, small_cost) = measure(1_000, 0, 40);
    let (large, large_hits, large_cost) = measure(10_000, 0, 40);
    println!(
        "1,000 peers: {small_hits} of 20, {small_cost} asked; 10,000: {large_hits}, {large_cost}"
    );
    assert_eq!((small, large), (40, 40));
    assert!(small_hits >= 19.9 && large_hits >= 19.8, "{small_hits} {large_hits}");
    // Ten times the peers are 3.3 more bits: a few more steps, not ten times the work.
    assert!(large_cost - small_cost < 8.0 && large_cost < 40.0, "{small_cost} {large_cost}");
}

#[test]
fn a_fifth_of_bad_peers_costs_more_and_hides_nothing() {
    let (closest, hits, cost) = measure(1_000, 2, 100);
    println!(
        "1,000 peers, a fifth bad: {hits} of 20, {cost} asked, closest found {closest} of 100"
    );
    assert!(closest >= 99, "{closest}");
    assert!(hits >= 17.5, "{hits}");
    assert!(cost <= 64.0, "{cost}");
}
