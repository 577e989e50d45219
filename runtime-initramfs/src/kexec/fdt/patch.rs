//! The device tree for the second kernel: `/chosen` anew, and what the running machine knows better.
//!
//! The tree comes from the running machine (/sys/firmware/fdt) and is copied but for `/chosen`, or it comes
//! with the image. Such a tree is of the board, not of this machine: how much memory there is and what of it
//! belongs to firmware is taken from the running machine's tree. Its memory nodes replace those of the
//! image's tree, regions of `/reserved-memory` with fixed addresses are added, memory reservations are
//! united, and where the machine was started by EFI, `/chosen` goes on to say where EFI's tables are.
//! Spec: Devicetree Specification 0.4 §3.4, §3.5, §3.6; Documentation/arch/arm64/booting.rst;
//! Linux `drivers/of/kexec.c`, whose rules for `/chosen` these are.
//! Not here: what firmware adds elsewhere in its tree, as Ethernet addresses.

use core::ops::Range;

use super::write::Writer;
use super::{Error, Fdt, Node};

/// Properties of `/chosen` that say something of the running kernel alone.
const DROPPED: &[&[u8]] = &[
    b"bootargs",
    b"kaslr-seed",
    b"linux,elfcorehdr",
    b"linux,ima-kexec-buffer",
    b"linux,initrd-end",
    b"linux,initrd-start",
    b"linux,kho-fdt",
    b"linux,kho-scratch",
    b"linux,usable-memory-range",
    b"rng-seed",
];

/// What properties of `/chosen` about EFI begin with.
const EFI: &[u8] = b"linux,uefi-";

/// What `/chosen` is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The command line, without an end mark.
    pub command_line: &'a str,
    /// Where the initial RAM file system is; `None`: there is none.
    pub initrd: Option<Range<u64>>,
    /// Where the kernel puts itself at random; `None`: it does not.
    pub kaslr_seed: Option<[u8; 8]>,
    /// Entropy, which a kernel may credit: only from a generator that was seeded.
    pub rng_seed: Option<[u8; 32]>,
}

/// Regions of reserved memory that are carried over; boards have up to some dozens.
const REGIONS_MAX: usize = 256;

/// Makes the tree for the second kernel from `tree`. `machine` is the running machine's tree where `tree` came
/// with the image.
///
/// # Errors
/// A tree that would become too long, or regions that the cells of `tree` cannot express.
pub fn patch(
    tree: &Fdt<'_>,
    machine: Option<&Fdt<'_>>,
    chosen: &Chosen<'_>,
) -> Result<Vec<u8>, Error> {
    let root = tree.root();
    let machine_root = machine.map(Fdt::root);
    let machine_memory: Vec<_> =
        machine_root.iter().flat_map(Node::children).filter(is_memory).collect();
    let mut writer = Writer::with_strings_of(tree);
    writer.begin(root.name);
    root.properties().for_each(|property| writer.copy(&property));
    let cells = Cells::of(&root)?;
    if let Some(machine_root) = &machine_root {
        add_memory(&mut writer, cells, &machine_memory, Cells::of(machine_root)?)?;
    }
    let machine_reserved = machine_root.and_then(|root| root.child(b"reserved-memory"));
    let machine_chosen = machine_root.and_then(|root| root.child(b"chosen"));
    for node in root.children() {
        match node.name {
            b"chosen" => {}
            b"reserved-memory" if machine_reserved.is_some() => {}
            _ if !machine_memory.is_empty() && is_memory(&node) => {}
            _ => writer.copy_node(&node),
        }
    }
    if let Some(from) = &machine_reserved {
        add_reserved(&mut writer, root.child(b"reserved-memory").as_ref(), from, cells)?;
    }
    add_chosen(&mut writer, root.child(b"chosen").as_ref(), machine_chosen.as_ref(), chosen);
    writer.end();
    writer.finish(&reservations(tree, machine), tree.boot_cpu)
}

/// How many words an address and a length have (§2.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cells {
    address: usize,
    size: usize,
}

impl Cells {
    /// What a node says of the nodes in it; §2.3.5: 2 and 1 where it does not.
    fn of(node: &Node<'_>) -> Result<Self, Error> {
        let count = |name: &[u8], otherwise| match node.property(name) {
            None => Ok(otherwise),
            Some(&[0, 0, 0, count @ 1..=2]) => Ok(usize::from(count)),
            Some(_) => Err(Error::Malformed("addresses and lengths have one or two cells")),
        };
        Ok(Self { address: count(b"#address-cells", 2)?, size: count(b"#size-cells", 1)? })
    }

    /// A list of regions, written with these cells, written with those of `to`.
    fn convert(self, regions: &[u8], to: Self) -> Result<Vec<u8>, Error> {
        let mut converted = Vec::with_capacity(regions.len());
        let entries = regions.chunks_exact((self.address + self.size) * 4);
        if !entries.remainder().is_empty() {
            return Err(Error::Malformed("a list of regions that ends within one"));
        }
        for entry in entries {
            let (address, size) = entry.split_at_checked(self.address * 4).unwrap_or_default();
            write_cells(&mut converted, number(address), to.address)?;
            write_cells(&mut converted, number(size), to.size)?;
        }
        Ok(converted)
    }
}

