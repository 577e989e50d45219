//! Clock, state directory and keys.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use phase_core::exit::Exit;
use phase_core::wire::unix_time;

use super::Finding;
use crate::clock;
use crate::manifests::Signer;
use crate::state::saved::Saved;
use crate::state::{StateDir, key};

/// Whether the clock may sign, by itself and beside what was signed before (formats 1.6).
pub(super) fn clock(state: &StateDir) -> Vec<Finding> {
    const CHECK: &str = "clock";
    let now = clock::unix_time();
    let shown = unix_time::encode(now).map(|text| text.as_str().to_owned()).unwrap_or_default();
    let (saved, mut findings) = match Saved::peek(state) {
        Ok(Some(saved)) => (saved, Vec::new()),
        Ok(None) => {
            let path = state.saved_file();
            let text = format!(
                "{} is torn: the next start puts it aside and begins anew; nothing is lost",
                path.display()
            );
            (Saved::default(), vec![Finding::warning("state file", text)])
        }
        Err(error) => (Saved::default(), vec![Finding::failure("state file", Exit::Usage, error)]),
    };
    findings.insert(
        0,
        match saved.check_clock(now) {
            Ok(()) => Finding::good(CHECK, shown),
            Err(error) => Finding::failure(CHECK, Exit::Usage, error),
        },
    );
    findings
}

/// Whether the state directory is there, private and writable.
pub(super) fn state_directory(state: &StateDir) -> Vec<Finding> {
    const CHECK: &str = "state directory";
    let path = state.path();
    let shown = path.display();
    let finding = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::warning(CHECK, format!("{shown} is not there; the first start makes it"))
        }
        Err(error) => Finding::failure(CHECK, Exit::Usage, format!("cannot use {shown}: {error}")),
        Ok(metadata) if !metadata.is_dir() => {
            let text = format!("{shown} is no directory: move it away, or give --state-dir");
            Finding::failure(CHECK, Exit::Usage, text)
        }
        Ok(metadata) => match metadata.mode() & 0o777 {
            mode if mode & 0o022 != 0 => {
                let text = format!(
                    "others may replace the keys in {shown} (mode {mode:04o}); run: chmod 700 {shown}"
                );
                Finding::failure(CHECK, Exit::Usage, text)
            }
            mode => match tempfile::NamedTempFile::new_in(path) {
                Ok(_removed) => Finding::good(CHECK, format!("{shown} (mode {mode:04o})")),
                Err(error) => {
                    let text = format!("cannot write to {shown}: {error}");
                    Finding::failure(CHECK, Exit::Usage, text)
                }
            },
        },
    };
    vec![finding]
}

/// Whether the keys are there and private.
pub(super) fn keys(state: &StateDir) -> Vec<Finding> {
    const CHECK: &str = "identity key";
    let node = match key::load(&state.identity_file()) {
        Ok(key) => key,
        Err(key::Error::Absent(path)) => {
            let text = format!("{} is not there; the first start makes it", path.display());
            return vec![Finding::warning(CHECK, text)];
        }
        Err(error) => return vec![Finding::failure(CHECK, Exit::Usage, error)],
    };
    let identity = Finding::good(CHECK, format!("peer id {}", node.peer_id()));
    let signing = match Signer::load(state, &node) {
        Ok(signer) if signer.is_single_key() => {
            Finding::good("release keys", "none: manifests are signed with the identity key")
        }
        Ok(signer) => {
            let keys: Vec<_> = signer.keys().map(|key| key.key_id().to_string()).collect();
            Finding::good("release keys", keys.join(", "))
        }
        Err(error) => Finding::failure("release keys", Exit::Usage, error),
    };
    vec![identity, signing]
}
