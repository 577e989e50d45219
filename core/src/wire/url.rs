//! URLs of manifests and artifacts: a closed grammar, so that no two readers can see two different URLs.
//!
//! ```text
//! url      = ("http" | "https") "://" host [":" port] path
//! host     = canonical dotted quad | "[" canonical IPv6 "]" | name
//! name     = lower-case letters, digits and inner hyphens in labels of 1 to 63, 253 in all; the last
//!            label is no number
//! port     = 1 to 65535 without leading zero
//! path     = 1*("/" segment), segment = 1*(A-Z a-z 0-9 . _ ~ + -), not "." or ".."
//! ```
//!
//! A manifest's path ends in `/manifest.json`. There is no user, query, fragment, percent sign, zone id,
//! or any octet that is not ASCII. Reading and printing are the identity.
//! Spec: a subset of RFC 3986 §3; IPv6 text as RFC 5952 §4.
//! Not here: which addresses may be used ([`crate::select::carrier`]), and resolving names.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text;
use crate::limits::URL_MAX;

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// Empty, or longer than [`URL_MAX`] octets.
    Length,
    /// Not `http://` or `https://` in lower case.
    Scheme,
    /// Neither a canonical address nor a lower-case host name.
    Host,
    /// Not 1 to 65535, or written with a leading zero.
    Port,
    /// A character, an empty segment, `.` or `..` that a path must not have.
    Path,
    /// The path of a manifest must end in `/manifest.json`.
    NotManifest,
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Length => "E-URL:length",
            Self::Scheme => "E-URL:scheme",
            Self::Host => "E-URL:host",
            Self::Port => "E-URL:port",
            Self::Path => "E-URL:path",
            Self::NotManifest => "E-URL:manifest",
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "the URL is empty or longer than 192 octets",
            Self::Scheme => "the URL must begin with http:// or https:// in lower case",
            Self::Host => "the host must be a canonical IP address or a lower-case host name",
            Self::Port => "the port must be 1 to 65535 without leading zero",
            Self::Path => {
                "the path may have only A-Z a-z 0-9 . _ ~ + - and no empty, . or .. segment"
            }
            Self::NotManifest => "the path must end in /manifest.json",
        })
    }
}

impl core::error::Error for Error {}

/// The host of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// An address.
    Ip(IpAddr),
    /// A name that has to be resolved; `x.local` only by mDNS.
    Name(&'a str),
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Scheme {
    /// Port 80 unless the URL names one.
    Http,
    /// Port 443 unless the URL names one.
    Https,
}

impl Scheme {
    const fn text(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
        }
    }
}

/// A URL inside the closed grammar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url(heapless::String<URL_MAX, u8>);

impl Url {
    /// Reads the URL of a manifest.
    ///
    /// # Errors
    /// The first part that is outside the grammar.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let url = Self::parse_any(text)?;
        if url.path().ends_with("/manifest.json") { Ok(url) } else { Err(Error::NotManifest) }
    }

    /// Reads the URL of an artifact: the same grammar with any path.
    ///
    /// # Errors
    /// The first part that is outside the grammar.
    pub fn parse_any(text: &str) -> Result<Self, Error> {
        let owned = heapless::String::try_from(text).map_err(|_| Error::Length)?;
        if text.is_empty() {
            return Err(Error::Length);
        }
        let parts = split(text).ok_or(Error::Scheme)?;
        check_host(parts.host)?;
        parts.port.map(parse_port).transpose()?;
        check_path(parts.path)?;
        Ok(Self(owned))
    }

    /// The URL as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        if self.0.starts_with(Scheme::Https.text()) { Scheme::Https } else { Scheme::Http }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> Host<'_> {
        let host = self.parts().host;
        parse_ip(host).map_or(Host::Name(host), Host::Ip)
    }

    /// The port: the one written, else that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        let written = self.parts().port.and_then(|port| parse_port(port).ok());
        let default = match self.scheme() {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        written.unwrap_or(default)
    }

    /// Host and port as they are written, for the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.0.strip_prefix(self.scheme().text()).unwrap_or_default();
        rest.split_once('/').map_or(rest, |(authority, _)| authority)
    }

    /// The path, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().path
    }

    /// The class of the address, when the host is one.
    #[must_use]
    pub fn address_class(&self) -> Option<AddressClass> {
        match self.host() {
            Host::Ip(ip) => Some(AddressClass::of(ip)),
            Host::Name(_) => None,
        }
    }

    /// Whether the path is `/{channel}/{arch}/manifest.json`, the one expected of a provider.
    #[must_use]
    pub fn is_expected_path(&self, channel: &str, arch: &str) -> bool {
        let mut segments = self.path().split('/').skip(1);
        segments.next() == Some(channel)
            && segments.next() == Some(arch)
            && segments.next() == Some("manifest.json")
            && segments.next().is_none()
    }

    /// The URL of `path` at the same scheme, host and port. A path that begins with `/` replaces the
    /// whole path; any other is taken from the directory of this URL.
    ///
    /// # Errors
    /// [`Error::Path`] when `path` is outside the grammar, [`Error::Length`] when the result is too long.
    pub fn join(&self, path: &str) -> Result<Self, Error> {
        let whole = self.as_str();
        let kept = if path.starts_with('/') {
            whole.strip_suffix(self.path())
        } else {
            whole.rfind('/').and_then(|slash| whole.get(..=slash))
        };
        let mut joined = heapless::String::new();
        joined.push_str(kept.unwrap_or_default()).map_err(|_| Error::Length)?;
        joined.push_str(path).map_err(|_| Error::Length)?;
        // The origin ended in the URL at hand, so whatever follows can only have become the path.
        let parts = split(&joined).ok_or(Error::Path)?;
        check_path(parts.path)?;
        Ok(Self(joined))
    }

    fn parts(&self) -> Parts<'_> {
        split(&self.0).unwrap_or(Parts { host: "", port: None, path: "" })
    }
}

