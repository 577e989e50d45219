//! Builds programs that need nothing of the machine they run on: static ones, with musl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use phase_tests::process::{run, workspace_root};
use phase_tests::qemu::Board;
use serde_json::{Map, Value};

use crate::Error;
use crate::install::find_program;
use crate::steps::{step, to_the_end};
use crate::toolchain::{self, Extra, Toolchain};

/// A processor that static programs are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Processor {
    /// 64-bit ARM.
    Arm64,
    /// 64-bit x86.
    #[value(name = "x86_64")]
    X86_64,
}

/// What a program is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// To be loaded before there is a network.
    Small,
    /// To serve.
    Fast,
}

impl Kind {
    /// Its profile in Cargo.toml.
    const fn profile(self) -> &'static str {
        match self {
            Self::Small => "boot",
            Self::Fast => "release",
        }
    }
}

/// What can build for one processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Static {
    processor: Processor,
    toolchain: Toolchain,
}

impl Processor {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Arm64, Self::X86_64];

    /// Its name in channels, files and options.
    pub(crate) const fn name(self) -> &'static str {
        self.board().name()
    }

    /// The kind of machine that has it.
    pub(crate) const fn board(self) -> Board {
        match self {
            Self::Arm64 => Board::Arm64,
            Self::X86_64 => Board::X86_64,
        }
    }

    /// Its name in targets and in the names of compilers.
    const fn machine(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// Debian's name of it, where it is not this machine's.
    pub(crate) fn foreign(self) -> Option<&'static str> {
        (!self.is_own()).then_some(self.board().debian())
    }

    /// Rust's name of it with Linux and musl.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-musl", self.machine())
    }

    /// The specification with which Debian's compiler links with musl.
    fn specs(self) -> PathBuf {
        format!("/usr/lib/{}-linux-musl/musl-gcc.specs", self.machine()).into()
    }

    /// Debian's compiler of C for it.
    fn gcc(self) -> String {
        format!("{}-linux-gnu-gcc", self.machine())
    }

    /// What makes programs small that are built for it.
    const fn small(self) -> &'static [&'static str] {
        match self {
            // One instruction for an address, which reaches 1 MiB: a program that outgrows it does not link. LLVM's linker
            // of Debian cannot link what refers to weak symbols so, as `std::fs::copy` does. Then, what functions have in
            // common is made a function, and so again of what that leaves.
            Self::Arm64 => &[
                "-Ccode-model=tiny",
                "-Cllvm-args=-machine-outliner-reruns=3",
                // Instructions in the order they are written in are alike in more places, need fewer registers, and so are
                // 11 KiB fewer; a processor that reorders them is no slower by it. SHA-256 has 3 % fewer too.
                "-Cllvm-args=-enable-misched=false",
                "-Cllvm-args=-enable-post-misched=false",
                // Constants are made where they are used, and registers saved in few places: 2 KiB.
                "-Cllvm-args=-disable-machine-licm",
                "-Cllvm-args=-split-spill-mode=size",
                // Nothing is computed ahead on some ways, or counted in several ways in a loop; and what is not much longer
                // than the call of it is copied: 3 KiB.
                "-Cllvm-args=-enable-pre=false",
                "-Cllvm-args=-disable-lsr",
                "-Cllvm-args=-inline-threshold=8",
            ],
            Self::X86_64 => &[],
        }
    }

    fn is_own(self) -> bool {
        self.machine() == std::env::consts::ARCH
    }

    /// Debian's packages that linking for it needs and that are missing.
    fn missing(self) -> Vec<String> {
        let mut packages = Vec::new();
        if find_program(&self.gcc()).is_none() {
            let of = format!("gcc-{}-linux-gnu", self.machine().replace('_', "-"));
            packages.push(if self.is_own() { "gcc".to_owned() } else { of });
        }
        if find_program("ld.lld").is_none() {
            packages.push("lld".to_owned());
        }
        if !self.specs().exists() {
            packages.push(format!("musl-dev:{}", self.board().debian()));
        }
        packages
    }
}

