//! Trust files good and bad, with the message of each.

use phase_core::wire::trust::Trust;

use super::{read, secret};

#[test]
fn every_trust_file_is_taken_or_refused_for_its_reason() {
    let text = read("trust.txt");
    let id = |n: usize| secret(&format!("{n:02x}").repeat(32)).peer_id();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in text.split("\n\n").skip(1) {
        let (expected, file) = case.split_once('\n').expect("an expectation and a file");
        let mut expected = expected.to_owned();
        let mut file = file.to_owned();
        for n in 1..=3 {
            let (peer, key) = (id(n).to_string(), id(n + 3).key_id().to_string());
            let tokens =
                [(format!(" P{n}"), format!(" {peer}")), (format!("/P{n}"), format!("/{peer}"))];
            for (token, value) in tokens {
                file = file.replace(&token, &value);
            }
            file = file.replace(&format!(" K{n}"), &format!(" {key}"));
        }
        file = file.replace("provider\tP1", &format!("provider\t{}", id(1)));
        if let Some(rest) = expected.strip_prefix("bad line 0 ") {
            expected = format!("bad {rest}");
        } else if let Some(rest) = expected.strip_prefix("bad line ") {
            let (line, rest) = rest.split_once(' ').expect("a number and a message");
            expected = format!("bad line {line}: {rest}");
        }
        count += 1;
        let found = match Trust::decode(file.as_bytes()) {
            Ok(_) => "good".to_owned(),
            Err(error) => format!("bad {error}"),
        };
        // The message may name a word before, and go on after, what the case says.
        let line = |text: &str| text.split_once(": ").map(|(line, _)| line.to_owned());
        let said = expected.rsplit_once(": ").map_or(expected.as_str(), |(_, said)| said);
        let said = said.strip_prefix("bad ").unwrap_or(said);
        if !found.contains(said) || (expected.contains(": ") && line(&found) != line(&expected)) {
            wrong.push(format!("{file}\n   {found}\n   not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 40, "{count}");
}

#[test]
fn sizes_are_bounded_and_nothing_is_cut_off() {
    let provider = format!("provider {}\n", secret(&"01".repeat(32)).peer_id());
    let message =
        |file: &[u8]| Trust::decode(file).map_or_else(|error| error.to_string(), |_| String::new());
    let lines = |n: usize| provider.clone() + &"#\n".repeat(n);
    assert_eq!(message(lines(63).as_bytes()), "");
    assert_eq!(message(lines(64).as_bytes()), "line 65: more than 64 lines");
    let long = |n: usize| provider.clone() + &"#".repeat(n);
    assert_eq!(message(long(256).as_bytes()), "");
    assert_eq!(message(long(257).as_bytes()), "line 2: longer than 256 octets");
    let keys = |n: u8| -> String {
        (1..=n)
            .map(|i| format!("provider {}\n", secret(&format!("{i:02x}").repeat(32)).peer_id()))
            .collect()
    };
    assert_eq!(message(keys(32).as_bytes()), "");
    assert_eq!(message(keys(33).as_bytes()), "line 33: too many keys: at most 32");
    let channels: String = (0..17).map(|n| format!("threshold c{n} 1\n")).collect();
    assert_eq!(
        message((provider.clone() + &channels).as_bytes()),
        "line 18: too many channels: at most 16"
    );
    assert_eq!(message(b"# \xff\n"), "line 1: not plain text");
    assert_eq!(message(b"#\n# \x1b[31m\n"), "line 2: not plain text");
    assert_eq!(
        message("\u{feff}provider".as_bytes()),
        "line 1: unknown statement `?provider`; known are provider, release, threshold, min-version, epoch, fallback, bootstrap"
    );
    let crlf = provider.replace('\n', "\r\n# x\r\n");
    assert_eq!(message(crlf.as_bytes()), "");
}
