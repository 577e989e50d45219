//! Trees that QEMU and dtc wrote: read, patched, given back to dtc, cut and damaged.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

const QEMU: &str = include_str!("../../../../tests/vectors/fdt/qemu_virt.hex");
const BOARD: &str = include_str!("../../../../tests/vectors/fdt/board.hex");
const MACHINE: &str = include_str!("../../../../tests/vectors/fdt/machine.hex");

const CHOSEN: Chosen<'_> = Chosen {
    command_line: "console=ttyAMA0 quiet",
    initrd: Some(0x4800_0000..0x4812_3456),
    kaslr_seed: Some([7; 8]),
    rng_seed: Some([9; 32]),
};

#[test]
fn a_tree_of_qemu_is_read() {
    let blob = octets(QEMU);
    let tree = Fdt::parse(&blob).unwrap();
    assert_eq!(tree.board(), Some(b"linux,dummy-virt".as_slice()));
    let memory = tree.root().child(b"memory@40000000").unwrap();
    assert_eq!(memory.property(b"device_type"), Some(b"memory\0".as_slice()));
    let regions = [0, 0x4000_0000, 0, 0x2000_0000_u32].map(u32::to_be_bytes).concat();
    assert_eq!(memory.property(b"reg"), Some(regions.as_slice()));
    assert!(tree.reservations().next().is_none());
}

#[test]
fn chosen_says_what_it_is_told_and_all_else_stays() {
    let blob = octets(QEMU);
    let patched = patch(&Fdt::parse(&blob).unwrap(), None, &CHOSEN).unwrap();
    let (before, after) = (source(&blob), source(&patched));
    let chosen = after.split_once("chosen {").unwrap().1.split_once('}').unwrap().0;
    let expected = [
        "stdout-path = \"/pl011@9000000\";",
        "bootargs = \"console=ttyAMA0 quiet\";",
        "linux,initrd-start = <0x00 0x48000000>;",
        "linux,initrd-end = <0x00 0x48123456>;",
        "kaslr-seed = <0x7070707 0x7070707>;",
    ];
    for line in expected {
        assert!(chosen.contains(line), "{line} is not in {chosen}");
    }
    assert_eq!(chosen.matches("seed").count(), 2);
    let without = |text: &str| {
        let (head, tail) = text.split_once("\tchosen {").unwrap();
        let tail = tail.split_once("\t};").unwrap().1;
        lines(&format!("{head}{tail}"))
    };
    assert_eq!(without(&before), without(&after));
}

#[test]
fn a_tree_patched_twice_says_the_same() {
    let blob = octets(QEMU);
    let once = patch(&Fdt::parse(&blob).unwrap(), None, &CHOSEN).unwrap();
    let twice = patch(&Fdt::parse(&once).unwrap(), None, &CHOSEN).unwrap();
    assert_eq!(source(&once), source(&twice));
}

#[test]
fn what_the_running_kernel_was_told_for_itself_is_dropped() {
    let blob = octets(MACHINE);
    let chosen = Chosen { initrd: None, kaslr_seed: None, rng_seed: None, ..CHOSEN };
    let after = source(&patch(&Fdt::parse(&blob).unwrap(), None, &chosen).unwrap());
    for name in ["elfcorehdr", "usable-memory-range", "initrd", "seed", "from=firmware"] {
        assert!(!after.contains(name), "{name} is in {after}");
    }
    for kept in ["linux,uefi-system-table", "framebuffer@3e000000", "0x3ef64000"] {
        assert!(after.contains(kept), "{kept} is not in {after}");
    }
    assert!(!after.contains("/memreserve/\t0x000000002a000000"), "{after}");
}

