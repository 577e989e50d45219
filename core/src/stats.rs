//! Counters of what the machines did and why they dropped what they dropped. Drivers export them as metrics.

macro_rules! stats {
    (
        $(#[$meta:meta])* pub struct $stats:ident;
        $($(#[doc = $doc:literal])+ $name:ident,)+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl $stats {
            /// Name, help text and value of every counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+].into_iter()
            }

            /// Adds the counters of `other`.
            pub const fn add(&mut self, other: &Self) {
                $(raise(&mut self.$name, other.$name);)+
            }
        }
    };
}

stats! {
    /// Counts since the machine was made.
    pub struct Stats;
    /// Datagrams received.
    datagrams_received,
    /// Datagrams sent.
    datagrams_sent,
    /// Datagrams dropped: not a DNS message, or cut short.
    malformed,
    /// Datagrams dropped: longer than 9,000 octets.
    oversized,
    /// Datagrams dropped: opcode or response code not zero (RFC 6762 §18.3, §18.11).
    ignored_code,
    /// Datagrams dropped: unicast from a source that is not on the link (RFC 6762 §5.5, §11).
    off_link,
    /// Responses dropped: source port is not 5353 (RFC 6762 §6).
    wrong_source_port,
    /// Datagrams for a link that is not up.
    unknown_link,
    /// Unicast responses dropped: they answer nothing that was asked in the last seconds (RFC 6762 §6, §11).
    unsolicited,
    /// Own multicasts heard again, by loopback, another interface or a reflector (RFC 6762 §14).
    own_heard,
    /// Links refused: too many at once.
    links_refused,
    /// Unicast responses sent.
    replies_sent,
    /// Probes sent (RFC 6762 §8.1).
    probes_sent,
    /// Probes of others answered in defence of a name (RFC 6762 §8.1).
    defences,
    /// Simultaneous probes lost (RFC 6762 §8.2).
    ties_lost,
    /// Conflicts seen (RFC 6762 §8.1, §9).
    conflicts,
    /// Names given up for the next one (RFC 6762 §9).
    renames,
    /// Answers left out because the querier has them (RFC 6762 §7.1).
    known_answers,
    /// Answers left out because another host gave them (RFC 6762 §7.4).
    duplicate_answers_suppressed,
    /// Queries answered without their own delay: too many queriers are waiting.
    queries_not_held,
    /// Events dropped: the user did not take them.
    events_lost,
    /// Records skipped: malformed.
    malformed_records,
    /// Service instances not kept: there are too many, or too many of one source.
    instances_over_limit,
    /// Questions not sent: another host asked them a moment before (RFC 6762 §7.3).
    questions_suppressed,
    /// Signatures verified.
    verifications,
    /// Adverts not judged: too many signatures were verified already.
    verifications_over_limit,
    /// Adverts ignored: for another channel or architecture, or of another version of the format.
    adverts_not_wanted,
    /// Adverts not kept: every candidate kept is worth more.
    candidates_over_limit,
    /// Connections ended: we closed them.
    connections_closed,
    /// Connections ended: the remote floods us with pings or streams.
    connections_flooded,
    /// Connections ended: the remote said that it goes away.
    connections_gone_away,
    /// Connections ended: TCP ended or could not be set up.
    connections_lost,
    /// Connections ended: Noise failed, in the handshake or on a message.
    connections_noise,
    /// Connections ended: what answers does not speak libp2p.
    connections_not_libp2p,
    /// Connections ended: a Noise message is longer than the buffer.
    connections_oversized,
    /// Connections ended: the remote speaks no Noise or no Yamux.
    connections_refused,
    /// Connections ended: the remote takes no octets.
    connections_stuck,
    /// Connections ended: the handshake took too long.
    connections_timed_out,
    /// Connections ended: the remote sent more than the window allows.
    connections_window,
    /// Connections ended: another peer than expected.
    connections_wrong_peer,
    /// Connections ended: a malformed Yamux frame.
    connections_yamux,
    /// Yamux frames skipped: of streams that are closed or unknown, and answers to pings that were not sent.
    frames_stray,
    /// Proposals of protocols refused.
    protocols_refused,
    /// Requests refused: malformed.
    requests_malformed,
    /// Requests refused: too many at once.
    requests_over_limit,
    /// Streams refused: too many at once.
    streams_refused,
    /// Streams reset by us: a rule was broken, or a time was over.
    streams_reset,
    /// Addresses dialled over TCP.
    dials,
    /// Peers that could not be reached at any of their addresses.
    dials_failed,
    /// Connections of others taken.
    connections_accepted,
    /// Connections of others refused: there are too many, or too many from one host.
    connections_over_limit,
    /// Searches in the DHT begun.
    searches,
}

stats! {
    /// Counts of a DHT node since it was made.
    pub struct NodeStats;
    /// Requests of peers in the DHT that were looked at.
    requests_answered,
    /// Records of peers stored, or confirmed.
    records_taken,
    /// Records of peers refused: no advert for the key, or over a quota.
    records_refused,
    /// Provider records of peers stored.
    providers_taken,
    /// Provider records of peers refused: of another peer, or over a quota.
    providers_refused,
    /// Lookups begun for the routing table or to publish.
    lookups,
    /// Adverts published in the DHT.
    adverts_published,
    /// Attempts to publish an advert that no peer took part in.
    adverts_not_published,
    /// Peers that were given an advert again in the place of something invalid.
    adverts_repaired,
    /// Events dropped: the user did not take them.
    events_lost,
}

/// Once for all counters: a small program has fifty of them.
#[inline(never)]
const fn raise(counter: &mut u64, by: u64) {
    *counter = counter.saturating_add(by);
}

/// Adds one to a counter.
macro_rules! count {
    ($stats:expr, $name:ident) => {
        $stats.$name = $stats.$name.saturating_add(1)
    };
}
pub(crate) use count;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_and_list() {
        let mut a = Stats::default();
        count!(a, malformed);
        let mut b = Stats { malformed: 2, ..Stats::default() };
        b.add(&a);
        let found = b.iter().find(|(name, ..)| *name == "malformed");
        assert_eq!(
            found,
            Some(("malformed", "Datagrams dropped: not a DNS message, or cut short.", 3))
        );
    }
}
