//! Octets as text: base64url without padding, base64 with padding, lower-case hex, lower-case base32 without
//! padding, base58.
//! Spec: RFC 4648 §4, §5, §6, §8; base58 with the Bitcoin alphabet as libp2p uses it.
//!
//! Every decoder here is strict: for each value there is exactly one text it accepts, so that a text
//! can never be altered without altering the value (no white space, no other case, no stray bits in
//! the last character, no missing or extra padding).

use core::net::Ipv6Addr;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use super::{Error, Overflow};

/// Writes `octets` as base64url without padding.
///
/// # Errors
/// [`Overflow`] when `out` is shorter than 4/3 of the input, rounded up.
pub fn encode_base64url<'b>(octets: &[u8], out: &'b mut [u8]) -> Result<&'b str, Overflow> {
    Base64UrlUnpadded::encode(octets, out).map_err(|_| Overflow)
}

/// Reads exactly `N` octets from base64url without padding.
///
/// # Errors
/// `Malformed` when the text has another length, another character or stray trailing bits.
pub fn decode_base64url<const N: usize>(text: &[u8]) -> Result<[u8; N], Error> {
    let value = |character| match character {
        b'-' => Some(62),
        b'_' => Some(63),
        _ => alphanumeric(character),
    };
    let mut out = [0; N];
    decode_digits(text, 6, value, &mut out).map(|()| out).ok_or(Error::Malformed("base64url"))
}

/// Writes `octets` as base64 with padding.
///
/// # Errors
/// [`Overflow`] when `out` is shorter than 4 characters for every 3 octets begun.
pub fn encode_base64<'b>(octets: &[u8], out: &'b mut [u8]) -> Result<&'b str, Overflow> {
    Base64::encode(octets, out).map_err(|_| Overflow)
}

/// Reads base64 with padding into `out` and returns the part that was filled.
///
/// # Errors
/// `Malformed` when the text is not the one base64 text of any octets, or `out` is too small for them.
pub fn decode_base64<'b>(text: &[u8], out: &'b mut [u8]) -> Result<&'b [u8], Error> {
    const WRONG: Error = Error::Malformed("base64");
    let value = |character| match character {
        b'+' => Some(62),
        b'/' => Some(63),
        _ => alphanumeric(character),
    };
    let padded = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"="));
    let digits = padded.unwrap_or(text);
    let out = out.get_mut(..digits.len().saturating_mul(6) / 8).ok_or(WRONG)?;
    let decoded = decode_digits(digits, 6, value, out);
    decoded.filter(|()| text.len().is_multiple_of(4)).map(|()| &*out).ok_or(WRONG)
}

/// Writes `octets` as lower-case hex.
///
/// # Errors
/// [`Overflow`] when `out` is shorter than twice the input.
pub fn encode_hex<'b>(octets: &[u8], out: &'b mut [u8]) -> Result<&'b str, Overflow> {
    base16ct::lower::encode_str(octets, out).map_err(|_| Overflow)
}

