//! Reads embedding rows into the residual stream.

use super::Session;
use crate::error::Error;
use crate::format::{FormatError, TokenKind};
use crate::kernels::Rows;
use crate::source::{WeightSource, record};
use crate::stats::Stage;

impl<S: WeightSource> Session<'_, S> {
    /// Appends a token, for which the caller has made sure that there is room, and reads its embedding and text.
    pub(super) async fn append(&mut self, id: u32) -> Result<(TokenKind, &[u8]), Error<S::Error>> {
        let (kind, text_len) = self.embed(id, 0).await?;
        self.history[self.len] = id;
        self.len += 1;
        self.embedded = true;
        Ok((kind, &self.text[..text_len]))
    }

    /// Reads a token's record: the embedding goes to row `place` of the residual stream, the text to `self.text`.
    /// Returns the kind and length of the text.
    pub(super) async fn embed(&mut self, id: u32, place: usize) -> Result<(TokenKind, usize), Error<S::Error>> {
        let embedding = self.model.embedding();
        let (offset, record_len) = (self.model.record_offset(id), embedding.record_len as usize);
        let record = record(&mut self.source, offset, record_len, self.chunks).await.map_err(Error::Source)?;
        let _time = self.watch.time(Stage::Embedding);
        let (row, text) = record.split_at(embedding.tensor.row_len());
        let (quantisation, cols) = (embedding.tensor.quantisation, embedding.tensor.cols as usize);
        let row = Rows::new(row, quantisation, cols).ok_or(FormatError::Truncated)?;
        let x = &mut self.work.residual;
        // |q · scale| ≤ 127 · 255 < 2^15: exact, and below 2^29.
        for (x, product) in x.get_mut(place, cols).iter_mut().zip(row.products(0)) {
            *x = product << 14;
        }
        x.exponents[place] = row.exponent(0) - 14;

        let (len, kind) = (embedding.text_len(text[0])?, TokenKind::parse(text[1])?);
        self.text[..len].copy_from_slice(&text[2..2 + len]);
        Ok((kind, len))
    }
}
