//! Weight directories as StreamedInference_Edge writes them.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{AttentionExtras, Rope, RopeScaling, TensorKind};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::random;
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, TokenizerSections, convert};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::random::SplitMix64;
use serde_json::{Value, json};

const TOKENIZER: &str = include_str!("tiny_tokenizer.json");
const SEED: u64 = 9;

fn config() -> LlamaConfig {
    LlamaConfig {
        hidden_size: 24,
        intermediate_size: 20,
        n_layers: 1,
        n_heads: 3,
        n_kv_heads: 1,
        head_dim: 8,
        vocab_size: 350,
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

const FILES: [(TensorKind, &str); 12] = [
    (TensorKind::Embedding, "embed_tokens"),
    (TensorKind::AttentionNorm, "norm1"),
    (TensorKind::KProj, "k_proj"),
    (TensorKind::VProj, "v_proj"),
    (TensorKind::QProj, "q_proj"),
    (TensorKind::OProj, "o_proj"),
    (TensorKind::MlpNorm, "norm2"),
    (TensorKind::GateProj, "gate_proj"),
    (TensorKind::UpProj, "up_proj"),
    (TensorKind::DownProj, "down_proj"),
    (TensorKind::FinalNorm, "final_norm"),
    (TensorKind::Head, "lm_head"),
];

/// A directory in float32.
fn float32() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config();
    for (kind, name) in FILES {
        let numbers = random::tensor(&config, SEED, kind, 0);
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(directory.path().join(name).with_extension("bin"), bytes).expect("a file");
    }
    let json = json!({
        "vocab_size": config.vocab_size, "hidden_size": config.hidden_size, "num_hidden_layers": 1,
        "num_attention_heads": config.n_heads, "num_key_value_heads": config.n_kv_heads,
        "intermediate_size": config.intermediate_size, "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
        "use_quantization": false
    });
    fs::write(directory.path().join("model_config.json"), json.to_string()).expect("a file");
    fs::write(directory.path().join("tokenizer.json"), TOKENIZER).expect("a file");
    directory
}

/// A directory with signed bytes for matrices, and what they stand for.
fn int8() -> (tempfile::TempDir, Vec<(TensorKind, Vec<f32>)>) {
    let directory = float32();
    let mut random = SplitMix64(SEED);
    let (mut scales, mut expected) = (json!({}), Vec::new());
    for (kind, name) in FILES {
        if kind.is_norm() {
            expected.push((kind, random::tensor(&config(), SEED, kind, 0)));
            continue;
        }
        let (rows, cols) = config().shape(kind);
        let scale = 0.001 + 0.01 * random.uniform();
        let bytes: Vec<i8> = (0..rows * cols).map(|_| random.next_u64() as i8).collect();
        let stored: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
        fs::write(directory.path().join(name).with_extension("bin"), stored).expect("a file");
        // As Python writes a float32 that became a float.
        scales[name] = json!(f64::from(scale));
        expected.push((kind, bytes.into_iter().map(|byte| f32::from(byte) * scale).collect()));
    }
    fs::write(directory.path().join("quantization_scales.json"), scales.to_string()).expect("a file");
    (directory, expected)
}

fn refused(directory: &Path) -> String {
    Checkpoint::open(directory).expect_err("a refusal").to_string()
}

fn edit(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    edit(&mut json);
    fs::write(path, json.to_string()).expect("a file");
}

fn converted(checkpoint: &Checkpoint, sections: &TokenizerSections) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("model.rillm");
    convert(checkpoint, sections, Options::default(), |_| ControlFlow::Continue(()), &out).expect("a report");
    let mut bytes = fs::read(out).expect("a file");
    // Hash and name of the source, and the header's checksum.
    bytes[112..208].fill(0);
    bytes[508..512].fill(0);
    bytes
}

