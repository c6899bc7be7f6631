//! llama2.c's checkpoints of version 0: seven 32-bit integers, then float32 tensors in a fixed order.
//!
//! The order is that of `legacy_export` in llama2.c's `export.py`. Rotary pairs are neighbours there.

use std::collections::HashMap;
use std::path::Path;

use rillm::format::{AttentionExtras, Rope, RopeScaling, TensorKind};
use rillm_quantise::config::LlamaConfig;

use super::tensor::{Dtype, LocatedTensor};
use super::{Checkpoint, CheckpointError, check, io_error, open_file};

const HEADER_LEN: usize = 7 * 4;
/// The magic number of later versions, read as the first integer.
const VERSIONED_MAGIC: i32 = 0x616b_3432;

// Constants of llama2.c: `run.c` has the epsilon, the base and the special tokens.
const NORM_EPS: f32 = 1e-5;
const ROPE_THETA: f32 = 10_000.0;
const BOS: u32 = 1;
const EOS: u32 = 2;

pub(super) fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let file = open_file(path)?;
    let start = file.start(HEADER_LEN).map_err(|source| io_error(path, source))?;
    let config = parse_header(path, &start)?;
    drop(start);
    check(&config, path)?;

    let head_dim = config.head_dim as usize;
    let mut tensors = HashMap::new();
    let mut offset = HEADER_LEN;
    for kind in order(config.tied_embeddings) {
        let (rows, cols) = config.shape(kind);
        let layers = match kind {
            TensorKind::Embedding | TensorKind::FinalNorm | TensorKind::Head => 1,
            _ => config.n_layers,
        };
        for layer in 0..layers {
            let tensor = LocatedTensor {
                file: 0,
                offset,
                dtype: Dtype::F32,
                rows,
                cols,
                interleaved_head: matches!(kind, TensorKind::QProj | TensorKind::KProj).then_some(head_dim),
            };
            tensors.insert((kind, layer), tensor);
            offset = tensor.byte_range().end;
        }
        if kind == TensorKind::FinalNorm {
            // cos and sin of the rotary embedding, for every position and pair; they follow from the dimensions.
            offset += 2 * config.context_length as usize * (head_dim / 2) * 4;
        }
    }
    if config.tied_embeddings {
        tensors.insert((TensorKind::Head, 0), tensors[&(TensorKind::Embedding, 0)]);
    }
    if file.len() != offset {
        return Err(CheckpointError::Length {
            path: path.to_owned(),
            found: file.len() as u64,
            expected: offset as u64,
        });
    }
    Ok(Checkpoint { path: path.to_owned(), config, files: vec![file], tensors })
}

/// The tensors in file order; those of a layer stand together for all layers.
fn order(tied_embeddings: bool) -> impl Iterator<Item = TensorKind> {
    [
        TensorKind::Embedding,
        TensorKind::AttentionNorm,
        TensorKind::QProj,
        TensorKind::KProj,
        TensorKind::VProj,
        TensorKind::OProj,
        TensorKind::MlpNorm,
        TensorKind::GateProj,
        TensorKind::DownProj,
        TensorKind::UpProj,
        TensorKind::FinalNorm,
    ]
    .into_iter()
    .chain((!tied_embeddings).then_some(TensorKind::Head))
}

fn parse_header(path: &Path, file: &[u8]) -> Result<LlamaConfig, CheckpointError> {
    let Some(header) = file.get(..HEADER_LEN) else {
        return Err(CheckpointError::Length {
            path: path.to_owned(),
            found: file.len() as u64,
            expected: HEADER_LEN as u64,
        });
    };
    let (fields, _) = header.as_chunks::<4>();
    let field = |index: usize| i32::from_le_bytes(fields[index]);
    if field(0) == VERSIONED_MAGIC {
        return Err(CheckpointError::Unrecognised {
            path: path.to_owned(),
            found: "a llama2.c checkpoint with a versioned header; export it with `--version 0`".to_owned(),
        });
    }
    let positive = |index: usize, name: &str| {
        u32::try_from(field(index)).ok().filter(|&value| value > 0).ok_or_else(|| CheckpointError::Field {
            path: path.to_owned(),
            field: name.to_owned(),
            found: field(index).to_string(),
            expected: "a positive number; is this a llama2.c checkpoint of version 0?".to_owned(),
        })
    };
    let hidden_size = positive(0, "dim")?;
    let n_heads = positive(3, "n_heads")?;
    if !hidden_size.is_multiple_of(n_heads) {
        return Err(CheckpointError::Field {
            path: path.to_owned(),
            field: "n_heads".to_owned(),
            found: n_heads.to_string(),
            expected: format!("a divisor of dim, {hidden_size}"),
        });
    }
    Ok(LlamaConfig {
        hidden_size,
        intermediate_size: positive(1, "hidden_dim")?,
        n_layers: positive(2, "n_layers")?,
        n_heads,
        n_kv_heads: positive(4, "n_kv_heads")?,
        head_dim: hidden_size / n_heads,
        // A negative size says that the head is not the embedding table.
        vocab_size: field(5).unsigned_abs(),
        context_length: positive(6, "seq_len")?,
        attention: AttentionExtras::default(),
        rope: Rope { theta: ROPE_THETA, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: NORM_EPS,
        tied_embeddings: field(5) > 0,
        bos: Some(BOS),
        // `generate` of run.c ends a text at BOS, which separates the texts that such models are trained on; `chat`
        // ends a turn at EOS.
        eos: vec![EOS, BOS],
    })
}
