//! Which device tree of an image is for this machine: the one whose root names the same board first.
//!
//! Both trees name the board in the first string of their root's `compatible`, which the Devicetree Specification 0.4
//! §2.3.1 makes the most specific one. A machine that runs with ACPI has a tree without it, and none is for it.

use std::fs;

use super::MACHINE_TREE;
use super::fdt::Fdt;

/// In place of a name: no device tree of the image, but the one that the machine runs with.
pub const NONE: &str = "none";

/// The running machine's tree; `None` where it has none, or it cannot be read.
#[must_use]
pub fn of_machine() -> Option<Vec<u8>> {
    fs::read(MACHINE_TREE).ok()
}

/// Whether a tree is for the board that `machine` is the tree of.
#[must_use]
pub fn is_for(tree: &[u8], machine: &[u8]) -> bool {
    let board = |tree| Fdt::parse(tree).ok().and_then(|tree| tree.board());
    board(machine).is_some_and(|own| board(tree) == Some(own))
}

#[cfg(test)]
mod tests {
    use super::super::fdt::{Chosen, Fdt, patch};
    use super::*;

    const BOARD: &str = include_str!("../../../tests/vectors/fdt/board.hex");
    const MACHINE: &str = include_str!("../../../tests/vectors/fdt/machine.hex");
    const QEMU: &str = include_str!("../../../tests/vectors/fdt/qemu_virt.hex");

    #[test]
    fn a_tree_is_for_the_machine_whose_board_it_names() {
        let [board, machine, qemu] = [BOARD, MACHINE, QEMU].map(octets);
        assert!(is_for(&board, &machine));
        assert!(!is_for(&board, &qemu));
        assert!(!is_for(&board, b"") && !is_for(b"", &machine));
    }

    #[test]
    fn what_was_patched_is_for_the_same_machine_still() {
        let qemu = octets(QEMU);
        let chosen = Chosen { command_line: "", initrd: None, kaslr_seed: None, rng_seed: None };
        let patched = patch(&Fdt::parse(&qemu).unwrap(), None, &chosen).unwrap();
        assert!(is_for(&patched, &qemu));
    }

    fn octets(vector: &str) -> Vec<u8> {
        let lines = vector.lines().filter(|line| !line.starts_with('#'));
        let digits: Vec<_> = lines.flat_map(str::chars).map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }
}
