//! The project's own formats: the advert, the manifest, URLs, trust files, and JSON beside `serde_json`.

#[path = "formats/advert.rs"]
mod advert;
#[path = "formats/json.rs"]
mod json;
#[path = "formats/manifest.rs"]
mod manifest;
#[path = "formats/trust.rs"]
mod trust;
#[path = "formats/urls.rs"]
mod urls;

use phase_core::identity::SecretKey;

/// A file of this folder; it names its source and specification.
fn read(name: &str) -> String {
    let path = super::folder_path("formats").join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if name.ends_with(".txt") {
        for key in ["# source: ", "# spec: "] {
            assert!(text.lines().any(|line| line.starts_with(key)), "{name} has no `{key}` line");
        }
    }
    text
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |c: char| u8::try_from(c.to_digit(16).expect("hex")).expect("a digit");
    let digits: Vec<u8> = text.chars().map(digit).collect();
    assert_eq!(digits.len() % 2, 0, "half an octet");
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn secret(seed: &str) -> SecretKey {
    SecretKey::from_seed(&hex(seed).try_into().expect("32 octets"))
}
