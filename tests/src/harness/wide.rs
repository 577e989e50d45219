//! Hosts anywhere in the world: any [`Node`] at any addresses, and what may happen to the way between them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::machine::{ConnectionId, Machine};
use phase_core::time::Instant;

use super::network::{HostId, Network};
use super::station::{Node, Recorded, Station};
use super::tcp::{Door, TcpConditions, TcpTraffic};

impl Network {
    /// Adds a host without links at these addresses: it has TCP alone, and reaches every other host.
    ///
    /// # Panics
    /// When another host has one of the addresses: the test is wrong.
    pub fn node(&mut self, node: impl Node, addresses: &[IpAddr], door: Door) -> HostId {
        self.tcp.add_host(addresses.to_vec(), door);
        let id = self.add(Station::Node(Box::new(node)), Vec::new());
        // Without links nothing tells it that it is there.
        self.drain(id);
        id
    }

    /// As [`Network::node`], for a machine whose events are kept.
    ///
    /// # Panics
    /// When another host has one of the addresses: the test is wrong.
    pub fn machine<M>(&mut self, machine: M, addresses: &[IpAddr], door: Door) -> HostId
    where
        M: Machine<Event: std::fmt::Debug> + std::fmt::Debug + 'static,
    {
        self.node(Recorded::new(machine), addresses, door)
    }

    /// The node of a host.
    ///
    /// # Panics
    /// When it is of another type: the test is wrong.
    #[must_use]
    pub fn node_of<N: Node>(&self, id: HostId) -> &N {
        let Station::Node(node) = &self.hosts[id.0].station else {
            panic!("host {} has no node", id.0)
        };
        let node: &dyn std::any::Any = &**node;
        node.downcast_ref().expect("a node of this type")
    }

    /// The machine of a host that [`Network::machine`] added.
    ///
    /// # Panics
    /// When it is of another type: the test is wrong.
    #[must_use]
    pub fn machine_of<M>(&self, id: HostId) -> &M
    where
        M: Machine<Event: std::fmt::Debug> + std::fmt::Debug + 'static,
    {
        &self.node_of::<Recorded<M>>(id).machine
    }

    /// What the machine of a host told.
    ///
    /// # Panics
    /// When it is of another type: the test is wrong.
    #[must_use]
    pub fn told_by<M>(&self, id: HostId) -> &[(Instant, M::Event)]
    where
        M: Machine<Event: std::fmt::Debug> + std::fmt::Debug + 'static,
    {
        &self.node_of::<Recorded<M>>(id).events
    }

    /// Gives the node of a host a command and drains it.
    ///
    /// # Panics
    /// When it is of another type: the test is wrong.
    pub fn with_node<N: Node, T>(
        &mut self,
        id: HostId,
        command: impl FnOnce(Instant, &mut N) -> T,
    ) -> T {
        let now = self.now;
        let Station::Node(node) = &mut self.hosts[id.0].station else {
            panic!("host {} has no node", id.0)
        };
        let node: &mut dyn std::any::Any = &mut **node;
        let result = command(now, node.downcast_mut().expect("a node of this type"));
        self.drain(id);
        result
    }

    /// Gives the machine of a host a command and drains it.
    ///
    /// # Panics
    /// When it is of another type: the test is wrong.
    pub fn with_machine<M, T>(
        &mut self,
        id: HostId,
        command: impl FnOnce(Instant, &mut M) -> T,
    ) -> T
    where
        M: Machine<Event: std::fmt::Debug> + std::fmt::Debug + 'static,
    {
        self.with_node(id, |now, recorded: &mut Recorded<M>| command(now, &mut recorded.machine))
    }

    /// Puts another station in the place of a host's, which forgets its connections: a restart.
    pub fn restart(&mut self, id: HostId, station: Station) {
        self.unplug(id);
        self.tcp.begin_life(id.0);
        self.hosts[id.0].present = true;
        self.hosts[id.0].station = station;
        self.links_up(id);
        self.drain(id);
    }

    /// Whether a host has power.
    #[must_use]
    pub fn is_present(&self, id: HostId) -> bool {
        self.hosts[id.0].present
    }

    /// Sets how TCP goes from now on, everywhere.
    pub fn set_tcp(&mut self, conditions: TcpConditions) {
        self.tcp.conditions = conditions;
    }

    /// Who may connect to a host.
    pub fn set_door(&mut self, id: HostId, door: Door) {
        self.tcp.set_door(id.0, door);
    }

    /// Time that every segment from and to a host takes more.
    pub fn set_distance(&mut self, id: HostId, distance: Duration) {
        self.tcp.set_distance(id.0, distance);
    }

    /// Puts a host on an island; all begin on island 0, and nothing crosses the sea between two islands.
    pub fn set_island(&mut self, id: HostId, island: u32) {
        self.tcp.set_island(id.0, island);
    }

    /// Takes a host off the network, or back; its machine is not told.
    pub fn set_reachable(&mut self, id: HostId, reachable: bool) {
        self.tcp.set_reachable(id.0, reachable);
    }

    /// Gives a host other addresses for TCP.
    ///
    /// # Panics
    /// When another host has one of them: the test is wrong.
    pub fn set_addresses(&mut self, id: HostId, addresses: &[IpAddr]) {
        self.tcp.set_addresses(id.0, addresses.to_vec());
    }

    /// No way leads to this address: dials fail at once. Without this an address that nobody has never answers.
    pub fn set_nowhere(&mut self, address: IpAddr) {
        self.tcp.set_nowhere(address);
    }

    /// Where a host can be connected to: its addresses with its open port.
    #[must_use]
    pub fn listens_at(&self, id: HostId) -> Vec<SocketAddr> {
        let Door::Open(port) = self.tcp.door(id.0) else { return Vec::new() };
        self.tcp.addresses(id.0).iter().map(|ip| SocketAddr::new(*ip, port)).collect()
    }

    /// The connections that the machine of a host has, and the other side of each.
    #[must_use]
    pub fn connections(&self, id: HostId) -> Vec<(ConnectionId, SocketAddr)> {
        self.tcp.open(id.0)
    }

    /// Connections of all hosts that are not over.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.tcp.count()
    }

    /// Breaks a connection off; both sides are told.
    ///
    /// # Panics
    /// When the host has no such connection: the test is wrong.
    pub fn reset(&mut self, id: HostId, connection: ConnectionId) {
        self.tcp.reset(id.0, connection);
    }

    /// Lets nothing of a connection through any more; neither side is told.
    ///
    /// # Panics
    /// When the host has no such connection: the test is wrong.
    pub fn silence(&mut self, id: HostId, connection: ConnectionId) {
        self.tcp.silence(id.0, connection);
    }

    /// What a host did with TCP.
    #[must_use]
    pub fn tcp_traffic(&self, id: HostId) -> TcpTraffic {
        self.tcp.traffic(id.0)
    }

    /// Lets the next thing happen, if it does within `limit`; whether it did.
    pub fn single_step(&mut self, limit: Duration) -> bool {
        self.step(self.now + limit)
    }
}
