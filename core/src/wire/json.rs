//! JSON text, read from front to back.
//! Spec: RFC 8259, narrowed.
//!
//! A [`Reader`] gives the members of objects one by one. It takes no more than JSON and recurses nowhere, so that what
//! follows its rules means the same to every reader. Of members that the caller does not know only the form is looked at;
//! those it knows may come once.
//!
//! Not here: escape sequences are looked at and left as they are; numbers are whole and have no sign. Writing is
//! `serde-json-core`'s.

use super::text::decode_decimal;

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

/// The text is not JSON, or uses something the rules exclude, or has a value of another kind than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Levels a reader can remember: an advert of 1,024 octets has no more.
const DEPTH_MAX: usize = 512;

/// Reads one JSON object. The names and values in it are asked for in the order in which they stand.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    rules: Rules,
    depth: usize,
    /// One bit for each level: whether it is an object.
    objects: [u64; DEPTH_MAX / 64],
    /// The object or array at hand was just opened: no comma comes before what it has.
    fresh: bool,
}

impl<'a> Reader<'a> {
    /// A reader inside the object that is the whole of `text`.
    pub(crate) fn new(text: &'a [u8], rules: Rules) -> Result<Self, NotJson> {
        let text = core::str::from_utf8(text).map_err(|_| NotJson)?;
        let objects = [0; DEPTH_MAX / 64];
        let mut reader = Self { text, at: 0, rules, depth: 0, objects, fresh: false };
        reader.object()?;
        Ok(reader)
    }