/// Reads exactly `N` octets from lower-case hex.
///
/// # Errors
/// `Malformed` when the text has another length or another character; upper case is refused too.
pub fn decode_hex<const N: usize>(text: &[u8]) -> Result<[u8; N], Error> {
    let value = |character| match character {
        b'0'..=b'9' => Some(character.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(character.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let mut out = [0; N];
    decode_digits(text, 4, value, &mut out).map(|()| out).ok_or(Error::Malformed("hex"))
}

/// Reads exactly `N` octets from lower-case base32 without padding.
///
/// # Errors
/// `Malformed` when the text has another length, another character or stray trailing bits.
pub fn decode_base32<const N: usize>(text: &[u8]) -> Result<[u8; N], Error> {
    let value = |character| match character {
        b'a'..=b'z' => Some(character.wrapping_sub(b'a')),
        b'2'..=b'7' => Some(character.wrapping_sub(b'2').wrapping_add(26)),
        _ => None,
    };
    let mut out = [0; N];
    decode_digits(text, 5, value, &mut out).map(|()| out).ok_or(Error::Malformed("base32"))
}

/// The values that base64 and base64url agree on.
const fn alphanumeric(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character.wrapping_sub(b'A')),
        b'a'..=b'z' => Some(character.wrapping_sub(b'a').wrapping_add(26)),
        b'0'..=b'9' => Some(character.wrapping_sub(b'0').wrapping_add(52)),
        _ => None,
    }
}

/// Reads as many octets as `out` has from characters of `width` bits each, of which `value` knows the values.
fn decode_digits(
    text: &[u8],
    width: u32,
    value: fn(u8) -> Option<u8>,
    out: &mut [u8],
) -> Option<()> {
    // What was read and not yet written: fewer than 8 bits between two characters.
    let (mut bits, mut count) = (0_u16, 0_u32);
    let mut slots = out.iter_mut();
    for &character in text {
        bits = bits.wrapping_shl(width) | u16::from(value(character)?);
        count = count.wrapping_add(width);
        if let Some(rest) = count.checked_sub(8) {
            let [_, octet] = bits.wrapping_shr(rest).to_be_bytes();
            *slots.next()? = octet;
            bits &= 1_u16.wrapping_shl(rest).wrapping_sub(1);
            count = rest;
        }
    }
    // Every octet, no character more than they need, and no stray bit in the last.
    (slots.next().is_none() && count < width && bits == 0).then_some(())
}

/// Writes an IPv6 address, without zone.
/// Spec: RFC 5952 §4; the text of an IPv4-mapped address is of another form (§5), and not written here.
#[must_use]
pub fn encode_ipv6(ip: &Ipv6Addr) -> heapless::String<39> {
    let segments = ip.segments();
    // §4.2: the longest run of two or more zeros, of equals the first.
    let (mut gap, mut run) = (0..0, 0..0);
    for (at, segment) in segments.iter().enumerate() {
        let end = at.saturating_add(1);
        run = if *segment == 0 { run.start.min(at)..end } else { end..end };
        if run.len() > gap.len().max(1) {
            gap = run.clone();
        }
    }
    let mut text = heapless::String::new();
    // There is room: eight segments of four digits, and seven colons.
    for (at, segment) in segments.iter().enumerate() {
        if gap.contains(&at) {
            let _ = if at == gap.start { text.push_str("::") } else { Ok(()) };
            continue;
        }
        if at != 0 && at != gap.end {
            let _ = text.push(':');
        }
        let digits = 4_u32.saturating_sub(segment.leading_zeros() / 4).max(1);
        for digit in (0..digits).rev() {
            let value = segment.wrapping_shr(digit.wrapping_mul(4)) & 0xf;
            let _ = char::from_digit(value.into(), 16).map(|digit| text.push(digit));
        }
    }
    text
}

/// Writes `octets` as base58.
///
/// # Errors
/// [`Overflow`] when `out` is too short; 1.38 characters for each octet, rounded up, are enough.
pub fn encode_base58<'b>(octets: &[u8], out: &'b mut [u8]) -> Result<&'b str, Overflow> {
    let len = bs58::encode(octets).onto(&mut *out).map_err(|_| Overflow)?;
    let text = out.get(..len).ok_or(Overflow)?;
    core::str::from_utf8(text).map_err(|_| Overflow)
}

/// Reads exactly `N` octets from base58.
///
/// # Errors
/// `Malformed` when the text has another character or stands for another number of octets.
pub fn decode_base58<const N: usize>(text: &[u8]) -> Result<[u8; N], Error> {
    let mut out = [0; N];
    match bs58::decode(text).onto(&mut out) {
        Ok(len) if len == N => Ok(out),
        Ok(_) | Err(_) => Err(Error::Malformed("base58")),
    }
}

