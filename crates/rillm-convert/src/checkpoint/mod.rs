//! Opens Llama checkpoints. Files are memory-mapped, or read where the system maps none, so memory use stays bounded by what the
//! caller requests.

mod blocks;
mod config_json;
mod error;
mod esp32;
mod gguf;
mod hugging_face;
mod llama2c;
mod tensor;
mod weight_file;

pub use error::CheckpointError;
pub(crate) use hugging_face::tensor_name;
pub use tensor::Dtype;
pub(crate) use weight_file::WeightFile;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rillm::format::{Header, SOURCE_NAME_LEN, TensorKind};
use rillm_quantise::config::{ConfigError, LlamaConfig};
use rillm_quantise::reference::Reference;
use rillm_quantise::weights::Weights;
use sha2::{Digest, Sha256};

use crate::gguf::is_gguf;
use tensor::LocatedTensor;

/// What is required of files while a checkpoint is open.
const READABLE: &str = "a file of the checkpoint can no longer be read: it was changed or removed meanwhile";

/// An open checkpoint: its configuration, and the location of every tensor in its files. Several threads may read
/// it.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: LlamaConfig,
    files: Vec<WeightFile>,
    /// A bias that is missing here is zero.
    tensors: HashMap<(TensorKind, u32), LocatedTensor>,
}

impl Checkpoint {
    /// Opens a Hugging Face directory (`config.json` with `model.safetensors` or its shards), a GGUF file, a llama2.c
    /// checkpoint of version 0 (`.bin`) or a weight directory for the ESP32 (`model_config.json` with a `.bin` for each
    /// tensor). Checks that every tensor exists and has the right shape. The files are memory-mapped: if one is
    /// truncated while the checkpoint is open, the process ends with a bus error. In WebAssembly they are read, and the
    /// methods of the checkpoint panic.
    ///
    /// # Errors
    /// [`CheckpointError`], which names the file and the unexpected field or tensor.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let unrecognised =
            |found: &str| CheckpointError::Unrecognised { path: path.to_owned(), found: found.to_owned() };
        if path.is_dir() {
            return match ["config.json", esp32::CONFIG].map(|name| path.join(name).exists()) {
                [true, _] => hugging_face::open(path),
                [false, true] => esp32::open(path),
                [false, false] => Err(unrecognised("a directory without config.json and without model_config.json")),
            };
        }
        if !path.exists() {
            return Err(unrecognised("there is no such file or directory"));
        }
        if is_gguf(path).map_err(|source| io_error(path, source))? {
            return gguf::open(path);
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("bin") => llama2c::open(path),
            Some("safetensors") => Err(CheckpointError::WeightsAlone { path: path.to_owned() }),
            Some("rillm") => Err(CheckpointError::Converted { path: path.to_owned() }),
            _ => Err(unrecognised("a file of no known kind")),
        }
    }

    /// The model's dimensions.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The name of the directory or file, for display.
    pub fn name(&self) -> String {
        let full = self.path.canonicalize();
        let path = full.as_deref().unwrap_or(&self.path);
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The SHA-256 of the weights: of the file, or of all shards in the order of their names. Reads every byte.
    pub fn weights_sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for piece in self.files.iter().flat_map(|file| file.pieces(0..file.len())) {
            hash.update(piece.expect(READABLE));
        }
        hash.finalize().into()
    }

    /// A file header for this checkpoint, without sections and unknown token. Reads every byte for the hash.
    pub fn header(&self) -> Header {
        let mut header = self.config.header();
        header.source_hash = self.weights_sha256();
        let name = self.name();
        let len = name.floor_char_boundary(SOURCE_NAME_LEN);
        header.source_name[..len].copy_from_slice(&name.as_bytes()[..len]);
        header
    }

    /// The type in which the checkpoint stores a tensor; float32 for a bias that it omits.
    ///
    /// # Panics
    /// If the model has no such tensor.
    pub fn dtype(&self, kind: TensorKind, layer: u32) -> Dtype {
        self.located(kind, layer).map_or(Dtype::F32, |tensor| tensor.dtype)
    }

    /// Writes rows of a tensor to `out`, row-major, as float32. Query and key rows are reordered so that rotary pairs
    /// are half a head apart, whatever the file's order. If embeddings are tied, the head is the embedding table.
    ///
    /// # Panics
    /// If the model has no such tensor or rows, or if `out` does not hold exactly these rows.
    pub fn rows(&self, kind: TensorKind, layer: u32, rows: Range<usize>, out: &mut [f32]) {
        match self.located(kind, layer) {
            Some(tensor) => tensor.rows(&self.files[tensor.file], rows, out),
            None => out.fill(0.0),
        }
    }

    /// A tensor's location; `None` for a bias that the checkpoint omits.
    fn located(&self, kind: TensorKind, layer: u32) -> Option<&LocatedTensor> {
        let tensor = self.tensors.get(&(kind, layer));
        assert!(tensor.is_some() || kind.is_bias(), "no tensor {kind} of layer {layer}");
        tensor
    }

    /// A whole tensor, `[rows, columns]`, as float32.
    ///
    /// # Panics
    /// If the model has no such tensor.
    pub fn tensor(&self, kind: TensorKind, layer: u32) -> Vec<f32> {
        let (rows, cols) = self.config.shape(kind);
        let mut out = vec![0.0; rows * cols];
        self.rows(kind, layer, 0..rows, &mut out);
        out
    }

    /// The weights in float32, which take 4 bytes a parameter.
    pub fn weights(&self) -> Weights {
        Weights::new(&self.config, |kind, layer| self.tensor(kind, layer))
    }

    /// The model in float32, which takes 4 bytes a parameter.
    pub fn reference(&self) -> Reference {
        Reference::new(self.weights())
    }
}

/// Checks that every field of a configuration, read from `path`, is in the range that [the file format] has.
///
/// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
fn check(config: &LlamaConfig, path: &Path) -> Result<(), CheckpointError> {
    config.check().map_err(|ConfigError { field, found, expected, .. }| CheckpointError::Field {
        path: path.to_owned(),
        field,
        found,
        expected,
    })
}

fn io_error(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io { path: path.to_owned(), source }
}

fn open_file(path: &Path) -> Result<WeightFile, CheckpointError> {
    WeightFile::open(path).map_err(|source| io_error(path, source))
}
