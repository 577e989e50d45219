//! An archive that the kernel unpacks into its first file system.
//!
//! Spec: Linux Documentation/driver-api/early-userspace/buffer-format (newc).
//! The same entries give the same octets: in the order of their paths, of the year 1970, owned by root, numbered from 1.
//! Not here: hard links, the checksums of the format "crc".

use std::collections::BTreeMap;

/// What each header begins with.
const MAGIC: &str = "070701";

/// Octets of a header.
const HEADER_LEN: usize = 110;

/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Where the kind of a file is in its mode (inode(7)).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const LINK: u32 = 0o120_000;

/// Files to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    /// Major and minor number of a device.
    device: (u32, u32),
    content: Vec<u8>,
}

/// What an archive says of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The path, without a slash in front.
    pub path: String,
    /// Kind and permissions (inode(7)).
    pub mode: u32,
    /// The content of a file, or what a link points to.
    pub content: Vec<u8>,
}

impl Archive {
    /// Adds a directory and those above it.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if !path.is_empty() {
            self.insert(path, DIRECTORY | 0o755, (0, 0), Vec::new());
        }
    }

    /// Adds a file and the directories above it; replaces one of the same path. `permissions`: such as `0o755`.
    pub fn file(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        self.insert(path, REGULAR | permissions, (0, 0), content);
    }

    /// Adds a character device and the directories above it.
    pub fn character_device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.insert(path, CHARACTER_DEVICE | permissions, (major, minor), Vec::new());
    }

    /// Adds a symbolic link and the directories above it.
    pub fn link(&mut self, path: &str, target: &str) {
        self.insert(path, LINK | 0o777, (0, 0), target.as_bytes().to_vec());
    }

    fn insert(&mut self, path: &str, mode: u32, device: (u32, u32), content: Vec<u8>) {
        let path = path.trim_matches('/');
        if let Some((above, _)) = path.rsplit_once('/')
            && !self.entries.contains_key(above)
        {
            self.directory(above);
        }
        self.entries.insert(path.to_owned(), Entry { mode, device, content });
    }

    /// The archive's octets. A directory comes before what is in it, as the kernel needs it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            append(&mut octets, number, path, entry);
        }
        let end = Entry { mode: 0, device: (0, 0), content: Vec::new() };
        append(&mut octets, 0, TRAILER, &end);
        octets
    }
}

fn append(octets: &mut Vec<u8>, number: u32, path: &str, entry: &Entry) {
    let links = if entry.mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let (major, minor) = entry.device;
    // Inode, mode, owner, group, links, time, size, device of the file, device that the file is, length of the name, sum.
    let fields = [
        number,
        entry.mode,
        0,
        0,
        links,
        0,
        size(entry.content.len()),
        0,
        0,
        major,
        minor,
        size(path.len() + 1),
        0,
    ];
    octets.extend_from_slice(MAGIC.as_bytes());
    for field in fields {
        octets.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    octets.extend_from_slice(path.as_bytes());
    octets.push(0);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets.extend_from_slice(&entry.content);
    octets.resize(octets.len().next_multiple_of(4), 0);
}

/// Reads an archive; nothing when it is not one, or is cut off.
#[must_use]
pub fn list(mut octets: &[u8]) -> Option<Vec<Listed>> {
    let mut entries = Vec::new();
    loop {
        let header = std::str::from_utf8(octets.get(..HEADER_LEN)?).ok()?;
        let digits = header.strip_prefix(MAGIC)?;
        let field =
            |index: usize| u32::from_str_radix(digits.get(index * 8..index * 8 + 8)?, 16).ok();
        let (mode, len, name_len) = (field(1)?, field(6)?, field(11)?);
        let name_end = HEADER_LEN + usize::try_from(name_len).ok()?;
        let path = octets.get(HEADER_LEN..name_end)?.strip_suffix(&[0])?;
        let path = String::from_utf8(path.to_vec()).ok()?;
        let begin = name_end.next_multiple_of(4);
        let end = begin + usize::try_from(len).ok()?;
        let content = octets.get(begin..end)?.to_vec();
        octets = octets.get(end.next_multiple_of(4)..)?;
        if path == TRAILER {
            return octets.is_empty().then_some(entries);
        }
        entries.push(Listed { path, mode, content });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Archive {
        let mut archive = Archive::default();
        archive.file("/init", 0o755, b"\x7fELF".to_vec());
        archive.file("etc/phase/trust", 0o644, b"x".to_vec());
        archive.file("etc-more", 0o644, Vec::new());
        archive.character_device("dev/console", 0o600, 5, 1);
        archive.link("bin/phase-discover", "/init");
        archive
    }

    #[test]
    fn what_is_archived_is_listed_with_directories_before_what_is_in_them() {
        let listed = list(&sample().encode()).unwrap();
        let paths: Vec<(&str, u32)> = listed.iter().map(|l| (l.path.as_str(), l.mode)).collect();
        let expected = [
            ("bin", 0o040_755),
            ("bin/phase-discover", 0o120_777),
            ("dev", 0o040_755),
            ("dev/console", 0o020_600),
            ("etc", 0o040_755),
            ("etc-more", 0o100_644),
            ("etc/phase", 0o040_755),
            ("etc/phase/trust", 0o100_644),
            ("init", 0o100_755),
        ];
        assert_eq!(paths, expected);
        assert_eq!(listed.last().unwrap().content, b"\x7fELF");
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        let mut other = Archive::default();
        other.link("bin/phase-discover", "/init");
        other.character_device("dev/console", 0o600, 5, 1);
        other.file("etc-more", 0o644, Vec::new());
        other.file("etc/phase/trust", 0o644, b"x".to_vec());
        other.file("init", 0o755, b"\x7fELF".to_vec());
        assert_eq!(other.encode(), sample().encode());
    }

    #[test]
    fn an_archive_that_is_cut_off_is_none() {
        let octets = sample().encode();
        for len in 0..octets.len() {
            assert_eq!(list(&octets[..len]), None, "{len}");
        }
    }

    #[test]
    fn octets_are_those_of_gnu_cpio() {
        // source: `printf 'hello\n' >a; echo a | cpio -o -H newc`, GNU cpio 2.13, with inode 1 and time 0 in the place of
        // those of that file, and without the padding to 512 octets.
        let zero = "00000000";
        let one = "00000001";
        let none = zero.repeat(4);
        let file =
            format!("000081A4{zero}{zero}{one}{zero}00000006{none}00000002{zero}a\0hello\n\0\0");
        let end = format!("{none}{one}{none}{zero}{zero}0000000B{zero}TRAILER!!!\0\0\0\0");
        let expected = format!("070701{one}{file}070701{end}");
        let mut archive = Archive::default();
        archive.file("a", 0o644, b"hello\n".to_vec());
        assert_eq!(String::from_utf8(archive.encode()).unwrap(), expected);
    }
}