    /// Makes sure that nothing follows the object; for when all its members were read.
    pub(crate) fn end(mut self) -> Result<(), NotJson> {
        self.skip_blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(NotJson) }
    }

    /// The name of the next member of the object at hand, whose value comes next; `None`: the object is over.
    pub(crate) fn name(&mut self) -> Result<Option<&'a str>, NotJson> {
        if !self.goes_on(b'}')? {
            return Ok(None);
        }
        let name = self.quoted(false)?;
        self.skip_blanks();
        self.take(b':')?;
        Ok(Some(name))
    }

    /// The next member of the object at hand that is called like one of `names`, by its number there; its value comes
    /// next. Others are passed over, and those that are `null`, as if they were absent. `seen` has a bit for each of up
    /// to 16 names; none may come twice.
    pub(crate) fn member(
        &mut self,
        names: &[&str],
        seen: &mut u16,
    ) -> Result<Option<usize>, NotJson> {
        while let Some(name) = self.name()? {
            if let Some(at) = names.iter().position(|known| *known == name) {
                let bit = 1_u16 << (at % 16);
                if *seen & bit != 0 {
                    return Err(NotJson);
                }
                *seen |= bit;
                self.skip_blanks();
                if self.peek() != Some(b'n') {
                    return Ok(Some(at));
                }
            }
            self.skip()?;
        }
        Ok(None)
    }

    /// Whether the array at hand has one more item, which comes next; if not, it is over.
    pub(crate) fn item(&mut self) -> Result<bool, NotJson> {
        self.goes_on(b']')
    }

    /// The value that comes next is an object: opens it.
    pub(crate) fn object(&mut self) -> Result<(), NotJson> {
        self.open(b'{')
    }

    /// The value that comes next is an array: opens it.
    pub(crate) fn array(&mut self) -> Result<(), NotJson> {
        self.open(b'[')
    }

    /// The value that comes next is a string: what is between its quotes, as it stands.
    pub(crate) fn string(&mut self) -> Result<&'a str, NotJson> {
        self.skip_blanks();
        self.quoted(self.rules.escapes)
    }

    /// The value that comes next is a whole number from 0 to 2^64 - 1.
    pub(crate) fn number(&mut self) -> Result<u64, NotJson> {
        self.skip_blanks();
        let from = self.at;
        self.any_number()?;
        let digits = self.text.as_bytes().get(from..self.at).ok_or(NotJson)?;
        decode_decimal(digits).map_err(|_| NotJson)
    }

    /// Passes over the value that comes next, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<(), NotJson> {
        let depth = self.depth;
        let mut is_value = true;
        loop {
            if is_value {
                self.value()?;
            }
            if self.depth == depth {
                return Ok(());
            }
            is_value = if self.in_object() { self.name()?.is_some() } else { self.item()? };
        }
    }

    /// A scalar, or the opening of an object or array.
    fn value(&mut self) -> Result<(), NotJson> {
        self.skip_blanks();
        match self.peek().ok_or(NotJson)? {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => self.quoted(self.rules.escapes).map(|_| ()),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.any_number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        word.iter().try_for_each(|&octet| self.take(octet))
    }

    /// `at` is at the quote. What is between it and the next.
    fn quoted(&mut self, escapes: bool) -> Result<&'a str, NotJson> {
        self.take(b'"')?;
        let from = self.at;
        loop {
            match self.next()? {
                b'"' => break,
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
        self.text.get(from..self.at.saturating_sub(1)).ok_or(NotJson)
    }

    fn any_number(&mut self) -> Result<(), NotJson> {
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

    fn open(&mut self, with: u8) -> Result<(), NotJson> {
        self.skip_blanks();
        self.take(with)?;
        if self.depth >= self.rules.depth.min(DEPTH_MAX) {
            return Err(NotJson);
        }
        let mask = 1_u64 << (self.depth % 64);
        let word = self.objects.get_mut(self.depth / 64).ok_or(NotJson)?;
        *word = if with == b'{' { *word | mask } else { *word & !mask };
        self.depth = self.depth.saturating_add(1);
        self.fresh = true;
        Ok(())
    }

    /// Whether the object or array at hand has more in it; if not, it ends with `close`.
    fn goes_on(&mut self, close: u8) -> Result<bool, NotJson> {
        self.skip_blanks();
        let fresh = core::mem::replace(&mut self.fresh, false);
        if self.peek() == Some(close) {
            self.next()?;
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !fresh {
            self.take(b',')?;
            self.skip_blanks();
        }
        Ok(true)
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
        self.text.as_bytes().get(self.at).copied()
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

    const STRICT: Rules = Rules { line_ends: false, escapes: false, depth: DEPTH_MAX };
    const LOOSE: Rules = Rules { line_ends: true, escapes: true, depth: 4 };

    /// Whether `text` is one JSON object and nothing else.
    fn check(text: &[u8], rules: Rules) -> Result<(), NotJson> {
        let mut reader = Reader::new(text, rules)?;
        while reader.name()?.is_some() {
            reader.skip()?;
        }
        reader.end()
    }

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
    fn members_are_read_by_their_names_and_others_are_passed_over() {
        let text = br#"{"x":[{"a":1},[]],"b":"t\"","n":null,"a":7,"y":{"b":0},"l":["p","q"],"o":{"b":"u"}}"#;
        let names = ["a", "b", "l", "n", "o"];
        let mut reader = Reader::new(text, LOOSE).unwrap();
        let mut seen = 0;
        assert_eq!(reader.member(&names, &mut seen), Ok(Some(1)));
        assert_eq!(reader.string(), Ok("t\\\""), "escapes stay as they are");
        assert_eq!(reader.member(&names, &mut seen), Ok(Some(0)), "null is as absent");
        assert_eq!(reader.number(), Ok(7));
        assert_eq!(reader.member(&names, &mut seen), Ok(Some(2)));
        reader.array().unwrap();
        assert_eq!((reader.item(), reader.string()), (Ok(true), Ok("p")));
        assert_eq!((reader.item(), reader.string()), (Ok(true), Ok("q")));
        assert_eq!(reader.item(), Ok(false));
        assert_eq!(reader.member(&names, &mut seen), Ok(Some(4)));
        reader.object().unwrap();
        assert_eq!((reader.name(), reader.string()), (Ok(Some("b")), Ok("u")));
        assert_eq!((reader.name(), reader.member(&names, &mut seen)), (Ok(None), Ok(None)));
        assert_eq!(seen, 0b1_1111);
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn known_members_come_once_and_are_of_their_kind() {
        let twice = |text: &[u8]| {
            let (mut reader, mut seen) = (Reader::new(text, STRICT).unwrap(), 0);
            while reader.member(&["a"], &mut seen)?.is_some() {
                reader.skip()?;
            }
            reader.end()
        };
        assert_eq!(twice(br#"{"a":1,"b":2,"b":3}"#), Ok(()));
        assert_eq!(twice(br#"{"a":1,"a":1}"#), Err(NotJson));
        assert_eq!(twice(br#"{"a":null,"a":1}"#), Err(NotJson));
        assert_eq!(twice(br#"{"a":nul}"#), Err(NotJson));
        let value = |text: &'static [u8]| {
            let mut reader = Reader::new(text, STRICT).unwrap();
            reader.name().unwrap();
            reader
        };
        for bad in ["-1", "1.0", "1e3", "18446744073709551616", "\"1\"", "true", "{}"] {
            let text = std::format!("{{\"a\":{bad}}}").into_bytes();
            assert_eq!(value(text.leak()).number(), Err(NotJson), "{bad}");
        }
        assert_eq!(value(br#"{"a":18446744073709551615}"#).number(), Ok(u64::MAX));
        assert_eq!(value(br#"{"a":1}"#).string(), Err(NotJson));
        assert_eq!(value(br#"{"a":[]}"#).object(), Err(NotJson));
        assert_eq!(value(br#"{"a":{}}"#).array(), Err(NotJson));
    }
}
