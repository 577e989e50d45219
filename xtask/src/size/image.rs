//! What is in a linked image: octets to flash, octets of memory and of stack, and who can panic.
//! Spec: System V ABI, chapters 4 and 5 (ELF).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, Section, SectionFlags, Symbol,
};

use super::calls::Calls;
use crate::Error;

/// What was found.
#[derive(Debug)]
pub(super) struct Image {
    /// Octets of code and constants, and of what variables begin with.
    pub(super) flash: u64,
    /// Octets of variables.
    pub(super) memory: u64,
    /// The chain of calls that takes the most of the stack: octets of each function.
    pub(super) stack: Vec<(u64, String)>,
    /// Functions and constants, the largest first, and last what has no name.
    pub(super) parts: Vec<(u64, String)>,
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
    let is_variable = |section: &Section<'_, '_>| {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return false };
        sh_flags.contains(SHF_ALLOC | SHF_WRITE)
    };
    let size = |section: Section<'_, '_>| section.size();
    let flash = file.sections().filter(takes_flash).map(size).sum();
    let memory = file.sections().filter(is_variable).map(size).sum();
    let calls = Calls::read(&file);
    let owned = |(frame, name): (u64, &str)| (frame, name.to_owned());
    Ok(Image {
        flash,
        memory,
        stack: calls.deepest().into_iter().map(owned).collect(),
        panics: panics(&calls),
        allocator: names(&file).filter(|n| n.contains("__rust_alloc")).collect(),
        parts: parts(&file, flash),
    })
}

fn names<'a>(file: &'a File<'_>) -> impl Iterator<Item = String> + 'a {
    file.symbols().filter_map(|symbol| Some(shown(symbol.name().ok()?)))
}

/// A function's name as in the source, without the hash at its end.
pub(super) fn shown(name: &str) -> String {
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
fn panics(calls: &Calls) -> BTreeMap<String, BTreeSet<String>> {
    let there = calls.names().filter(|name| is_panic(name));
    let mut panics: BTreeMap<String, BTreeSet<String>> =
        there.map(|name| (name.to_owned(), BTreeSet::new())).collect();
    for (caller, called) in &calls.pairs {
        let caller = calls.name(*caller);
        if let Some(callers) = panics.get_mut(calls.name(*called))
            && !is_panic(caller)
        {
            callers.insert(caller.to_owned());
        }
    }
    panics
}

/// Every function and constant with a name, the largest first; at the end of the list what has none: texts and
/// numbers that the compiler put together.
fn parts(file: &File<'_>, flash: u64) -> Vec<(u64, String)> {
    let is_flashed = |symbol: &Symbol<'_, '_>| {
        let section = symbol.section_index().and_then(|at| file.section_by_index(at).ok());
        section.is_some_and(|section| takes_flash(&section))
    };
    let mut parts: Vec<(u64, String)> = file
        .symbols()
        .filter(|symbol| symbol.size() > 0 && is_flashed(symbol))
        .filter_map(|symbol| Some((symbol.size(), shown(symbol.name().ok()?))))
        .collect();
    parts.sort_by(|a, b| b.cmp(a));
    let named: u64 = parts.iter().map(|(size, _)| size).sum();
    parts.push((flash.saturating_sub(named), "(without a name)".to_owned()));
    parts
}

/// Whether a section is part of what is flashed.
fn takes_flash(section: &Section<'_, '_>) -> bool {
    let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else { return false };
    sh_flags.contains(SHF_ALLOC) && sh_type != SHT_NOBITS
}
