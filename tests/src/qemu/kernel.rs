//! A kernel and its modules, as a distribution packs them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The file to boot.
    pub image: PathBuf,
    /// `.../lib/modules/RELEASE`.
    pub modules: PathBuf,
}

impl Kernel {
    /// Finds the kernel in a directory with `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`, such as `/` or an unpacked
    /// package; `release` chooses where there are several.
    ///
    /// # Errors
    /// [`Error::Unusable`] when there is none, or more than one to choose from.
    pub fn find(directory: &Path, release: Option<&str>) -> Result<Self, Error> {
        let unusable = |why: String| Error::Unusable {
            what: format!("the kernel in {}", directory.display()),
            why,
        };
        let all = directory.join("lib/modules");
        let entries =
            fs::read_dir(&all).map_err(|e| Error::os(format!("list {}", all.display()), e))?;
        let mut releases: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        releases.retain(|found| release.is_none_or(|wanted| wanted == found));
        let [release] = releases.as_slice() else {
            releases.sort();
            let list = releases.join(", ");
            return Err(unusable(match releases.len() {
                0 => "lib/modules has no modules of it".to_owned(),
                _ => format!("there are several, name one of {list}"),
            }));
        };
        let image = directory.join(format!("boot/vmlinuz-{release}"));
        if !image.is_file() {
            return Err(unusable(format!("there is no {}", image.display())));
        }
        Ok(Self { image, modules: all.join(release) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kernel_is_found_and_of_several_one_must_be_named() {
        let directory = tempfile::tempdir().unwrap();
        let add = |release: &str| {
            fs::create_dir_all(directory.path().join("lib/modules").join(release)).unwrap();
            fs::create_dir_all(directory.path().join("boot")).unwrap();
            fs::write(directory.path().join("boot").join(format!("vmlinuz-{release}")), "")
                .unwrap();
        };
        assert!(Kernel::find(directory.path(), None).is_err());
        add("6.1");
        let found = Kernel::find(directory.path(), None).unwrap();
        assert!(found.image.ends_with("boot/vmlinuz-6.1") && found.modules.ends_with("6.1"));
        add("6.12");
        let error = Kernel::find(directory.path(), None).unwrap_err().to_string();
        assert!(error.contains("6.1, 6.12"), "{error}");
        let found = Kernel::find(directory.path(), Some("6.12")).unwrap();
        assert!(found.image.ends_with("boot/vmlinuz-6.12"));
        assert!(Kernel::find(directory.path(), Some("5")).is_err());
    }
}
