//! The names under which boot images are found by DNS-SD: service type, subtype, instance, host.
//! Spec: RFC 6763 §4.1 (instances), §7.1 (subtypes), §7.2 (service names); RFC 6762 §3 (`.local`).
//! Not here: the TXT record; see [`crate::wire::record`].

use core::fmt::Write as _;

use crate::limits::LABEL_MAX;
use crate::wire::Error;
use crate::wire::dns::InlineName;

/// The service's own label: at most 15 characters after the underscore (RFC 6763 §7.2).
const SERVICE: &[u8] = b"_phase-image";
const PROTOCOL: &[u8] = b"_tcp";
const DOMAIN: &[u8] = b"local";

/// Room for every name of this service: one label of 63 octets below the service type, or a subtype.
pub type ServiceName = InlineName<96>;

/// A label as text.
pub type Label = heapless::String<LABEL_MAX>;

/// `_phase-image._tcp.local`.
#[must_use]
pub fn service_type() -> ServiceName {
    name(&[SERVICE, PROTOCOL, DOMAIN])
}

/// `_services._dns-sd._udp.local`, which lists the service types of a network (RFC 6763 §9).
#[must_use]
pub fn services() -> ServiceName {
    name(&[b"_services", b"_dns-sd", b"_udp", DOMAIN])
}

/// `_{arch}-{channel}._sub._phase-image._tcp.local`: what a client asks for, so that only providers of its
/// own combination answer.
#[must_use]
pub fn subtype(arch: &str, channel: &str) -> ServiceName {
    let mut label = Label::new();
    // An architecture of 16 and a channel of 32 octets fit.
    let _ = write!(label, "_{arch}-{channel}");
    name(&[label.as_bytes(), b"_sub", SERVICE, PROTOCOL, DOMAIN])
}

/// `{label}._phase-image._tcp.local`.
#[must_use]
pub fn instance(label: &str) -> ServiceName {
    name(&[label.as_bytes(), SERVICE, PROTOCOL, DOMAIN])
}

/// `{label}.local`.
#[must_use]
pub fn host(label: &str) -> ServiceName {
    name(&[label.as_bytes(), DOMAIN])
}

fn name(labels: &[&[u8]]) -> ServiceName {
    // Every caller's labels fit in 96 octets: 63 + 1 below the type's 25, 51 + 5 below it, or 64 + 7.
    ServiceName::from_labels(labels.iter().copied()).unwrap_or_default()
}

/// What an instance is called: `{name} {channel} {arch} {peer8}`. For people only; nothing is parsed out of
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceName {
    name: heapless::String<40>,
    channel: heapless::String<32>,
    arch: heapless::String<16>,
    /// The last 8 characters of the peer id, which keep two providers of one name apart.
    peer: heapless::String<8>,
}

impl InstanceName {
    /// A name from its parts; each is cut to its bound.
    #[must_use]
    pub fn new(name: &str, channel: &str, arch: &str, peer_id: &str) -> Self {
        let tail = peer_id.len().saturating_sub(8);
        Self {
            name: cut(name),
            channel: cut(channel),
            arch: cut(arch),
            peer: cut(peer_id.get(tail..).unwrap_or(peer_id)),
        }
    }

    /// The label: at most 63 octets, for which first the name, then the channel is cut. `number` above 1 is
    /// appended as ` (2)` after a conflict (RFC 6762 §9).
    #[must_use]
    pub fn label(&self, number: u16) -> Label {
        let mut suffix = heapless::String::<8>::new();
        if number > 1 {
            let _ = write!(suffix, " ({number})");
        }
        let fixed = self.arch.len().saturating_add(self.peer.len()).saturating_add(suffix.len());
        // Two spaces around the architecture.
        let room = LABEL_MAX.saturating_sub(fixed).saturating_sub(2);
        let channel = truncate(&self.channel, room);
        let room = room.saturating_sub(channel.len()).saturating_sub(1);
        let name = truncate(&self.name, room).trim_end();
        let mut label = Label::new();
        let separator = if name.is_empty() { "" } else { " " };
        let _ = write!(label, "{name}{separator}{channel} {} {}{suffix}", self.arch, self.peer);
        label
    }
}

/// The first label of a host name, in the letters, digits and hyphens that are legal in the name of an
/// address (RFC 1123 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLabel(Label);

impl HostLabel {
    /// The label `text`, as it stands.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it has 1 to 63 letters, digits and hyphens, no hyphen at either end.
    pub fn new(text: &str) -> Result<Self, Error> {
        let legal = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        if !legal || text.is_empty() || text.starts_with('-') || text.ends_with('-') {
            return Err(Error::Malformed("host name"));
        }
        Label::try_from(text).map(Self).map_err(|_| Error::Malformed("host name"))
    }

