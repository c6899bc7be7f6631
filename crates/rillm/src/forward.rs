//! The transformer: one pass over the tape for a batch of tokens.
//!
//! This is the place to start reading. A pass takes `x`, the residual stream of the batch's tokens, through every
//! layer; each weight is used for all of them when it comes by.

use core::ops::Range;

use crate::attention::attention;
use crate::clock::Stopwatch;
use crate::fixed::{Positive, round_shift};
use crate::format::{AttentionExtras, FormatError, Header, TensorHeader, TensorKind};
use crate::kernels::Dot;
use crate::kv_cache::{KvCache, Part};
use crate::matmul::{matmul, output_exponent};
use crate::mlp::silu;
use crate::norm::{NormWeights, rms_norm, rms_norm_heads};
use crate::rope::Frequencies;
use crate::tape::Tape;
use crate::vector::{Narrow, Wide, fixed32};

/// The working memory of a pass.
pub(crate) struct Workspace<'a> {
    /// The residual stream, `[batch, hidden_size]`.
    pub x: Wide<'a>,
    /// What the next matrix multiplies.
    pub a: Narrow<'a>,
    /// What the last one gave.
    pub y: Wide<'a>,
    /// `[context]`.
    pub scores: &'a mut [i32],
    pub cache: KvCache<'a>,
}

/// A pass over the tape.
pub(crate) struct Pass<'p, 'r, 'b, 'a> {
    pub header: &'p Header,
    /// The head as the table of tensors has it.
    pub lm_head: &'p TensorHeader,
    pub epsilon: Positive,
    pub rope: Frequencies<'p>,
    pub tape: Tape<'r, 'b>,
    pub work: &'p mut Workspace<'a>,
    /// Position of the batch's first token.
    pub position: usize,
    /// Tokens in the batch, at least one. Their embeddings are in `work.x`.
    pub batch: usize,
    pub watch: &'p mut Stopwatch,
    pub dot: Dot,
}

impl Pass<'_, '_, '_, '_> {
    /// Runs the layers and stores the tokens' keys and values. With `head`, goes on to the logits of the batch's last
    /// token: `head(token, logit, exponent)` for every token of the vocabulary, ascending, the exponent always the same.
    pub async fn run(&mut self, head: Option<impl FnMut(u32, i32, i32)>) -> Result<(), FormatError> {
        let mut tokens = 0..self.batch;
        for layer in 0..self.header.n_layers {
            self.norm(TensorKind::AttentionNorm, layer, tokens.clone()).await?;
            self.project_kv(Part::Key, layer, tokens.clone()).await?;
            self.project_kv(Part::Value, layer, tokens.clone()).await?;
            if layer + 1 == self.header.n_layers {
                self.tape.end_prefix()?;
                // Nothing but keys and values of the earlier tokens is looked at again.
                if head.is_none() {
                    return Ok(());
                }
                tokens.start = tokens.end - 1;
            }
            self.attend(layer, tokens.clone()).await?;
            self.norm(TensorKind::MlpNorm, layer, tokens.clone()).await?;
            self.feed_forward(layer, tokens.clone()).await?;
        }
        match head {
            Some(head) => self.head(tokens, head).await,
            None => Ok(()),
        }
    }

    /// `a = rms_norm(x)`
    async fn norm(&mut self, kind: TensorKind, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        let tensor = self.tape.tensor(self.header, kind, layer).await?;
        let (mantissas, _) = self.tape.take(tensor.row_len()).await?.as_chunks();
        let start = self.watch.now();
        let weights = NormWeights { mantissas, exponent: tensor.exponent.into(), epsilon: self.epsilon };
        for token in tokens {
            let scratch = self.work.y.get_mut(token, mantissas.len());
            rms_norm(&self.work.x, weights, scratch, &mut self.work.a, token);
        }
        self.watch.ticks.norm += self.watch.since(start);
        Ok(())
    }

    /// `y = W a` for the tensor that comes next.
    async fn project(&mut self, kind: TensorKind, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        let tensor = self.tape.tensor(self.header, kind, layer).await?;
        let Workspace { a, y, .. } = &mut *self.work;
        for token in tokens.clone() {
            y.exponents[token] = output_exponent(a, token, &tensor);
        }
        let stride = y.stride;
        let emit = |token, row, value| y.mantissas[token * stride + row] = value;
        let spent = matmul(&mut self.tape, self.watch, self.dot, &tensor, a, tokens, emit).await?;
        self.watch.ticks.matmul += spent.multiply + spent.emit;
        Ok(())
    }

    /// `y += b` for the bias that comes next.
    async fn add_bias(&mut self, kind: TensorKind, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        let tensor = self.tape.tensor(self.header, kind, layer).await?;
        let (bias, _) = self.tape.take(tensor.row_len()).await?.as_chunks();
        let start = self.watch.now();
        for token in tokens {
            self.work.y.add(token, bias.iter().map(|&b| fixed32(b)), tensor.exponent.into());
        }
        self.watch.ticks.matmul += self.watch.since(start);
        Ok(())
    }

    /// `y = rms_norm(y)`, head by head, of the first `len` elements.
    async fn norm_heads(
        &mut self,
        kind: TensorKind,
        layer: u32,
        tokens: Range<usize>,
        len: u32,
    ) -> Result<(), FormatError> {
        let tensor = self.tape.tensor(self.header, kind, layer).await?;
        let (mantissas, _) = self.tape.take(tensor.row_len()).await?.as_chunks();
        let start = self.watch.now();
        let weights = NormWeights { mantissas, exponent: tensor.exponent.into(), epsilon: self.epsilon };
        for token in tokens {
            rms_norm_heads(&mut self.work.y, weights, token, len as usize);
        }
        self.watch.ticks.norm += self.watch.since(start);
        Ok(())
    }