impl Static {
    /// Finds what builds for `processor`, and installs it where that is allowed.
    ///
    /// # Errors
    /// [`Error::Missing`] with the commands that install it.
    pub(crate) fn find(processor: Processor) -> Result<Self, Error> {
        let what = format!("find a toolchain for static {} programs", processor.name());
        let toolchain = step(&what, || {
            let packages = processor.missing();
            let extra = Extra { packages: &packages, architecture: processor.foreign() };
            toolchain::find(&[&processor.target()], extra)?.with_source()
        })?;
        Ok(Self { processor, toolchain })
    }

    /// Builds the boot client, as small as it can be; gives the directory that it is in.
    ///
    /// # Errors
    /// [`Error::Step`] when it cannot be built.
    pub(crate) fn boot(self) -> Result<PathBuf, Error> {
        self.build("phase-boot", Kind::Small)
    }

    /// Builds the provider's programs; gives the directory that they are in.
    ///
    /// # Errors
    /// [`Error::Step`] when they cannot be built.
    pub(crate) fn provider(self) -> Result<PathBuf, Error> {
        let toolchain = match self.toolchain {
            Toolchain::Rustup | Toolchain::RustupSource => Toolchain::Rustup,
            Toolchain::Debian => Toolchain::Debian,
        };
        Self { toolchain, ..self }.build("phase-provider", Kind::Fast)
    }

    /// Has LLVM's linker keep one of functions with the same instructions.
    const fn folding(self) -> &'static str {
        match self.toolchain {
            Toolchain::Rustup | Toolchain::RustupSource => "-Clink-arg=--icf=all",
            Toolchain::Debian => "-Clink-arg=-Wl,--icf=all",
        }
    }

    /// Writes the target as the compiler has it, but without two things that no flag leaves out on arm64: pointers to the
    /// frames of functions on the stack, which nobody looks at where a panic aborts (7 KiB), and functions for atomic
    /// operations, which ask the kernel at start what the processor can do (3 KiB).
    fn small_target(self, place: &Path) -> Result<PathBuf, Error> {
        let target = self.processor.target();
        let mut print = Command::new(self.toolchain.rustc());
        print.args(["-Zunstable-options", "--print", "target-spec-json", "--target", &target]);
        print.env("RUSTC_BOOTSTRAP", "1").current_dir(workspace_root());
        let malformed = |e: serde_json::Error| Error::Unexpected {
            what: format!("the compiler's specification of {target}"),
            found: e.to_string(),
        };
        let mut specification: Map<String, Value> =
            serde_json::from_str(&run(print)?).map_err(malformed)?;
        specification.insert("frame-pointer".to_owned(), "may-omit".into());
        let features = specification.get("features").and_then(Value::as_str).unwrap_or_default();
        let kept: Vec<_> =
            features.split(',').filter(|feature| *feature != "+outline-atomics").collect();
        specification.insert("features".to_owned(), kept.join(",").into());
        let text = Value::from(specification).to_string();
        let directory = place.join("targets");
        // Its name is the target's: by it the compiler finds its libraries, and cargo names the directory of what it built.
        let path = directory.join(format!("{target}.json"));
        let failed = |e| Error::os(format!("write into {}", directory.display()), e);
        fs::create_dir_all(&directory).map_err(failed)?;
        fs::write(&path, text).map_err(failed)?;
        Ok(path)
    }

    fn build(self, package: &str, kind: Kind) -> Result<PathBuf, Error> {
        let (processor, target) = (self.processor, self.processor.target());
        step(&format!("build {package} for {}", processor.name()), || {
            let place = workspace_root().join("target/static");
            let mut build = self.toolchain.build("std,panic_abort", &place);
            build.args(["--profile", kind.profile(), "-p", package, "--bins", "--target"]);
            let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
            let name = target.to_uppercase().replace('-', "_");
            let linker = format!("CARGO_TARGET_{name}_LINKER");
            match self.toolchain {
                Toolchain::Rustup | Toolchain::RustupSource => {
                    build.env(linker, "rust-lld");
                    flags.extend(
                        ["-Clink-self-contained=yes", "-Clink-arg=--build-id=none"]
                            .map(str::to_owned),
                    );
                }
                Toolchain::Debian => {
                    build.env(linker, linker_of(processor, &place)?);
                    flags.extend(FLAGS_OF_DEBIAN.map(str::to_owned));
                }
            }
            match (kind, self.toolchain) {
                (_, Toolchain::Rustup) => drop(build.arg(&target)),
                // Without what tells the way to a panic, which would need the unwinder.
                (Kind::Fast, _) => drop(build.args([&target, "-Zbuild-std-features="])),
                (Kind::Small, _) => {
                    build.arg(self.small_target(&place)?).arg("-Zjson-target-spec");
                    build.arg("-Zbuild-std-features=optimize_for_size");
                    flags.push(self.folding().to_owned());
                    let small = FLAGS_OF_SMALL.iter().chain(processor.small());
                    flags.extend(small.map(|flag| (*flag).to_owned()));
                }
            }
            flags.push("-Crelocation-model=static".to_owned());
            // The same octets wherever the sources are.
            flags.push(format!("--remap-path-prefix={}=.", workspace_root().display()));
            build.env(format!("CARGO_TARGET_{name}_RUSTFLAGS"), flags.join(" "));
            to_the_end("build", build)?;
            Ok(place.join(&target).join(kind.profile()))
        })
    }
}

