//! What JSON text must look like before it is given to `serde-json-core`.
//! Spec: RFC 8259, narrowed.
//!
//! `serde-json-core` takes some text that is not JSON (control characters in strings, any octets for a
//! member it ignores, `[,1]`), gives escaped strings back unescaped, and recurses into members it ignores.
//! So the text is walked here first, without recursion: after [`check`] two readers see the same members.
//! Duplicate members are refused by the deserialiser, for the members it knows.

/// How much of JSON is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Tabs and line ends between tokens, besides blanks.
    pub(crate) line_ends: bool,
    /// Escape sequences in strings; never in a member's name, where they would make two names of one.
    pub(crate) escapes: bool,
    /// Objects and arrays inside each other.
    pub(crate) depth: usize,
}

/// The text is not JSON, or uses something the rules exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Levels the walk can remember: an advert of 1,024 octets has no more.
const DEPTH_MAX: usize = 512;

/// Checks that `text` is one JSON object and nothing else.
pub(crate) fn check(text: &[u8], rules: Rules) -> Result<(), NotJson> {
    Walk::new(text, rules)?.run(|_| Ok(()))
}

/// Like [`check`], and copies the object to `out` with every inner array or object emptied: what is
/// left can be deserialised without recursion. Only for formats whose known members are all scalars.
pub(crate) fn flatten<const N: usize>(
    text: &[u8],
    rules: Rules,
    out: &mut heapless::Vec<u8, N>,
) -> Result<(), NotJson> {
    Walk::new(text, rules)?.run(|part| out.extend_from_slice(part).map_err(|_| NotJson))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    CommaOrEnd,
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    rules: Rules,
    depth: usize,
    /// One bit for each level: whether it is an object.
    objects: [u64; DEPTH_MAX / 64],
    /// Where the part of the outermost level begins that has not been handed out.
    kept_from: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a [u8], rules: Rules) -> Result<Self, NotJson> {
        core::str::from_utf8(text).map_err(|_| NotJson)?;
        Ok(Self { text, at: 0, rules, depth: 0, objects: [0; DEPTH_MAX / 64], kept_from: 0 })
    }

    /// Walks the whole text and hands the octets of the outermost level to `keep`, in order.
    fn run(mut self, mut keep: impl FnMut(&[u8]) -> Result<(), NotJson>) -> Result<(), NotJson> {
        self.skip_blanks();
        if self.peek() != Some(b'{') {
            return Err(NotJson);
        }
        self.open()?;
        let mut expect = Expect::NameOrEnd;
        while self.depth > 0 {
            self.skip_blanks();
            let depth = self.depth;
            expect = self.step(expect)?;
            match (depth, self.depth) {
                (1, 2) => keep(self.text.get(self.kept_from..self.at).ok_or(NotJson)?)?,
                (2, 1) => self.kept_from = self.at.saturating_sub(1),
                _ => {}
            }
        }
        keep(self.text.get(self.kept_from..self.at).ok_or(NotJson)?)?;
        self.skip_blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(NotJson) }
    }

    fn step(&mut self, expect: Expect) -> Result<Expect, NotJson> {
        let next = self.peek().ok_or(NotJson)?;
        match (expect, next) {
            (Expect::Name | Expect::NameOrEnd, b'"') => {
                self.string(false)?;
                self.skip_blanks();
                self.take(b':')?;
                Ok(Expect::Value)
            }
            (Expect::NameOrEnd, b'}') | (Expect::ValueOrEnd, b']') => self.close(),
            (Expect::CommaOrEnd, b'}') if self.in_object() => self.close(),
            (Expect::CommaOrEnd, b']') if !self.in_object() => self.close(),
            (Expect::CommaOrEnd, b',') => {
                self.take(b',')?;
                Ok(if self.in_object() { Expect::Name } else { Expect::Value })
            }
            (Expect::Value | Expect::ValueOrEnd, _) => self.value(next),
            (Expect::Name | Expect::NameOrEnd | Expect::CommaOrEnd, _) => Err(NotJson),
        }
    }

    fn value(&mut self, first: u8) -> Result<Expect, NotJson> {
        match first {
            b'{' => self.open().map(|()| Expect::NameOrEnd),
            b'[' => self.open().map(|()| Expect::ValueOrEnd),
            b'"' => self.string(self.rules.escapes).map(|()| Expect::CommaOrEnd),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(|()| Expect::CommaOrEnd),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<Expect, NotJson> {
        word.iter().try_for_each(|&octet| self.take(octet)).map(|()| Expect::CommaOrEnd)
    }

    /// `at` is at the quote.
    fn string(&mut self, escapes: bool) -> Result<(), NotJson> {
        self.take(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' if escapes => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next()?.is_ascii_hexdigit().then_some(()).ok_or(NotJson)?;
                        }
                    }
                    _ => return Err(NotJson),
                },
                b'\\' | 0x7f | ..0x20 => return Err(NotJson),
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        if self.peek() == Some(b'-') {
            self.take(b'-')?;
        }
        if self.peek() == Some(b'0') {
            self.take(b'0')?;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.take(b'.')?;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.next()?;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.next()?;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        self.next()?.is_ascii_digit().then_some(()).ok_or(NotJson)?;
        while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            self.next()?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), NotJson> {
        let is_object = self.next()? == b'{';
        if self.depth >= self.rules.depth.min(DEPTH_MAX) {
            return Err(NotJson);
        }
        let mask = 1_u64 << (self.depth % 64);
        let word = self.objects.get_mut(self.depth / 64).ok_or(NotJson)?;
        *word = if is_object { *word | mask } else { *word & !mask };
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    fn close(&mut self) -> Result<Expect, NotJson> {
        self.next()?;
        self.depth = self.depth.saturating_sub(1);
        Ok(Expect::CommaOrEnd)
    }

    fn in_object(&self) -> bool {
        let level = self.depth.saturating_sub(1);
        self.objects.get(level / 64).is_some_and(|word| (word >> (level % 64)) & 1 == 1)
    }

    fn skip_blanks(&mut self) {
        while let Some(octet) = self.peek() {
            match octet {
                b' ' => {}
                b'\t' | b'\n' | b'\r' if self.rules.line_ends => {}
                _ => return,
            }
            self.at = self.at.saturating_add(1);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, NotJson> {
        let octet = self.peek().ok_or(NotJson)?;
        self.at = self.at.saturating_add(1);
        Ok(octet)
    }

    fn take(&mut self, octet: u8) -> Result<(), NotJson> {
        if self.next()? == octet { Ok(()) } else { Err(NotJson) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    const STRICT: Rules = Rules { line_ends: false, escapes: false, depth: DEPTH_MAX };
    const LOOSE: Rules = Rules { line_ends: true, escapes: true, depth: 4 };

    #[test]
    fn json_is_told_from_what_is_not() {
        for good in [
            "{}",
            r#"{"a":1}"#,
            r#"{ "a" : [ ] , "b" : { } }"#,
            r#"{"a":[1,-0,0.5,1e3,1E-3,-1.5e+3,true,false,null,"x",{"y":[]}]}"#,
            "{\"a\":\"\u{e9}\u{1f600}\"}",
        ] {
            assert_eq!(check(good.as_bytes(), STRICT), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "[]",
            "1",
            "{",
            "}",
            "{}}",
            "{}{}",
            "{}x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            r#"{'a':1}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":--1}"#,
            r#"{"a":tru}"#,
            r#"{"a":nul}"#,
            r#"{"a":NaN}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":[}"#,
            r#"{"a":{]}"#,
            r#"{"a":[1}}"#,
            r#"{"a":"x}"#,
            r#"{"a":1 "b":2}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"\u{0}\"}",
            "{\"a\":\"\u{7f}\"}",
            "{\"a\":1\n}",
            "\u{feff}{}",
            "{\"a\":\"\\n\"}",
            "{\"\\u0061\":1}",
            "{\"a\":\u{a0}1}",
            "{}\u{0}",
        ] {
            assert_eq!(check(bad.as_bytes(), STRICT), Err(NotJson), "{bad:?}");
        }
        assert_eq!(check(b"{\"a\":\"\xff\"}", STRICT), Err(NotJson));
    }

    #[test]
    fn escapes_are_never_part_of_a_name() {
        assert_eq!(check(br#"{"a":"\"\\\/\b\f\n\r\t\u00e9"}"#, LOOSE), Ok(()));
        for bad in
            [r#"{"\u0061":1}"#, r#"{"a\n":1}"#, r#"{"a":"\x"}"#, r#"{"a":"\u12g4"}"#, r#"{"a":"\"#]
        {
            assert_eq!(check(bad.as_bytes(), LOOSE), Err(NotJson), "{bad}");
        }
        assert_eq!(check(b"\n{\r\n\t\"a\" :\n1 }\n", LOOSE), Ok(()));
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let nest = |n: usize| std::format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(nest(3).as_bytes(), LOOSE), Ok(()));
        assert_eq!(check(nest(4).as_bytes(), LOOSE), Err(NotJson));
        assert_eq!(check(nest(511).as_bytes(), STRICT), Ok(()));
        assert_eq!(check(nest(512).as_bytes(), STRICT), Err(NotJson));
        assert_eq!(check("[".repeat(100_000).as_bytes(), STRICT), Err(NotJson));
        assert_eq!(check("{\"a\":".repeat(100_000).as_bytes(), STRICT), Err(NotJson));
    }

    #[test]
    fn flattening_empties_what_is_inside() {
        let mut out = heapless::Vec::<u8, 128>::new();
        let text = br#"{"a":[1,{"b":2}],"c":"x[","d":{"e":[]},"f":{}}"#;
        flatten(text, STRICT, &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), r#"{"a":[],"c":"x[","d":{},"f":{}}"#);
        assert_eq!(flatten(text, STRICT, &mut heapless::Vec::<u8, 8>::new()), Err(NotJson));
    }
}
