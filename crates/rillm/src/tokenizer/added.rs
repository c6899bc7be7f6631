//! The search for added tokens, such as `<s>`, in a text.

use core::ops::Range;

use super::Tokenizer;
use super::layout::{ADDED_HEAD_LEN, AddedHead, AddedPass, SPACE_MARK};
use super::text::Text;
use crate::error::Error;
use crate::format::in_range;
use crate::source::SectorReader;
use crate::source::WeightSource;

/// An added token found in a text.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub id: u32,
    /// The text from the start of the token on.
    pub start: Text<'a>,
    /// The text after the token.
    pub end: Text<'a>,
}

impl Tokenizer {
    /// The first added token of a pass in `text`, the longest of those that start at the same place. If marks are
    /// `plain` text, a mark is skipped as a whole.
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

    /// The longest added token of a pass at the start of `text`, and the text after it.
    async fn added_at<'a, S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        pass: AddedPass,
        text: Text<'a>,
    ) -> Result<Option<(AddedHead, Text<'a>)>, Error<S::Error>> {
        let escaped = pass == AddedPass::Normalized && self.header.escaped_marks();
        let mut tokens = AddedTokens::new(self, pass);
        while let Some((head, pattern)) = tokens.next(reader).await? {
            if let Some(rest) = starts_with(reader, text, escaped, pattern).await? {
                return Ok(Some((head, rest)));
            }
        }
        Ok(None)
    }
}

/// The added tokens of a pass, longest first.
pub(super) struct AddedTokens<'a> {
    tokenizer: &'a Tokenizer,
    pass: AddedPass,
    /// Number of remaining tokens of both passes, and the offset of the next one in the file.
    left: u32,
    at: u64,
}

impl<'a> AddedTokens<'a> {
    pub fn new(tokenizer: &'a Tokenizer, pass: AddedPass) -> Self {
        let header = &tokenizer.header;
        Self { tokenizer, pass, left: header.added_count, at: tokenizer.offset + header.added_at() }
    }

    /// The next token of the pass, and the range of its text in the file.
    pub async fn next<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
    ) -> Result<Option<(AddedHead, Range<u64>)>, Error<S::Error>> {
        let Tokenizer { header, offset } = self.tokenizer;
        while self.left > 0 {
            let mut head = [0; ADDED_HEAD_LEN];
            reader.read(self.at, &mut head).await.map_err(Error::Source)?;
            let head = AddedHead::parse(&head, header.vocab_size)?;
            let start = self.at + ADDED_HEAD_LEN as u64;
            let end = start + u64::from(head.len);
            in_range("end of an added token", end - offset, 0, header.byte_len())?;
            self.left -= 1;
            self.at = end;
            if head.pass == self.pass {
                return Ok(Some((head, start..end)));
            }
        }
        Ok(None)
    }
}

/// Whether an added token may start here, judging by its first byte.
fn may_start(starts: &[u8; 32], escaped: bool, mut text: Text<'_>) -> bool {
    if escaped && text.peek() == Some(SPACE_MARK) {
        if has_start(starts, b' ') {
            return true;
        }
        // No token's text has more of them, even if there are more here.
        for _ in 0..usize::from(u8::MAX) / SPACE_MARK.len_utf8() {
            if text.peek() == Some(SPACE_MARK) {
                text = text.skip();
            }
        }
    }
    text.first().is_some_and(|c| has_start(starts, c.encode_utf8(&mut [0; 4]).as_bytes()[0]))
}

/// Whether the text of an added token starts with `byte`.
pub(super) fn has_start(starts: &[u8; 32], byte: u8) -> bool {
    starts[usize::from(byte / 8)] & 1 << (byte % 8) != 0
}

/// The rest of `text` after `pattern`, a range of the file, if `text` starts with it.
async fn starts_with<'a, S: WeightSource>(
    reader: &mut SectorReader<'_, S>,
    mut text: Text<'a>,
    escaped: bool,
    mut pattern: Range<u64>,
) -> Result<Option<Text<'a>>, Error<S::Error>> {
    while !pattern.is_empty() {
        let c = if escaped { text.peek() } else { text.first() };
        match c {
            Some(c) if is_next(reader, &mut pattern, c).await? => text = text.skip(),
            _ => return Ok(None),
        }
    }
    Ok(Some(text))
}

/// Consumes `c` from the bytes of the file if they start with it.
pub(super) async fn is_next<S: WeightSource>(
    reader: &mut SectorReader<'_, S>,
    pattern: &mut Range<u64>,
    c: char,
) -> Result<bool, Error<S::Error>> {
    let (mut wanted, mut found) = ([0; 4], [0; 4]);
    let wanted = c.encode_utf8(&mut wanted).as_bytes();
    let found = &mut found[..wanted.len()];
    if pattern.end - pattern.start < wanted.len() as u64 {
        return Ok(false);
    }
    reader.read(pattern.start, found).await.map_err(Error::Source)?;
    if found != wanted {
        return Ok(false);
    }
    pattern.start += wanted.len() as u64;
    Ok(true)
}
