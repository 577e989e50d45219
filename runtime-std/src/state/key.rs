//! Key files: one line of 64 hexadecimal digits, the Ed25519 seed (RFC 8032 §5.1.5), readable by their owner alone.
//! Import also takes the PEM file of `openssl genpkey -algorithm ed25519` (PKCS #8, RFC 8410 §7).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use phase_core::identity::SecretKey;
use phase_core::wire::text;

use super::{StateDir, create_file};

/// Octets of a key file that are looked at; a PEM file has 119.
const FILE_MAX: u64 = 4096;

/// What precedes the seed in the PKCS #8 form of an Ed25519 key (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("there is no key at {0}; make one with `phase-provider key generate`")]
    Absent(PathBuf),
    /// There is one already.
    #[error("{0} exists and is kept: it is somebody's identity; move it away first")]
    Exists(PathBuf),
    /// It cannot be read or written.
    #[error("cannot use the key {path}: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the key {path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "{0} holds no Ed25519 key: wanted are 64 hexadecimal digits, or an unencrypted PEM file of PKCS #8"
    )]
    Malformed(PathBuf),
    /// A release key's name.
    #[error(
        "a release key's name is 1 to 32 of a-z 0-9 . _ - and begins with a letter or digit; it is {0:?}"
    )]
    Name(String),
    /// The system gives no entropy.
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
}

/// Reads the key file at `path`.
///
/// # Errors
/// Also when others than its owner may read it.
pub fn load(path: &Path) -> Result<SecretKey, Error> {
    read(path, true)
}

/// Reads a key from anywhere, whoever may read it.
///
/// # Errors
/// When there is no key in it.
pub fn read_foreign(path: &Path) -> Result<SecretKey, Error> {
    read(path, false)
}

fn read(path: &Path, private: bool) -> Result<SecretKey, Error> {
    let unusable = |source: io::Error| match source.kind() == io::ErrorKind::NotFound {
        true => Error::Absent(path.to_owned()),
        false => Error::Unusable { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(unusable)?;
    let mode = file.metadata().map_err(unusable)?.mode() & 0o777;
    if private && mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    let mut content = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut content).map_err(unusable)?;
    let key = decode(content.trim_ascii());
    content.fill(0);
    key.ok_or_else(|| Error::Malformed(path.to_owned()))
}

fn decode(content: &[u8]) -> Option<SecretKey> {
    if let Ok(seed) = text::decode_hex::<32>(content) {
        return Some(SecretKey::from_seed(&seed));
    }
    let pem = std::str::from_utf8(content).ok()?;
    let body = pem.strip_prefix("-----BEGIN PRIVATE KEY-----")?;
    let body: String =
        body.strip_suffix("-----END PRIVATE KEY-----")?.split_ascii_whitespace().collect();
    let mut der = [0; 64];
    let der = text::decode_base64(body.as_bytes(), &mut der).ok()?;
    let seed = der.strip_prefix(&PKCS8_PREFIX)?;
    Some(SecretKey::from_seed(seed.try_into().ok()?))
}

/// Keeps `key` in a new file at `path`.
///
/// # Errors
/// [`Error::Exists`] when there is a file.
pub fn store(path: &Path, key: &SecretKey) -> Result<(), Error> {
    let mut line = [0; 65];
    line[64] = b'\n';
    // 64 octets are what 32 octets take.
    let written = text::encode_hex(key.as_seed(), &mut line[..64]).is_ok();
    debug_assert!(written);
    let made = create_file(path, &line);
    line.fill(0);
    made.map_err(|source| match source.kind() == io::ErrorKind::AlreadyExists {
        true => Error::Exists(path.to_owned()),
        false => Error::Unusable { path: path.to_owned(), source },
    })
}

/// A key that nobody has.
///
/// # Errors
/// [`Error::Entropy`].
pub fn generate() -> Result<SecretKey, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(Error::Entropy)?;
    let key = SecretKey::from_seed(&seed);
    seed.fill(0);
    Ok(key)
}

