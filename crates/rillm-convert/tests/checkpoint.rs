//! Checkpoints that are read, and ones that are refused.

use crate::support;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rillm::format::{AttentionExtras, Rope, RopeScaling, TensorKind};
use rillm_convert::checkpoint::{Checkpoint, CheckpointError, Dtype};
use rillm_convert::random;
use rillm_quantise::config::LlamaConfig;

use crate::support::tensors::{Stored, edit_tensors};
use serde_json::{Value, json};

fn small_config() -> LlamaConfig {
    LlamaConfig {
        hidden_size: 24,
        intermediate_size: 20,
        n_layers: 2,
        n_heads: 3,
        n_kv_heads: 1,
        head_dim: 8,
        vocab_size: 50,
        context_length: 16,
        attention: AttentionExtras::default(),
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: false,
        bos: Some(1),
        eos: vec![2],
    }
}

fn random_directory(config: &LlamaConfig, dtype: Dtype) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), config, dtype, 3).expect("a checkpoint");
    directory
}

fn edit_config(directory: &Path, edit: impl FnOnce(&mut Value)) {
    let path = directory.join("config.json");
    let text = fs::read(&path).expect("config.json");
    let mut config = serde_json::from_slice(&text).expect("JSON");
    edit(&mut config);
    fs::write(path, config.to_string()).expect("config.json");
}

fn refused(directory: &Path) -> CheckpointError {
    Checkpoint::open(directory).expect_err("a refusal")
}

#[test]
fn a_random_checkpoint_is_read_back() {
    for tied_embeddings in [false, true] {
        let config = LlamaConfig { tied_embeddings, ..small_config() };
        let directory = random_directory(&config, Dtype::F32);
        let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
        assert_eq!(*checkpoint.config(), config);
        for (kind, layer) in config.tensors() {
            let expected = random::tensor(&config, 3, kind, layer);
            assert_eq!(checkpoint.tensor(kind, layer), expected, "{kind}");
        }
    }
}

#[test]
fn rows_are_read_one_by_one() {
    let config = small_config();
    let directory = random_directory(&config, Dtype::F16);
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    assert_eq!(checkpoint.dtype(TensorKind::QProj, 1), Dtype::F16);
    let whole = checkpoint.tensor(TensorKind::QProj, 1);
    let mut rows = vec![0.0; 3 * 24];
    checkpoint.rows(TensorKind::QProj, 1, 5..8, &mut rows);
    assert_eq!(rows, whole[5 * 24..8 * 24]);
}

/// A model that was saved without its head: other names, and the embeddings for a head.
#[test]
fn weights_without_a_prefix_are_read() {
    for tied_embeddings in [true, false] {
        let config = LlamaConfig { tied_embeddings, ..small_config() };
        let directory = random_directory(&config, Dtype::F32);
        let expected = Checkpoint::open(directory.path()).expect("a checkpoint").tensor(TensorKind::QProj, 1);
        edit_config(directory.path(), |config| config["architectures"] = json!(["LlamaModel"]));
        edit_tensors(directory.path(), |tensors| {
            let renamed = std::mem::take(tensors).into_iter();
            *tensors = renamed.map(|(name, tensor)| (name.trim_start_matches("model.").to_owned(), tensor)).collect();
        });
        let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
        assert_eq!(checkpoint.tensor(TensorKind::QProj, 1), expected);
        if !tied_embeddings {
            edit_tensors(directory.path(), |tensors| drop(tensors.remove("lm_head.weight")));
            let error = refused(directory.path()).to_string();
            assert!(
                error.contains("tie_word_embeddings is false; expected true, as the weights have no lm_head"),
                "{error}"
            );
        }
    }
}

