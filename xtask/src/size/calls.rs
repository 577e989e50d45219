//! Who calls whom in a linked image, and how deep the stack gets by that.
//! Spec: System V ABI, chapter 4 (ELF); LLVM `StackSizes` section.
//!
//! Calls are those that the linker has resolved. A call through a pointer is not seen; of functions that call one
//! another in a circle, each is counted once.

use std::collections::BTreeMap;

use object::{Architecture, File, Object as _, ObjectSection as _, ObjectSymbol as _};
use object::{RelocationTarget, SymbolKind};

use super::image::shown;

/// Where an image begins.
const ENTRY: &str = "_start";

/// The functions of an image in the order of their addresses, and their calls.
#[derive(Debug)]
pub(super) struct Calls {
    functions: Vec<Function>,
    /// Who calls, and who is called, each pair once.
    pub(super) pairs: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Function {
    begin: u64,
    size: u64,
    name: String,
    /// Octets of the stack that it takes; 0 where the compiler did not say.
    frame: u64,
}

impl Calls {
    /// Reads them.
    pub(super) fn read(file: &File<'_>) -> Self {
        // The lowest bit of a Thumb function's address says that it is one.
        let mask = if file.architecture() == Architecture::Arm { !1 } else { !0 };
        let frames = frames(file, mask);
        let code = |kind| kind == SymbolKind::Text;
        let mut functions: Vec<Function> = file
            .symbols()
            .filter(|symbol| code(symbol.kind()) && symbol.size() > 0)
            .filter_map(|symbol| {
                let begin = symbol.address() & mask;
                let frame = frames.get(&begin).copied().unwrap_or(0);
                Some(Function {
                    begin,
                    size: symbol.size(),
                    name: shown(symbol.name().ok()?),
                    frame,
                })
            })
            .collect();
        functions.sort_by(|a, b| (a.begin, &a.name).cmp(&(b.begin, &b.name)));
        let mut calls = Self { functions, pairs: Vec::new() };
        for (place, relocation) in file.sections().flat_map(|section| section.relocations()) {
            let RelocationTarget::Symbol(target) = relocation.target() else { continue };
            let Ok(symbol) = file.symbol_by_index(target) else { continue };
            let offset = if symbol.kind() == SymbolKind::Section { relocation.addend() } else { 0 };
            let called = calls.at((symbol.address() & mask).wrapping_add_signed(offset));
            if let Some(pair) = calls.at(place).zip(called) {
                calls.pairs.push(pair);
            }
        }
        calls.pairs.sort_unstable();
        calls.pairs.dedup();
        calls
    }

    /// The function that an address is in.
    fn at(&self, address: u64) -> Option<usize> {
        let next = self.functions.partition_point(|function| function.begin <= address);
        let at = next.checked_sub(1)?;
        let function = self.functions.get(at)?;
        (address - function.begin < function.size).then_some(at)
    }

    /// The name of a function.
    pub(super) fn name(&self, at: usize) -> &str {
        self.functions.get(at).map_or("", |function| &function.name)
    }

    /// The names of all functions.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().map(|function| function.name.as_str())
    }

    /// The chain of calls from the entry that takes the most of the stack: each function with its octets.
    pub(super) fn deepest(&self) -> Vec<(u64, &str)> {
        let Some(entry) = self.functions.iter().position(|f| f.name == ENTRY) else {
            return Vec::new();
        };
        let mut below = vec![None; self.functions.len()];
        self.depth(entry, &mut below);
        let mut chain = Vec::new();
        let mut next = Some(entry);
        while let Some(function) = next.and_then(|at| self.functions.get(at)) {
            chain.push((function.frame, function.name.as_str()));
            next = next.and_then(|at| below.get(at).copied().flatten()).and_then(|(_, next)| next);
        }
        chain
    }

    /// The octets that a function and what it calls take, noted in `below` with the callee that takes the most.
    fn depth(&self, at: usize, below: &mut [Option<(u64, Option<usize>)>]) -> u64 {
        if let Some((depth, _)) = below[at] {
            return depth;
        }
        // Until it is known: what a circle finds when it comes round.
        below[at] = Some((0, None));
        let first = self.pairs.partition_point(|(caller, _)| *caller < at);
        let mut deepest = (0, None);
        for (_, called) in self.pairs[first..].iter().take_while(|(caller, _)| *caller == at) {
            let depth = self.depth(*called, below);
            if depth > deepest.0 {
                deepest = (depth, Some(*called));
            }
        }
        let depth = self.functions[at].frame + deepest.0;
        below[at] = Some((depth, deepest.1));
        depth
    }
}

/// The frame of each function that the compiler told of, by its address: pairs of an address and a ULEB128.
fn frames(file: &File<'_>, mask: u64) -> BTreeMap<u64, u64> {
    let mut frames = BTreeMap::new();
    let octets = file.section_by_name(".stack_sizes").and_then(|section| section.data().ok());
    let mut rest = octets.unwrap_or_default();
    let width = if file.is_64() { 8 } else { 4 };
    while let Some((address, after)) = rest.split_at_checked(width) {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(address);
        let len = after.iter().take_while(|octet| **octet & 0x80 != 0).count() + 1;
        let (number, after) = after.split_at_checked(len).unwrap_or_default();
        let frame =
            number.iter().rev().fold(0, |value, octet| value << 7 | u64::from(octet & 0x7f));
        frames.insert(u64::from_le_bytes(wide) & mask, frame);
        rest = after;
    }
    frames
}
