//! What the provider owns: names, addresses and texts, and the records they make on each interface.
//! Spec: RFC 6762 §6.1 (NSEC), §6.2 (addresses per interface); RFC 6763 §4 to §9.
//! Not here: which of it is verified or due on a link; see `link`.

use core::net::IpAddr;

use heapless::Vec;

use super::conflict::Contest;
use super::records::{Common, OfInstance, Owner, RecordSet};
use crate::limits::{ADVERT_TXT_MAX, INTERFACES, NETWORKS_PER_LINK};
use crate::machine::Network;
use crate::mdns::service::{self, HostLabel, InstanceName, ServiceName};
use crate::wire::Overflow;
use crate::wire::dns::{Class, Name, Nsec, Record, RecordData, Srv, Txt, Type, TypeWindow};

/// A name with the hash it is found by.
#[derive(Clone, Debug)]
pub(super) struct Known {
    name: ServiceName,
    hash: u32,
}

impl Known {
    fn new(name: ServiceName) -> Self {
        let hash = name.as_name().canonical_hash();
        Self { name, hash }
    }

    pub(super) fn as_name(&self) -> Name<'_> {
        self.name.as_name()
    }

    fn is(&self, hash: u32, name: &Name<'_>) -> bool {
        self.hash == hash && self.name.as_name() == *name
    }
}

/// What a name found in a message is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A unique name of ours.
    Owner(Owner),
    /// The list of service types.
    Services,
    /// The service type.
    Type,
    /// The subtype of the instance with this index.
    Subtype(usize),
}

/// The host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) label: HostLabel,
    pub(super) number: u16,
    name: Known,
    pub(super) contest: Contest,
}

/// One service instance.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) label: InstanceName,
    pub(super) number: u16,
    name: Known,
    subtype: Known,
    port: u16,
    /// The name before the last conflict, as long as links have to say goodbye to it.
    former: Option<ServiceName>,
    /// Withdrawn: only its goodbyes are left to send.
    pub(super) leaving: bool,
    pub(super) contest: Contest,
}

/// One network interface.
#[derive(Clone, Debug)]
pub(super) struct Interface<const N: usize> {
    pub(super) index: u32,
    pub(super) networks: Vec<Network, NETWORKS_PER_LINK>,
    /// Addresses of a family that the interface no longer has.
    pub(super) gone: Vec<IpAddr, NETWORKS_PER_LINK>,
    /// The TXT record data of each instance; empty: there is none yet.
    texts: [Vec<u8, ADVERT_TXT_MAX>; N],
}

/// Whose a record of one of our names is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Identical to ours on this interface.
    Here(RecordSet),
    /// Identical to ours on another interface.
    Elsewhere(RecordSet),
    /// Somebody else's.
    Theirs,
}

/// Everything owned.
#[derive(Debug)]
pub(super) struct Registry<const N: usize> {
    pub(super) host: Host,
    services: Known,
    service_type: Known,
    instances: [Option<Instance>; N],
    pub(super) interfaces: Vec<Interface<N>, INTERFACES>,
}

impl<const N: usize> Interface<N> {
    pub(super) fn new(index: u32) -> Self {
        let texts = core::array::from_fn(|_| Vec::new());
        Self { index, networks: Vec::new(), gone: Vec::new(), texts }
    }

    pub(super) fn text(&self, index: usize) -> &[u8] {
        self.texts.get(index).map_or(&[], Vec::as_slice)
    }

    /// Sets the text of an instance and tells whether that changed it.
    pub(super) fn set_text(&mut self, index: usize, rdata: &[u8]) -> bool {
        let Some(text) = self.texts.get_mut(index) else { return false };
        if text.as_slice() == rdata {
            return false;
        }
        text.clear();
        text.extend_from_slice(rdata).is_ok()
    }

    fn has_family(&self, v4: bool) -> bool {
        self.networks.iter().any(|network| network.address.is_ipv4() == v4)
    }
}

impl<const N: usize> Registry<N> {
    pub(super) fn new(label: HostLabel) -> Self {
        let name = Known::new(service::host(&label.numbered(1)));
        Self {
            host: Host { label, number: 1, name, contest: Contest::default() },
            services: Known::new(service::services()),
            service_type: Known::new(service::service_type()),
            instances: [const { None }; N],
            interfaces: Vec::new(),
        }
    }