#[test]
fn float64_is_read_as_float32() {
    let directory = random_directory(&small_config(), Dtype::F32);
    let expected = Checkpoint::open(directory.path()).expect("a checkpoint").tensor(TensorKind::Embedding, 0);
    edit_tensors(directory.path(), |tensors| {
        let (dtype, _, bytes) = tensors.get_mut("model.embed_tokens.weight").expect("embeddings");
        let wide = bytes.as_chunks().0.iter().flat_map(|&value| f64::from(f32::from_le_bytes(value)).to_le_bytes());
        (*dtype, *bytes) = (safetensors::Dtype::F64, wide.collect());
    });
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    assert_eq!(checkpoint.dtype(TensorKind::Embedding, 0), Dtype::F64);
    assert_eq!(checkpoint.tensor(TensorKind::Embedding, 0), expected);
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let q_proj = "model.layers.1.self_attn.q_proj.weight";

    let directory = random_directory(&small_config(), Dtype::F32);
    edit_tensors(directory.path(), |tensors| drop(tensors.remove(q_proj)));
    let error = refused(directory.path());
    assert!(matches!(&error, CheckpointError::MissingTensor { name, .. } if name == q_proj));
    assert!(error.to_string().contains("[24, 24]"), "{error}");

    let directory = random_directory(&small_config(), Dtype::F32);
    edit_tensors(directory.path(), |tensors| {
        let (_, shape, _) = tensors.get_mut(q_proj).expect("q_proj");
        *shape = vec![12, 48];
    });
    let error = refused(directory.path());
    assert!(matches!(&error, CheckpointError::Shape { name, found, expected }
            if name == q_proj && *found == [12, 48] && *expected == [24, 24]));

    let directory = random_directory(&small_config(), Dtype::F32);
    edit_tensors(directory.path(), |tensors| {
        let (dtype, _, _) = tensors.get_mut(q_proj).expect("q_proj");
        *dtype = safetensors::Dtype::I32;
    });
    let error = refused(directory.path());
    assert!(matches!(&error, CheckpointError::Dtype { name, found } if name == q_proj && found == "I32"));

    let directory = random_directory(&small_config(), Dtype::F32);
    let bias = "model.layers.0.self_attn.q_proj.bias";
    edit_tensors(directory.path(), |tensors| {
        let vector = (safetensors::Dtype::F32, vec![1], vec![0; 4]);
        tensors.insert(bias.to_owned(), vector);
    });
    let error = refused(directory.path());
    assert!(matches!(&error, CheckpointError::UnexpectedTensor { name, .. } if name == bias));
}

#[test]
fn old_frequency_buffers_are_ignored() {
    let directory = random_directory(&small_config(), Dtype::F32);
    edit_tensors(directory.path(), |tensors| {
        let buffer = (safetensors::Dtype::F32, vec![4], vec![0; 16]);
        tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), buffer);
    });
    Checkpoint::open(directory.path()).expect("a checkpoint");
}

#[test]
fn tied_embeddings_and_a_head_must_agree() {
    let tie = |config: &mut Value| config["tie_word_embeddings"] = json!(true);
    let silent = |config: &mut Value| config["tie_word_embeddings"] = json!(null);
    let repeat_embedding = |tensors: &mut BTreeMap<String, Stored>| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".to_owned(), embedding);
    };

    let directory = random_directory(&small_config(), Dtype::F32);
    edit_config(directory.path(), tie);
    assert!(matches!(refused(directory.path()), CheckpointError::TiedHeadDiffers { .. }));
    edit_tensors(directory.path(), repeat_embedding);
    let checkpoint = Checkpoint::open(directory.path()).expect("a repeated table");
    assert!(checkpoint.config().tied_embeddings);

    // Where the configuration is silent, the head decides.
    edit_config(directory.path(), silent);
    let checkpoint = Checkpoint::open(directory.path()).expect("a head");
    assert!(!checkpoint.config().tied_embeddings);
    edit_tensors(directory.path(), |tensors| drop(tensors.remove("lm_head.weight")));
    let checkpoint = Checkpoint::open(directory.path()).expect("no head");
    assert!(checkpoint.config().tied_embeddings);
    // Where it says that there is a head, there must be one.
    edit_config(directory.path(), |config| config["tie_word_embeddings"] = json!(false));
    assert!(
        matches!(refused(directory.path()), CheckpointError::Field { field, .. } if field == "tie_word_embeddings")
    );
}