impl core::fmt::Display for Url {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

impl core::fmt::Debug for Url {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Url {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

impl core::str::FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// Whether `path` can be given to [`Url::join`]: segments of the grammar, with or without a leading `/`.
#[must_use]
pub fn is_path(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').all(is_segment)
}

struct Parts<'a> {
    /// An IPv6 address still has its brackets.
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
}

/// Cuts at fixed places only; what lies between is checked by the caller. `None`: the scheme is wrong.
fn split(text: &str) -> Option<Parts<'_>> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let host_len = authority
        .strip_prefix('[')
        .and_then(|_| authority.find(']').and_then(|at| at.checked_add(1)))
        .or_else(|| authority.find(':'))
        .unwrap_or(authority.len());
    let (host, port) = authority.split_at_checked(host_len)?;
    let port = if port.is_empty() { None } else { Some(port) };
    Some(Parts { host, port, path })
}

/// `text` begins with the colon, if it is a port at all.
fn parse_port(text: &str) -> Result<u16, Error> {
    let digits = text.strip_prefix(':').ok_or(Error::Port)?;
    let port = text::decode_decimal(digits.as_bytes()).map_err(|_| Error::Port)?;
    u16::try_from(port).ok().filter(|port| *port != 0).ok_or(Error::Port)
}

fn check_host(host: &str) -> Result<(), Error> {
    let good = parse_ip(host).is_some() || is_name(host);
    if good { Ok(()) } else { Err(Error::Host) }
}

/// An address in the one text it may have here.
fn parse_ip(host: &str) -> Option<IpAddr> {
    let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        // `core` reads one text of each: four decimal numbers without leading zeros.
        return host.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    };
    let ip = inner.parse::<Ipv6Addr>().ok()?;
    let is_canonical = ip.to_ipv4_mapped().is_none() && text::encode_ipv6(&ip) == inner;
    is_canonical.then_some(IpAddr::V6(ip))
}

fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let last = host.rsplit_once('.').map_or(host, |(_, last)| last);
    host.len() <= 253 && host.split('.').all(is_label) && !is_number(last)
}

/// What other readers take for part of an IPv4 address: decimal, octal or `0x` with any hex digits.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    label.bytes().all(|c| c.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn check_path(path: &str) -> Result<(), Error> {
    let segments = path.strip_prefix('/').ok_or(Error::Path)?;
    if segments.split('/').all(is_segment) { Ok(()) } else { Err(Error::Path) }
}

fn is_segment(segment: &str) -> bool {
    let is_allowed =
        |c| matches!(c, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'+' | b'-');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed)
}

/// What kind of address it is, for the carrier policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AddressClass {
    /// 127/8 and `::1`.
    Loopback,
    /// 0/8, 240/4, broadcast, `::`, multicast, and IPv6 outside `2000::/3`, `fc00::/7` and `fe80::/10`.
    Unusable,
    /// Where clouds keep a machine's credentials: 169.254.169.254, `fd00:ec2::254`, 100.100.100.200.
    Metadata,
    /// 169.254/16.
    LinkLocalV4,
    /// `fe80::/10`.
    LinkLocalV6,
    /// RFC 1918, 100.64/10 (RFC 6598) and `fc00::/7` (RFC 4193).
    Private,
    /// Everything else.
    Global,
}

