//! A DHT of the project's own nodes under churn, with the clock and the network simulated and everything else as in
//! the programs: how many lookups succeed, and what they and the nodes cost as the network grows.
//! `cargo bench -p phase-tests --bench network -- 100 1000`
//!
//! One provider publishes and stays. Every other node stays for a while, half of them for more than an hour, is away
//! for five minutes, and comes back with its kept table and an empty store. Clients are new each time and begin with
//! two nodes drawn at random.
#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the clock")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant as Clock};

use phase_core::client::{Carriers, Client, Config, Event, Mode};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder};
use phase_core::limits::RX_SMALL;
use phase_core::rng::Rng;
use phase_core::time::Instant;
use phase_tests::harness::{
    DHT_PORT, DhtNode, DhtSize, Door, EPOCH, HostId, Kept, Network, Recorded, Station,
    client_config, image, pinned, seed,
};

type WideClient = Client<Finder<Box<[ClientSlot<RX_SMALL>]>, RX_SMALL>>;

/// As many connections of others as `phase-provider` takes, and as many places again.
const SIZE: DhtSize = DhtSize { connections: 24, peers: 160, records: 16 };

/// Half of the nodes stay longer than this.
const HALF_LIFE: f64 = 3600.0;

/// How long a node is away.
const AWAY: Duration = Duration::from_secs(300);

/// Nodes come over this time, then the network is left alone for as long, and then looked at.
const JOINING: Duration = Duration::from_secs(180);
const MEASURED: Duration = Duration::from_secs(1200);
const LOOKUPS: u32 = 300;

/// How long a client tries; a search that finds nothing is done again after five seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// The number of the client's host, which is another client each time.
const CLIENT: u64 = 1 << 20;

fn main() {
    let asked: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![100, 300, 1000] } else { asked };
    println!(
        " nodes  lookups  found %  at once %  dials p50  p95  kB p50   ms p50   p99  dials/node/h  MB  seconds"
    );
    for nodes in sizes {
        let start = Clock::now();
        let mut world = World::new(nodes);
        world.join();
        let before = world.dials();
        world.measure();
        let hours = MEASURED.as_secs_f64() / 3600.0;
        let per_node = (world.dials() - before) as f64 / hours / nodes as f64;
        let count = world.lookups.len() as f64;
        let percent = |is_it: &dyn Fn(&&Lookup) -> bool| {
            100.0 * world.lookups.iter().filter(is_it).count() as f64 / count
        };
        let sorted = |of: &dyn Fn(&Lookup) -> f64| {
            let mut all: Vec<_> = world.lookups.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            move |part: f64| all[((all.len() - 1) as f64 * part) as usize]
        };
        let dials = sorted(&|one| one.dials as f64);
        let octets = sorted(&|one| one.octets as f64 / 1000.0);
        let times = sorted(&|one| one.took.map_or(f64::INFINITY, |took| took.as_secs_f64() * 1e3));
        println!(
            "{nodes:>6}  {count:>7}  {:>7.2}  {:>9.2}  {:>9}  {:>3}  {:>6.1}  {:>7.0}  {:>4.0}  {per_node:>12.0}  {:>2}  {:>7.0}",
            percent(&|one| one.took.is_some()),
            percent(&|one| one.in_vain.is_none()),
            dials(0.5),
            dials(0.95),
            octets(0.5),
            times(0.5),
            times(0.99),
            resident(),
            start.elapsed().as_secs_f64(),
        );
        for (number, lookup) in world.lookups.iter().enumerate() {
            if let Some(report) = &lookup.in_vain {
                println!("the first search of lookup {number} found nothing:\n{report}");
            }
        }
    }
}

struct Lookup {
    /// From its start to the first accepted candidate, within the quarter of a minute that it may take.
    took: Option<Duration>,
    /// What the first search did, if it found nothing and was done again.
    in_vain: Option<String>,
    dials: u64,
    /// Sent and received by the client.
    octets: u64,
}

/// What happens to a node next.
enum Fate {
    Goes,
    Comes(Kept),
}

struct World {
    network: Network,
    rng: Rng,
    hosts: Vec<HostId>,
    provider: HostId,
    client: HostId,
    fates: Vec<(Instant, Fate)>,
    lookups: Vec<Lookup>,
}

fn ip(number: u64) -> IpAddr {
    let [.., high, middle, low] = number.to_be_bytes();
    // Few share a prefix: limits on prefixes are not what is measured.
    IpAddr::from([11 + (low % 100), low, middle, high + 1])
}

fn bootstrap(number: u64) -> SocketAddr {
    SocketAddr::new(ip(number), DHT_PORT)
}

impl World {
    fn new(nodes: u64) -> Self {
        let mut network = Network::new(nodes);
        let rng = seed(nodes).stream("world");
        let mut add = |number: u64, bootstraps: &[SocketAddr]| {
            let node = DhtNode::with(network.now(), number, ip(number), bootstraps, (SIZE, 3600));
            network.node(node, &[ip(number)], Door::Open(DHT_PORT))
        };
        let (first, provider) = (add(0, &[]), add(nodes, &[bootstrap(0)]));
        network.with_node(provider, |now, node: &mut DhtNode| {
            node.publish(now, image("stable", "arm64", "1"));
        });
        let client =
            network.machine(wide_client(Instant::ZERO, 0, nodes, &[]), &[ip(CLIENT)], Door::Silent);
        let lookups = Vec::new();
        Self { network, rng, hosts: vec![first], provider, client, fates: vec![], lookups }
            .with_room(nodes)
    }