fn number(cells: &[u8]) -> u64 {
    cells.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

fn write_cells(out: &mut Vec<u8>, number: u64, cells: usize) -> Result<(), Error> {
    if cells == 2 {
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        let number = u32::try_from(number)
            .map_err(|_| Error::Malformed("one cell is too few for this machine's addresses"))?;
        out.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// §3.4: a node in the root that describes memory.
fn is_memory(node: &Node<'_>) -> bool {
    node.property(b"device_type") == Some(b"memory\0".as_slice())
        || node.name == b"memory"
        || node.name.starts_with(b"memory@")
}

/// Writes the running machine's memory nodes.
fn add_memory(
    writer: &mut Writer,
    cells: Cells,
    machine: &[Node<'_>],
    machine_cells: Cells,
) -> Result<(), Error> {
    for node in machine {
        let regions = machine_cells.convert(node.property(b"reg").unwrap_or_default(), cells)?;
        writer.begin(node.name);
        writer.property(b"device_type", b"memory\0");
        writer.property(b"reg", &regions);
        writer.end();
    }
    Ok(())
}

/// Writes `/reserved-memory` with the nodes of the tree's own (`to`), and regions of `from` that are not there
/// by name. Of those nothing goes along but what keeps the kernel away.
fn add_reserved(
    writer: &mut Writer,
    to: Option<&Node<'_>>,
    from: &Node<'_>,
    root_cells: Cells,
) -> Result<(), Error> {
    writer.begin(b"reserved-memory");
    let cells = if let Some(to) = to {
        to.properties().for_each(|property| writer.copy(&property));
        to.children().for_each(|child| writer.copy_node(&child));
        Cells::of(to)?
    } else {
        // §3.5: the cells are those of the root, and `ranges` is empty.
        let word = |count: usize| [0, 0, 0, if count == 2 { 2 } else { 1 }];
        writer.property(b"#address-cells", &word(root_cells.address));
        writer.property(b"#size-cells", &word(root_cells.size));
        writer.property(b"ranges", b"");
        root_cells
    };
    let from_cells = Cells::of(from)?;
    for (index, child) in from.children().enumerate() {
        if index >= REGIONS_MAX {
            return Err(Error::Malformed("too many regions of reserved memory"));
        }
        let known = to.is_some_and(|to| to.child(child.name).is_some());
        let Some(regions) = child.property(b"reg").filter(|_| !known) else { continue };
        let regions = from_cells.convert(regions, cells)?;
        writer.begin(child.name);
        writer.property(b"reg", &regions);
        if child.property(b"no-map").is_some() {
            writer.property(b"no-map", b"");
        }
        writer.end();
    }
    writer.end();
    Ok(())
}

/// Writes `/chosen`.
fn add_chosen(
    writer: &mut Writer,
    tree: Option<&Node<'_>>,
    machine: Option<&Node<'_>>,
    chosen: &Chosen<'_>,
) {
    let Chosen { command_line, initrd, kaslr_seed, rng_seed } = chosen;
    writer.begin(b"chosen");
    let own = tree.iter().flat_map(|node| node.properties());
    // A tree that came with an image knows nothing of this machine's EFI.
    let stays =
        |name: &[u8]| !DROPPED.contains(&name) && (machine.is_none() || !name.starts_with(EFI));
    own.filter(|property| stays(property.name)).for_each(|property| writer.copy(&property));
    let efi = machine.iter().flat_map(|node| node.properties());
    efi.filter(|property| property.name.starts_with(EFI))
        .for_each(|property| writer.property(property.name, property.value));
    writer.property(b"bootargs", &[command_line.as_bytes(), &[0]].concat());
    if let Some(Range { start, end }) = initrd {
        writer.property(b"linux,initrd-start", &start.to_be_bytes());
        writer.property(b"linux,initrd-end", &end.to_be_bytes());
    }
    if let Some(seed) = kaslr_seed {
        writer.property(b"kaslr-seed", seed);
    }
    if let Some(seed) = rng_seed {
        writer.property(b"rng-seed", seed);
    }
    tree.iter().flat_map(|node| node.children()).for_each(|child| writer.copy_node(&child));
    writer.end();
}

/// The reservations of both trees, without the one of the running kernel's own initrd, which is over.
fn reservations(tree: &Fdt<'_>, machine: Option<&Fdt<'_>>) -> Vec<(u64, u64)> {
    let running = machine.unwrap_or(tree).root().child(b"chosen");
    let initrd = running.and_then(|chosen| chosen.property(b"linux,initrd-start")).map(number);
    let mut all = Vec::new();
    for entry in tree.reservations().chain(machine.iter().flat_map(|tree| tree.reservations())) {
        if Some(entry.0) != initrd {
            all.push(entry);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}
