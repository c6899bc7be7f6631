//! Added tokens, such as `<s>`, written out in the text.

use super::Tokenizer;
use super::layout::{ADDED_HEAD_LEN, AddedHead, AddedPass, SPACE_MARK};
use super::text::Text;
use crate::counted::SectorReader;
use crate::error::Error;
use crate::format::FormatError;
use crate::source::WeightSource;

/// An added token found in a text.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub id: u32,
    /// The text from the token on.
    pub start: Text<'a>,
    /// The text after it.
    pub end: Text<'a>,
}

impl Tokenizer {
    /// The first added token of a pass in `text`, the longest of those that start there. Where marks are `plain` text,
    /// one that is found is passed over as a whole.
    pub(super) async fn find_added<'a, S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        pass: AddedPass,
        plain: bool,
        text: Text<'a>,
    ) -> Result<Option<Found<'a>>, Error<S::Error>> {
        let starts = match pass {
            AddedPass::Raw => &self.header.raw_starts,
            AddedPass::Normalized => &self.header.normalized_starts,
        };
        if *starts == [0; 32] {
            return Ok(None);
        }
        let escaped = pass == AddedPass::Normalized && self.header.escaped_marks();
        let mut start = text;
        while !start.is_empty() {
            if may_start(starts, escaped, start)
                && let Some((head, end)) = self.added_at(reader, pass, start).await?
            {
                if !(plain && head.mark) {
                    return Ok(Some(Found { id: head.id, start, end }));
                }
                start = end;
            } else {
                start = start.skip();
            }
        }
        Ok(None)
    }

    /// The longest added token of a pass that `text` starts with, and the text after it.
    async fn added_at<'a, S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        pass: AddedPass,
        text: Text<'a>,
    ) -> Result<Option<(AddedHead, Text<'a>)>, Error<S::Error>> {
        let escaped = pass == AddedPass::Normalized && self.header.escaped_marks();
        let section_end = self.offset + self.header.byte_len();
        let mut at = self.offset + self.header.added_at();
        // The longest come first.
        for _ in 0..self.header.added_count {
            let mut head = [0; ADDED_HEAD_LEN];
            reader.read(at, &mut head).await.map_err(Error::Source)?;
            let head = AddedHead::parse(&head, self.header.vocab_size)?;
            let (start, end) = (at + ADDED_HEAD_LEN as u64, at + ADDED_HEAD_LEN as u64 + u64::from(head.len));
            if end > section_end {
                return Err(FormatError::OutOfRange {
                    field: "end of an added token",
                    value: end - self.offset,
                    min: 0,
                    max: self.header.byte_len(),
                }
                .into());
            }
            if head.pass == pass
                && let Some(rest) = starts_with(reader, text, escaped, start, end).await?
            {
                return Ok(Some((head, rest)));
            }
            at = end;
        }
        Ok(None)
    }
}

/// Whether some added token may start here, by the byte that it would start with.
fn may_start(starts: &[u8; 32], escaped: bool, mut text: Text<'_>) -> bool {
    let has = |byte: u8| starts[usize::from(byte / 8)] & 1 << (byte % 8) != 0;
    if escaped && text.peek() == Some(SPACE_MARK) {
        if has(b' ') {
            return true;
        }
        while text.peek() == Some(SPACE_MARK) {
            text = text.skip();
        }
    }
    text.rest.bytes().next().is_some_and(has)
}

/// What is left of `text` after the bytes from `at` to `end` of the file, where it starts with them.
async fn starts_with<'a, S: WeightSource>(
    reader: &mut SectorReader<'_, S>,
    mut text: Text<'a>,
    escaped: bool,
    mut at: u64,
    end: u64,
) -> Result<Option<Text<'a>>, Error<S::Error>> {
    while at < end {
        let c = if escaped { text.peek() } else { text.rest.chars().next() };
        let Some(c) = c else { return Ok(None) };
        let (mut wanted, mut found) = ([0; 4], [0; 4]);
        let wanted = c.encode_utf8(&mut wanted).as_bytes();
        if end - at < wanted.len() as u64 {
            return Ok(None);
        }
        let found = &mut found[..wanted.len()];
        reader.read(at, found).await.map_err(Error::Source)?;
        if found != wanted {
            return Ok(None);
        }
        at += wanted.len() as u64;
        text = text.skip();
    }
    Ok(Some(text))
}