/// Nothing unwinds or is said of a panic, and no tables tell how to; functions with the same code are one.
const FLAGS_OF_SMALL: [&str; 6] = [
    "-Zunstable-options",
    "-Cpanic=immediate-abort",
    "-Cforce-unwind-tables=no",
    "-Zlocation-detail=none",
    "-Zmerge-functions=aliases",
    // SHA-2 by loops in the place of rounds one after another, where the processor has no instructions for it: 14 KiB less, at
    // three quarters of the rate.
    r#"--cfg=sha2_backend_soft="compact""#,
];

/// LLVM's linker leaves no gaps in a file whose parts are on pages of 64 KiB in memory, GNU's does.
const FLAGS_OF_DEBIAN: [&str; 3] =
    ["-Clink-self-contained=no", "-Clink-arg=-fuse-ld=lld", "-Clink-arg=-Wl,--build-id=none"];

/// Writes a linker that links with musl by Debian's compiler of C.
///
/// rustc takes it for a gcc by its name. It links with a library that has nothing in it in the place of the unwinder, which
/// nothing refers to where a panic aborts.
fn linker_of(processor: Processor, place: &Path) -> Result<PathBuf, Error> {
    let directory = place.join("link").join(processor.name());
    let failed = |e| Error::os(format!("write into {}", directory.display()), e);
    fs::create_dir_all(&directory).map_err(failed)?;
    // An archive without members (ar(5)).
    fs::write(directory.join("libunwind.a"), "!<arch>\n").map_err(failed)?;
    // Where a compiler for another processor looks for it.
    let lld = find_program("ld.lld").unwrap_or_else(|| "/usr/bin/ld.lld".into());
    let link = directory.join("ld.lld");
    // There is one already unless this is the first time.
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(lld, &link).map_err(failed)?;
    let linker = directory.join("musl-gcc");
    let script = format!(
        "#!/bin/sh\nexec {gcc} -specs={specs} -B{here} -L{here} \"$@\"\n",
        gcc = processor.gcc(),
        specs = processor.specs().display(),
        here = directory.display(),
    );
    fs::write(&linker, script).map_err(failed)?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&linker, executable).map_err(failed)?;
    Ok(linker)
}
