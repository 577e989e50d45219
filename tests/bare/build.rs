//! How the image is linked: nothing but itself, and only what is reachable. Relocations are kept, so that the
//! callers of a function can be named.

fn main() {
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    // The linker itself on bare targets, a C compiler's driver elsewhere.
    let arguments: &[&str] = if bare {
        &["--gc-sections", "--emit-relocs"]
    } else {
        &[
            "-nostartfiles",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--gc-sections",
            "-Wl,--emit-relocs",
        ]
    };
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
