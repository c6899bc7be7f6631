//! The command, and a small random model to run it on.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rillm::format::{AttentionExtras, Rope, RopeScaling};
use rillm_convert::checkpoint::Dtype;
use rillm_convert::random;
use rillm_quantise::config::LlamaConfig;
use serde_json::Value;
use tempfile::TempDir;

pub const CONTEXT: u32 = 96;
pub const VOCAB_SIZE: u32 = 403;

/// The command with empty standard input.
pub fn rillm(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("rillm").expect("the command is built");
    command.args(args);
    command
}

/// Runs a command that must succeed. Returns its standard output.
pub fn stdout(command: &mut Command) -> String {
    text(command.assert().success().get_output().stdout.clone())
}

/// Runs a command that must exit with `code`. Returns its message, one line that starts with `error: `.
pub fn error(command: &mut Command, code: i32) -> String {
    let stderr = text(command.assert().code(code).get_output().stderr.clone());
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(code == 2 || stderr.lines().count() == 1, "{stderr}");
    stderr
}

/// The JSON object in the last line of a command's standard output.
pub fn json(command: &mut Command) -> Value {
    let stdout = stdout(command);
    let line = stdout.lines().last().expect("a line");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// The part of a message between `before` and `after`.
pub fn words(message: &str, before: &str, after: &str) -> String {
    let rest = message.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {message}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {message}")).0.to_owned()
}

pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

/// The configuration of the random model.
pub fn config() -> LlamaConfig {
    LlamaConfig {
        hidden_size: 48,
        intermediate_size: 80,
        n_layers: 2,
        n_heads: 6,
        n_kv_heads: 3,
        head_dim: 8,
        vocab_size: VOCAB_SIZE,
        context_length: CONTEXT,
        attention: AttentionExtras::default(),
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: true,
        bos: Some(1),
        // Without an end-of-text token no text ends early.
        eos: vec![],
    }
}

/// A directory with the random checkpoint in `checkpoint/`.
pub struct Models {
    directory: TempDir,
}

impl Models {
    pub fn new() -> Self {
        let models = Self { directory: tempfile::tempdir().expect("a directory") };
        let checkpoint = models.checkpoint();
        fs::create_dir(&checkpoint).expect("a directory");
        random::write(&checkpoint, &config(), Dtype::Bf16, 11).expect("a checkpoint");
        let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../rillm-convert/tests/tiny_tokenizer.json");
        fs::copy(tokenizer, checkpoint.join("tokenizer.json")).expect("a tokenizer");
        models
    }

    /// The checkpoint and a model file made of it.
    pub fn converted() -> Self {
        let models = Self::new();
        models.convert(&[]).assert().success();
        models
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.at("checkpoint")
    }

    pub fn file(&self) -> PathBuf {
        self.at("model.rillm")
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `rillm convert` from the checkpoint to the model file, with `args`.
    pub fn convert(&self, args: &[&str]) -> Command {
        let mut command = rillm(&["convert", path(&self.checkpoint()), path(&self.file())]);
        command.args(args);
        command
    }

    /// `rillm run` with the model file and `args`.
    pub fn run(&self, args: &[&str]) -> Command {
        let mut command = rillm(&["run", "--model", path(&self.file())]);
        command.args(args);
        command
    }

    /// Names of the files in the directory, to find leftovers.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("a directory");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Sets a field of the checkpoint's config.json.
    pub fn set_config(&self, field: &str, value: Value) {
        let file = self.checkpoint().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
        config[field] = value;
        fs::write(file, config.to_string()).expect("a file");
    }
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The bytes of a llama2.c checkpoint and of its tokenizer with 259 tokens.
pub fn llama2c() -> (Vec<u8>, Vec<u8>) {
    // Hidden size, feed-forward size, layers, heads, KV heads, vocabulary and context, then the weights and two tables
    // of angles.
    let (hidden, intermediate, heads, vocab, context) = (8, 12, 2, 259, 16);
    let header = [hidden, intermediate, 1, heads, heads, vocab, context];
    let weights =
        vocab * hidden + 3 * hidden + 4 * hidden * hidden + 3 * hidden * intermediate + context * hidden / heads;
    let mut model: Vec<u8> = header.iter().flat_map(|n: &i32| n.to_le_bytes()).collect();
    model.extend((0..weights).flat_map(|i| ((i % 17 - 8) as f32 / 50.0).to_le_bytes()));
    let mut tokenizer = 4u32.to_le_bytes().to_vec();
    let pieces = ["<unk>", "\n<s>\n", "\n</s>\n"].map(str::to_owned).into_iter();
    for piece in pieces.chain((0..256).map(|byte| format!("<0x{byte:02X}>"))) {
        tokenizer.extend(0f32.to_le_bytes());
        tokenizer.extend((piece.len() as u32).to_le_bytes());
        tokenizer.extend(piece.as_bytes());
    }
    (model, tokenizer)
}

/// A random model with a chat template.
pub fn chatty(template: &str) -> Models {
    let models = Models::new();
    fs::write(models.checkpoint().join("chat_template.jinja"), template).expect("a template");
    fs::write(models.checkpoint().join("tokenizer_config.json"), r#"{"bos_token": "<s>"}"#).expect("a file");
    models.convert(&[]).assert().success();
    models
}

/// A chat template of few tokens.
pub const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content | trim + '<|end|>' }}{% endfor %}assistant:";
