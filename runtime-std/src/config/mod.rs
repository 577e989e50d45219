//! Settings of `phase-provider`: flags before the configuration file before defaults.
//!
//! The file is TOML; every flag of `serve` is a key under the flag's name, and `[channel.NAME]` tables say which
//! architectures a channel is expected to have. Unknown keys are errors, and all errors are reported at once.
//! Not here: the syntax ([`mod@file`]), the flags themselves.

pub mod dht;
pub mod file;
pub mod settings;

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use file::{File, Problem};

/// Where the file of the whole system lies.
pub const SYSTEM_FILE: &str = "/etc/phase/provider.toml";

/// An annotated file with every key: `phase-provider config example`.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Why a configuration cannot be used.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// Everything that is wrong in the file.
    Invalid(PathBuf, Vec<Problem>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "cannot read the configuration {}: {error}", path.display())
            }
            Self::Invalid(path, problems) => {
                for (n, problem) in problems.iter().enumerate() {
                    let separator = if n == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}:{problem}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

/// A user's directory of one kind: the XDG variable if it is absolute, else below `HOME`.
fn user_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(target_os = "macos") {
        return absolute("HOME").map(|home| home.join("Library/Application Support/phase"));
    }
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)));
    base.map(|base| base.join("phase"))
}

/// The files that are looked for when none is named, in this order.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    let user = user_directory("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("provider.toml"));
    [Some(PathBuf::from(SYSTEM_FILE)), user].into_iter().flatten().collect()
}

/// Where state is kept unless configured: what systemd gives, else the system's place for root, else the user's.
#[must_use]
pub fn default_state_dir() -> Option<PathBuf> {
    // systemd may give several, separated by colons.
    let given = env::var("STATE_DIRECTORY").ok();
    let given =
        given.as_deref().and_then(|all| all.split(':').next()).filter(|dir| !dir.is_empty());
    if let Some(given) = given {
        return Some(given.into());
    }
    if nix::unistd::geteuid().is_root() {
        return Some("/var/lib/phase".into());
    }
    user_directory("XDG_STATE_HOME", ".local/state")
}

/// Reads the configuration: the named file, else the first that exists, else none.
///
/// # Errors
/// [`Error`], with everything that is wrong.
pub fn load(named: Option<&Path>) -> Result<Option<File>, Error> {
    if let Some(path) = named {
        return read(path).map(Some);
    }
    for path in search_path() {
        match read(&path) {
            Err(Error::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<File, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::Unreadable(path.to_owned(), e))?;
    File::parse(path, &text).map_err(|problems| Error::Invalid(path.to_owned(), problems))
}
