//! The corpora of the fuzz targets, replayed.

use std::fs;
use std::path::Path;

use phase_tests::fuzz_bodies::TARGETS;

#[test]
fn every_corpus_holds_its_laws() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, body) in TARGETS {
        let folder = corpora.join(target);
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            let octets = fs::read(&file).expect("a file");
            let outcome = std::panic::catch_unwind(|| body(&octets));
            assert!(outcome.is_ok(), "{} breaks a law of {target}", file.display());
        }
    }
}

#[test]
fn every_corpus_belongs_to_a_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders: Vec<_> = fs::read_dir(corpora)
        .expect("the corpora")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut targets = TARGETS.map(|(target, _)| target.to_owned());
    targets.sort();
    assert_eq!(folders, targets);
}
