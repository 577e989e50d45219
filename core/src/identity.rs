//! Ed25519 identities and peer ids.
