//! The errors of reading a checkpoint.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::Dtype;
use crate::gguf::GgufError;

/// Why a checkpoint cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be opened or read.
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file is not JSON, or not an object at its top.
    Json {
        /// The file.
        path: PathBuf,
        /// The position and the problem.
        source: serde_json::Error,
    },
    /// A GGUF file is damaged, or needs a computation that rillm does not support.
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: GgufError,
    },
    /// The path is not a checkpoint of a supported kind.
    Unrecognised {
        /// The path.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// The path is a file that was converted already.
    Converted {
        /// The file.
        path: PathBuf,
    },
    /// The path is the weights file of a Hugging Face directory.
    WeightsAlone {
        /// The file.
        path: PathBuf,
    },
    /// A field of the configuration has an unsupported value.
    Field {
        /// The file that holds the field.
        path: PathBuf,
        /// The field's name, with a dot before the name of a nested field.
        field: String,
        /// Its value, as JSON.
        found: String,
        /// The allowed values.
        expected: String,
    },
    /// The header of a safetensors file is damaged, or the file is truncated.
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: safetensors::SafeTensorError,
    },
    /// An index lists a file that does not exist.
    MissingShard {
        /// The index.
        path: PathBuf,
        /// The file.
        shard: String,
    },
    /// A tensor that the configuration requires is missing.
    MissingTensor {
        /// The file or directory.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that it should have.
        shape: Vec<usize>,
    },
    /// Files of a weight directory are missing.
    MissingFiles {
        /// The directory.
        directory: PathBuf,
        /// Their names.
        names: String,
    },
    /// A file of a weight directory is longer or shorter than its tensor.
    Size {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: usize,
        /// The tensor's.
        expected: usize,
        /// The tensor's rows and columns.
        shape: [usize; 2],
        /// The type of its numbers.
        dtype: Dtype,
    },
    /// A tensor that no Llama model has. Ignoring it would change the model's output.
    UnexpectedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },
    /// A tensor's shape does not match the configuration.
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor's numbers have an unsupported type.
    Dtype {
        /// The tensor's name.
        name: String,
        /// The type.
        found: String,
    },
    /// The configuration ties the head to the embedding table, but the file has a head with other values.
    TiedHeadDiffers {
        /// The configuration file.
        path: PathBuf,
    },
    /// A file without an index is longer or shorter than its dimensions require.
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The bytes that its dimensions require.
        expected: u64,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Json { path, source } => {
                write!(f, "{}: not the JSON expected: {source}", path.display())
            }
            Self::Gguf { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Unrecognised { path, found } => write!(
                f,
                "{}: {found}; expected a Hugging Face directory (config.json and model.safetensors), a GGUF file, a \
                 llama2.c checkpoint of version 0 (a .bin file) or a weight directory (model_config.json and \
                 embed_tokens.bin)",
                path.display()
            ),
            Self::Converted { path } => {
                write!(f, "{} is a .rillm file already; name the checkpoint that it was made of", path.display())
            }
            Self::WeightsAlone { path } => write!(
                f,
                "{}: the weights alone; name the directory that they lie in, with config.json",
                path.display()
            ),
            Self::Field { path, field, found, expected } => {
                write!(f, "{}: {field} is {found}; expected {expected}", path.display())
            }
            Self::Safetensors { path, source } => {
                write!(f, "{}: not a whole safetensors file ({source}); download it again", path.display())
            }
            Self::MissingShard { path, shard } => {
                write!(f, "{}: it names {shard}, which does not lie beside it; download that, too", path.display())
            }
            Self::MissingTensor { path, name, shape } => write!(
                f,
                "{}: no tensor {name} of shape {shape:?}, which the configuration calls for; is a file missing?",
                path.display()
            ),
            Self::MissingFiles { directory, names } => write!(
                f,
                "{}: no {names}, which every weight directory has; copy what is missing there",
                directory.display()
            ),
            Self::Size { path, found, expected, shape: [rows, cols], dtype } => write!(
                f,
                "{}: {found} bytes; expected {expected}, {rows} × {cols} numbers of type {dtype}: is the file whole, \
                 and does it belong to model_config.json{}?",
                path.display(),
                match dtype {
                    Dtype::I8 { .. } => " and quantization_scales.json",
                    _ => ", and is it float32, as without quantization_scales.json",
                }
            ),
            Self::UnexpectedTensor { path, name } => write!(
                f,
                "{}: tensor {name} belongs to no Llama model of this configuration, and leaving it out would change \
                 the output; rillm converts no adapters, and of biases only those of attention (in a Hugging Face directory \
                 with attention_bias true in config.json)",
                path.display()
            ),
            Self::Shape { name, found, expected } => write!(
                f,
                "tensor {name} has shape {found:?}, the configuration says {expected:?}; is it the configuration of \
                 these weights?"
            ),
            Self::Dtype { name, found } => write!(
                f,
                "tensor {name} holds {found}; expected F64, F32, F16 or BF16: convert from the checkpoint as it was before it was \
                 quantised"
            ),
            Self::TiedHeadDiffers { path } => write!(
                f,
                "{}: tie_word_embeddings is true, and lm_head.weight differs from model.embed_tokens.weight; set it \
                 to false if the head is to be used, or remove the head",
                path.display()
            ),
            Self::Length { path, found, expected } => write!(
                f,
                "{}: {found} bytes, its dimensions call for {expected}; is it a whole llama2.c checkpoint of version 0?",
                path.display()
            ),
        }
    }
}

/// The message includes the cause, so there is no [`source`](std::error::Error::source).
impl std::error::Error for CheckpointError {}
