//! The resource record sets a provider owns, by number instead of by octets: which there are, which are
//! unique, how long they live, and sets of them.
//! Spec: RFC 6762 §2 (shared and unique), §10 (TTL values); RFC 6763 §4 to §9.
//! Not here: their octets; see `registry` and `answer`.

use crate::wire::dns::Type;

/// RFC 6762 §10: 120 seconds for records that name a host: A, AAAA, SRV.
pub(super) const TTL_HOST: u32 = 120;

/// RFC 6762 §10: 75 minutes for other records.
pub(super) const TTL_OTHER: u32 = 4500;

/// One record set: several records of one name and type, always sent together (RFC 6762 §10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordSet {
    /// Belongs to the host or to the service type.
    Common(Common),
    /// Belongs to the instance with this index.
    Instance(usize, OfInstance),
}

/// The record sets that exist once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Common {
    /// The host's IPv4 addresses.
    A = 1,
    /// The host's IPv6 addresses.
    Aaaa = 2,
    /// What the host name does not have.
    HostNsec = 4,
    /// `_services._dns-sd._udp.local` to the service type.
    Services = 8,
}

/// The record sets of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum OfInstance {
    /// The service type to the instance.
    TypePtr = 1,
    /// The subtype to the instance.
    SubtypePtr = 2,
    /// Host and port.
    Srv = 4,
    /// The signed advert.
    Txt = 8,
    /// What the instance name does not have.
    Nsec = 16,
}

impl Common {
    pub(super) const ALL: [Self; 4] = [Self::A, Self::Aaaa, Self::HostNsec, Self::Services];

    const fn bit(self) -> u8 {
        self as u8
    }

    /// The index into a table of all.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::Aaaa => 1,
            Self::HostNsec => 2,
            Self::Services => 3,
        }
    }
}

impl OfInstance {
    pub(super) const ALL: [Self; 5] =
        [Self::TypePtr, Self::SubtypePtr, Self::Txt, Self::Srv, Self::Nsec];

    const fn bit(self) -> u8 {
        self as u8
    }

    /// The index into a table of all.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::TypePtr => 0,
            Self::SubtypePtr => 1,
            Self::Txt => 2,
            Self::Srv => 3,
            Self::Nsec => 4,
        }
    }
}

impl RecordSet {
    /// Whether only this host may have records of this name and type.
    pub(super) const fn is_unique(self) -> bool {
        !matches!(
            self,
            Self::Common(Common::Services)
                | Self::Instance(_, OfInstance::TypePtr | OfInstance::SubtypePtr)
        )
    }

    /// Its TTL in seconds. A negative record has that of the record it denies (RFC 6762 §6.1).
    pub(super) const fn ttl(self) -> u32 {
        match self {
            Self::Common(Common::A | Common::Aaaa | Common::HostNsec)
            | Self::Instance(_, OfInstance::Srv | OfInstance::Nsec) => TTL_HOST,
            Self::Common(Common::Services)
            | Self::Instance(_, OfInstance::TypePtr | OfInstance::SubtypePtr | OfInstance::Txt) => {
                TTL_OTHER
            }
        }
    }
}

/// A unique name: what is probed for, fought over and renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The host name.
    Host,
    /// The instance with this index.
    Instance(usize),
}

impl Owner {
    /// The host, then every instance of `count`.
    pub(super) fn all(count: usize) -> impl Iterator<Item = Self> + Clone {
        core::iter::once(Self::Host).chain((0..count).map(Self::Instance))
    }

    /// What is said of a type that this name does not have (RFC 6762 §6.1).
    pub(super) const fn negative(self) -> RecordSet {
        match self {
            Self::Host => RecordSet::Common(Common::HostNsec),
            Self::Instance(i) => RecordSet::Instance(i, OfInstance::Nsec),
        }
    }

