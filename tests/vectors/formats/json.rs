//! Advert JSON beside `serde_json`: the rows in which the two parsers differ, and many changed examples.

use std::collections::BTreeMap;

use phase_core::rng::{Rng, Seed};
use phase_core::wire::record::{Error, Received, SignedAdvert, decode_json};

use super::read;

/// The same members, for a general reader.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "read for whether it can be read")]
struct General<'a> {
    url: Option<&'a str>,
    peer_id: Option<&'a str>,
    provider_name: Option<&'a str>,
    last_updated: Option<&'a str>,
    version: Option<&'a str>,
    seq: Option<u64>,
    ttl: Option<u64>,
    digest: Option<&'a str>,
    sig: Option<&'a str>,
}

/// What a reader of the unsigned format has: five members, four of them needed.
#[derive(serde::Deserialize)]
struct Seed4 {
    url: String,
    peer_id: String,
    provider_name: Option<String>,
    last_updated: String,
    version: Option<String>,
}

fn example() -> String {
    let text = read("advert.txt");
    text.lines().find_map(|line| line.strip_prefix("json ")).expect("the example").to_owned()
}

fn insert(member: &str) -> String {
    example().replacen('{', &format!("{{{member},"), 1)
}

#[test]
fn the_rows_in_which_parsers_differ() {
    let read = |text: &str| SignedAdvert::decode_json(text.as_bytes()).map(|_| ());
    let nested = |open: &str, close: &str| {
        insert(&format!("\"x\":{}{}", open.repeat(100), close.repeat(100)))
    };
    let rows = [
        (example(), Ok(())),
        (example().replace("http://", "http:\\/\\/"), Err(Error::Json)),
        (example().replace("http:", "\\u0068ttp:"), Err(Error::Json)),
        (example().replace("\"url\"", "\"\\u0075rl\""), Err(Error::Json)),
        (example().replace("my-mac", "my\nmac"), Err(Error::Json)),
        (example().replace("my-mac", "my\u{0}mac"), Err(Error::Json)),
        (example().replace("my-mac", "my\u{1}mac"), Err(Error::Json)),
        (example().replace("my-mac", "my\u{7f}mac"), Err(Error::Json)),
        (insert("\"x\":tru"), Err(Error::Json)),
        (insert("\"x\":-"), Err(Error::Json)),
        (insert("\"x\":[,1]"), Err(Error::Json)),
        (insert("\"x\":abc"), Err(Error::Json)),
        (r#"["u","p",null,"t"]"#.to_owned(), Err(Error::Json)),
        (insert("\"url\":\"http://h/manifest.json\""), Err(Error::Json)),
        (insert("\"ttl\":3600"), Err(Error::Json)),
        (format!("\u{feff}{}", example()), Err(Error::Json)),
        (example().replace(":3600", ":03600"), Err(Error::Json)),
        (example().replace(":3600", ":36e2"), Err(Error::Json)),
        (example().replace(":3600", ":3600.0"), Err(Error::Json)),
        (example().replace(":3600", ":-3600"), Err(Error::Json)),
        (example().replace('}', ",}"), Err(Error::Json)),
        (format!("{}x", example()), Err(Error::Json)),
        (format!("{}{{}}", example()), Err(Error::Json)),
        (format!("{}\n", example()), Err(Error::Json)),
        (nested("[", "]"), Ok(())),
        (nested("{\"x\":", "}").replace(":}", ":1}"), Ok(())),
        (insert("\"x\":{\"sig\":1,\"url\":[]}"), Ok(())),
        (insert("\"x\":1.5e-3"), Ok(())),
        (insert("\"x\":null,\"x\":null"), Ok(())),
        (example().replace(":3600", " : 3600 "), Ok(())),
        (String::new(), Err(Error::Size)),
        (insert(&format!("\"x\":\"{}\"", "x".repeat(1024))), Err(Error::Size)),
    ];
    for (text, expected) in rows {
        assert_eq!(read(&text), expected, "{text}");
        if expected.is_ok() {
            assert!(serde_json::from_str::<General<'_>>(&text).is_ok(), "{text}");
        }
    }
    let depth_200 = insert(&format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200)));
    assert_eq!(read(&depth_200), Ok(()));
    let mut octets = example().into_bytes();
    octets[10] = 0xff;
    assert_eq!(SignedAdvert::decode_json(&octets), Err(Error::Json));
}