    /// Keys, rotated, or values into the cache.
    async fn project_kv(&mut self, part: Part, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        let (proj, bias) = match part {
            Part::Key => (TensorKind::KProj, TensorKind::KBias),
            Part::Value => (TensorKind::VProj, TensorKind::VBias),
        };
        self.project(proj, layer, tokens.clone()).await?;
        let AttentionExtras { qkv_bias, qk_norm, .. } = self.header.attention;
        if qkv_bias {
            self.add_bias(bias, layer, tokens.clone()).await?;
        }
        if qk_norm && part == Part::Key {
            self.norm_heads(TensorKind::KNorm, layer, tokens.clone(), self.header.kv_dim()).await?;
        }
        let start = self.watch.now();
        let kv_dim = self.header.kv_dim() as usize;
        for token in tokens {
            let position = self.position + token;
            let exponent = self.work.y.exponents[token];
            let vector = self.work.y.get_mut(token, kv_dim);
            if part == Part::Key {
                self.rope.rotate(vector, position as u32);
            }
            self.work.cache.store(layer as usize, part, position, vector, exponent);
        }
        self.watch.ticks.attention += self.watch.since(start);
        Ok(())
    }

    /// `x += W_o attention(rope(W_q a))`
    async fn attend(&mut self, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        let AttentionExtras { qkv_bias, o_bias, qk_norm } = self.header.attention;
        self.project(TensorKind::QProj, layer, tokens.clone()).await?;
        if qkv_bias {
            self.add_bias(TensorKind::QBias, layer, tokens.clone()).await?;
        }
        if qk_norm {
            self.norm_heads(TensorKind::QNorm, layer, tokens.clone(), self.header.q_dim()).await?;
        }
        let start = self.watch.now();
        let q_dim = self.header.q_dim() as usize;
        for token in tokens.clone() {
            let position = self.position + token;
            let Workspace { a, y, scores, cache, .. } = &mut *self.work;
            let exponent = y.exponents[token];
            let heads = y.get_mut(token, q_dim);
            self.rope.rotate(heads, position as u32);
            let q = a.get_mut(token);
            let exponent = attention(cache, layer as usize, position, heads, exponent, q, scores);
            a.set(token, heads, exponent);
        }
        self.watch.ticks.attention += self.watch.since(start);
        self.project(TensorKind::OProj, layer, tokens.clone()).await?;
        if o_bias {
            self.add_bias(TensorKind::OBias, layer, tokens.clone()).await?;
        }
        self.add_residual(tokens);
        Ok(())
    }

    /// `x += W_down (silu(W_gate a) · W_up a)`
    async fn feed_forward(&mut self, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        self.project(TensorKind::GateProj, layer, tokens.clone()).await?;
        let start = self.watch.now();
        let len = self.header.intermediate_size as usize;
        for token in tokens.clone() {
            let y = &mut self.work.y;
            let exponent = y.exponents[token];
            y.get_mut(token, len).iter_mut().for_each(|gate| *gate = silu(*gate, exponent));
            y.normalise(token, len);
        }
        self.watch.ticks.mlp += self.watch.since(start);
        let tensor = self.tape.tensor(self.header, TensorKind::UpProj, layer).await?;
        let Workspace { a, y, .. } = &mut *self.work;
        let stride = y.stride;
        let emit = |token, row, up| {
            // Both factors lie within ±2^30.
            let gate: &mut i32 = &mut y.mantissas[token * stride + row];
            *gate = round_shift(i64::from(*gate) * i64::from(up), 30) as i32;
        };
        let spent = matmul(&mut self.tape, self.watch, self.dot, &tensor, a, tokens.clone(), emit).await?;
        self.watch.ticks.matmul += spent.multiply;
        self.watch.ticks.mlp += spent.emit;
        let start = self.watch.now();
        for token in tokens.clone() {
            let exponent = y.exponents[token] + output_exponent(a, token, &tensor) + 30;
            a.set(token, y.get(token, len).0, exponent);
        }
        self.watch.ticks.mlp += self.watch.since(start);
        self.project(TensorKind::DownProj, layer, tokens.clone()).await?;
        self.add_residual(tokens);
        Ok(())
    }

    /// `x += y`
    fn add_residual(&mut self, tokens: Range<usize>) {
        let start = self.watch.now();
        for token in tokens {
            let (y, exponent) = self.work.y.get(token, self.header.hidden_size as usize);
            self.work.x.add(token, y.iter().copied(), exponent);
        }
        self.watch.ticks.norm += self.watch.since(start);
    }

    /// The logits of the one token that is left.
    async fn head(&mut self, tokens: Range<usize>, mut head: impl FnMut(u32, i32, i32)) -> Result<(), FormatError> {
        self.norm(TensorKind::FinalNorm, 0, tokens.clone()).await?;
        let tensor = self.tape.tensor(self.header, TensorKind::Head, 0).await?;
        // Of any other tensor the one after it would be missed. This is the last one.
        if tensor != *self.lm_head {
            let found = tensor.row_len() as u64;
            return Err(FormatError::Tensor { expected: TensorKind::Head, layer: 0, field: "length of a row", found });
        }
        let a = &self.work.a;
        let exponent = output_exponent(a, tokens.start, &tensor);
        let emit = |_, row, logit| head(row as u32, logit, exponent);
        let spent = matmul(&mut self.tape, self.watch, self.dot, &tensor, a, tokens, emit).await?;
        self.watch.ticks.head += spent.multiply;
        self.watch.ticks.sampler += spent.emit;
        self.tape.end()
    }
}
