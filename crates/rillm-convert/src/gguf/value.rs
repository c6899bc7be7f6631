//! A key's value, and its conversion to the expected type.

use super::cursor::{Cursor, Short};
use super::error::excerpt;
use super::{Gguf, GgufError};

/// The deepest nesting of arrays that is skipped: no key of a language model nests arrays.
const MAX_NESTING: u32 = 4;

const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A key's value; strings and arrays lie in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Integer(i128),
    Float(f64),
    Bool(bool),
    String(&'a [u8]),
    Array(Array<'a>),
}

/// A complete array of a known type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Array<'a> {
    /// The type of its elements.
    kind: u32,
    len: u64,
    bytes: &'a [u8],
}

/// Why a value cannot be skipped.
enum Trouble {
    Short(Short),
    Odd(String, &'static str),
}

impl From<Short> for Trouble {
    fn from(short: Short) -> Self {
        Self::Short(short)
    }
}

impl<'a> Value<'a> {
    /// Reads the value of `key`, its type first.
    pub(super) fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, GgufError> {
        let value = cursor.u32().map_err(Trouble::from).and_then(|kind| read(cursor, kind, MAX_NESTING));
        value.map_err(|trouble| match trouble {
            Trouble::Short(short) => short.within(&format!("the value of {}", excerpt(key))),
            Trouble::Odd(found, expected) => GgufError::Value { key: excerpt(key), found, expected },
        })
    }

    /// For messages.
    fn describe(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::String(bytes) => excerpt(&String::from_utf8_lossy(&bytes[..bytes.len().min(300)])),
            Self::Array(array) => format!("a list of {}", array.len),
        }
    }
}

fn read<'a>(cursor: &mut Cursor<'a>, kind: u32, nesting: u32) -> Result<Value<'a>, Trouble> {
    Ok(match kind {
        0 => Value::Integer(u8::from_le_bytes(cursor.array()?).into()),
        1 => Value::Integer(i8::from_le_bytes(cursor.array()?).into()),
        2 => Value::Integer(u16::from_le_bytes(cursor.array()?).into()),
        3 => Value::Integer(i16::from_le_bytes(cursor.array()?).into()),
        4 => Value::Integer(u32::from_le_bytes(cursor.array()?).into()),
        5 => Value::Integer(i32::from_le_bytes(cursor.array()?).into()),
        6 => Value::Float(f32::from_le_bytes(cursor.array()?).into()),
        BOOL => match cursor.array()? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [byte] => return Err(Trouble::Odd(format!("the truth value {byte}"), "0 or 1")),
        },
        STRING => Value::String(cursor.string()?),
        ARRAY => {
            let (kind, len) = (cursor.u32()?, cursor.u64()?);
            let start = cursor.clone();
            match element_len(kind) {
                // A product that does not fit is more than any file has.
                Some(element) => drop(cursor.bytes(len.saturating_mul(element))?),
                None if kind == ARRAY && nesting == 0 => {
                    return Err(Trouble::Odd("lists within lists five deep".to_owned(), "at most four"));
                }
                // An element has eight bytes or more: the file ends before a count that is made up does.
                None => (0..len).try_for_each(|_| read(cursor, kind, nesting.saturating_sub(1)).map(drop))?,
            }
            Value::Array(Array { kind, len, bytes: start.up_to(cursor) })
        }
        10 => Value::Integer(u64::from_le_bytes(cursor.array()?).into()),
        11 => Value::Integer(i64::from_le_bytes(cursor.array()?).into()),
        12 => Value::Float(f64::from_le_bytes(cursor.array()?)),
        _ => return Err(Trouble::Odd(format!("type {kind}"), "a type of 0 to 12")),
    })
}

/// Bytes of an element of an array that may be skipped at once; truth values are then not looked at.
fn element_len(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | BOOL => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Values by key. All fail with [`GgufError::Key`] if the value has another type or is out of range.
impl<'a> Gguf<'a> {
    /// An error that names the key and its value.
    pub(crate) fn error(&self, key: &str, expected: impl Into<String>) -> GgufError {
        let found = self.values.get(key).map_or_else(|| "absent".to_owned(), Value::describe);
        GgufError::Key { key: excerpt(key).trim_matches('"').to_owned(), found, expected: expected.into() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.values.get(key).copied()
    }

    fn convert<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        self.get(key).map(|value| convert(value).ok_or_else(|| self.error(key, expected))).transpose()
    }

    pub(crate) fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.convert(key, "an integer, 0 to 2^32 - 1", |value| match value {
            Value::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        })
    }

    pub(crate) fn required_u32(&self, key: &str) -> Result<u32, GgufError> {
        self.u32(key)?.ok_or_else(|| self.error(key, "an integer"))
    }

    /// An integer, or a list with the same integer for every layer.
    pub(crate) fn u32_of_layers(&self, key: &str) -> Result<Option<u32>, GgufError> {
        let Some(Value::Array(array)) = self.get(key) else { return self.u32(key) };
        let mut layers = array.elements();
        let (first, rest) = (layers.next().flatten(), layers);
        match first {
            Some(Value::Integer(number)) if rest.into_iter().all(|layer| layer == first) => u32::try_from(number).ok(),
            _ => None,
        }
        .map(Some)
        .ok_or_else(|| self.error(key, "an integer, the same for every layer"))
    }

    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.convert(key, "a number", number).map(|value| value.map(|value| value as f32))
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.convert(key, "true or false", |value| match value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, GgufError> {
        self.convert(key, "a string, UTF-8", text)
    }

    /// The length of a list, if there is one.
    pub(crate) fn len(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Value::Array(array)) => Some(array.len),
            _ => None,
        }
    }

    /// A list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, GgufError> {
        self.list(key, "a list of strings, UTF-8", text)
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>, GgufError> {
        self.list(key, "a list of numbers", |value| number(value).map(|number| number as f32))
    }

    fn list<T>(
        &self,
        key: &str,
        expected: &str,
        element: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, GgufError> {
        self.convert(key, expected, |value| match value {
            Value::Array(array) => array.elements().map(|value| value.and_then(&element)).collect(),
            _ => None,
        })
    }
}

impl<'a> Array<'a> {
    fn elements(self) -> impl Iterator<Item = Option<Value<'a>>> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.len).map(move |_| read(&mut cursor, self.kind, MAX_NESTING).ok())
    }
}

fn number(value: Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::String(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}