    /// The unique record set of this name with this type, negative ones aside.
    pub(super) const fn of_type(self, rtype: Type) -> Option<RecordSet> {
        match (self, rtype) {
            (Self::Host, Type::A) => Some(RecordSet::Common(Common::A)),
            (Self::Host, Type::Aaaa) => Some(RecordSet::Common(Common::Aaaa)),
            (Self::Instance(i), Type::Srv) => Some(RecordSet::Instance(i, OfInstance::Srv)),
            (Self::Instance(i), Type::Txt) => Some(RecordSet::Instance(i, OfInstance::Txt)),
            (Self::Host | Self::Instance(_), _) => None,
        }
    }
}

/// A set of unique names, for a provider of up to `N` instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owners<const N: usize> {
    host: bool,
    instances: [bool; N],
}

impl<const N: usize> Owners<N> {
    pub(super) const EMPTY: Self = Self { host: false, instances: [false; N] };

    fn flag(&mut self, owner: Owner) -> Option<&mut bool> {
        match owner {
            Owner::Host => Some(&mut self.host),
            Owner::Instance(i) => self.instances.get_mut(i),
        }
    }

    pub(super) fn insert(&mut self, owner: Owner) {
        if let Some(flag) = self.flag(owner) {
            *flag = true;
        }
    }

    pub(super) fn remove(&mut self, owner: Owner) {
        if let Some(flag) = self.flag(owner) {
            *flag = false;
        }
    }

    pub(super) fn contains(&self, owner: Owner) -> bool {
        match owner {
            Owner::Host => self.host,
            Owner::Instance(i) => self.instances.get(i).copied().unwrap_or(false),
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Owner> + Clone {
        Owner::all(N).filter(move |owner| self.contains(*owner))
    }
}

/// A set of record sets, for a provider of up to `N` instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Records<const N: usize> {
    common: u8,
    instances: [u8; N],
}

impl<const N: usize> Records<N> {
    pub(super) const EMPTY: Self = Self { common: 0, instances: [0; N] };

    pub(super) fn insert(&mut self, set: RecordSet) {
        match set {
            RecordSet::Common(c) => self.common |= c.bit(),
            RecordSet::Instance(i, r) => {
                if let Some(bits) = self.instances.get_mut(i) {
                    *bits |= r.bit();
                }
            }
        }
    }

    pub(super) fn remove(&mut self, set: RecordSet) {
        match set {
            RecordSet::Common(c) => self.common &= !c.bit(),
            RecordSet::Instance(i, r) => {
                if let Some(bits) = self.instances.get_mut(i) {
                    *bits &= !r.bit();
                }
            }
        }
    }