/// The node's key, made and kept if there is none. Tells whether it was made.
///
/// # Errors
/// When there is one that cannot be used, or none can be kept.
pub fn load_or_create(state: &StateDir) -> Result<(SecretKey, bool), Error> {
    let path = state.identity_file();
    match load(&path) {
        Err(Error::Absent(_)) => {}
        loaded => return loaded.map(|key| (key, false)),
    }
    let key = generate()?;
    match store(&path, &key) {
        // Another process was faster: its key is the node's.
        Err(Error::Exists(_)) => load(&path).map(|key| (key, false)),
        stored => stored.map(|()| (key, true)),
    }
}

/// Where the release key `name` is kept; its directory is made if it is not there.
///
/// # Errors
/// [`Error::Name`].
pub fn release_file(state: &StateDir, name: &str) -> Result<PathBuf, Error> {
    // The same charset as a channel's: no separators, no hidden files.
    if phase_core::wire::record::Channel::new(name).is_err() {
        return Err(Error::Name(name.to_owned()));
    }
    let path = state.release_dir();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|source| Error::Unusable { path: path.clone(), source })?;
    Ok(path.join(format!("{name}.key")))
}

/// Every release key with its name, by name.
///
/// # Errors
/// When one of them cannot be used: to sign with the others would pass unnoticed.
pub fn load_release(state: &StateDir) -> Result<Vec<(String, SecretKey)>, Error> {
    let path = state.release_dir();
    let entries = match fs::read_dir(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries,
    };
    let unusable = |source| Error::Unusable { path: path.clone(), source };
    let mut keys = Vec::new();
    for entry in entries.map_err(unusable)? {
        let file = entry.map_err(unusable)?.path();
        if file.extension().is_some_and(|extension| extension == "key") {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            keys.push((name, load(&file)?));
        }
    }
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn state() -> (tempfile::TempDir, StateDir) {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path().join("state")).unwrap();
        (parent, state)
    }

    #[test]
    fn the_key_is_made_once_private_and_kept() {
        let (_parent, state) = state();
        let (first, made) = load_or_create(&state).unwrap();
        assert!(made);
        let mode = fs::metadata(state.identity_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (second, made) = load_or_create(&state).unwrap();
        assert!(!made);
        assert_eq!(first.as_seed(), second.as_seed());
        assert!(matches!(store(&state.identity_file(), &first), Err(Error::Exists(_))));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_command_that_helps() {
        let (_parent, state) = state();
        load_or_create(&state).unwrap();
        let path = state.identity_file();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_create(&state).unwrap_err().to_string();
        let path = path.display();
        assert_eq!(
            error,
            format!("the key {path} may be read by others (mode 0640); run: chmod 600 {path}")
        );
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_kept() {
        let (_parent, state) = state();
        let path = state.identity_file();
        for content in [
            "",
            "00",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            &"g".repeat(64),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(load_or_create(&state), Err(Error::Malformed(_))), "{content:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn openssl_keys_are_read() {
        // source: RFC 8410 §10.3; its public key is the one of §10.1
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = decode(pem.trim().as_bytes()).unwrap();
        let mut hex = [0; 64];
        let public = text::encode_hex(key.peer_id().as_octets(), &mut hex).unwrap();
        assert_eq!(public, "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    }

    #[test]
    fn release_keys_are_all_used_or_none() {
        let (_parent, state) = state();
        assert_eq!(load_release(&state).unwrap().len(), 0);
        for name in ["b", "a"] {
            store(&release_file(&state, name).unwrap(), &generate().unwrap()).unwrap();
        }
        let names: Vec<_> =
            load_release(&state).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        fs::write(state.release_dir().join("c.key"), "torn").unwrap();
        assert!(load_release(&state).is_err());
        for bad in ["", "../x", ".x", "A"] {
            assert!(matches!(release_file(&state, bad), Err(Error::Name(_))), "{bad}");
        }
    }
}
