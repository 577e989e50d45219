//! Under which names a fetch leaves files: those of an image, and the hidden ones of what is on its way.
//!
//! A directory is one image, whole. Its [`MANIFEST`] is removed before the first file changes and comes back last, so that
//! where it stands, every file beside it is the one that it names.
//! Not here: the files themselves.

use core::fmt;

use crate::wire::digest::Digest;
use crate::wire::text;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";

/// The kernel command line's name.
pub const CMDLINE: &str = "cmdline";

/// The directory of device trees.
pub const DTBS: &str = "dtbs";

/// Every name that an image may have, device trees apart.
pub const NAMES: [&str; 5] = ["kernel", "initramfs", "rootfs", CMDLINE, MANIFEST];

/// The hidden name of a file that is on its way, and is to have `digest`: `.<64 hex digits>.part`. It is the same for every
/// provider, so that what one of them began another can finish, in this run or the next.
pub fn hidden_name(digest: &Digest) -> impl fmt::Display {
    let digest = *digest;
    fmt::from_fn(move |f| {
        let mut hex = [0; 64];
        f.write_str(".")?;
        f.write_str(text::encode_hex(digest.as_octets(), &mut hex).map_err(|_| fmt::Error)?)?;
        f.write_str(".part")
    })
}

/// Whether a name is such a hidden one.
#[must_use]
pub fn is_hidden_name(name: &str) -> bool {
    let digest = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
    digest.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|octet| octet.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn a_hidden_name_is_known_as_one() {
        let name = hidden_name(&Digest::of(b"abc")).to_string();
        // FIPS 180-2 §B.1.
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(name, std::format!(".{hex}.part"));
        assert!(is_hidden_name(&name));
        for other in [&name[1..], &name[..69], ".draft.part", "kernel", ".part", "", hex] {
            assert!(!is_hidden_name(other), "{other}");
        }
    }
}