    /// A legal label made of an operating system's host name: the part before the first dot, other
    /// characters as hyphens; `phase` where nothing is left.
    #[must_use]
    pub fn from_hostname(hostname: &str) -> Self {
        let first = hostname.split('.').next().unwrap_or_default();
        let mut label = Label::new();
        for c in first.chars() {
            let legal = if c.is_ascii_alphanumeric() { c } else { '-' };
            if legal == '-' && (label.is_empty() || label.ends_with('-')) {
                continue;
            }
            if label.push(legal).is_err() {
                break;
            }
        }
        let trimmed = label.trim_end_matches('-');
        Label::try_from(if trimmed.is_empty() { "phase" } else { trimmed })
            .map_or(Self(label.clone()), Self)
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label to use after `number - 1` conflicts: `host`, `host-2`, `host-3` (RFC 6762 §9).
    #[must_use]
    pub fn numbered(&self, number: u16) -> Label {
        let mut suffix = heapless::String::<8>::new();
        if number > 1 {
            let _ = write!(suffix, "-{number}");
        }
        let mut label = Label::new();
        let room = LABEL_MAX.saturating_sub(suffix.len());
        let _ = write!(label, "{}{suffix}", truncate(&self.0, room));
        label
    }
}

/// The longest beginning of `text` of at most `room` octets that ends between characters.
fn truncate(text: &str, room: usize) -> &str {
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

fn cut<const N: usize>(text: &str) -> heapless::String<N> {
    heapless::String::try_from(truncate(text, N)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";

    #[test]
    fn names_are_those_of_the_service() {
        assert_eq!(service_type().to_string(), "_phase-image._tcp.local.");
        assert_eq!(services().to_string(), "_services._dns-sd._udp.local.");
        assert_eq!(
            subtype("arm64", "stable").to_string(),
            "_arm64-stable._sub._phase-image._tcp.local."
        );
        assert_eq!(host("my-mac").to_string(), "my-mac.local.");
        assert!(SERVICE.len() <= 16);
    }

    #[test]
    fn the_longest_parts_fit_in_a_name() {
        let longest = |len| "x".repeat(len);
        assert_eq!(subtype(&longest(16), &longest(32)).as_name().labels().count(), 5);
        assert_eq!(instance(&longest(63)).as_name().labels().count(), 4);
        assert_eq!(host(&longest(63)).as_name().labels().count(), 2);
    }

    #[test]
    fn an_instance_is_called_after_name_channel_architecture_and_key() {
        let name = InstanceName::new("my-mac", "stable", "arm64", PEER);
        assert_eq!(name.label(1), "my-mac stable arm64 7YJgL5pV");
        assert_eq!(name.label(2), "my-mac stable arm64 7YJgL5pV (2)");
    }

    #[test]
    fn a_long_instance_name_loses_its_name_first_and_then_its_channel() {
        let (name, channel, arch) = ("é".repeat(20), "c".repeat(32), "a".repeat(16));
        let full = InstanceName::new(&name, &channel, &arch, PEER);
        assert_eq!(full.label(1).as_str(), std::format!("éé {channel} {arch} 7YJgL5pV"));
        assert!(full.label(1).len() <= 63);
        let numbered = full.label(u16::MAX);
        assert_eq!(numbered.as_str(), std::format!("{} {arch} 7YJgL5pV (65535)", "c".repeat(29)));
        assert_eq!(numbered.len(), 63);
    }

    #[test]
    fn a_host_label_is_letters_digits_and_hyphens() {
        for bad in ["", "-a", "a-", "a b", "ä", "a.b", &"a".repeat(64)] {
            assert!(HostLabel::new(bad).is_err(), "{bad}");
        }
        assert_eq!(HostLabel::new("My-Mac7").unwrap().as_str(), "My-Mac7");
    }

    #[test]
    fn an_operating_systems_host_name_becomes_a_legal_label() {
        let check = |from: &str, to: &str| assert_eq!(HostLabel::from_hostname(from).as_str(), to);
        check("my-mac.example.org", "my-mac");
        check("Bob's  Mac", "Bob-s-Mac");
        check("_x_", "x");
        check("", "phase");
        check("ä.b", "phase");
        check(&"a".repeat(80), &"a".repeat(63));
    }

    #[test]
    fn a_host_is_numbered_with_a_hyphen() {
        let host = HostLabel::new(&"a".repeat(63)).unwrap();
        assert_eq!(host.numbered(1).len(), 63);
        assert_eq!(host.numbered(12).as_str(), std::format!("{}-12", "a".repeat(60)));
    }
}
