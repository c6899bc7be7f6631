//! `tokenizer.bin` of llama2.c: the length of the longest piece, then for each piece its score, length and bytes.

use super::{PrefixSpace, Problem, SPACE_MARK, TokenKind, Vocabulary, byte_of};

/// The number of special tokens before the text pieces, known by their ids alone: `<unk>`, `<s>` and `</s>`.
const MARKS: usize = 3;

impl Vocabulary {
    /// Reads a `tokenizer.bin`. A text cannot contain its three special tokens, as in llama2.c.
    ///
    /// # Errors
    /// [`Problem::Malformed`], which names the piece at which the file ends.
    pub fn from_llama2c(bytes: &[u8], vocab_size: u32) -> Result<Self, Problem> {
        let (mut pieces, mut scores) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        take::<4>(&mut rest).ok_or_else(|| broken(0))?;
        while !rest.is_empty() {
            let (piece, score) = read_piece(&mut rest).ok_or_else(|| broken(pieces.len()))?;
            pieces.push(piece.replace(' ', &SPACE_MARK.to_string()));
            scores.push(score);
        }
        if pieces.len() < MARKS {
            return Err(broken(pieces.len()));
        }
        let marks = ["<unk>", "<s>", "</s>"].map(String::from);
        pieces.splice(..MARKS, marks);
        let mut vocabulary = Self::of_pieces(pieces, vocab_size)?;
        let texts: Vec<bool> =
            vocabulary.pieces.iter().enumerate().map(|(id, piece)| id >= MARKS && byte_of(piece).is_none()).collect();
        vocabulary.merge_by_score(&scores, |id| texts[id])?;
        let kinds = [TokenKind::Unknown, TokenKind::Control, TokenKind::Control];
        for (token, kind) in vocabulary.tokens.iter_mut().zip(kinds) {
            token.kind = kind;
        }
        vocabulary.prefix = PrefixSpace::Prepend;
        vocabulary.add_bos = true;
        (vocabulary.unk, vocabulary.bos) = (Some(0), Some(1));
        Ok(vocabulary)
    }
}

fn read_piece(rest: &mut &[u8]) -> Option<(String, f32)> {
    let score = f32::from_le_bytes(take(rest)?);
    let len = usize::try_from(i32::from_le_bytes(take(rest)?)).ok()?;
    let (piece, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some((String::from_utf8(piece.to_vec()).ok()?, score))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn broken(piece: usize) -> Problem {
    Problem::Malformed(format!("piece {piece} is not whole UTF-8 text with a score"))
}
