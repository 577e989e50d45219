//! What is in a linked image: octets to flash, octets of memory, and who can panic.
//! Spec: System V ABI, chapters 4 and 5 (ELF).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{
    Architecture, File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget,
    SectionFlags, SymbolKind,
};

use crate::Error;

/// What was found.
#[derive(Debug)]
pub(super) struct Image {
    /// Octets of code and constants, and of what variables begin with.
    pub(super) flash: u64,
    /// Octets of variables.
    pub(super) memory: u64,
    /// Each function that panics, with the functions that call it.
    pub(super) panics: BTreeMap<String, BTreeSet<String>>,
    /// Functions of an allocator.
    pub(super) allocator: BTreeSet<String>,
}

/// Reads the image at `path`.
///
/// # Errors
/// When it is no linked image.
pub(super) fn read(path: &Path) -> Result<Image, Error> {
    let octets =
        std::fs::read(path).map_err(|e| Error::os(format!("read {}", path.display()), e))?;
    let file = File::parse(&*octets).map_err(|e| Error::Unexpected {
        what: path.display().to_string(),
        found: e.to_string(),
    })?;
    let mut image =
        Image { flash: 0, memory: 0, panics: BTreeMap::new(), allocator: BTreeSet::new() };
    for section in file.sections() {
        let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else { continue };
        if !sh_flags.contains(SHF_ALLOC) {
            continue;
        }
        let begins_empty = sh_type == SHT_NOBITS;
        image.flash += if begins_empty { 0 } else { section.size() };
        image.memory += if sh_flags.contains(SHF_WRITE) { section.size() } else { 0 };
    }
    image.allocator = names(&file).filter(|n| n.contains("__rust_alloc")).collect();
    image.panics = panics(&file);
    Ok(image)
}

fn names<'a>(file: &'a File<'_>) -> impl Iterator<Item = String> + 'a {
    file.symbols().filter_map(|symbol| Some(shown(symbol.name().ok()?)))
}

/// A function's name as in the source, without the hash at its end.
fn shown(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// Whether a function ends in the panic handler.
fn is_panic(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    ["core::panicking::", "core::option::unwrap_failed", "core::option::expect_failed"]
        .iter()
        .any(|panics| name.starts_with(panics))
        || name.starts_with("core::result::unwrap_failed")
        || (name.starts_with("core::slice::") && name.contains("fail"))
        || (name.starts_with("core::str::") && name.contains("fail"))
        || (name.starts_with("core::cell::panic_"))
}

/// The functions that panic, each with those that call it.
fn panics(file: &File<'_>) -> BTreeMap<String, BTreeSet<String>> {
    // The lowest bit of a Thumb function's address says that it is one.
    let mask = if file.architecture() == Architecture::Arm { !1 } else { !0 };
    let mut functions: Vec<(u64, u64, String)> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter_map(|s| Some((s.address() & mask, s.size(), shown(s.name().ok()?))))
        .collect();
    functions.sort();
    let at = |address: u64| {
        let next = functions.partition_point(|(begin, ..)| *begin <= address);
        let (begin, size, name) = functions.get(next.checked_sub(1)?)?;
        (address - begin < *size).then_some(name.as_str())
    };
    let there = functions.iter().filter(|(.., name)| is_panic(name));
    let mut panics: BTreeMap<String, BTreeSet<String>> =
        there.map(|(.., name)| (name.clone(), BTreeSet::new())).collect();
    for (place, relocation) in file.sections().flat_map(|section| section.relocations()) {
        let RelocationTarget::Symbol(target) = relocation.target() else { continue };
        let Ok(symbol) = file.symbol_by_index(target) else { continue };
        let offset = if symbol.kind() == SymbolKind::Section { relocation.addend() } else { 0 };
        let called = at((symbol.address() & mask).wrapping_add_signed(offset));
        let caller = at(place).filter(|caller| !is_panic(caller));
        if let (Some(called), Some(caller)) = (called, caller)
            && let Some(callers) = panics.get_mut(called)
        {
            callers.insert(caller.to_owned());
        }
    }
    panics
}
