//! The dimensions of a Llama model, independent of the checkpoint's file format.

use rillm::format::{AttentionExtras, Header, MAX_EOS, Rope, RopeScaling, TensorKind};

/// A Llama model's dimensions and constants. Every field has the range that [the file format] gives.
///
/// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Width of the residual stream: 1 to 2^16.
    pub hidden_size: u32,
    /// Width of the feed-forward network: 1 to 2^17.
    pub intermediate_size: u32,
    /// Layers: 1 to 2^10.
    pub n_layers: u32,
    /// Query heads: 1 to 2^10.
    pub n_heads: u32,
    /// Key and value heads, a divisor of `n_heads`.
    pub n_kv_heads: u32,
    /// Width of a head: even, 2 to 512; not necessarily `hidden_size / n_heads`.
    pub head_dim: u32,
    /// Tokens in the vocabulary: 1 to 2^20.
    pub vocab_size: u32,
    /// The context length that the model was trained for: 1 to 2^20.
    pub context_length: u32,
    /// The biases and norms that attention has in addition to Llama's projections.
    pub attention: AttentionExtras,
    /// The rotary embedding's base and scaling.
    pub rope: Rope,
    /// The divisor of each pair's frequency for [`RopeScaling::Divisors`], 0.5 or more; otherwise empty.
    pub rope_divisors: Vec<f32>,
    /// The epsilon of RMSNorm, added to the mean square under the root: finite, not negative.
    pub norm_eps: f32,
    /// Whether the head shares the embedding table.
    pub tied_embeddings: bool,
    /// The BOS token, which starts a text.
    pub bos: Option<u32>,
    /// The EOS tokens, which end a text, at most [`MAX_EOS`].
    pub eos: Vec<u32>,
}

/// A field is outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; expected {expected}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field's name in `config.json`, or what its files call it.
    pub field: String,
    /// Its value.
    pub found: String,
    /// The allowed values.
    pub expected: String,
}

impl LlamaConfig {
    /// A file header with these dimensions, without sections, name, hash and unknown token.
    pub fn header(&self) -> Header {
        let mut header = Header::new();
        header.tied_embeddings = self.tied_embeddings;
        header.hidden_size = self.hidden_size;
        header.intermediate_size = self.intermediate_size;
        header.n_layers = self.n_layers;
        header.n_heads = self.n_heads;
        header.n_kv_heads = self.n_kv_heads;
        header.head_dim = self.head_dim;
        header.vocab_size = self.vocab_size;
        header.context_length = self.context_length;
        header.attention = self.attention;
        header.rope = self.rope;
        header.norm_eps = self.norm_eps;
        header.bos = self.bos;
        for (slot, &eos) in header.eos.iter_mut().zip(&self.eos) {
            *slot = Some(eos);
        }
        header
    }

    /// Every tensor of the model with its layer: the embedding table, then the tensors of the tape in their order.
    pub fn tensors(&self) -> impl Iterator<Item = (TensorKind, u32)> {
        [(TensorKind::Embedding, 0)].into_iter().chain(TensorKind::tape(&self.header()))
    }

    /// `(rows, columns)` of a tensor.
    pub fn shape(&self, kind: TensorKind) -> (usize, usize) {
        let (rows, cols) = kind.shape(&self.header());
        (rows as usize, cols as usize)
    }

    /// Checks that every field is in the range that [the file format] has.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is not, as `config.json` does.
    ///
    /// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
    pub fn check(&self) -> Result<(), ConfigError> {
        let field =
            |field: &str, found: String, expected: String| ConfigError { field: field.to_owned(), found, expected };
        let dimensions = [
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 17),
            ("num_hidden_layers", self.n_layers, 1 << 10),
            ("num_attention_heads", self.n_heads, 1 << 10),
            ("num_key_value_heads", self.n_kv_heads, self.n_heads),
            ("head_dim", self.head_dim, 1 << 9),
            ("vocab_size", self.vocab_size, 1 << 20),
            ("max_position_embeddings", self.context_length, 1 << 20),
        ];
        for (name, value, max) in dimensions {
            if !(1..=max).contains(&value) {
                return Err(field(name, value.to_string(), format!("1 to {max}")));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(field(
                "num_key_value_heads",
                self.n_kv_heads.to_string(),
                format!("a divisor of num_attention_heads, {}", self.n_heads),
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(field("head_dim", self.head_dim.to_string(), "an even number".to_owned()));
        }
        if self.n_heads * self.head_dim > 1 << 17 {
            return Err(field(
                "num_attention_heads times head_dim",
                (self.n_heads * self.head_dim).to_string(),
                format!("at most {}", 1 << 17),
            ));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(field("rms_norm_eps", self.norm_eps.to_string(), "a finite number, not negative".to_owned()));
        }
        for (name, value, min) in self.rope_parameters() {
            if !(value.is_finite() && value >= min) {
                return Err(field(name, value.to_string(), format!("a finite number, at least {min}")));
            }
        }
        for (pair, &divisor) in self.rope_divisors.iter().enumerate() {
            // A smaller number would be a frequency rather than its divisor.
            if !(divisor.is_finite() && divisor >= 0.5) {
                let name = format!("divisor {pair} of the rotary embedding");
                return Err(field(&name, divisor.to_string(), "a finite number, at least 0.5".to_owned()));
            }
        }
        if let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. } = self.rope.scaling
            && high_freq_factor <= low_freq_factor
        {
            return Err(field(
                "high_freq_factor",
                high_freq_factor.to_string(),
                format!("more than low_freq_factor, {low_freq_factor}"),
            ));
        }
        if self.eos.len() > MAX_EOS {
            return Err(field("eos_token_id", format!("{:?}", self.eos), format!("at most {MAX_EOS} tokens")));
        }
        let specials = self.bos.map(|bos| ("bos_token_id", bos));
        let specials = specials.into_iter().chain(self.eos.iter().map(|&eos| ("eos_token_id", eos)));
        for (name, token) in specials {
            if token >= self.vocab_size {
                return Err(field(name, token.to_string(), format!("a token below vocab_size, {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// The parameters of the rotary embedding: name, value, smallest allowed value.
    fn rope_parameters(&self) -> Vec<(&'static str, f32, f32)> {
        let mut parameters = vec![("rope_theta", self.rope.theta, 1.0)];
        match self.rope.scaling {
            RopeScaling::None | RopeScaling::Divisors => {}
            RopeScaling::Linear { factor } => parameters.push(("factor", factor, 1.0)),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => parameters.extend([
                ("factor", factor, 1.0),
                ("low_freq_factor", low_freq_factor, f32::MIN_POSITIVE),
                ("high_freq_factor", high_freq_factor, f32::MIN_POSITIVE),
                ("original_max_position_embeddings", original_context as f32, 1.0),
            ]),
        }
        parameters
    }
}
