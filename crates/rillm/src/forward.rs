//! The transformer: one pass over the tape for a batch of tokens.
//!
//! Start reading here. A pass takes `x`, the residual stream of the batch's tokens, through every layer. Each weight is
//! used for all tokens of the batch when it is read.

use core::ops::Range;

use crate::attention::{Scratch, attention};
use crate::fixed::Positive;
use crate::format::{AttentionExtras, FormatError, Header, TensorHeader, TensorKind};
use crate::kernels::Multiply;
use crate::kv_cache::{KvCache, KvKind};
use crate::logits::Logits;
use crate::matmul::{MatmulWatch, matmul, output_exponent};
use crate::mlp;
use crate::norm::{NormWeights, rms_norm, rms_norm_heads};
use crate::rope::Rotation;
use crate::stats::{Stage, Stopwatch};
use crate::tape::Tape;
use crate::vector::{BlockFloat16, BlockFloat32, fixed32};

/// The working memory of a pass.
pub(crate) struct Workspace<'a> {
    /// `x`, the residual stream, `[batch, hidden_size]`.
    pub residual: BlockFloat32<'a>,
    /// `a`, the input of the next matrix.
    pub input: BlockFloat16<'a>,
    /// `y`, the output of the last matrix.
    pub output: BlockFloat32<'a>,
    /// Attention scores, `[context]`.
    pub scores: &'a mut [i32],
    pub cache: KvCache<'a>,
}

/// A pass over the tape.
pub(crate) struct Pass<'p, 'a> {
    pub header: &'p Header,
    /// The header of the head, from the tensor table.
    pub lm_head: &'p TensorHeader,
    pub epsilon: Positive,
    pub rotation: Rotation<'p>,
    pub work: &'p mut Workspace<'a>,
    /// Position of the batch's first token.
    pub position: usize,
    /// Number of tokens in the batch, at least one. Their embeddings are in `work.residual`.
    pub batch: usize,
    pub watch: &'p Stopwatch,
    pub multiplier: &'p dyn Multiply,
}

