//! A machine to boot, the network it boots from, and what both share between scenarios.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use phase_tests::cable::Cable;
use phase_tests::initramfs::{Contents, USUAL_MODULES, build, gzip};
use phase_tests::netns::{Host, Lan, Namespace, Segment};
use phase_tests::process::Process;
use phase_tests::qemu::lab::{Image, serve_leases};
use phase_tests::qemu::{Board, Kernel, Machine, Tap, second};
use tempfile::TempDir;

/// What every scenario of a kind of machine boots with, made once.
pub(crate) struct Parts {
    pub(crate) board: Board,
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
    _leases: Option<Process>,
    network: Network,
    _turn: MutexGuard<'static, ()>,
}

enum Network {
    Switched(Lan),
    /// One host at the end of a cable, which ends in the switch.
    ByCable {
        host: Host,
        segment: Segment,
        cable: Cable,
    },
}

impl Scene {
    /// `hosts` hosts on a switch; the first leases addresses.
    pub(crate) fn new(hosts: u8) -> Self {
        let scene = Self::without_leases(hosts);
        Self { _leases: Some(serve_leases(scene.host(0), &[]).unwrap()), ..scene }
    }

    /// The same without a server of leases.
    pub(crate) fn without_leases(hosts: u8) -> Self {
        let turn = turn();
        Self { _leases: None, network: Network::Switched(Lan::of(hosts).unwrap()), _turn: turn }
    }

    /// One host, which leases addresses, at the end of a cable.
    pub(crate) fn by_cable() -> Self {
        let turn = turn();
        let (segment, far) = (Segment::new().unwrap(), Namespace::new("far").unwrap());
        let cable = segment.attach_by_cable(&far, Host::INTERFACE).unwrap();
        for address in ["10.77.0.1/24", "fd77::1/64"] {
            far.add_address(Host::INTERFACE, address).unwrap();
        }
        far.set_up(Host::INTERFACE).unwrap();
        let addresses = (Ipv4Addr::new(10, 77, 0, 1), "fd77::1".parse().unwrap());
        let host = Host::of(far, addresses.0, addresses.1).unwrap();
        let leases = serve_leases(&host, &[]).unwrap();
        let network = Network::ByCable { host, segment, cable };
        Self { _leases: Some(leases), network, _turn: turn }
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        match &self.network {
            Network::Switched(lan) => lan.host(index),
            Network::ByCable { host, .. } => host,
        }
    }

    pub(crate) fn segment(&self) -> &Segment {
        match &self.network {
            Network::Switched(lan) => lan.segment().unwrap(),
            Network::ByCable { segment, .. } => segment,
        }
    }

    /// The cable of [`Scene::by_cable`].
    pub(crate) fn cable(&self) -> &Cable {
        match &self.network {
            Network::Switched(_) => panic!("this scene has no cable"),
            Network::ByCable { cable, .. } => cable,
        }
    }

    /// A card for a machine, plugged into the switch.
    pub(crate) fn card(&self) -> Tap {
        let card = Tap::on(self.segment()).unwrap();
        match &self.network {
            Network::Switched(_) => card,
            // A cable carries what a wire would.
            Network::ByCable { .. } => card.without_offloads(),
        }
    }

    /// An arm64 machine on the switch whose first process is the boot client, with these words for it.
    pub(crate) fn machine(&self, words: &str) -> Machine {
        parts().machine().words(words).card(self.card())
    }

    /// The same of an ordinary PC.
    pub(crate) fn pc(&self, words: &str) -> Machine {
        pc_parts().machine().words(words).card(self.card())
    }
}

impl Parts {
    /// A machine whose first process is the boot client.
    fn machine(&self) -> Machine {
        Machine::new(self.board, &self.kernel.image, &self.initramfs)
    }

    /// Octets of the image's kernel and initramfs.
    pub(crate) fn image_len(&self) -> u64 {
        fs::metadata(&self.image.kernel).unwrap().len() + self.image.initramfs.len() as u64
    }
}

/// A network behind a router, with one host.
pub(crate) struct Beyond {
    pub(crate) host: Host,
    _segment: Segment,
}

impl Beyond {
    /// Makes `router` one, with 10.78.0.0/24 behind it.
    pub(crate) fn router(router: &Host) -> Self {
        let (segment, far) = (Segment::new().unwrap(), Namespace::new("beyond").unwrap());
        segment.attach(&router.namespace, "eth1", &["10.78.0.1/24"]).unwrap();
        router.namespace.set_sysctl("ipv4/ip_forward", "1").unwrap();
        segment.attach(&far, Host::INTERFACE, &["10.78.0.2/24", "fd78::2/64"]).unwrap();
        far.ip(&["route", "add", "default", "via", "10.78.0.1"]).unwrap();
        let host = Host::of(far, Ipv4Addr::new(10, 78, 0, 2), "fd78::2".parse().unwrap()).unwrap();
        Self { host, _segment: segment }
    }
}

/// The parts of arm64 machines.
pub(crate) fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| Parts::of(Board::Arm64))
}

/// The parts of ordinary PCs.
pub(crate) fn pc_parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| Parts::of(Board::X86_64))
}

impl Parts {
    fn of(board: Board) -> Self {
        let directory = TempDir::new().unwrap();
        let kernel = Kernel::find(&board.kernel_directory(), None).unwrap_or_else(|error| {
            panic!(
                "{error}; run `cargo xtask test -p phase-tests --test qemu`, which brings a kernel"
            )
        });
        let boot_program = board.boot_program().unwrap();
        let image = second::image(board, &kernel, &boot_program).unwrap();
        let contents = Contents {
            init: boot_program,
            modules: Some((kernel.modules.clone(), USUAL_MODULES.map(str::to_owned).to_vec())),
            ..Contents::default()
        };
        let initramfs = directory.path().join("initramfs.img");
        fs::write(&initramfs, gzip(&build(&contents).unwrap().encode()).unwrap()).unwrap();
        let image_initramfs = directory.path().join("image.img");
        fs::write(&image_initramfs, &image.initramfs).unwrap();
        Self { board, kernel, initramfs, image, image_initramfs, _directory: directory }
    }
}

/// Waits until there is a processor for a machine.
fn turn() -> MutexGuard<'static, ()> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let other = TURNS.iter().find_map(|turn| turn.try_lock().ok());
    // A failed scenario must not fail the others.
    other.unwrap_or_else(|| TURNS[next % 2].lock().unwrap_or_else(PoisonError::into_inner))
}