/// Reads a decimal number without sign, leading zero or blank.
///
/// # Errors
/// `Malformed` when the text is not the one decimal text of a `u64`.
pub fn decode_decimal(text: &[u8]) -> Result<u64, Error> {
    const WRONG: Error = Error::Malformed("decimal number");
    if text.is_empty() || (text.len() > 1 && text.first() == Some(&b'0')) {
        return Err(WRONG);
    }
    text.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'9' => value
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit.wrapping_sub(b'0'))))
            .ok_or(WRONG),
        _ => Err(WRONG),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn addresses_are_written_as_in_rfc_5952() {
        for zeros in 0..=0xff_u16 {
            for filled in [0x1, 0x20, 0x300, 0xabcd] {
                let bit = |at: usize| zeros >> at & 1 == 1;
                let segments: [u16; 8] =
                    core::array::from_fn(|at| if bit(at) { 0 } else { filled });
                let ip = Ipv6Addr::from(segments);
                assert_eq!(encode_ipv6(&ip), std::format!("{ip}").as_str());
            }
        }
    }

    #[test]
    fn each_encoding_gives_back_its_octets() {
        for len in 0..=64_usize {
            let octets: Vec<u8> = (0..len).map(|i| (i * 37 + len) as u8).collect();
            let mut buf = [0xa5; 128];
            let text = String::from(encode_base64(&octets, &mut buf).unwrap());
            assert_eq!(decode_base64(text.as_bytes(), &mut [0; 64]).unwrap(), octets);
        }
        let octets: [u8; 38] = core::array::from_fn(|i| (i * 151) as u8);
        let mut buf = [0xa5; 128];
        let text = String::from(encode_base64url(&octets, &mut buf).unwrap());
        assert_eq!(decode_base64url(text.as_bytes()), Ok(octets));
        let text = String::from(encode_hex(&octets, &mut buf).unwrap());
        assert_eq!(decode_hex(text.as_bytes()), Ok(octets));
        let text = String::from(encode_base58(&octets, &mut buf).unwrap());
        assert_eq!(decode_base58(text.as_bytes()), Ok(octets));
    }

    #[test]
    fn base32_reads_the_examples_of_rfc_4648_section_10() {
        assert_eq!(decode_base32::<0>(b""), Ok([]));
        assert_eq!(decode_base32::<1>(b"my"), Ok(*b"f"));
        assert_eq!(decode_base32::<2>(b"mzxq"), Ok(*b"fo"));
        assert_eq!(decode_base32::<3>(b"mzxw6"), Ok(*b"foo"));
        assert_eq!(decode_base32::<4>(b"mzxw6yq"), Ok(*b"foob"));
        assert_eq!(decode_base32::<5>(b"mzxw6ytb"), Ok(*b"fooba"));
        assert_eq!(decode_base32::<6>(b"mzxw6ytboi"), Ok(*b"foobar"));
    }

    #[test]
    fn one_value_has_one_text() {
        assert_eq!(decode_base64url::<1>(b"_w"), Ok([0xff]));
        for other in ["_x", "_w=", "_w==", "/w", "_w ", " _w", "_", "_w\n", ""] {
            assert!(decode_base64url::<1>(other.as_bytes()).is_err(), "{other:?}");
        }
        let mut buf = [0; 8];
        assert_eq!(decode_base64(b"/w==", &mut buf).unwrap(), [0xff]);
        for other in
            ["/x==", "/w=", "/w", "_w==", "/w==\n", "/w== ", "=", "====", "/===", "/w==/w=="]
        {
            assert!(decode_base64(other.as_bytes(), &mut buf).is_err(), "{other:?}");
        }
        assert_eq!(decode_hex::<2>(b"00ff"), Ok([0, 255]));
        for other in ["00FF", "00f", "00fff", "0xff", "00f ", ""] {
            assert!(decode_hex::<2>(other.as_bytes()).is_err(), "{other:?}");
        }
        assert_eq!(decode_base32::<1>(b"74"), Ok([0xff]));
        for other in ["75", "7", "74a", "74======", "7A", "71", "70", "7 ", ""] {
            assert!(decode_base32::<1>(other.as_bytes()).is_err(), "{other:?}");
        }
        assert_eq!(decode_base58::<1>(b"2"), Ok([1]));
        for other in ["12", "0", "O", "I", "l", "", "2 ", "zzzzzzzzz"] {
            assert!(decode_base58::<1>(other.as_bytes()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn decimals_are_canonical_and_do_not_overflow() {
        assert_eq!(decode_decimal(b"0"), Ok(0));
        assert_eq!(decode_decimal(b"18446744073709551615"), Ok(u64::MAX));
        for other in
            ["", "00", "01", "+1", "-1", "1 ", " 1", "1.0", "1e3", "18446744073709551616", "१"]
        {
            assert!(decode_decimal(other.as_bytes()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_short_buffer_overflows() {
        assert_eq!(encode_base64url(&[0; 3], &mut [0; 3]), Err(Overflow));
        assert_eq!(encode_base64(&[0; 1], &mut [0; 3]), Err(Overflow));
        assert_eq!(encode_hex(&[0; 1], &mut [0; 1]), Err(Overflow));
        assert_eq!(encode_base58(&[255; 2], &mut [0; 2]), Err(Overflow));
    }
}
