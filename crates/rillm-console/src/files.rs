//! The model files of a board, and which of them to open.

use core::fmt::{self, Write};
use core::future::Future;

use heapless::String;
use rillm::WeightSource;

/// Longest file name in bytes.
pub const NAME_LEN: usize = 64;

/// A file name.
pub type FileName = String<NAME_LEN>;

/// The model files of a board: on its card, and in its flash.
///
/// The console drops a source before it calls one of the functions.
pub trait Files {
    /// An open file.
    type Source: WeightSource<Error: fmt::Display>;
    /// A few words about an open file, for the report: `card: 1,809,920 bytes, 1 fragment`.
    type About: fmt::Display;
    /// Why there are no files, or why one cannot be opened.
    type Error: fmt::Display;

    /// Calls `visit` with the name and the length in bytes of every model file, in the order in which the console tries
    /// them: the card's files, then the model in flash. A card may have been exchanged since the last call.
    ///
    /// # Errors
    /// The card's error. A model in flash is visited nevertheless, and used.
    fn list(&mut self, visit: &mut dyn FnMut(&dyn fmt::Display, u64)) -> impl Future<Output = Result<(), Self::Error>>;

    /// Opens the file of this name: one that was listed, or one that the user has typed.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn open(&mut self, name: &str) -> impl Future<Output = Result<(Self::Source, Self::About), Self::Error>>;
}

/// What the user wants to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The file of this name.
    Name(FileName),
    /// The file of this number in the list.
    Number(u16),
}

impl Request {
    /// What `/model` takes: a name, or a number. None if the name is too long.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(number) => Some(Self::Number(number)),
            Err(_) => FileName::try_from(text).ok().map(Self::Name),
        }
    }
}

/// The file to open next. Numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The file whose name is known.
    Named,
    /// The file of this number.
    Number(u16),
    /// The first one from this number on that can be used.
    FirstFrom(u16),
    /// The one that the user names.
    Asked,
}

/// A file of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Whether its name is not too long.
    pub is_whole: bool,
    /// Its length in bytes.
    pub len: u64,
}

/// Finds the file of this number, counted from 1, and writes its name to `name`, or the first bytes of a name that is
/// too long. The list is not kept: it is read again for every number.
///
/// # Errors
/// The card's error, if no file with this number was listed.
pub async fn find<F: Files>(files: &mut F, number: u16, name: &mut FileName) -> Result<Option<File>, F::Error> {
    let (mut found, mut visited) = (None, 0u16);
    let mut visit = |listed: &dyn fmt::Display, len| {
        visited = visited.saturating_add(1);
        if visited == number {
            name.clear();
            let is_whole = write!(Chars(name), "{listed}").is_ok();
            found = Some(File { is_whole, len });
        }
    };
    let listed = files.list(&mut visit).await;
    if found.is_some() { Ok(found) } else { listed.map(|()| None) }
}

/// Writes characters one by one: as many as there is room for.
struct Chars<'a>(&'a mut FileName);

impl Write for Chars<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.write_char(c))
    }
}

/// The message about a name that is too long.
pub struct LongName;

impl fmt::Display for LongName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name is longer than {NAME_LEN} bytes; give the file a shorter one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_place_in_the_list() {
        let name = |text| FileName::try_from(text).ok().map(Request::Name);
        assert_eq!(Request::parse("12"), Some(Request::Number(12)));
        assert_eq!(Request::parse("12.rillm"), name("12.rillm"));
        assert_eq!(Request::parse("-1"), name("-1"));
        assert_eq!(Request::parse(&"n".repeat(NAME_LEN + 1)), None);
    }
}
