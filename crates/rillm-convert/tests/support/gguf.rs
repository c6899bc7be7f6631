//! Writing small GGUF files, and a random model as one.

use half::{bf16, f16};
use rillm::format::{AttentionExtras, TensorKind};
use rillm_convert::random;
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::random::SplitMix64;

/// A key's value.
#[derive(Clone)]
pub enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
    /// A type, and what follows it.
    Raw(u32, Vec<u8>),
}

/// A tensor: name, dimensions with the columns first, ggml's number of its type, bytes.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub dimensions: Vec<u64>,
    pub kind: u32,
    pub bytes: Vec<u8>,
}

/// A file to be written.
pub struct Gguf {
    pub version: u32,
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
}

impl Gguf {
    /// Replaces a key's value, or adds the key.
    pub fn set(&mut self, key: &str, value: Value) {
        self.remove(key);
        self.keys.push((key.to_owned(), value));
    }

    pub fn remove(&mut self, key: &str) {
        self.keys.retain(|(known, _)| known != key);
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor")
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let alignment = self.keys.iter().find_map(|(key, value)| match value {
            Value::U32(alignment) if key == "general.alignment" => Some(*alignment as usize),
            _ => None,
        });
        // What is no alignment is there to be refused.
        let alignment = alignment.filter(|&alignment| alignment > 0).unwrap_or(32);
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            out.extend(text(key));
            out.extend(value.to_bytes());
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            out.extend(text(&tensor.name));
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            out.extend(tensor.dimensions.iter().flat_map(|len| len.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(alignment), 0);
        }
        out.resize(out.len().next_multiple_of(alignment), 0);
        out.extend(data);
        out
    }
}

