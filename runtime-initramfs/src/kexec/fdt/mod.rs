//! Flattened device trees: reading one, whoever wrote it, without a panic and in bounded time.
//!
//! ```text
//!   header | memory reservations | structure: begin name, properties, nodes, end | strings
//! ```
//!
//! [`Fdt::parse`] walks the whole structure once, so that everything after it meets a tree that is whole:
//! one root, every node closed, every name ended, properties before nodes.
//! Spec: Devicetree Specification 0.4 §5 "Flattened Devicetree (DTB) Format", version 17.
//! Not here: overlays, phandles, the meaning of properties but those that booting needs.

mod patch;
mod write;

pub use patch::{Chosen, patch};

use core::fmt;

/// Documentation/arch/arm64/booting.rst: a device tree has at most 2 MiB.
pub const FDT_MAX: usize = 2 << 20;

/// Nodes within nodes; real trees have fewer than ten levels.
const DEPTH_MAX: usize = 64;

/// Octets of a property's name. §2.2.4.1 allows 31, which vendors exceed; without a bound, many properties with
/// one long name would take time that grows with the square of the tree.
const NAME_MAX: usize = 255;

/// §5.2: the first word.
pub(super) const MAGIC: u32 = 0xd00d_feed;

/// §5.2: the version that is read and written, and the one it is compatible with.
const VERSION: u32 = 17;
const LAST_COMPATIBLE: u32 = 16;

/// §5.2: octets of the header.
const HEADER_LEN: usize = 40;

/// §5.4.1: tokens of the structure.
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Why a device tree was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not begin as a device tree does.
    Magic,
    /// It is in a version that is not known.
    Version(u32),
    /// It is longer than [`FDT_MAX`], or would become so.
    TooLong,
    /// It ends before this does.
    Truncated(&'static str),
    /// Something has not the form that the specification gives it.
    Malformed(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a device tree (DTB)"),
            Self::Version(version) => {
                write!(f, "a device tree of version {version}; version {VERSION} is read")
            }
            Self::TooLong => write!(f, "the device tree is longer than {FDT_MAX} octets"),
            Self::Truncated(what) => write!(f, "the device tree ends within its {what}"),
            Self::Malformed(what) => write!(f, "the device tree is malformed: {what}"),
        }
    }
}

impl core::error::Error for Error {}

/// A device tree that was walked and is whole.
#[derive(Clone, Copy, Debug)]
pub struct Fdt<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    reservations: &'a [u8],
    boot_cpu: u32,
}

/// A property: its name, where that is in the strings, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value, as it is.
    pub value: &'a [u8],
    offset: u32,
}

/// A node of a tree that is whole.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The name with its unit address; empty for the root.
    pub name: &'a [u8],
    body: &'a [u8],
    strings: &'a [u8],
}

#[derive(Clone, Copy)]
enum Token<'a> {
    Begin(&'a [u8]),
    EndNode,
    Property(Property<'a>),
    End,
}

impl<'a> Fdt<'a> {
    /// Reads and checks a device tree; octets after its end are left alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        let word = |index: usize| word_at(blob, index * 4).ok_or(Error::Truncated("header"));
        if word(0)? != MAGIC {
            return Err(Error::Magic);
        }
        let total = to_usize(word(1)?);
        if total > FDT_MAX {
            return Err(Error::TooLong);
        }
        let (version, compatible) = (word(5)?, word(6)?);
        if version < VERSION || compatible > VERSION {
            return Err(Error::Version(version));
        }
        let blob = blob.get(..total).ok_or(Error::Truncated("total size"))?;
        let part = |at: u32, len: u32, what| {
            let rest = blob.get(to_usize(at)..);
            rest.and_then(|rest| rest.get(..to_usize(len))).ok_or(Error::Truncated(what))
        };
        let structure = part(word(2)?, word(9)?, "structure")?;
        let strings = part(word(3)?, word(8)?, "strings")?;
        let reservations = blob.get(to_usize(word(4)?)..);
        let reservations = reservations_of(reservations.unwrap_or_default())?;
        let tree = Self { structure, strings, reservations, boot_cpu: word(7)? };
        tree.check_structure()?;
        Ok(tree)
    }

    /// Memory that is not to be used: address and octets.
    pub fn reservations(&self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.reservations.chunks_exact(16).filter_map(|entry| {
            let address = entry.first_chunk::<8>()?;
            let len = entry.last_chunk::<8>()?;
            Some((u64::from_be_bytes(*address), u64::from_be_bytes(*len)))
        })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Node<'a> {
        // The structure of a tree that is whole is one node.
        let empty = Node { name: b"", body: &[], strings: self.strings };
        Nodes { rest: self.structure, strings: self.strings }.next().unwrap_or(empty)
    }

    /// The first string of the root's `compatible`: the board that the tree is for.
    #[must_use]
    pub fn board(&self) -> Option<&'a [u8]> {
        let compatible = self.root().property(b"compatible")?;
        compatible.split(|octet| *octet == 0).next().filter(|board| !board.is_empty())
    }

    fn check_structure(&self) -> Result<(), Error> {
        let mut rest = self.structure;
        let mut depth = 0_usize;
        let mut roots = 0;
        let mut properties_over = true;
        loop {
            let (token, after) = token(rest, self.strings)?;
            rest = after;
            match token {
                Token::Begin(_) => {
                    roots += usize::from(depth == 0);
                    depth += 1;
                    properties_over = false;
                    if depth > DEPTH_MAX {
                        return Err(Error::Malformed("nodes too deep within nodes"));
                    }
                }
                Token::EndNode => {
                    depth =
                        depth.checked_sub(1).ok_or(Error::Malformed("an end without a node"))?;
                    properties_over = true;
                }
                Token::Property(_) if properties_over => {
                    return Err(Error::Malformed("a property outside of a node or after a node"));
                }
                Token::Property(_) => {}
                Token::End if depth == 0 && roots == 1 => return Ok(()),
                Token::End => return Err(Error::Malformed("not one root that is closed")),
            }
        }
    }
}

