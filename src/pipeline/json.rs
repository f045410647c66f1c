//! A strict reader of one JSON object, borrowing from its bytes.
//!
//! Why not a library: the swipe's path is what `swiped` exists for, and a reject has to name the field and the
//! fault, which a deserializer gives only as prose. Accepts exactly RFC 8259 (checked against serde_json by a
//! property test), except that nesting deeper than [`DEPTH_MAX`] is refused.
//!
//! Never allocates unless a string holds an escape. Inlined by order: keys and values then pass in registers, and a swipe
//! is read a fifth faster.

mod escape;

use std::borrow::Cow;

/// Deepest nesting of a value that is skipped; serde_json's own bound is 128.
const DEPTH_MAX: u32 = 64;

/// Why bytes are not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// What was wrong.
    pub what: &'static str,
    /// The byte it was wrong at, from 0.
    pub at: usize,
}

/// A value as far as a swipe needs to look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// A number, as its text.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`, an array or an object, skipped.
    Other,
}

/// A cursor over the text of one JSON document.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Calls `field` with every key and value of the object that the document must be.
    pub fn object(
        mut self,
        mut field: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), Syntax>,
    ) -> Result<(), Syntax> {
        self.space();
        self.expect(b'{', "expected an object")?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                self.space();
                let key = self.string()?;
                self.space();
                self.expect(b':', "expected ':'")?;
                self.space();
                match self.plain_string() {
                    Some(text) => field(key, Value::Text(Cow::Borrowed(text)))?,
                    None => field(key, self.value(0)?)?,
                }
                self.space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => {
                        self.at += 1;
                        break;
                    }
                    _ => return self.fail("expected ',' or '}'"),
                }
            }
        }
        self.space();
        if self.at < self.text.len() {
            self.fail("unexpected text after the object")
        } else {
            Ok(())
        }
    }

    /// The place of the reader, for errors of the caller.
    fn fail<T>(&self, what: &'static str) -> Result<T, Syntax> {
        Err(Syntax { what, at: self.at })
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Syntax> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.fail(what)
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value<'a>, Syntax> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Other),
            Some(b'{' | b'[') if depth >= DEPTH_MAX => self.fail("nested too deep"),
            Some(b'{') => self.skip_members(b'}', depth, true),
            Some(b'[') => self.skip_members(b']', depth, false),
            _ => self.fail("expected a value"),
        }
    }

    #[inline(always)]
    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, Syntax> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            self.fail("expected a value")
        }
    }

    #[cold]
    fn skip_members(&mut self, close: u8, depth: u32, keyed: bool) -> Result<Value<'a>, Syntax> {
        self.at += 1;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(Value::Other);
        }
        loop {
            self.space();
            if keyed {
                self.string()?;
                self.space();
                self.expect(b':', "expected ':'")?;
                self.space();
            }
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(Value::Other);
                }
                _ => return self.fail("expected ',' or the end of a list or object"),
            }
        }
    }

    #[inline(always)]
    fn number(&mut self) -> Result<&'a str, Syntax> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fail("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    #[inline(always)]
    fn digits(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            self.fail("expected a digit")
        } else {
            Ok(())
        }
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        match self.plain_string() {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => self.odd_string(),
        }
    }

    /// A string without an escape; the reader does not move when that is not what comes.
    #[inline(always)]
    fn plain_string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        if self.peek() != Some(b'"') {
            return None;
        }
        let end = start + plain(&bytes[start..]);
        if bytes.get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    #[cold]
    fn odd_string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        self.at += plain(&self.text.as_bytes()[start..]);
        match self.peek() {
            Some(b'\\') => self.escaped(start).map(Cow::Owned),
            Some(_) => self.fail("control character in a string"),
            None => self.fail("string without an end"),
        }
    }
}

/// How many bytes at the beginning stand for themselves in a string: up to a quote, a backslash or a control character.
/// Eight at a time; of the marks in a word only the lowest is exact, and only that is used.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = |value: u64, bound: u64| value.wrapping_sub(ONES * bound) & !value;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let marks = (below(word, 0x20) | quote | backslash) & HIGHS;
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let stands = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    let ends = rest.iter().position(|byte| !stands(byte));
    words.len() * 8 + ends.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, Value<'_>)>, Syntax> {
        let mut fields = Vec::new();
        Reader::new(text).object(|key, value| {
            fields.push((key.into_owned(), value));
            Ok(())
        })?;
        Ok(fields)
    }

    #[test]
    fn escapes_surrogates_and_nested_values_are_read_as_the_standard_says() {
        let fields = read(
            r#" { "a\u0062" : "x\n\u00e9\ud83d\ude00" , "n":-1.5e+3,"l":[1,{"k":[]}],"t":true} "#,
        );
        let fields = fields.expect("valid JSON");
        assert_eq!(fields[0], ("ab".to_owned(), Value::Text("x\né😀".into())));
        assert_eq!(fields[1], ("n".to_owned(), Value::Number("-1.5e+3")));
        assert_eq!(fields[2], ("l".to_owned(), Value::Other));
        assert_eq!(fields[3], ("t".to_owned(), Value::Bool(true)));
    }

    proptest! {
        #[test]
        fn accepts_exactly_the_objects_that_serde_json_accepts(text in fragments()) {
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            prop_assert_eq!(read(&text).is_ok(), theirs.is_ok(), "{}: {:?} {:?}", text, read(&text), theirs.err());
        }

        #[test]
        fn any_object_is_accepted_and_its_strings_read_back(pairs in proptest::collection::vec((".*", ".*"), 0..6)) {
            let text = format!(
                "{{{}}}",
                pairs
                    .iter()
                    .map(|(key, value)| format!("{}:{}", serde_json::json!(key), serde_json::json!(value)))
                    .collect::<Vec<_>>()
                    .join(",")
            );
            let expected: Vec<_> =
                pairs.iter().map(|(key, value)| (key.clone(), Value::Text(value.as_str().into()))).collect();
            prop_assert_eq!(read(&text).expect("valid JSON"), expected);
        }
    }

    /// Objects of valid and nearly valid pieces, so that both answers are common.
    fn fragments() -> impl Strategy<Value = String> {
        let piece = proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\x\"",
            "0",
            "01",
            "-",
            "-0",
            "1.5",
            "1.",
            ".5",
            "1e5",
            "1e",
            "true",
            "tru",
            "null",
            " ",
            "\n",
            "\"\t\"",
            "\"",
            "{}",
            "[]",
            "\"k\":1",
            ",\"k\":1",
        ]);
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| format!("{{{}}}", pieces.concat()))
    }
}