    pub(super) fn instance(&self, index: usize) -> Option<&Instance> {
        self.instances.get(index).and_then(Option::as_ref)
    }

    pub(super) fn instance_mut(&mut self, index: usize) -> Option<&mut Instance> {
        self.instances.get_mut(index).and_then(Option::as_mut)
    }

    pub(super) fn interface(&self, index: u32) -> Option<&Interface<N>> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    pub(super) fn interface_mut(&mut self, index: u32) -> Option<&mut Interface<N>> {
        self.interfaces.iter_mut().find(|interface| interface.index == index)
    }

    pub(super) fn contest_mut(&mut self, owner: Owner) -> Option<&mut Contest> {
        match owner {
            Owner::Host => Some(&mut self.host.contest),
            Owner::Instance(i) => self.instance_mut(i).map(|instance| &mut instance.contest),
        }
    }

    pub(super) fn contest(&self, owner: Owner) -> Option<&Contest> {
        match owner {
            Owner::Host => Some(&self.host.contest),
            Owner::Instance(i) => self.instance(i).map(|instance| &instance.contest),
        }
    }

    pub(super) fn insert(&mut self, index: usize, instance: Instance) {
        if let Some(slot) = self.instances.get_mut(index) {
            *slot = Some(instance);
        }
    }

    pub(super) fn remove(&mut self, index: usize) {
        if let Some(slot) = self.instances.get_mut(index) {
            *slot = None;
        }
        for interface in &mut self.interfaces {
            interface.set_text(index, &[]);
        }
    }

