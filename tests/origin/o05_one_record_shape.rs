//! There, three shapes of record were about, and the client printed a whole JSON text as the URL.

use phase_core::wire::record::{Error, Field, Received, SignedAdvert, decode_json};

use super::{advert, signed};

#[derive(serde::Deserialize)]
struct Seed {
    url: String,
    peer_id: String,
    provider_name: Option<String>,
    last_updated: String,
}

#[test]
fn a_reader_of_the_first_format_reads_what_is_written_today() {
    let signed = signed(1, advert(1));
    let mut buf = [0; 600];
    let text = signed.encode_json(&mut buf).unwrap();
    let seed: Seed = serde_json::from_slice(text).unwrap();
    assert_eq!(seed.url, signed.advert().url.as_str());
    assert_eq!(seed.peer_id, signed.advert().peer.to_string());
    assert_eq!((seed.provider_name, seed.last_updated.len()), (None, 20));
}

#[test]
fn the_url_is_the_url_and_never_the_text_around_it() {
    let url = "http://192.168.1.100:8080/stable/arm64/manifest.json";
    let read = decode_json(format!("{{\"url\":\"{url}\"}}").as_bytes()).unwrap();
    assert!(matches!(&read, Received::Unsigned(_)));
    assert_eq!(read.url().as_str(), url);
    assert_eq!(decode_json(url.as_bytes()), Err(Error::Json));
    let other = format!(
        "{{\"manifest_url\":\"{url}\",\"http_addr\":\"192.168.1.100:8080\",\"ttl_secs\":3600}}"
    );
    assert_eq!(SignedAdvert::decode_json(other.as_bytes()), Err(Error::Field(Field::Url)));
}