#[test]
fn shards_must_be_there_and_lie_beside_their_index() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/linear-bf16-sharded");
    let directory = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(goldens).expect("goldens") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), directory.path().join(entry.file_name())).expect("a copy");
    }
    Checkpoint::open(directory.path()).expect("all shards");

    let shard = directory.path().join("model-00002-of-00003.safetensors");
    let bytes = fs::read(&shard).expect("a shard");
    fs::write(&shard, &bytes[..bytes.len() - 1]).expect("a cut shard");
    assert!(matches!(refused(directory.path()), CheckpointError::Safetensors { path, .. } if path == shard));
    fs::remove_file(&shard).expect("a shard");
    let missing = refused(directory.path());
    assert!(
        matches!(&missing, CheckpointError::MissingShard { shard, .. } if shard == "model-00002-of-00003.safetensors")
    );
    assert!(missing.to_string().contains("model.safetensors.index.json: it names model-00002"), "{missing}");

    let index = directory.path().join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).expect("an index");
    fs::write(&index, text.replace("model-00002", "../model-00002")).expect("an index");
    assert!(
        matches!(refused(directory.path()), CheckpointError::Field { field, .. } if field.starts_with("weight_map."))
    );
}

#[test]
fn what_is_no_checkpoint_is_told_apart() {
    let directory = random_directory(&small_config(), Dtype::F32);
    let message = |path: &Path| refused(path).to_string();
    assert!(message(&directory.path().join("absent")).contains("absent"));
    assert!(message(&directory.path().join("model.safetensors")).contains("name the directory"));
    let gguf = directory.path().join("model.gguf");
    fs::write(&gguf, b"GGUF\x03\0\0\0").expect("a file");
    assert!(message(&gguf).contains("the header calls for 8 bytes"));
    fs::remove_file(directory.path().join("model.safetensors")).expect("weights");
    assert!(message(directory.path()).contains("model.safetensors.index.json"));
    fs::write(directory.path().join("config.json"), "[1]").expect("a file");
    assert!(matches!(refused(directory.path()), CheckpointError::Json { .. }));
}

/// A llama2.c file of version 0 with this header and numbers that count up.
fn llama2c_file(header: [i32; 7], numbers: usize) -> Vec<u8> {
    let header = header.into_iter().flat_map(i32::to_le_bytes);
    header.chain((0..numbers).flat_map(|n| (n as f32).to_le_bytes())).collect()
}

fn open_llama2c(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model.bin");
    fs::write(&path, bytes).expect("a file");
    Checkpoint::open(&path)
}

#[test]
fn llama2c_tensors_are_located_and_rotary_pairs_are_parted() {
    // dim 8, hidden_dim 6, one layer, two heads of 4, one KV head, vocabulary 3, context 5.
    let norms_and_table = 24 + 8;
    let attention = 64 + 32 + 32 + 64;
    let mlp = 8 + 3 * 48;
    let before_head = norms_and_table + attention + mlp + 8 + 5 * 2 * 2;
    let untied = open_llama2c(&llama2c_file([8, 6, 1, 2, 1, -3, 5], before_head + 24));
    let untied_config = untied.as_ref().expect("a checkpoint").config();
    assert_eq!((untied_config.bos, &untied_config.eos[..]), (Some(1), &[2, 1][..]));
    let untied = untied.expect("an untied checkpoint");
    assert_eq!(untied.config().vocab_size, 3);
    assert!(!untied.config().tied_embeddings);
    assert_eq!(untied.tensor(TensorKind::Embedding, 0)[0], 0.0);
    assert_eq!(untied.tensor(TensorKind::Head, 0)[0], before_head as f32);
    // Rows 0 1 2 3 of a head, paired (0 1)(2 3), become 0 2 1 3, paired (0 2)(1 3) of the new order.
    let q_proj = untied.tensor(TensorKind::QProj, 0);
    let first_of_row: Vec<f32> = q_proj.chunks(8).map(|row| row[0] - 32.0).collect();
    assert_eq!(first_of_row, [0.0, 16.0, 8.0, 24.0, 32.0, 48.0, 40.0, 56.0]);
    let v_proj = untied.tensor(TensorKind::VProj, 0);
    assert_eq!(v_proj[8], (norms_and_table + 64 + 32 + 8) as f32);
    let down_proj = untied.tensor(TensorKind::DownProj, 0);
    assert_eq!(down_proj[0], (norms_and_table + attention + 8 + 48) as f32);

    let tied = open_llama2c(&llama2c_file([8, 6, 1, 2, 1, 3, 5], before_head));
    let tied = tied.expect("a tied checkpoint");
    assert!(tied.config().tied_embeddings);
    assert_eq!(tied.tensor(TensorKind::Head, 0), tied.tensor(TensorKind::Embedding, 0));
}