    fn with_room(mut self, nodes: u64) -> Self {
        let count = usize::try_from(nodes).unwrap();
        self.hosts.reserve(count);
        self.fates = (0..count).map(|_| (Instant::ZERO, Fate::Goes)).collect();
        self
    }

    /// A number of a node that is there.
    fn anybody(&mut self) -> u64 {
        loop {
            let at = usize::try_from(self.rng.u64()).unwrap() % self.hosts.len();
            if self.network.is_present(self.hosts[at]) {
                return u64::try_from(at).unwrap();
            }
        }
    }

    fn session(&mut self) -> Duration {
        // 53 bits are what a double holds exactly; never 0.
        let unit = ((self.rng.u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Duration::from_secs_f64((-unit.log2() * HALF_LIFE).min(1e6))
    }

    fn join(&mut self) {
        let count = self.fates.len();
        let pause = JOINING / u32::try_from(count).unwrap();
        for number in 1..count {
            self.network.run(pause);
            let bootstraps = [bootstrap(self.anybody()), bootstrap(self.anybody())];
            let now = self.network.now();
            let number = u64::try_from(number).unwrap();
            let node = DhtNode::with(now, number, ip(number), &bootstraps, (SIZE, 3600));
            self.hosts.push(self.network.node(node, &[ip(number)], Door::Open(DHT_PORT)));
        }
        for at in 0..count {
            let stays = self.session();
            self.fates[at].0 = self.network.now() + JOINING + stays;
        }
        self.network.run(JOINING);
    }

    fn measure(&mut self) {
        let pause = MEASURED / LOOKUPS;
        let end = self.network.now() + MEASURED;
        for number in 1.. {
            let next = self.network.now() + pause;
            if next > end {
                return;
            }
            self.churn();
            self.look_up(number);
            let now = self.network.now();
            self.network.run(next.since(now));
        }
    }

    fn churn(&mut self) {
        let now = self.network.now();
        for at in 0..self.hosts.len() {
            if self.fates[at].0 > now {
                continue;
            }
            let host = self.hosts[at];
            let kept = self.network.node_of::<DhtNode>(host).kept();
            match std::mem::replace(&mut self.fates[at].1, Fate::Goes) {
                Fate::Goes => {
                    self.network.unplug(host);
                    self.fates[at] = (now + AWAY, Fate::Comes(kept));
                }
                Fate::Comes(kept) => {
                    let node = self.network.node_of::<DhtNode>(host).restarted(now, &kept);
                    self.network.restart(host, Station::Node(Box::new(node)));
                    let stays = self.session();
                    self.fates[at].0 = now + stays;
                }
            }
        }
    }

    fn look_up(&mut self, number: u64) {
        let (start, host) = (self.network.now(), self.client);
        let bootstraps = [bootstrap(self.anybody()), bootstrap(self.anybody())];
        let provider = u64::try_from(self.fates.len()).unwrap();
        let client = wide_client(start, number, provider, &bootstraps);
        self.network.restart(host, Station::Node(Box::new(Recorded::new(client))));
        let before = self.network.tcp_traffic(host);
        let told = |network: &Network, is_it: fn(&Event) -> bool| {
            network.told_by::<WideClient>(host).iter().any(|(_, event)| is_it(event))
        };
        let accepted: fn(&Event) -> bool = |event| matches!(event, Event::Accepted(_));
        let over = |network: &Network| told(network, |event| *event == Event::Searched);
        self.network.run_until(PATIENCE, over);
        let report = || self.network.machine_of::<WideClient>(host).dht().report().to_string();
        let in_vain = (!told(&self.network, accepted)).then(report);
        let left = PATIENCE.saturating_sub(self.network.now().since(start));
        self.network.run_until(left, |network| told(network, accepted));
        let told = self.network.told_by::<WideClient>(host).iter();
        let mut told = told.filter(|(_, event)| accepted(event));
        let took = told.next().map(|(at, _)| at.since(start));
        let after = self.network.tcp_traffic(host);
        let octets = |traffic: phase_tests::harness::TcpTraffic| {
            traffic.octets_sent + traffic.octets_received
        };
        let (dials, octets) = (after.dials - before.dials, octets(after) - octets(before));
        self.lookups.push(Lookup { took, in_vain, dials, octets });
        self.network.unplug(host);
    }

    /// Dials of all nodes so far.
    fn dials(&self) -> u64 {
        let all = self.hosts.iter().chain([&self.provider]);
        all.map(|host| self.network.tcp_traffic(*host).dials).sum()
    }
}

fn wide_client(now: Instant, number: u64, provider: u64, bootstraps: &[SocketAddr]) -> WideClient {
    let number = CLIENT + number;
    let config = Config {
        carriers: Carriers::Wan,
        clock: Some(EPOCH.plus(now.as_micros() / 1_000_000)),
        ..client_config(number, pinned([provider]), Mode::OneShot)
    };
    let slots = (0..3).map(|_| ClientSlot::new()).collect();
    let (channel, arch) = (config.channel.clone(), config.arch.clone());
    let mut finder = Finder::new(now, &seed(number), slots, channel, arch);
    for address in bootstraps {
        // One may be drawn twice.
        let _ = finder.add_bootstrap(now, Bootstrap::new(&address.to_string(), [*address], None));
    }
    Client::with_dht(now, config, finder)
}

/// Megabytes that this process has in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1000
}
