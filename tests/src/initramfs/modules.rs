//! Which modules of a kernel are needed, and in which order they are loaded.
//!
//! Spec: modules.dep(5), modules.builtin of Documentation/kbuild.
//! Not here: soft dependencies, aliases of devices; compressed modules, which the kernel does not unpack by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::process::run;

/// How many names are suggested for one that is wrong.
const SUGGESTIONS: usize = 3;

/// What a kernel has, by name.
#[derive(Clone, Debug)]
pub struct Modules {
    /// `.../lib/modules/RELEASE`.
    directory: PathBuf,
    /// Each module's path in the directory, and the paths of what it depends on.
    dependencies: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

/// A module to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it belongs, such as `/lib/modules/6.1.0/kernel/net/core/failover.ko`.
    pub destination: String,
}

impl Modules {
    /// Reads what `directory`, a `.../lib/modules/RELEASE`, has. Runs `depmod` where nobody has done it yet.
    ///
    /// # Errors
    /// [`Error::Os`] when it cannot be read, [`Error::ToolMissing`] when `depmod` is needed and not there.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let list = directory.join("modules.dep");
        if !list.exists() {
            index(directory)?;
        }
        let text = read(&list)?;
        let builtin = read(&directory.join("modules.builtin"))?;
        Ok(Self {
            directory: directory.to_path_buf(),
            dependencies: text.lines().filter_map(dependencies).collect(),
            builtin: builtin.lines().map(name_of).collect(),
        })
    }

    /// The modules that `wanted` and their dependencies are, each after all that it needs. What is built into the kernel
    /// is not among them.
    ///
    /// # Errors
    /// [`Error::Unusable`] with the nearest names where there is no such module, or when one is compressed.
    pub fn closure(&self, wanted: &[String]) -> Result<Vec<Module>, Error> {
        let mut paths = Vec::new();
        for name in wanted {
            let name = normal(name);
            match self.dependencies.get(&name) {
                Some((path, needed)) => self.collect(path, needed, &mut paths),
                None if self.builtin.contains(&name) => {}
                None => return Err(self.unknown(&name)),
            }
        }
        paths.into_iter().map(|path| self.module(&path)).collect()
    }

    fn collect(&self, path: &str, needed: &[String], paths: &mut Vec<String>) {
        if paths.iter().any(|known| known == path) {
            return;
        }
        // Each line names all dependencies of dependencies too, so this ends.
        for other in needed {
            if let Some((path, needed)) = self.dependencies.get(&name_of(other)) {
                self.collect(path, needed, paths);
            }
        }
        paths.push(path.to_owned());
    }

    fn module(&self, path: &str) -> Result<Module, Error> {
        let source = self.directory.join(path);
        if Path::new(path).extension().is_none_or(|extension| extension != "ko") {
            return Err(Error::Unusable {
                what: source.display().to_string(),
                why:
                    "it is compressed; unpack the kernel's modules (xz -d, zstd -d) and run depmod"
                        .to_owned(),
            });
        }
        let release = self.directory.file_name().unwrap_or_default().to_string_lossy();
        Ok(Module { source, destination: format!("/lib/modules/{release}/{path}") })
    }

    fn unknown(&self, name: &str) -> Error {
        let all = self.dependencies.keys().chain(&self.builtin);
        let mut near: Vec<(usize, &String)> =
            all.map(|other| (distance(name, other), other)).collect();
        near.sort();
        near.dedup();
        let near: Vec<&str> =
            near.iter().take(SUGGESTIONS).map(|(_, other)| other.as_str()).collect();
        Error::Unusable {
            what: format!("the module `{name}`"),
            why: format!(
                "the kernel {} has no such module; the nearest names are {}",
                self.directory.file_name().unwrap_or_default().to_string_lossy(),
                near.join(", ")
            ),
        }
    }
}

/// Writes `modules.dep`.
fn index(directory: &Path) -> Result<(), Error> {
    let base = directory.ancestors().nth(3).unwrap_or(directory);
    let mut depmod = std::process::Command::new("depmod");
    depmod.arg("--basedir").arg(base);
    depmod.arg(directory.file_name().unwrap_or_default());
    // An administrator's program, which is not in every user's path.
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    run({
        depmod.env("PATH", path);
        depmod
    })
    .map(drop)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::os(format!("read {}", path.display()), e))
}

/// Reads `kernel/a.ko: kernel/b.ko kernel/c.ko`.
fn dependencies(line: &str) -> Option<(String, (String, Vec<String>))> {
    let (path, needed) = line.split_once(':')?;
    let needed = needed.split_whitespace().map(str::to_owned).collect();
    Some((name_of(path), (path.to_owned(), needed)))
}

/// The name of a module, from its path.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split(".ko").next().unwrap_or(file))
}

/// To the kernel, both signs are one.
fn normal(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// How many characters must be put in, taken out or changed to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (index, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[index + 1];
            row[index + 1] = change.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[&str]) -> Result<Vec<String>, String> {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("lib/modules/6.1.0-test");
        fs::create_dir_all(&directory).unwrap();
        // source: depmod 30 of Debian's linux-image-6.1.0-56-cloud-arm64, some of its lines
        let list = "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko \
            kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
            kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko\n\
            kernel/net/core/failover.ko:\n\
            kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
            kernel/drivers/virtio/virtio.ko:\n\
            kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio_ring.ko \
            kernel/drivers/virtio/virtio.ko\n\
            kernel/fs/squashfs/squashfs.ko.xz:\n";
        fs::write(directory.join("modules.dep"), list).unwrap();
        fs::write(directory.join("modules.builtin"), "kernel/net/packet/af_packet.ko\n").unwrap();
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        let modules = Modules::open(&directory).unwrap().closure(&wanted);
        let names = |m: Vec<Module>| m.iter().map(|m| name_of(&m.destination)).collect();
        modules.map(names).map_err(|error| error.to_string())
    }

    #[test]
    fn each_module_comes_once_and_after_what_it_needs() {
        let order = check(&["virtio_net", "virtio-rng", "virtio_ring"]).unwrap();
        assert_eq!(
            order,
            ["failover", "net_failover", "virtio", "virtio_ring", "virtio_net", "virtio_rng"]
        );
    }

    #[test]
    fn what_is_built_in_is_not_loaded() {
        assert_eq!(check(&["af_packet", "failover"]).unwrap(), ["failover"]);
    }

    #[test]
    fn an_unknown_module_is_refused_with_the_nearest_names() {
        let error = check(&["virtio_nte"]).unwrap_err();
        assert!(error.contains("`virtio_nte`") && error.contains("are virtio_net"), "{error}");
    }

    #[test]
    fn a_compressed_module_is_refused() {
        let error = check(&["squashfs"]).unwrap_err();
        assert!(error.contains("squashfs.ko.xz: it is compressed"), "{error}");
    }
}