impl Pass<'_, '_> {
    /// Runs the layers and stores the tokens' keys and values. With `head`, also computes the logits of the batch's
    /// last token, which `head` gets in ascending order of tokens, all with the same exponent.
    pub async fn run(
        &mut self,
        tape: &mut Tape<'_, '_>,
        head: Option<&mut dyn FnMut(Logits<'_>)>,
    ) -> Result<(), FormatError> {
        let mut tokens = 0..self.batch;
        if self.batch == 1 {
            // The rotation of a single token is the same in all layers.
            let _time = self.watch.time(Stage::Attention);
            self.rotation.set(self.position);
        }
        for layer in 0..self.header.n_layers {
            self.norm(tape, TensorKind::AttentionNorm, layer, tokens.clone()).await?;
            self.project_kv(tape, KvKind::Key, layer, tokens.clone()).await?;
            self.project_kv(tape, KvKind::Value, layer, tokens.clone()).await?;
            if layer + 1 == self.header.n_layers {
                tape.end_prefix()?;
                // Of the earlier tokens, only the keys and values are used later.
                if head.is_none() {
                    return Ok(());
                }
                tokens.start = tokens.end - 1;
            }
            self.attend(tape, layer, tokens.clone()).await?;
            self.norm(tape, TensorKind::MlpNorm, layer, tokens.clone()).await?;
            self.feed_forward(tape, layer, tokens.clone()).await?;
        }
        match head {
            Some(head) => self.head(tape, tokens, head).await,
            None => Ok(()),
        }
    }

    /// `a = rms_norm(x)`
    async fn norm(
        &mut self,
        tape: &mut Tape<'_, '_>,
        kind: TensorKind,
        layer: u32,
        tokens: Range<usize>,
    ) -> Result<(), FormatError> {
        let (mantissas, exponent) = tape.vector(self.header, kind, layer).await?;
        let _time = self.watch.time(Stage::Norm);
        let weights = NormWeights { mantissas, exponent, epsilon: self.epsilon };
        for token in tokens {
            let scratch = self.work.output.get_mut(token, mantissas.len());
            rms_norm(&self.work.residual, weights, scratch, &mut self.work.input, token);
        }
        Ok(())
    }

    /// `y = W a` for the next tensor.
    async fn project(
        &mut self,
        tape: &mut Tape<'_, '_>,
        kind: TensorKind,
        layer: u32,
        tokens: Range<usize>,
    ) -> Result<(), FormatError> {
        let tensor = tape.tensor(self.header, kind, layer).await?;
        let Workspace { input: a, output: y, .. } = &mut *self.work;
        for token in tokens.clone() {
            y.exponents[token] = output_exponent(a, token, &tensor);
        }
        let stride = y.stride;
        let emit = |token, first, values: &[i32]| {
            y.mantissas[token * stride + first..][..values.len()].copy_from_slice(values);
        };
        let watch = MatmulWatch { watch: self.watch, multiply: Stage::Matmul, emit: Stage::Matmul };
        matmul(tape, watch, self.multiplier, &tensor, a, tokens, emit).await
    }

    /// `y += b` for the next bias.
    async fn add_bias(
        &mut self,
        tape: &mut Tape<'_, '_>,
        kind: TensorKind,
        layer: u32,
        tokens: Range<usize>,
    ) -> Result<(), FormatError> {
        let (bias, exponent) = tape.vector(self.header, kind, layer).await?;
        let _time = self.watch.time(Stage::Matmul);
        for token in tokens {
            self.work.output.add(token, bias, fixed32, exponent);
        }
        Ok(())
    }

    /// `y = rms_norm(y)`, head by head, of the first `len` elements.
    async fn norm_heads(
        &mut self,
        tape: &mut Tape<'_, '_>,
        kind: TensorKind,
        layer: u32,
        tokens: Range<usize>,
        len: u32,
    ) -> Result<(), FormatError> {
        let (mantissas, exponent) = tape.vector(self.header, kind, layer).await?;
        let _time = self.watch.time(Stage::Norm);
        let weights = NormWeights { mantissas, exponent, epsilon: self.epsilon };
        for token in tokens {
            rms_norm_heads(&mut self.work.output, weights, token, len as usize);
        }
        Ok(())
    }

    /// Projects keys, with rotation, or values, and stores them in the cache.
    async fn project_kv(
        &mut self,
        tape: &mut Tape<'_, '_>,
        kind: KvKind,
        layer: u32,
        tokens: Range<usize>,
    ) -> Result<(), FormatError> {
        let (projection, bias) = match kind {
            KvKind::Key => (TensorKind::KProj, TensorKind::KBias),
            KvKind::Value => (TensorKind::VProj, TensorKind::VBias),
        };
        self.project(tape, projection, layer, tokens.clone()).await?;
        let AttentionExtras { qkv_bias, qk_norm, .. } = self.header.attention;
        if qkv_bias {
            self.add_bias(tape, bias, layer, tokens.clone()).await?;
        }
        if qk_norm && kind == KvKind::Key {
            self.norm_heads(tape, TensorKind::KNorm, layer, tokens.clone(), self.header.kv_dim()).await?;
        }
        let _time = self.watch.time(Stage::Attention);
        let kv_dim = self.header.kv_dim() as usize;
        for token in tokens {
            let position = self.position + token;
            let exponent = self.work.output.exponents[token];
            let vector = self.work.output.get_mut(token, kv_dim);
            if kind == KvKind::Key {
                if self.batch > 1 {
                    self.rotation.set(position);
                }
                self.rotation.rotate(vector);
            }
            self.work.cache.store(layer as usize, kind, position, vector, exponent);
        }
        Ok(())
    }

    /// `x += W_o attention(rope(W_q a))`
    async fn attend(&mut self, tape: &mut Tape<'_, '_>, layer: u32, tokens: Range<usize>) -> Result<(), FormatError> {
        let AttentionExtras { qkv_bias, o_bias, qk_norm } = self.header.attention;
        self.project(tape, TensorKind::QProj, layer, tokens.clone()).await?;
        if qkv_bias {
            self.add_bias(tape, TensorKind::QBias, layer, tokens.clone()).await?;
        }
        if qk_norm {
            self.norm_heads(tape, TensorKind::QNorm, layer, tokens.clone(), self.header.q_dim()).await?;
        }
        self.attend_to_cache(layer, tokens.clone());
        self.project(tape, TensorKind::OProj, layer, tokens.clone()).await?;
        if o_bias {
            self.add_bias(tape, TensorKind::OBias, layer, tokens.clone()).await?;
        }
        self.add_residual(tokens);
        Ok(())
    }

    /// `a = attention(rope(y))`
    fn attend_to_cache(&mut self, layer: u32, tokens: Range<usize>) {
        let _time = self.watch.time(Stage::Attention);
        let q_dim = self.header.q_dim() as usize;
        for token in tokens {
            let position = self.position + token;
            let Workspace { input: a, output: y, scores, cache, .. } = &mut *self.work;
            let exponent = y.exponents[token];
            let heads = y.get_mut(token, q_dim);
            if self.batch > 1 {
                self.rotation.set(position);
            }
            self.rotation.rotate(heads);
            let scratch = Scratch { q: a.get_mut(token), scores };
            let exponent = attention(cache, layer as usize, position, heads, exponent, scratch, self.multiplier);
            a.set(token, heads, exponent);
        }
    }

    /// `x += W_down (silu(W_gate a) · W_up a)`
    async fn feed_forward(
        &mut self,
        tape: &mut Tape<'_, '_>,
        layer: u32,
        tokens: Range<usize>,
    ) -> Result<(), FormatError> {
        self.project(tape, TensorKind::GateProj, layer, tokens.clone()).await?;
        self.silu(tokens.clone());
        self.multiply_by_up(tape, layer, tokens.clone()).await?;
        self.project(tape, TensorKind::DownProj, layer, tokens.clone()).await?;
        self.add_residual(tokens);
        Ok(())
    }

    /// `y = silu(y)`
    fn silu(&mut self, tokens: Range<usize>) {
        let _time = self.watch.time(Stage::Mlp);
        let (y, len) = (&mut self.work.output, self.header.intermediate_size as usize);
        for token in tokens {
            let exponent = y.exponents[token];
            y.exponents[token] = mlp::silu(y.get_mut(token, len), exponent);
        }
    }

    /// `a = y · W_up a`
    async fn multiply_by_up(
        &mut self,
        tape: &mut Tape<'_, '_>,
        layer: u32,
        tokens: Range<usize>,
    ) -> Result<(), FormatError> {
        let tensor = tape.tensor(self.header, TensorKind::UpProj, layer).await?;
        let Workspace { input: a, output: y, .. } = &mut *self.work;
        let stride = y.stride;
        let emit = |token, first, ups: &[i32]| {
            mlp::multiply(&mut y.mantissas[token * stride + first..][..ups.len()], ups);
        };
        let watch = MatmulWatch { watch: self.watch, multiply: Stage::Matmul, emit: Stage::Mlp };
        matmul(tape, watch, self.multiplier, &tensor, a, tokens.clone(), emit).await?;
        let _time = self.watch.time(Stage::Mlp);
        for token in tokens {
            let exponent = y.exponents[token] + output_exponent(a, token, &tensor) + 30;
            a.set(token, y.get(token, self.header.intermediate_size as usize).0, exponent);
        }
        Ok(())
    }

    /// `x += y`
    fn add_residual(&mut self, tokens: Range<usize>) {
        let _time = self.watch.time(Stage::Norm);
        for token in tokens {
            let (y, exponent) = self.work.output.get(token, self.header.hidden_size as usize);
            self.work.residual.add(token, y, |y| y, exponent);
        }
    }

    /// The logits of the one remaining token.
    async fn head(
        &mut self,
        tape: &mut Tape<'_, '_>,
        tokens: Range<usize>,
        head: &mut dyn FnMut(Logits<'_>),
    ) -> Result<(), FormatError> {
        self.norm(tape, TensorKind::FinalNorm, 0, tokens.clone()).await?;
        let tensor = tape.tensor(self.header, TensorKind::Head, 0).await?;
        // For any other tensor, a wrong header is detected at the next one. This is the last tensor.
        if tensor != *self.lm_head {
            // Shape and kind are those of the model.
            let (field, found) = if tensor.quantisation != self.lm_head.quantisation {
                ("quantisation and group", u16::from_le_bytes(tensor.quantisation.emit()))
            } else {
                ("exponent", u16::from(tensor.exponent as u8))
            };
            return Err(FormatError::Tensor { expected: TensorKind::Head, layer: 0, field, found: found.into() });
        }
        let a = &self.work.input;
        let exponent = output_exponent(a, tokens.start, &tensor);
        let emit = |_, first, mantissas: &[i32]| head(Logits { first: first as u32, mantissas, exponent });
        let watch = MatmulWatch { watch: self.watch, multiply: Stage::Head, emit: Stage::Sampler };
        matmul(tape, watch, self.multiplier, &tensor, a, tokens, emit).await?;
        tape.end()
    }
}