#[test]
fn bytes_are_multiplied_by_their_scale() {
    let (directory, expected) = int8();
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    assert_eq!(*checkpoint.config(), config());
    for (kind, numbers) in expected {
        assert_eq!(checkpoint.tensor(kind, 0), numbers, "{kind}");
    }
    assert!(matches!(checkpoint.dtype(TensorKind::Head, 0), Dtype::I8 { .. }));
    assert_eq!(checkpoint.dtype(TensorKind::FinalNorm, 0), Dtype::F32);
}

#[test]
fn the_file_is_that_of_the_same_numbers_as_a_hugging_face_directory() {
    let directory = float32();
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let vocabulary = Vocabulary::open(directory.path(), config().vocab_size).expect("a vocabulary");
    let sections = vocabulary.sections().expect("sections");
    let found = converted(&checkpoint, &sections);

    let other = tempfile::tempdir().expect("a directory");
    random::write(other.path(), &config(), Dtype::F32, SEED).expect("a checkpoint");
    let expected = converted(&Checkpoint::open(other.path()).expect("a checkpoint"), &sections);
    assert!(found == expected);
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let (directory, _) = int8();
    for name in ["embed_tokens.bin", "norm2.bin", "lm_head.bin"] {
        fs::remove_file(directory.path().join(name)).expect("a file");
    }
    let error = refused(directory.path());
    assert!(error.contains("no embed_tokens.bin, lm_head.bin, norm2.bin,"), "{error}");

    let (directory, _) = int8();
    edit(&directory.path().join("quantization_scales.json"), |scales| {
        let scales = scales.as_object_mut().expect("an object");
        scales.remove("q_proj");
        scales.remove("down_proj");
    });
    let error = refused(directory.path());
    assert!(error.contains("quantization_scales.json: down_proj, q_proj is absent"), "{error}");
    for wrong in [json!(0.0), json!(-1.0), json!(1e60), json!("0.1")] {
        edit(&directory.path().join("quantization_scales.json"), |scales| {
            scales["q_proj"] = json!(0.1);
            scales["down_proj"] = wrong.clone();
        });
        let error = refused(directory.path());
        assert!(error.contains(&format!("down_proj is {wrong}; expected a")), "{error}");
    }
}

#[test]
fn sizes_are_held_against_the_configuration() {
    let (directory, _) = int8();
    let path = directory.path().join("gate_proj.bin");
    fs::write(&path, [0; 479]).expect("a file");
    let error = refused(directory.path());
    assert!(error.contains("gate_proj.bin: 479 bytes; expected 480, 20 × 24 numbers of type I8"), "{error}");
    fs::write(&path, []).expect("a file");
    assert!(refused(directory.path()).contains("gate_proj.bin: 0 bytes; expected 480"));

    // Bytes whose scales were not copied.
    let (directory, _) = int8();
    fs::remove_file(directory.path().join("quantization_scales.json")).expect("a file");
    let error = refused(directory.path());
    assert!(error.contains("down_proj.bin: 480 bytes; expected 1920, 24 × 20 numbers of type F32"), "{error}");
    assert!(error.contains("without quantization_scales.json"), "{error}");
}

#[test]
fn the_configuration_is_checked() {
    let directory = float32();
    let path = directory.path().join("model_config.json");
    for (field, value, expected) in [
        ("num_hidden_layers", json!(2), "num_hidden_layers is 2; expected 1"),
        ("num_hidden_layers", json!(0), "num_hidden_layers is 0"),
        ("hidden_act", json!("gelu"), "hidden_act is \"gelu\""),
        ("hidden_size", json!(null), "hidden_size is null; expected an integer"),
        ("num_attention_heads", json!(5), "a divisor of hidden_size"),
        ("attention_bias", json!(true), "no weight files for a bias"),
        ("vocab_size", json!(351), "expected 33696, 351 × 24"),
    ] {
        let before = fs::read(&path).expect("a file");
        edit(&path, |config| config[field] = value.clone());
        let error = refused(directory.path());
        assert!(error.contains(expected), "{error}");
        fs::write(&path, before).expect("a file");
    }
    fs::remove_file(&path).expect("a file");
    let error = refused(directory.path());
    assert!(error.contains("without config.json and without model_config.json"), "{error}");
}