/// Both readers refuse the same texts as JSON, over texts that are nearly the example.
#[test]
fn changed_examples_are_json_to_both_readers_or_to_neither() {
    let mut rng = Seed([0x4a; 32]).stream("json");
    let example = example();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let text = change(&example, &mut rng);
        let ours = SignedAdvert::decode_json(text.as_bytes());
        let narrow = text.starts_with('{')
            && text.ends_with('}')
            && text.len() <= 1024
            && !text.bytes().any(|c| c < 0x20 || c == 0x7f || c == b'\\');
        let theirs = serde_json::from_str::<General<'_>>(&text);
        // Without `sig` the looser rules of the unsigned format count.
        let signed = theirs.as_ref().is_ok_and(|general| general.sig.is_some());
        let is_json = narrow && theirs.is_ok();
        if is_json {
            assert_ne!(ours, Err(Error::Json), "{text}");
            accepted += 1;
        } else if signed || theirs.is_err() {
            assert!(matches!(ours, Err(Error::Json)), "{ours:?}: {text:?}");
            refused += 1;
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} {refused}");
}

#[test]
fn a_plain_reader_of_the_unsigned_format_reads_a_signed_advert() {
    let text = example();
    let seed: Seed4 = serde_json::from_str(&text).unwrap();
    assert_eq!(seed.url, "http://192.168.1.100:8080/stable/arm64/manifest.json");
    assert_eq!(seed.peer_id, "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV");
    assert_eq!(seed.provider_name.as_deref(), Some("my-mac"));
    assert_eq!(seed.last_updated, "2025-11-26T12:00:00Z");
    assert_eq!(seed.version.as_deref(), Some("2025.11.26"));
}

/// Unsigned records as they are found, and what is made of each.
#[test]
fn unsigned_records_are_shown_or_refused() {
    let url = "http://192.168.1.100:8080/stable/arm64/manifest.json";
    let record = format!(
        r#"{{"url":"{url}","peer_id":"12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV","provider_name":"my-mac","last_updated":"2025-11-26T12:00:00Z"}}"#
    );
    let value: BTreeMap<String, String> = serde_json::from_str(&record).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    let found = |text: &str| match decode_json(text.as_bytes()) {
        Ok(Received::Unsigned(legacy)) => format!("unsigned {}", legacy.url),
        Ok(Received::Signed(_)) => "signed".to_owned(),
        Err(error) => error.code().to_owned(),
    };
    let shown = format!("unsigned {url}");
    let code_form = format!(
        r#"{{"channel":"stable","arch":"arm64","manifest_url":"{url}","http_addr":"192.168.1.100:8080","created_at":1764158400,"ttl_secs":3600}}"#
    );
    for (text, expected) in [
        (record.clone(), shown.as_str()),
        (pretty.clone(), &shown),
        (format!("{record}\r\n"), &shown),
        (record.replace("\"my-mac\"", "null"), &shown),
        (record.replace("my-mac", "\u{202e}my-mac"), &shown),
        (record.replace("2025-11-26T12:00:00Z", "2025-11-26T12:00:00.123+01:00"), &shown),
        (record.replace("12D3KooWQK", "QmQK"), &shown),
        (format!(r#"{{"url":"{url}"}}"#), &shown),
        (url.to_owned(), "E-JSON"),
        (format!("\"{url}\""), "E-JSON"),
        (code_form, "E-FIELD:url"),
        (record.replace("http:", "file:"), "E-URL:scheme"),
        (record.replace("192.168.1.100", "0x7f.1"), "E-URL:host"),
        (record.replace('/', "\\/"), "E-JSON"),
        (pretty.replace("my-mac", "my\nmac"), "E-JSON"),
        (pretty.replacen('{', "{\"sig\":\"x\",", 1), "E-JSON"),
        ("{}".to_owned(), "E-FIELD:url"),
        ("{".to_owned(), "E-JSON"),
        ("null".to_owned(), "E-JSON"),
    ] {
        assert_eq!(found(&text), expected, "{text}");
        let as_signed = SignedAdvert::decode_json(text.as_bytes()).unwrap_err().code();
        if expected == shown {
            assert_eq!(as_signed, "E-UNSIGNED");
        }
    }
}

/// One to three pieces put in, taken out or put in place of others.
fn change(text: &str, rng: &mut Rng) -> String {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        " ",
        "0",
        "1",
        "-",
        ".",
        "e",
        "true",
        "null",
        "tru",
        "\\",
        "\n",
        "\u{e9}",
        "\"x\":1,",
        "\"url\":",
        "\"sig\":\"\",",
        "[[]]",
        "{}",
        "01",
        "\t",
        "\u{7f}",
        "\"\"",
    ];
    let mut text = text.to_owned();
    for _ in 0..=rng.u16() % 3 {
        let at = usize::from(rng.u16()) % text.len();
        let piece = pieces[usize::from(rng.u16()) % pieces.len()];
        let Some(at) = (0..=at).rev().find(|at| text.is_char_boundary(*at)) else { continue };
        match rng.u16() % 3 {
            0 => text.insert_str(at, piece),
            1 => drop(text.remove(at)),
            _ => {
                let _ = text.remove(at);
                text.insert_str(at, piece);
            }
        }
    }
    text
}
