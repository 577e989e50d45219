//! The code between two arm64 kernels: it gives the second one the registers that it wants, and jumps.
//!
//! Linux jumps to the entry point of what `kexec_load` was given with all registers but the program counter unset. The
//! octets are instructions and not the work of the assembler, so that every machine can check them.
//! Spec: Documentation/arch/arm64/booting.rst, "4. Call the kernel image": x0 is the physical address of the device
//! tree, x1 to x3 are 0. Arm Architecture Reference Manual (DDI 0487) C6.2: LDR (literal), MOV (wide immediate), BR.

/// Octets of the code and its two literals.
pub(super) const LEN: usize = 40;

/// Position independent; the caches and the MMU are off, so the literals must be at multiples of 8.
const CODE: [u32; 6] = [
    0x5800_00c0, // ldr x0, .+24   the device tree
    0xd280_0001, // mov x1, #0
    0xd280_0002, // mov x2, #0
    0xd280_0003, // mov x3, #0
    0x5800_0090, // ldr x16, .+16  the kernel
    0xd61f_0200, // br x16
];

/// The code for these physical addresses.
pub(super) fn trampoline(device_tree: u64, kernel: u64) -> [u8; LEN] {
    let mut octets = [0; LEN];
    let code = CODE.iter().flat_map(|instruction| instruction.to_le_bytes());
    let literals = [device_tree, kernel].into_iter().flat_map(u64::to_le_bytes);
    octets.iter_mut().zip(code.chain(literals)).for_each(|(place, octet)| *place = octet);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an assembler makes of the comments above.
    const ASSEMBLED: &str = "c0000058010080d2020080d2030080d29000005800021fd6\
                             8877665544332211000021f0deadbe00";

    #[test]
    fn the_code_is_what_an_assembler_makes_of_it() {
        let octets = trampoline(0x1122_3344_5566_7788, 0x00be_adde_f021_0000);
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, ASSEMBLED);
        assert!(super::super::layout::TRAMPOLINE_MAX >= LEN as u64);
    }
}