impl AddressClass {
    /// The class of an address. An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4) has the
    /// class of that.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    const fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [169, 254, 169, 254] | [100, 100, 100, 200] => Self::Metadata,
            [0 | 224..=255, ..] => Self::Unusable,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocalV4,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let v4 = |high: u16, low: u16| {
            let bits = (u32::from(high) << 16) | u32::from(low);
            Self::of_v4(Ipv4Addr::from_bits(bits))
        };
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Self::Metadata,
            [0, 0, 0, 0, 0, 0xffff, high, low]
            | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => v4(high, low),
            [0xfe80..=0xfebf, ..] => Self::LinkLocalV6,
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Unusable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        let url = Url::parse("http://192.168.1.100:8080/stable/arm64/manifest.json").unwrap();
        assert_eq!(url.scheme(), Scheme::Http);
        assert_eq!(url.host(), Host::Ip("192.168.1.100".parse().unwrap()));
        assert_eq!((url.port(), url.authority()), (8080, "192.168.1.100:8080"));
        assert_eq!(url.path(), "/stable/arm64/manifest.json");
        assert!(url.is_expected_path("stable", "arm64"));
        assert!(!url.is_expected_path("stable", "x86_64"));
        assert_eq!(url.address_class(), Some(AddressClass::Private));

        let url = Url::parse("https://[2001:db8::1]/manifest.json").unwrap();
        assert_eq!(url.host(), Host::Ip("2001:db8::1".parse().unwrap()));
        assert_eq!((url.port(), url.authority()), (443, "[2001:db8::1]"));

        let url = Url::parse("http://mac.local:80/a/manifest.json").unwrap();
        assert_eq!(url.host(), Host::Name("mac.local"));
        assert_eq!((url.port(), url.address_class()), (80, None));
    }

    #[test]
    fn joining_stays_at_the_origin() {
        let url = Url::parse("http://[fe80::1]:8080/stable/arm64/manifest.json").unwrap();
        let join = |path| url.join(path).map(|joined| std::string::String::from(joined.as_str()));
        assert_eq!(join("kernel").unwrap(), "http://[fe80::1]:8080/stable/arm64/kernel");
        assert_eq!(join("dtbs/a.dtb").unwrap(), "http://[fe80::1]:8080/stable/arm64/dtbs/a.dtb");
        assert_eq!(join("/x/vmlinuz").unwrap(), "http://[fe80::1]:8080/x/vmlinuz");
        for escape in [
            "",
            "/",
            "//evil/x",
            "../x",
            "a/../x",
            "./x",
            "a//b",
            "a/",
            "http://evil/x",
            "a?b",
            "a#b",
            "a%2e",
            "a\\b",
            "@evil/x",
            ":80/x",
            "a b",
            "\u{e9}",
            "/..",
            "/a/./b",
            "a\r\nb",
        ] {
            assert!(join(escape).is_err(), "{escape:?}");
            assert!(!is_path(escape), "{escape:?}");
        }
        assert_eq!(url.join(&"x".repeat(192)), Err(Error::Length));
        assert!(is_path("dtbs/a.dtb") && is_path("/x/vmlinuz"));
    }

    #[test]
    fn the_longest_url_fits_and_one_more_does_not() {
        let text = |n: usize| std::format!("http://h/{}/manifest.json", "a".repeat(n));
        assert_eq!(text(169).len(), URL_MAX);
        assert!(Url::parse(&text(169)).is_ok());
        assert_eq!(Url::parse(&text(170)), Err(Error::Length));
    }

    #[test]
    fn address_classes() {
        use AddressClass::{
            Global, LinkLocalV4, LinkLocalV6, Loopback, Metadata, Private, Unusable,
        };
        for (ip, class) in [
            ("0.0.0.0", Unusable),
            ("0.1.2.3", Unusable),
            ("127.0.0.1", Loopback),
            ("127.255.255.255", Loopback),
            ("224.0.0.251", Unusable),
            ("240.0.0.1", Unusable),
            ("255.255.255.255", Unusable),
            ("169.254.169.254", Metadata),
            ("100.100.100.200", Metadata),
            ("169.254.1.1", LinkLocalV4),
            ("10.0.0.1", Private),
            ("172.15.0.1", Global),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.1", Global),
            ("192.168.1.1", Private),
            ("100.63.0.1", Global),
            ("100.64.0.1", Private),
            ("100.128.0.1", Global),
            ("8.8.8.8", Global),
            ("::", Unusable),
            ("::1", Loopback),
            ("::2", Unusable),
            ("::127.0.0.1", Unusable),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:8.8.8.8", Global),
            ("64:ff9b::7f00:1", Loopback),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("64:ff9b::808:808", Global),
            ("64:ff9b:1::1", Unusable),
            ("2002:7f00:1::1", Loopback),
            ("2002:808:808::1", Global),
            ("fd00:ec2::254", Metadata),
            ("fd00:ec2::255", Private),
            ("fc00::1", Private),
            ("fe80::1", LinkLocalV6),
            ("febf::1", LinkLocalV6),
            ("fec0::1", Unusable),
            ("ff02::fb", Unusable),
            ("2001:db8::1", Global),
        ] {
            assert_eq!(AddressClass::of(ip.parse().unwrap()), class, "{ip}");
        }
    }
}