    /// The current name of a unique owner.
    pub(super) fn name_of(&self, owner: Owner) -> Option<Name<'_>> {
        match owner {
            Owner::Host => Some(self.host.name.as_name()),
            Owner::Instance(i) => self.instance(i).map(|instance| instance.name.as_name()),
        }
    }

    /// Moves an owner to its next name; `announced`: others know the one it leaves.
    pub(super) fn rename(&mut self, owner: Owner, announced: bool) {
        match owner {
            Owner::Host => {
                self.host.number = self.host.number.saturating_add(1).max(2);
                let label = self.host.label.numbered(self.host.number);
                self.host.name = Known::new(service::host(&label));
            }
            Owner::Instance(i) => {
                if let Some(instance) = self.instance_mut(i) {
                    instance.number = instance.number.saturating_add(1).max(2);
                    let label = instance.label.label(instance.number);
                    let name = Known::new(service::instance(&label));
                    let former = core::mem::replace(&mut instance.name, name).name;
                    if announced {
                        instance.former = Some(former);
                    }
                }
            }
        }
    }

    /// What `name` is to us; what is being withdrawn is no longer ours.
    pub(super) fn subject(&self, name: &Name<'_>) -> Option<Subject> {
        let hash = name.canonical_hash();
        for (i, instance) in self.instances.iter().enumerate() {
            let Some(instance) = instance.as_ref().filter(|instance| !instance.leaving) else {
                continue;
            };
            if instance.subtype.is(hash, name) {
                return Some(Subject::Subtype(i));
            }
            if instance.name.is(hash, name) {
                return Some(Subject::Owner(Owner::Instance(i)));
            }
        }
        if self.service_type.is(hash, name) {
            Some(Subject::Type)
        } else if self.host.name.is(hash, name) {
            Some(Subject::Owner(Owner::Host))
        } else if self.services.is(hash, name) {
            Some(Subject::Services)
        } else {
            None
        }
    }

    /// Whose the data `record` claims for the unique name `owner` is, seen from `here`. The records of all our
    /// interfaces are ours: two of them may be on one network (RFC 6762 §14).
    pub(super) fn whose(&self, owner: Owner, record: &Record<'_>, here: u32) -> Whose {
        if let RecordData::Nsec(_) = record.data {
            // It denies types we do not have either, or contradicts records that are looked at themselves.
            return match owner {
                Owner::Host => Whose::Elsewhere(RecordSet::Common(Common::HostNsec)),
                Owner::Instance(i) => Whose::Elsewhere(RecordSet::Instance(i, OfInstance::Nsec)),
            };
        }
        let Some(set) = owner.of_type(record.data.rtype()) else { return Whose::Theirs };
        if record.class != Class::In {
            return Whose::Theirs;
        }
        let holds = |interface: &Interface<N>| match (owner, &record.data) {
            (Owner::Host, RecordData::A(ip)) => {
                interface.networks.iter().any(|network| network.address == *ip)
            }
            (Owner::Host, RecordData::Aaaa(ip)) => {
                interface.networks.iter().any(|network| network.address == *ip)
            }
            (Owner::Instance(i), RecordData::Txt(txt)) => interface.text(i) == txt.as_octets(),
            (Owner::Instance(i), RecordData::Srv(srv)) => self.srv(i) == Some(*srv),
            _ => false,
        };
        if self.interface(here).is_some_and(holds) {
            Whose::Here(set)
        } else if self.interfaces.iter().any(holds) {
            Whose::Elsewhere(set)
        } else {
            Whose::Theirs
        }
    }

    /// The shared record set that a PTR record of one of our shared names is in, if we have that record.
    pub(super) fn shared(&self, subject: Subject, record: &Record<'_>) -> Option<RecordSet> {
        let RecordData::Ptr(target) = &record.data else { return None };
        let points_to =
            |i: usize| self.instance(i).is_some_and(|instance| instance.name.as_name() == *target);
        match subject {
            Subject::Services => (self.service_type.as_name() == *target)
                .then_some(RecordSet::Common(Common::Services)),
            Subject::Type => match self.subject(target)? {
                Subject::Owner(Owner::Instance(i)) => {
                    Some(RecordSet::Instance(i, OfInstance::TypePtr))
                }
                Subject::Owner(Owner::Host)
                | Subject::Services
                | Subject::Type
                | Subject::Subtype(_) => None,
            },
            Subject::Subtype(i) => {
                points_to(i).then_some(RecordSet::Instance(i, OfInstance::SubtypePtr))
            }
            Subject::Owner(_) => None,
        }
    }

    fn srv(&self, index: usize) -> Option<Srv<'_>> {
        let instance = self.instance(index)?;
        let target = self.host.name.as_name();
        Some(Srv { priority: 0, weight: 0, port: instance.port, target })
    }

    /// Whether there is something to use `owner` for on an interface: an address, or a signed advert.
    pub(super) fn is_ready(&self, owner: Owner, interface: u32) -> bool {
        self.interface(interface).is_some_and(|interface| match owner {
            Owner::Host => !interface.networks.is_empty(),
            Owner::Instance(i) => {
                let present = self.instance(i).is_some_and(|instance| !instance.leaving);
                present && !interface.text(i).is_empty()
            }
        })
    }

    /// How many records `set` has on `interface`.
    pub(super) fn count(&self, set: RecordSet, interface: &Interface<N>) -> usize {
        match set {
            RecordSet::Common(Common::A) => {
                interface.networks.iter().filter(|n| n.address.is_ipv4()).count()
            }
            RecordSet::Common(Common::Aaaa) => {
                interface.networks.iter().filter(|n| n.address.is_ipv6()).count()
            }
            RecordSet::Common(Common::HostNsec | Common::Services) => 1,
            RecordSet::Instance(i, of) => {
                let absent = self.instance(i).is_none()
                    || (of == OfInstance::Txt && interface.text(i).is_empty());
                usize::from(!absent)
            }
        }
    }

    /// Hands every record of `set` on `interface` to `visit`, with its full TTL and cache-flush bit.
    pub(super) fn visit(
        &self,
        set: RecordSet,
        interface: &Interface<N>,
        mut visit: impl FnMut(Record<'_>) -> Result<(), Overflow>,
    ) -> Result<(), Overflow> {
        let record = |name, data| Record {
            name,
            class: Class::In,
            cache_flush: set.is_unique(),
            ttl: set.ttl(),
            data,
        };
        let (index, of) = match set {
            RecordSet::Instance(index, of) => (index, of),
            RecordSet::Common(common) => {
                let host = self.host.name.as_name();
                return match common {
                    Common::A | Common::Aaaa => addresses(interface, common == Common::A)
                        .try_for_each(|data| visit(record(host, data))),
                    Common::HostNsec => {
                        let (a, aaaa) = (interface.has_family(true), interface.has_family(false));
                        let types: &[Type] = match (a, aaaa) {
                            (true, true) => &[Type::A, Type::Aaaa],
                            (true, false) => &[Type::A],
                            (false, true) => &[Type::Aaaa],
                            (false, false) => &[],
                        };
                        let types = TypeWindow::of(types);
                        let nsec = Nsec { next: host, types: types.as_bitmap() };
                        visit(record(host, RecordData::Nsec(nsec)))
                    }
                    Common::Services => {
                        let target = RecordData::Ptr(self.service_type.as_name());
                        visit(record(self.services.as_name(), target))
                    }
                };
            }
        };
        let Some(instance) = self.instance(index) else { return Ok(()) };
        let name = instance.name.as_name();
        match of {
            OfInstance::TypePtr => {
                visit(record(self.service_type.as_name(), RecordData::Ptr(name)))
            }
            OfInstance::SubtypePtr => {
                visit(record(instance.subtype.as_name(), RecordData::Ptr(name)))
            }
            OfInstance::Srv => match self.srv(index) {
                Some(srv) => visit(record(name, RecordData::Srv(srv))),
                None => Ok(()),
            },
            OfInstance::Txt => match Txt::from_octets(interface.text(index)) {
                Ok(txt) if !interface.text(index).is_empty() => {
                    visit(record(name, RecordData::Txt(txt)))
                }
                Ok(_) | Err(_) => Ok(()),
            },
            OfInstance::Nsec => {
                let types = TypeWindow::of(&[Type::Txt, Type::Srv]);
                let nsec = Nsec { next: name, types: types.as_bitmap() };
                visit(record(name, RecordData::Nsec(nsec)))
            }
        }
    }

    /// Hands the two shared records that point to the former name of an instance to `visit`.
    pub(super) fn visit_former(
        &self,
        owner: Owner,
        mut visit: impl FnMut(Record<'_>) -> Result<(), Overflow>,
    ) -> Result<(), Overflow> {
        let Owner::Instance(index) = owner else { return Ok(()) };
        let Some(instance) = self.instance(index) else { return Ok(()) };
        let Some(former) = &instance.former else { return Ok(()) };
        for name in [self.service_type.as_name(), instance.subtype.as_name()] {
            let data = RecordData::Ptr(former.as_name());
            visit(Record { name, class: Class::In, cache_flush: false, ttl: 0, data })?;
        }
        Ok(())
    }

    /// Hands the address records that an interface lost with a whole family to `visit`.
    pub(super) fn visit_gone(
        &self,
        interface: &Interface<N>,
        mut visit: impl FnMut(Record<'_>) -> Result<(), Overflow>,
    ) -> Result<(), Overflow> {
        interface.gone.iter().try_for_each(|ip| {
            let name = self.host.name.as_name();
            visit(Record { name, class: Class::In, cache_flush: true, ttl: 0, data: address(*ip) })
        })
    }

    /// The records that `owner` is probed with (RFC 6762 §8.2), at most 8 addresses or SRV and TXT.
    pub(super) fn proposed<'s>(
        &'s self,
        owner: Owner,
        interface: &'s Interface<N>,
    ) -> Vec<Record<'s>, 8> {
        let mut records = Vec::new();
        let Some(name) = self.name_of(owner) else { return records };
        let mut push = |data: RecordData<'s>| {
            let ttl = owner.of_type(data.rtype()).map_or(0, RecordSet::ttl);
            let record = Record { name, class: Class::In, cache_flush: false, ttl, data };
            // One interface has at most 8 addresses.
            let _ = records.push(record);
        };
        match owner {
            Owner::Host => interface.networks.iter().for_each(|n| push(address(n.address))),
            Owner::Instance(i) => {
                if let Some(srv) = self.srv(i) {
                    push(RecordData::Srv(srv));
                }
                if let Ok(txt) = Txt::from_octets(interface.text(i)) {
                    push(RecordData::Txt(txt));
                }
            }
        }
        records
    }
}

impl Instance {
    pub(super) fn new(label: InstanceName, number: u16, subtype: ServiceName, port: u16) -> Self {
        let name = Known::new(service::instance(&label.label(number)));
        let contest = Contest::default();
        let subtype = Known::new(subtype);
        Self { label, number, name, subtype, port, former: None, leaving: false, contest }
    }
}

fn address(ip: IpAddr) -> RecordData<'static> {
    match ip {
        IpAddr::V4(ip) => RecordData::A(ip),
        IpAddr::V6(ip) => RecordData::Aaaa(ip),
    }
}

fn addresses<const N: usize>(
    interface: &Interface<N>,
    v4: bool,
) -> impl Iterator<Item = RecordData<'static>> {
    interface.networks.iter().filter(move |n| n.address.is_ipv4() == v4).map(|n| address(n.address))
}
