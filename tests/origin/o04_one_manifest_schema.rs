//! There, the schema, the provider and the task each had a manifest of their own, and the verifier could not read
//! what the provider served.

use super::{SAY, document, release, verified};

#[test]
fn what_is_written_has_every_member_of_the_schema_and_verifies() {
    let text = document(1, &SAY);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let members =
        ["version", "manifest_version", "channel", "arch", "artifacts", "signatures", "signed"];
    for member in members {
        assert!(value.get(member).is_some(), "{member}");
    }
    let kernel = &value["artifacts"]["kernel"];
    assert!(kernel["hash"].as_str().is_some_and(|hash| hash.starts_with("sha256:")));
    assert_eq!(kernel["size"], 9_437_184);
    assert!(kernel["path"].is_string() || kernel["urls"].is_array());
    let signature = &value["signatures"][0];
    assert!(signature["keyid"].as_str().is_some_and(|id| id.starts_with("ed25519:")));
    assert!(signature["sig"].is_string() && value["signed"]["data"].is_string());
    assert_eq!(verified(&text, &release(1), |_| {}), Ok(()));
}

#[test]
fn the_other_shapes_are_refused_for_what_they_lack() {
    let good = document(1, &SAY);
    for (from, to) in [
        ("\"size\"", "\"size_bytes\""),
        ("\"path\"", "\"filename\""),
        ("\"keyid\"", "\"key_id\""),
        ("\"sig\"", "\"signature\""),
    ] {
        assert!(verified(&good.replace(from, to), &release(1), |_| {}).is_err(), "{from}");
    }
}
