//! Adverts, as JSON and as TXT.

use phase_core::limits::{ADVERT_JSON_EMIT_MAX, ADVERT_TXT_MAX};
use phase_core::wire::record::{
    Arch, Channel, Received, SignedAdvert, decode_json, decode_txt, txt_strings,
};

/// What a general reader of JSON sees.
#[derive(serde::Deserialize)]
struct General<'a> {
    url: &'a str,
}

/// Holds the laws of the advert's JSON for any octets.
///
/// # Panics
/// When a law is broken.
pub fn advert_json(data: &[u8]) {
    if let Ok(received) = decode_json(data) {
        let text = std::str::from_utf8(data).expect("only UTF-8 is accepted");
        assert!(data.len() <= 1024 && !text.contains('\\'));
        let general: General<'_> = serde_json::from_str(text).expect("only JSON is accepted");
        assert_eq!(general.url, received.url().as_str());
        check(received);
    }
}

/// Holds the laws of the advert's TXT strings for any octets.
///
/// # Panics
/// When a law is broken.
pub fn advert_txt(data: &[u8]) {
    if let Ok(read) = decode_txt(txt_strings(data)) {
        check(read.advert);
    }
}

/// What was read can be written in either text and reads back the same.
fn check(received: Received) {
    let Received::Signed(signed) = received else { return };
    let mut json = [0xa5; ADVERT_JSON_EMIT_MAX];
    let json = signed.encode_json(&mut json).expect("every advert fits");
    assert_eq!(SignedAdvert::decode_json(json), Ok(signed.clone()));
    let (channel, arch) = (Channel::new("c").expect("a channel"), Arch::new("a").expect("an arch"));
    let mut txt = [0xa5; ADVERT_TXT_MAX];
    let txt = signed.encode_txt(&channel, &arch, &mut txt).expect("every advert fits");
    assert_eq!(SignedAdvert::decode_txt(txt_strings(txt)), Ok(signed));
}
