//! A machine to boot, the network it boots from, and what both share between scenarios.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use phase_tests::initramfs::{Contents, USUAL_MODULES, build, gzip};
use phase_tests::netns::{Host, Lan, Segment};
use phase_tests::process::Process;
use phase_tests::qemu::lab::{Image, serve_leases};
use phase_tests::qemu::{Kernel, Machine, Tap, boot_program, kernel_directory, second};
use tempfile::TempDir;

/// What every scenario boots with, made once.
pub(crate) struct Parts {
    pub(crate) kernel: Kernel,
    /// The boot client as `/init`, with the modules of its network.
    pub(crate) initramfs: PathBuf,
    /// The image that providers offer.
    pub(crate) image: Image,
    /// The first file system of that image, as a file.
    pub(crate) image_initramfs: PathBuf,
    _directory: TempDir,
}

/// Machines that may run at the same time: each of them keeps a processor busy.
static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

/// A switch with hosts on it, the first of which leases addresses.
pub(crate) struct Scene {
    // The processes end before the network goes.
    leases: Option<Process>,
    pub(crate) lan: Lan,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// `hosts` hosts on a switch; the first leases addresses.
    pub(crate) fn new(hosts: u8) -> Self {
        let mut scene = Self::without_leases(hosts);
        scene.leases = Some(serve_leases(scene.host(0), &[]).unwrap());
        scene
    }

    /// The same without a server of leases.
    pub(crate) fn without_leases(hosts: u8) -> Self {
        let turn = turn();
        Self { leases: None, lan: Lan::of(hosts).unwrap(), _turn: turn }
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        self.lan.host(index)
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.lan.segment().unwrap()
    }

    /// A machine on the switch whose first process is the boot client, with these words for it.
    pub(crate) fn machine(&self, words: &str) -> Machine {
        let parts = parts();
        let card = Tap::on(self.segment()).unwrap();
        Machine::new(&parts.kernel.image, &parts.initramfs).words(words).card(card)
    }
}

pub(crate) fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let directory = TempDir::new().unwrap();
        let kernel = Kernel::find(&kernel_directory(), None).unwrap_or_else(|error| {
            panic!(
                "{error}; run `cargo xtask test -p phase-tests --test qemu`, which brings a kernel"
            )
        });
        let boot_program = boot_program().unwrap();
        let image = second::image(&kernel, &boot_program).unwrap();
        let contents = Contents {
            init: boot_program,
            modules: Some((kernel.modules.clone(), USUAL_MODULES.map(str::to_owned).to_vec())),
            ..Contents::default()
        };
        let initramfs = directory.path().join("initramfs.img");
        fs::write(&initramfs, gzip(&build(&contents).unwrap().encode()).unwrap()).unwrap();
        let image_initramfs = directory.path().join("image.img");
        fs::write(&image_initramfs, &image.initramfs).unwrap();
        Parts { kernel, initramfs, image, image_initramfs, _directory: directory }
    })
}

/// Waits until there is a processor for a machine.
fn turn() -> MutexGuard<'static, ()> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let other = TURNS.iter().find_map(|turn| turn.try_lock().ok());
    // A failed scenario must not fail the others.
    other.unwrap_or_else(|| TURNS[next % 2].lock().unwrap_or_else(PoisonError::into_inner))
}