#[test]
fn llama2c_files_of_wrong_length_or_version_are_refused() {
    let whole = llama2c_file([8, 6, 1, 2, 1, 3, 5], 404);
    let needed = match open_llama2c(&whole[..100]) {
        Err(CheckpointError::Length { found: 100, expected, .. }) => expected as usize,
        other => panic!("expected a length, got {other:?}"),
    };
    open_llama2c(&whole[..needed]).expect("a whole file");
    assert!(matches!(open_llama2c(&whole[..needed - 1]), Err(CheckpointError::Length { .. })));
    assert!(matches!(open_llama2c(&whole[..27]), Err(CheckpointError::Length { .. })));
    assert!(open_llama2c(b"").is_err());
    let versioned = [b"24ka".as_slice(), &1i32.to_le_bytes(), &[0; 248]].concat();
    let error = open_llama2c(&versioned).expect_err("a versioned file");
    assert!(error.to_string().contains("--version 0"), "{error}");
    for header in [[8, 6, 1, 3, 1, 3, 5], [8, 6, 0, 2, 1, 3, 5], [-8, 6, 1, 2, 1, 3, 5], [8, 6, 1, 2, 1, 0, 5]] {
        let error = open_llama2c(&llama2c_file(header, 404));
        assert!(matches!(error, Err(CheckpointError::Field { .. })), "{header:?}");
    }
}

#[test]
fn both_forms_of_stories260k_hold_the_same_tensors() {
    let Some(shared) = support::shared() else {
        return;
    };
    let directory = shared.join("models/stories260K");
    let hugging_face = Checkpoint::open(&directory).expect("a directory");
    let llama2c = Checkpoint::open(&directory.join("stories260K.bin")).expect("a llama2.c file");
    // run.c ends a story at token 1, transformers do not.
    assert_eq!((&llama2c.config().eos[..], &hugging_face.config().eos[..]), (&[2, 1][..], &[2][..]));
    let eos = hugging_face.config().eos.clone();
    assert_eq!(LlamaConfig { eos, ..llama2c.config().clone() }, *hugging_face.config());
    assert_eq!(llama2c.name(), "stories260K.bin");
    assert_eq!(hugging_face.name(), "stories260K");
    for (kind, layer) in hugging_face.config().tensors() {
        assert!(llama2c.tensor(kind, layer) == hugging_face.tensor(kind, layer), "{kind} of layer {layer}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_llama2c_headers_never_panic(header: [i32; 7], small: [u8; 7], mix: u8) {
        let mut mixed = header;
        for (index, value) in mixed.iter_mut().enumerate() {
            if mix >> index & 1 == 1 {
                *value = small[index].into();
            }
        }
        let _ = open_llama2c(&llama2c_file(mixed, 100));
    }

    #[test]
    fn damaged_safetensors_never_panic(at in 0usize..2000, byte: u8, cut in 0usize..4000) {
        let directory = random_directory(&small_config(), Dtype::Bf16);
        let path = directory.path().join("model.safetensors");
        let mut bytes = fs::read(&path).expect("weights");
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut / 2000 * cut);
        fs::write(&path, bytes).expect("weights");
        let _ = Checkpoint::open(directory.path());
    }
}