impl Value {
    fn to_bytes(&self) -> Vec<u8> {
        let list = |kind: u32, len: usize| {
            [9u32.to_le_bytes(), kind.to_le_bytes()].concat().into_iter().chain((len as u64).to_le_bytes())
        };
        match self {
            Self::U32(value) => [4u32.to_le_bytes(), value.to_le_bytes()].concat(),
            Self::F32(value) => [6u32.to_le_bytes(), value.to_le_bytes()].concat(),
            Self::Bool(value) => [&7u32.to_le_bytes()[..], &[u8::from(*value)]].concat(),
            Self::Text(value) => 8u32.to_le_bytes().into_iter().chain(text(value)).collect(),
            Self::Texts(values) => list(8, values.len()).chain(values.iter().flat_map(|value| text(value))).collect(),
            Self::F32s(values) => {
                list(6, values.len()).chain(values.iter().flat_map(|value| value.to_le_bytes())).collect()
            }
            Self::I32s(values) => {
                list(5, values.len()).chain(values.iter().flat_map(|value| value.to_le_bytes())).collect()
            }
            Self::Raw(kind, bytes) => [&kind.to_le_bytes()[..], bytes].concat(),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A random model as a GGUF file with tensors of type F32, F16, BF16, Q8_0 and Q4_1, one after the other, and the same
/// numbers in the order of a Hugging Face checkpoint. Without a tokenizer. Columns are multiples of 32.
pub fn random(config: &LlamaConfig, seed: u64) -> (Gguf, Vec<(TensorKind, u32, Vec<f32>)>) {
    let mut file = Gguf { version: 3, keys: Vec::new(), tensors: Vec::new() };
    let architecture = match config.attention {
        AttentionExtras { qk_norm: true, .. } => "qwen3",
        AttentionExtras { qkv_bias: true, o_bias: false, .. } => "qwen2",
        _ => "llama",
    };
    file.set("general.architecture", Value::Text(architecture.to_owned()));
    for (key, value) in [
        ("block_count", config.n_layers),
        ("context_length", config.context_length),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.n_heads),
        ("attention.head_count_kv", config.n_kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
        ("vocab_size", config.vocab_size),
    ] {
        file.set(&format!("{architecture}.{key}"), Value::U32(value));
    }
    file.set(&format!("{architecture}.rope.freq_base"), Value::F32(config.rope.theta));
    file.set(&format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::F32(config.norm_eps));

    let kinds = config.tensors().filter(|&(kind, _)| !(kind == TensorKind::Head && config.tied_embeddings));
    let mut numbers = Vec::new();
    let mut random = SplitMix64(seed);
    for (index, (kind, layer)) in kinds.enumerate() {
        let (rows, cols) = config.shape(kind);
        let values = random::tensor(config, seed, kind, layer);
        // Vectors are float32 in every GGUF file.
        let (ggml, stored): (u32, Vec<Row>) = match if kind.is_vector() { 0 } else { index % 5 } {
            0 => (0, rows_of(&values, cols, |v| (v.to_le_bytes().to_vec(), v))),
            1 => (1, rows_of(&values, cols, |v| (f16::from_f32(v).to_le_bytes().to_vec(), f16::from_f32(v).to_f32()))),
            2 => {
                (30, rows_of(&values, cols, |v| (bf16::from_f32(v).to_le_bytes().to_vec(), bf16::from_f32(v).to_f32())))
            }
            3 => (8, (0..rows).map(|_| q8_0_row(&mut random, cols)).collect()),
            _ => (3, (0..rows).map(|_| q4_1_row(&mut random, cols)).collect()),
        };
        let stored_outputs = |outputs| match architecture {
            "llama" => interleaved(outputs, config.head_dim as usize),
            _ => (0..outputs).collect(),
        };
        let order: Vec<usize> = match kind {
            TensorKind::QProj | TensorKind::KProj => stored_outputs(rows),
            _ => (0..rows).collect(),
        };
        let mut bytes: Vec<u8> = order.iter().flat_map(|&row| stored[row].0.clone()).collect();
        if matches!(kind, TensorKind::QBias | TensorKind::KBias) {
            bytes = stored_outputs(cols).into_iter().flat_map(|output| bytes[4 * output..][..4].to_vec()).collect();
        }
        file.tensors.push(Tensor {
            name: name(kind, layer),
            dimensions: if kind.is_vector() { vec![cols as u64] } else { vec![cols as u64, rows as u64] },
            kind: ggml,
            bytes,
        });
        numbers.push((kind, layer, stored.into_iter().flat_map(|(_, values)| values).collect()));
    }
    (file, numbers)
}

/// A row's bytes and the numbers that they stand for.
type Row = (Vec<u8>, Vec<f32>);

fn rows_of(values: &[f32], cols: usize, encode: impl Fn(f32) -> (Vec<u8>, f32)) -> Vec<Row> {
    let row = |row: &[f32]| {
        let (bytes, values): (Vec<_>, Vec<_>) = row.iter().map(|&value| encode(value)).unzip();
        (bytes.concat(), values)
    };
    values.chunks(cols).map(row).collect()
}

/// A scale and signed bytes.
fn q8_0_row(random: &mut SplitMix64, cols: usize) -> Row {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..cols / 32 {
        let scale = f16::from_f32(0.001 + 0.002 * random.uniform());
        let q: [i8; 32] = std::array::from_fn(|_| random.next_u64() as i8);
        bytes.extend(scale.to_le_bytes());
        bytes.extend(q.map(|q| q as u8));
        values.extend(q.map(|q| scale.to_f32() * f32::from(q)));
    }
    (bytes, values)
}

/// A scale, a least value, and 4 bits a number: number *i* shares a byte with number *i* + 16.
fn q4_1_row(random: &mut SplitMix64, cols: usize) -> Row {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..cols / 32 {
        let (scale, least) = (f16::from_f32(0.01 + 0.02 * random.uniform()), f16::from_f32(-0.3 * random.uniform()));
        let q: [u8; 32] = std::array::from_fn(|_| random.next_u64() as u8 & 15);
        bytes.extend(scale.to_le_bytes());
        bytes.extend(least.to_le_bytes());
        bytes.extend((0..16).map(|i| q[i] | q[i + 16] << 4));
        values.extend(q.map(|q| scale.to_f32() * f32::from(q) + least.to_f32()));
    }
    (bytes, values)
}

/// The rows as llama.cpp's converter orders them: of each head the first of the first half, the first of the second, the
/// second of the first half, and so on.
fn interleaved(rows: usize, head_dim: usize) -> Vec<usize> {
    let head = |start: usize| (0..head_dim / 2).flat_map(move |pair| [start + pair, start + head_dim / 2 + pair]);
    (0..rows).step_by(head_dim).flat_map(head).collect()
}

fn name(kind: TensorKind, layer: u32) -> String {
    let name = match kind {
        TensorKind::Embedding => "token_embd",
        TensorKind::AttentionNorm => "attn_norm",
        TensorKind::KProj => "attn_k",
        TensorKind::VProj => "attn_v",
        TensorKind::QProj => "attn_q",
        TensorKind::OProj => "attn_output",
        TensorKind::MlpNorm => "ffn_norm",
        TensorKind::GateProj => "ffn_gate",
        TensorKind::UpProj => "ffn_up",
        TensorKind::DownProj => "ffn_down",
        TensorKind::FinalNorm => "output_norm",
        TensorKind::Head => "output",
        TensorKind::QNorm => "attn_q_norm",
        TensorKind::KNorm => "attn_k_norm",
        TensorKind::QBias => "attn_q",
        TensorKind::KBias => "attn_k",
        TensorKind::VBias => "attn_v",
        TensorKind::OBias => "attn_output",
    };
    let end = if kind.is_bias() { "bias" } else { "weight" };
    match kind {
        TensorKind::Embedding | TensorKind::FinalNorm | TensorKind::Head => format!("{name}.weight"),
        _ => format!("blk.{layer}.{name}.{end}"),
    }
}