impl<'a> Node<'a> {
    /// The value of the property of this name.
    #[must_use]
    pub fn property(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.properties().find(|property| property.name == name).map(|property| property.value)
    }

    /// Its properties.
    pub fn properties(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let (mut rest, strings) = (self.body, self.strings);
        core::iter::from_fn(move || match token(rest, strings) {
            Ok((Token::Property(property), after)) => {
                rest = after;
                Some(property)
            }
            Ok((Token::Begin(_) | Token::EndNode | Token::End, _)) | Err(_) => None,
        })
    }

    /// The nodes directly in it.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'a> {
        Nodes { rest: self.body, strings: self.strings }
    }

    /// The node of this name directly in it.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> Option<Self> {
        self.children().find(|child| child.name == name)
    }
}

/// The nodes of one level, properties between them passed over.
struct Nodes<'a> {
    rest: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let mut depth = 0_usize;
        let mut found = None;
        loop {
            let before = self.rest;
            let (token, after) = token(before, self.strings).ok()?;
            self.rest = after;
            match token {
                Token::Begin(name) => {
                    if depth == 0 {
                        found = Some((name, after));
                    }
                    depth += 1;
                }
                Token::Property(_) => {}
                Token::EndNode => {
                    depth = depth.checked_sub(1)?;
                    if let Some((name, body)) = found.filter(|_| depth == 0) {
                        // The token that ends the node stays in the body, so that walking it ends there.
                        let body = body.get(..body.len().checked_sub(after.len())?)?;
                        return Some(Node { name, body, strings: self.strings });
                    }
                }
                Token::End => return None,
            }
        }
    }
}

/// The next token but NOP, and what is after it.
fn token<'a>(mut rest: &'a [u8], strings: &'a [u8]) -> Result<(Token<'a>, &'a [u8]), Error> {
    const CUT: Error = Error::Truncated("structure");
    loop {
        let (word, after) = split_word(rest).ok_or(CUT)?;
        rest = after;
        match word {
            NOP => {}
            BEGIN_NODE => {
                let len = rest.iter().position(|octet| *octet == 0).ok_or(CUT)?;
                let name = rest.get(..len).ok_or(CUT)?;
                let after = rest.get((len + 1).next_multiple_of(4)..).ok_or(CUT)?;
                return Ok((Token::Begin(name), after));
            }
            END_NODE => return Ok((Token::EndNode, rest)),
            PROPERTY => {
                let (len, after) = split_word(rest).ok_or(CUT)?;
                let (offset, after) = split_word(after).ok_or(CUT)?;
                let len = to_usize(len);
                let value = after.get(..len).ok_or(CUT)?;
                let after = after.get(len.next_multiple_of(4)..).ok_or(CUT)?;
                let name = string_at(strings, offset)?;
                return Ok((Token::Property(Property { name, value, offset }), after));
            }
            END => return Ok((Token::End, rest)),
            _ => return Err(Error::Malformed("an unknown token")),
        }
    }
}

fn string_at(strings: &[u8], offset: u32) -> Result<&[u8], Error> {
    let from = strings.get(to_usize(offset)..).ok_or(Error::Truncated("strings"))?;
    let len = from.iter().take(NAME_MAX + 1).position(|octet| *octet == 0);
    len.and_then(|len| from.get(..len)).ok_or(Error::Malformed("a name without an end"))
}

/// The entries before the one of zeros (§5.3.2).
fn reservations_of(octets: &[u8]) -> Result<&[u8], Error> {
    let is_last = |entry: &[u8]| entry.iter().all(|octet| *octet == 0);
    let count = octets.chunks_exact(16).position(is_last);
    let entries = count.and_then(|count| octets.get(..count.checked_mul(16)?));
    entries.ok_or(Error::Truncated("memory reservations"))
}

fn split_word(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = octets.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*word), rest))
}

fn word_at(octets: &[u8], at: usize) -> Option<u32> {
    split_word(octets.get(at..)?).map(|(word, _)| word)
}

fn to_usize(word: u32) -> usize {
    // More than the address space holds is more than any tree has.
    usize::try_from(word).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