    #[cfg(test)]
    fn contains(&self, set: RecordSet) -> bool {
        match set {
            RecordSet::Common(c) => self.common & c.bit() != 0,
            RecordSet::Instance(i, r) => {
                self.instances.get(i).is_some_and(|bits| bits & r.bit() != 0)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.common == 0 && self.instances.iter().all(|bits| *bits == 0)
    }

    /// Adds the members of `other`.
    pub(super) fn extend(&mut self, other: &Self) {
        self.common |= other.common;
        for (ours, theirs) in self.instances.iter_mut().zip(&other.instances) {
            *ours |= theirs;
        }
    }

    /// Takes out the members of `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.common &= !other.common;
        for (ours, theirs) in self.instances.iter_mut().zip(&other.instances) {
            *ours &= !theirs;
        }
    }

    /// Takes out everything of one instance.
    pub(super) fn remove_instance(&mut self, index: usize) {
        if let Some(bits) = self.instances.get_mut(index) {
            *bits = 0;
        }
    }

    /// What exists once, and of the instances `count` whose SRV or TXT record is a member, with all others of
    /// which only pointers are.
    pub(super) fn with_instances(&self, count: usize) -> Self {
        const DATA: u8 = OfInstance::Srv.bit() | OfInstance::Txt.bit();
        let mut some = *self;
        let with_data = some.instances.iter_mut().filter(|bits| **bits & DATA != 0);
        for bits in with_data.skip(count) {
            *bits = 0;
        }
        some
    }

    /// The members: instances in order, then what exists once.
    pub(super) fn iter(self) -> impl Iterator<Item = RecordSet> {
        self.of_instances().chain(self.common())
    }

    /// The members in the order of their use where not all may fit: the first instance, what exists once, the
    /// other instances.
    pub(super) fn by_use(self) -> impl Iterator<Item = RecordSet> {
        let first = self.instances.iter().position(|bits| *bits != 0);
        let is_first =
            move |set: &RecordSet| matches!(set, RecordSet::Instance(i, _) if Some(*i) == first);
        let others = self.of_instances().filter(move |set| !is_first(set));
        self.of_instances().filter(is_first).chain(self.common()).chain(others)
    }

    fn common(self) -> impl Iterator<Item = RecordSet> {
        let members = Common::ALL.into_iter().filter(move |c| self.common & c.bit() != 0);
        members.map(RecordSet::Common)
    }

    fn of_instances(self) -> impl Iterator<Item = RecordSet> {
        let instances = self.instances.into_iter().enumerate().filter(|(_, bits)| *bits != 0);
        instances.flat_map(|(i, bits)| {
            let members = OfInstance::ALL.into_iter().filter(move |r| bits & r.bit() != 0);
            members.map(move |r| RecordSet::Instance(i, r))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_set_keeps_what_is_inserted_until_it_is_removed() {
        let all: Vec<_> = Common::ALL
            .map(RecordSet::Common)
            .into_iter()
            .chain((0..3).flat_map(|i| OfInstance::ALL.map(move |r| RecordSet::Instance(i, r))))
            .collect();
        let mut set = Records::<3>::EMPTY;
        for one in &all {
            assert!(!set.contains(*one));
            set.insert(*one);
            assert!(set.contains(*one));
        }
        assert_eq!(set.iter().count(), all.len());
        for one in all {
            set.remove(one);
            assert!(!set.contains(one));
        }
        assert!(set.is_empty());
    }

    #[test]
    fn a_part_has_so_many_instances_with_data_and_every_other_pointer() {
        let mut set = Records::<4>::EMPTY;
        set.insert(RecordSet::Common(Common::A));
        for i in [0, 2, 3] {
            set.insert(RecordSet::Instance(i, OfInstance::TypePtr));
            set.insert(RecordSet::Instance(i, OfInstance::Txt));
        }
        set.insert(RecordSet::Instance(1, OfInstance::TypePtr));
        let part: Vec<_> = set.with_instances(2).iter().collect();
        assert_eq!(
            part,
            [
                RecordSet::Instance(0, OfInstance::TypePtr),
                RecordSet::Instance(0, OfInstance::Txt),
                RecordSet::Instance(1, OfInstance::TypePtr),
                RecordSet::Instance(2, OfInstance::TypePtr),
                RecordSet::Instance(2, OfInstance::Txt),
                RecordSet::Common(Common::A),
            ]
        );
        assert_eq!(set.with_instances(4), set);
    }

    #[test]
    fn the_first_instance_and_the_host_are_of_most_use() {
        let mut set = Records::<3>::EMPTY;
        let order = [
            RecordSet::Instance(1, OfInstance::Txt),
            RecordSet::Instance(1, OfInstance::Srv),
            RecordSet::Common(Common::A),
            RecordSet::Instance(2, OfInstance::Txt),
        ];
        order.into_iter().for_each(|one| set.insert(one));
        assert!(set.by_use().eq(order));
    }

    #[test]
    fn an_index_past_the_capacity_is_never_a_member() {
        let mut set = Records::<1>::EMPTY;
        set.insert(RecordSet::Instance(1, OfInstance::Srv));
        assert!(set.is_empty());
    }

    #[test]
    fn ttls_follow_the_recommendation() {
        assert_eq!(RecordSet::Common(Common::A).ttl(), 120);
        assert_eq!(RecordSet::Instance(0, OfInstance::Srv).ttl(), 120);
        assert_eq!(RecordSet::Instance(0, OfInstance::Txt).ttl(), 4500);
        assert_eq!(RecordSet::Instance(0, OfInstance::TypePtr).ttl(), 4500);
    }
}
