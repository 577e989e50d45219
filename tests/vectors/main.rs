//! Golden vectors: octets that other implementations wrote, one test for each file.
//!
//! A vector is text: head lines `# key: value`, then hex. Every file has `# source:` (who wrote the octets, and
//! how they were got) and `# spec:`. A format adds its own module here and its own folder beside it.

mod corpus;
mod dns;
mod formats;
mod hostile;
mod libp2p;

use std::fs;
use std::path::{Path, PathBuf};

/// A vector file, read.
struct Vector {
    head: Vec<(String, String)>,
    octets: Vec<u8>,
}

impl Vector {
    fn read(folder: &str, name: &str) -> Self {
        let path = folder_path(folder).join(name).with_extension("hex");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut head = Vec::new();
        let mut digits = Vec::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (key, value) = comment.split_once(": ").expect("a head line is `# key: value`");
                head.push((key.to_owned(), value.to_owned()));
            } else {
                digits.extend(line.chars().map(|c| c.to_digit(16).expect("hex")));
            }
        }
        assert_eq!(digits.len() % 2, 0, "{name}: half an octet");
        let octets = digits
            .chunks_exact(2)
            .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
            .collect();
        let vector = Self { head, octets };
        for key in ["source", "spec"] {
            assert!(vector.value(key).is_some(), "{name} has no `# {key}:` line");
        }
        vector
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.head.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

fn folder_path(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(folder)
}

/// The names, without ending, of the files of a folder, sorted.
fn files(folder: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder_path(folder))
        .expect("the folder of vectors")
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