#[test]
fn a_boards_tree_gets_memory_and_reserved_regions_of_the_machine() {
    let (board, machine) = (octets(BOARD), octets(MACHINE));
    let (board, machine) = (Fdt::parse(&board).unwrap(), Fdt::parse(&machine).unwrap());
    let after = source(&patch(&board, Some(&machine), &CHOSEN).unwrap());
    let expected = [
        // Two cells and one, as the board's tree counts.
        "reg = <0x00 0x00 0x3c000000 0x00 0x40000000 0xbc000000 0x01 0x00 0x40000000>;",
        "reg = <0x00 0x3d000000 0x400000>;",
        "linux,uefi-system-table = <0x00 0x3c000018>;",
        "bootargs = \"console=ttyAMA0 quiet\";",
        "stdout-path = \"serial0:115200n8\";",
        "/memreserve/\t0x000000003ef64000 0x0000000000002000;",
        "serial@7e201000 {",
        "linux,cma-default;",
    ];
    for line in expected {
        assert!(after.contains(line), "{line} is not in {after}");
    }
    for name in ["memory@0 {", "atf@0 {", "linux,cma {", "chosen {", "reserved-memory {"] {
        assert_eq!(after.matches(&format!("\t{name}")).count(), 1, "{name} in {after}");
    }
    assert!(!after.contains("example,optee") && !after.contains("0x2a000000"), "{after}");
    assert_eq!(after.matches("no-map;").count(), 2);
}

#[test]
fn memory_that_the_cells_of_a_tree_cannot_express_is_refused() {
    let board = compiled("/ { #address-cells = <1>; #size-cells = <1>; };");
    let machine = octets(MACHINE);
    let (board, machine) = (Fdt::parse(&board).unwrap(), Fdt::parse(&machine).unwrap());
    assert!(matches!(patch(&board, Some(&machine), &CHOSEN), Err(Error::Malformed(_))));
}

#[test]
fn a_tree_without_chosen_and_reserved_memory_gets_them() {
    let board = compiled("/ { #address-cells = <2>; #size-cells = <2>; };");
    let machine = octets(MACHINE);
    let machine = Fdt::parse(&machine).unwrap();
    let after = source(&patch(&Fdt::parse(&board).unwrap(), Some(&machine), &CHOSEN).unwrap());
    for name in ["memory@0 {", "optee@3d000000 {", "nvram@3ef64000 {", "chosen {", "ranges;"] {
        assert!(after.contains(name), "{name} is not in {after}");
    }
}

#[test]
fn a_tree_of_efi_without_memory_keeps_the_boards() {
    let board = compiled(
        "/ { #address-cells = <2>; #size-cells = <2>; memory@80000000 { device_type = \"memory\"; \
         reg = <0 0x80000000 0 0x1000>; }; };",
    );
    let machine = compiled("/ { chosen { linux,uefi-mmap-size = <1>; }; };");
    let machine = Fdt::parse(&machine).unwrap();
    let after = source(&patch(&Fdt::parse(&board).unwrap(), Some(&machine), &CHOSEN).unwrap());
    assert!(
        after.contains("memory@80000000 {") && after.contains("linux,uefi-mmap-size"),
        "{after}"
    );
}

#[test]
fn a_tree_that_would_become_too_long_is_refused() {
    let blob = octets(QEMU);
    let line = "x".repeat(FDT_MAX);
    let chosen = Chosen { command_line: &line, ..CHOSEN };
    assert_eq!(patch(&Fdt::parse(&blob).unwrap(), None, &chosen), Err(Error::TooLong));
}

#[test]
fn what_is_no_tree_is_named() {
    let message = |blob: &[u8]| Fdt::parse(blob).unwrap_err().to_string();
    assert_eq!(message(b""), "the device tree ends within its header");
    assert_eq!(message(&[0; 64]), "not a device tree (DTB)");
    let mut blob = octets(QEMU);
    blob[23] = 18;
    assert!(Fdt::parse(&blob).is_ok(), "a later version that is compatible is read");
    blob[27] = 18;
    assert_eq!(message(&blob), "a device tree of version 18; version 17 is read");
    blob[5] = 0xff;
    assert_eq!(message(&blob), "the device tree is longer than 2097152 octets");
}

#[test]
fn a_tree_that_is_cut_off_anywhere_is_refused() {
    for text in [QEMU, BOARD, MACHINE] {
        let blob = octets(text);
        for len in 0..blob.len() {
            assert!(Fdt::parse(&blob[..len]).is_err(), "{len} of {} octets", blob.len());
        }
    }
}

