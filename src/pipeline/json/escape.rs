//! Strings that hold an escape: the rare case, apart from the path of every swipe. Undone as RFC 8259 says, into a string of
//! their own; a lone surrogate is refused. Held to serde_json by the property tests of the reader.

use super::{Reader, Syntax, plain};

impl Reader<'_> {
    /// The rest of a string from its first backslash on; `start` is where its text began.
    #[cold]
    pub(super) fn escaped(&mut self, start: usize) -> Result<String, Syntax> {
        let mut out = String::from(&self.text[start..self.at]);
        loop {
            let start = self.at;
            self.at += plain(&self.text.as_bytes()[start..]);
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let letter = self.peek();
                    self.at += 1;
                    out.push(match letter {
                        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
                        Some(b'b') => '\u{8}',
                        Some(b'f') => '\u{c}',
                        Some(b'n') => '\n',
                        Some(b'r') => '\r',
                        Some(b't') => '\t',
                        Some(b'u') => self.unicode()?,
                        _ => return self.fail("unknown escape"),
                    });
                }
                Some(_) => return self.fail("control character in a string"),
                None => return self.fail("string without an end"),
            }
        }
    }

    fn unicode(&mut self) -> Result<char, Syntax> {
        let first = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            self.expect(b'\\', "lone surrogate")?;
            self.expect(b'u', "lone surrogate")?;
            let second = self.hex4()?;
            if !(0xdc00..0xe000).contains(&second) {
                return self.fail("lone surrogate");
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).map_or_else(|| self.fail("lone surrogate"), Ok)
    }

    fn hex4(&mut self) -> Result<u32, Syntax> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.fail("expected four hexadecimal digits");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}
