//! One thing wrong with a configuration, as it is told to people.

use std::fmt;

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, the name of an environment variable, or the file where a key is missing.
    pub place: String,
    /// The dotted key and what is wrong with it, or the syntax error.
    pub message: String,
    /// Where it stands in the list: byte in the file, then what the file does not show.
    pub(super) order: usize,
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn with_file(file: &str, message: String) -> Self {
        Self {
            place: file.to_owned(),
            message,
            order: 0,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
