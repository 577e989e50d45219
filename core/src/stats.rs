//! Counters of what the machines did and why they dropped what they dropped. Drivers export them as metrics.

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counts since the machine was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Stats {
            /// Name, help text and value of every counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+].into_iter()
            }

            /// Adds the counters of `other`.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }
        }
    };
}

stats! {
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
