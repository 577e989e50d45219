//! The first file system of a booting machine: the boot client as `/init`, the modules of its network, and whom it trusts.
//!
//! The same files give the same octets. Modules are taken as they are: distributions ship them without debug information,
//! and stripping would cut off the signature that a locked-down kernel asks for.

pub mod cpio;
pub mod modules;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use crate::Error;
use cpio::Archive;
use modules::Modules;

/// Where the boot client looks for the modules to load: a path a line, in the order of loading.
pub const MODULES: &str = "/etc/phase/modules";

/// Where the boot client looks for whom to trust.
pub const TRUST: &str = "/etc/phase/trust";

/// What a virtual machine's network needs.
pub const USUAL_MODULES: [&str; 3] = ["virtio_mmio", "virtio_pci", "virtio_net"];

/// What goes into it.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The program that the kernel starts.
    pub init: PathBuf,
    /// `.../lib/modules/RELEASE` and the names of the modules to load from there.
    pub modules: Option<(PathBuf, Vec<String>)>,
    /// A trust file.
    pub trust: Option<PathBuf>,
    /// Further files: where each is, and where it belongs. Executable ones stay so.
    pub files: Vec<(PathBuf, String)>,
}

/// Puts it together, unpacked.
///
/// # Errors
/// [`Error::Os`] when a file cannot be read, or what is wrong with a module.
pub fn build(contents: &Contents) -> Result<Archive, Error> {
    let mut archive = Archive::default();
    for directory in ["dev", "etc", "proc", "root", "run", "sys", "tmp"] {
        archive.directory(directory);
    }
    // What the kernel gives its first process as standard output.
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("init", 0o755, read(&contents.init)?);
    if let Some((directory, wanted)) = &contents.modules {
        let mut list = String::new();
        for module in Modules::open(directory)?.closure(wanted)? {
            archive.file(&module.destination, 0o644, read(&module.source)?);
            list.push_str(&module.destination);
            list.push('\n');
        }
        archive.file(MODULES, 0o644, list.into_bytes());
    }
    if let Some(trust) = &contents.trust {
        archive.file(TRUST, 0o644, read(trust)?);
    }
    for (source, destination) in &contents.files {
        archive.file(destination, permissions(source)?, read(source)?);
    }
    Ok(archive)
}

/// Packs octets with gzip, without a name and a time.
///
/// # Errors
/// [`Error::Os`] without memory.
pub fn gzip(octets: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let done = encoder.write_all(octets).and_then(|()| encoder.finish());
    done.map_err(|e| Error::os("pack the initramfs", e))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| Error::os(format!("read {}", path.display()), e))
}

fn permissions(path: &Path) -> Result<u32, Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|e| Error::os(format!("read {}", path.display()), e));
    Ok(if metadata?.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initramfs_has_what_was_asked_for_and_the_same_octets_every_time() {
        let temporary = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = temporary.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let dependencies = "kernel/net.ko: kernel/bus.ko\nkernel/bus.ko:\n";
        let list = write("lib/modules/6/modules.dep", dependencies);
        write("lib/modules/6/modules.builtin", "");
        write("lib/modules/6/kernel/net.ko", "net");
        write("lib/modules/6/kernel/bus.ko", "bus");
        let contents = Contents {
            init: write("phase-boot", "program"),
            modules: Some((list.parent().unwrap().to_owned(), vec!["net".to_owned()])),
            trust: Some(write("trust", "ed25519:...")),
            files: vec![(write("motd", "hello"), "/etc/motd".to_owned())],
        };
        let octets = build(&contents).unwrap().encode();
        assert_eq!(octets, build(&contents).unwrap().encode());
        assert_eq!(gzip(&octets).unwrap(), gzip(&octets).unwrap());
        let listed = cpio::list(&octets).unwrap();
        let find = |path: &str| {
            let found = listed.iter().find(|l| l.path == path);
            String::from_utf8(found.unwrap().content.clone()).unwrap()
        };
        assert_eq!(find("init"), "program");
        assert_eq!(find("etc/phase/trust"), "ed25519:...");
        assert_eq!(find("etc/motd"), "hello");
        let in_order = "/lib/modules/6/kernel/bus.ko\n/lib/modules/6/kernel/net.ko\n";
        assert_eq!(find("etc/phase/modules"), in_order);
        assert_eq!(find("lib/modules/6/kernel/net.ko"), "net");
    }
}
