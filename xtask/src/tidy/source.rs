//! The files that are looked at: everything that people wrote.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// Directories that hold no source: build output, downloads, version control, fuzz inputs.
const SKIPPED: &[&str] =
    &["target", "node_modules", ".git", ".venv", "__pycache__", "corpus", "artifacts"];

/// Endings of files that people write.
const ENDINGS: &[&str] =
    &["rs", "md", "toml", "py", "js", "json", "hex", "txt", "service", "plist", "sh"];

/// A text file.
#[derive(Debug)]
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    /// All of it.
    pub(super) text: String,
}

impl Source {
    /// Its lines with their numbers from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether it is a Rust file.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its lines before the module of unit tests, which stands last.
    pub(super) fn lines_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = |line: &str| {
            line.starts_with("mod tests") || line.starts_with("mod test ") || line == "mod test;"
        };
        self.lines().take_while(move |(_, line)| !tests(line))
    }
}

/// Reads every source of the workspace, sorted by path.
pub(super) fn all(root: &Path) -> Result<Vec<Source>, Error> {
    let mut paths = Vec::new();
    collect(root, &mut paths)?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)
            .map_err(|e| Error::os(format!("read {}", path.display()), e))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        sources.push(Source { path: relative.to_string_lossy().replace('\\', "/"), text });
    }
    Ok(sources)
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |e| Error::os(format!("list {}", directory.display()), e);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_ref()) {
            collect(&path, paths)?;
        }
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        if kind.is_file() && (ENDINGS.contains(&ending) || path.ends_with(".ci/run")) {
            paths.push(path);
        }
    }
    Ok(())
}