/// The total is made to fit, so that what is cut off is the structure or the strings.
#[test]
fn no_cut_structure_gets_through_by_a_total_that_fits() {
    let blob = octets(MACHINE);
    let structure_at = word_at(&blob, 8).unwrap();
    let structure_len = word_at(&blob, 36).unwrap();
    for len in 0..structure_len {
        let mut cut = blob.clone();
        cut[36..40].copy_from_slice(&len.to_be_bytes());
        assert!(Fdt::parse(&cut).is_err(), "{len} octets from {structure_at}");
    }
}

#[test]
fn damaged_trees_never_panic_and_what_is_accepted_can_be_patched_and_read() {
    let blobs = [octets(BOARD), octets(MACHINE)];
    let [board, machine] = [0, 1].map(|index| Fdt::parse(&blobs[index]).unwrap());
    let mut accepted = 0;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    for round in 0..6_000 {
        let mut blob = blobs[round % 2].clone();
        for _ in 0..=next(4) {
            let at = next(blob.len());
            blob[at] = [0, 1, 2, 3, 4, 9, 0xff, next(256) as u8][next(8)];
        }
        let Ok(tree) = Fdt::parse(&blob) else { continue };
        accepted += 1;
        for machine in [None, Some(&machine)] {
            if let Ok(patched) = patch(&tree, machine, &CHOSEN) {
                let again = Fdt::parse(&patched).expect("what was written can be read");
                let chosen = again.root().child(b"chosen").expect("a chosen node");
                assert_eq!(chosen.property(b"rng-seed"), Some([9; 32].as_slice()));
            }
        }
        // As the machine's own tree, too.
        let _ = patch(&board, Some(&tree), &CHOSEN);
    }
    assert!(accepted > 1_000, "{accepted} were accepted: the damage is too great to test anything");
}

#[test]
fn trees_made_to_take_long_are_refused_or_read_soon() {
    // A name of a megabyte, to which every property refers.
    let count = 50_000_u32;
    let mut structure = [1_u32, 0].map(u32::to_be_bytes).concat();
    (0..count).for_each(|_| structure.extend([3, 0, 0_u32].map(u32::to_be_bytes).concat()));
    structure.extend([2, 9_u32].map(u32::to_be_bytes).concat());
    let strings = [vec![b'x'; 1 << 20], vec![0]].concat();
    assert!(Fdt::parse(&blob(&structure, &strings)).is_err());

    // Nodes within nodes.
    let deep = |levels: usize| {
        let begins = [1_u32, 0].map(u32::to_be_bytes).concat().repeat(levels);
        let ends = 2_u32.to_be_bytes().repeat(levels);
        [begins, ends, 9_u32.to_be_bytes().to_vec()].concat()
    };
    assert!(Fdt::parse(&blob(&deep(DEPTH_MAX + 1), b"")).is_err());
    let deepest = blob(&deep(DEPTH_MAX), b"");
    let tree = Fdt::parse(&deepest).unwrap();
    assert!(Fdt::parse(&patch(&tree, None, &CHOSEN).unwrap()).is_ok());
}

/// A tree of this structure and these strings.
fn blob(structure: &[u8], strings: &[u8]) -> Vec<u8> {
    let len = |octets: &[u8]| u32::try_from(octets.len()).unwrap();
    let total = 56 + len(structure) + len(strings);
    let header =
        [MAGIC, total, 56, 56 + len(structure), 40, 17, 16, 0, len(strings), len(structure)];
    let header = header.map(u32::to_be_bytes).concat();
    [header.as_slice(), &[0; 16], structure, strings].concat()
}

/// The octets of a vector.
fn octets(vector: &str) -> Vec<u8> {
    let lines = vector.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<_> = lines.flat_map(str::chars).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// Lines in order of their text: dtc numbers nothing, but nodes may stand in another order.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The source that dtc makes of a tree; dtc checks its form.
fn source(blob: &[u8]) -> String {
    String::from_utf8(dtc("dtb", "dts", blob)).expect("dtc writes UTF-8")
}

/// What dtc makes of a source.
fn compiled(source: &str) -> Vec<u8> {
    dtc("dts", "dtb", format!("/dts-v1/; {source}").as_bytes())
}

fn dtc(from: &str, to: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("dtc")
        .args(["-q", "-I", from, "-O", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dtc runs: install device-tree-compiler, as `cargo xtask test` does");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "dtc refuses the tree");
    output.stdout
}
