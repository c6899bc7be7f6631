//! JSON as read by Python's `json`, which wrote most checkpoints: numbers may be `NaN`, `Infinity` or too large for a
//! float64, a byte order mark may come first, and the last of duplicate keys counts.

use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

/// What a number that is not finite is read as: no text, no number, no object, so that whoever uses the field refuses it.
fn not_finite(name: &str) -> String {
    format!("[\"{name}\"]")
}

/// Parses a file's bytes.
///
/// # Errors
/// The syntax error and its position. In a file with a number that is not finite, the column may be a few characters
/// off.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(text).or_else(|error| match finite(text) {
        Some(text) => serde_json::from_slice(&text),
        None => Err(error),
    })
}

/// A value as in the file, for a message.
pub(crate) fn shown(value: &Value) -> String {
    let names = ["NaN", "Infinity", "-Infinity"];
    names.into_iter().fold(value.to_string(), |text, name| text.replace(&not_finite(name), name))
}

/// The text with non-finite numbers replaced; `None` if it has none.
fn finite(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let (mut at, mut found) = (0, false);
    while let Some(&byte) = text.get(at) {
        let len = match byte {
            b'"' => string_len(&text[at..]),
            b'-' | b'0'..=b'9' | b'A'..=b'Z' => {
                text[at..].iter().take_while(|b| matches!(b, b'+' | b'-' | b'.') || b.is_ascii_alphanumeric()).count()
            }
            _ => 1,
        };
        let word = &text[at..at + len];
        match name(word) {
            Some(name) => out.extend(not_finite(name).bytes()),
            None => out.extend(word),
        }
        found |= name(word).is_some();
        at += len;
    }
    found.then_some(out)
}

/// Python's name of a non-finite number.
fn name(word: &[u8]) -> Option<&'static str> {
    match word {
        b"NaN" => Some("NaN"),
        b"Infinity" => Some("Infinity"),
        b"-Infinity" => Some("-Infinity"),
        // An integer has no limit in Python, and stays an error here.
        [b'-' | b'0'..=b'9', ..] if word.iter().any(|b| matches!(b, b'.' | b'e' | b'E')) => {
            match str::from_utf8(word).ok()?.parse() {
                Ok(f64::INFINITY) => Some("Infinity"),
                Ok(f64::NEG_INFINITY) => Some("-Infinity"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The length in bytes of the string at the start of `text`, including its quotes.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_reads_is_read() {
        let read = |text: &str| read::<Value>(text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read("\u{feff} {\"a\": 1, \"a\": 2}"), Ok(json!({"a": 2})));
        let text = r#"{"a": Infinity, "b": [-Infinity,NaN], "NaN": "\"NaN, \\", "c": 1e999, "d": -1e+999, "e": 1e-5}"#;
        let value = read(text).expect("JSON");
        assert_eq!((&value["NaN"], &value["e"]), (&json!("\"NaN, \\"), &json!(1e-5)));
        for (field, expected) in [("a", "Infinity"), ("b", "[-Infinity,NaN]"), ("c", "Infinity"), ("d", "-Infinity")] {
            assert_eq!(shown(&value[field]), expected);
        }
        for text in
            ["{\"a\": nan}", "{\"a\": inf}", "{\"a\": 1,}", "// a\n{}", "{'a': 1}", "{\"a\": NaNs}", "\"\\", "NaN\""]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
