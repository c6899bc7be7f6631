//! The reference against transformers.

use crate::support;
use std::fs;
use std::path::Path;

use rillm_convert::checkpoint::Checkpoint;
use rillm_quantise::batch::Batch;
use rillm_quantise::evaluate::argmax;
use rillm_quantise::matmul::project;
use rillm_quantise::reference::Reference;
use rillm_quantise::weights::Weights;
use serde_json::Value;

/// transformers computes rotary angles in float32, the reference in float64. The largest difference seen is 1e-5.
const TOLERANCE: f32 = 2e-3;

fn tokens(value: &Value) -> Vec<u32> {
    let list = value.as_array().expect("a list of tokens");
    let token = |value: &Value| value.as_u64().expect("a token") as u32;
    list.iter().map(token).collect()
}

/// Checks that the batched model has the reference's last logits.
fn assert_batched(weights: &Weights, ids: &Value, logits: &[f32]) {
    let (ids, hidden_size) = (tokens(ids), weights.config.hidden_size as usize);
    let inputs = Batch::new(&weights.config, vec![ids.len()]).run(weights, &ids);
    let batched = project(&inputs[inputs.len() - hidden_size..], &weights.head, hidden_size);
    for (batched, logit) in batched.iter().zip(logits) {
        assert!((batched - logit).abs() < TOLERANCE, "a logit is {batched}, the reference has {logit}");
    }
}

/// Runs `ids` through the model, checks every position's most probable token, and gives the last logits.
fn run(reference: &mut Reference, ids: &Value, argmax_every_position: &Value) -> Vec<f32> {
    let expected = tokens(argmax_every_position);
    let mut last = Vec::new();
    for (position, (token, expected)) in tokens(ids).into_iter().zip(expected).enumerate() {
        last = reference.forward(token, position).to_vec();
        assert_eq!(argmax(&last), expected, "at position {position}");
    }
    last
}

fn assert_close(logits: &[f32], token: usize, expected: &Value) {
    let expected = expected.as_f64().expect("a logit") as f32;
    let found = logits[token];
    assert!((found - expected).abs() < TOLERANCE, "logit of token {token} is {found}, transformers has {expected}");
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a golden file");
    serde_json::from_str(&text).expect("JSON")
}

/// A model that `tests/goldens/make.py` made.
fn check_tiny(name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name);
    let golden = read(&directory.join("golden.json"));
    let checkpoint = Checkpoint::open(&directory).expect("a checkpoint");
    let mut reference = checkpoint.reference();
    let logits = run(&mut reference, &golden["ids"], &golden["argmax_every_position"]);
    assert_batched(&checkpoint.weights(), &golden["ids"], &logits);
    let expected = golden["last_logits"].as_array().expect("logits");
    assert_eq!(logits.len(), expected.len());
    for (token, expected) in expected.iter().enumerate() {
        assert_close(&logits, token, expected);
    }
}

#[test]
fn llama3_scaling_grouped_queries_untied_f16() {
    check_tiny("llama3-f16");
}

#[test]
fn linear_scaling_one_kv_head_tied_bf16_in_shards() {
    check_tiny("linear-bf16-sharded");
}

#[test]
fn no_scaling_f32() {
    check_tiny("plain-f32");
}

#[test]
fn biases_of_queries_keys_and_values() {
    check_tiny("qwen2");
}

#[test]
fn norms_of_query_and_key_heads() {
    check_tiny("qwen3");
    check_tiny("qwen3-bias");
}

#[test]
fn smollm2_and_llama_3_2() {
    check_tiny("smollm2");
    check_tiny("llama-3.2");
}

/// The 20 largest logits after each prompt of a golden.
fn check_prompts(golden: &Path, checkpoint: &Path) {
    let golden = read(golden);
    let checkpoint = Checkpoint::open(checkpoint).expect("a checkpoint");
    let weights = checkpoint.weights();
    let mut reference = Reference::new(weights.clone());
    for prompt in golden["prompts"].as_array().expect("prompts") {
        let logits = run(&mut reference, &prompt["ids"], &prompt["argmax_every_position"]);
        assert_batched(&weights, &prompt["ids"], &logits);
        for pair in prompt["last_pos_top20"].as_array().expect("logits") {
            let token = pair[0].as_u64().expect("a token") as usize;
            assert_close(&logits, token, &pair[1]);
        }
    }
}

fn check_shared(model: &str, weights: &str) {
    let Some(shared) = support::shared() else {
        return;
    };
    let golden = shared.join(format!("goldens/{model}.json"));
    check_prompts(&golden, &shared.join("models").join(model).join(weights));
}

#[test]
fn the_bundled_model() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/rill-tales-1m");
    check_prompts(&directory.join("golden.json"), &directory);
}

#[test]
fn stories260k() {
    check_shared("stories260K", "");
}

#[test]
fn stories260k_of_llama2c() {
    check_shared("stories260K", "stories260K.bin");
}

#[test]
fn tiny_llm_synth() {
    check_shared("tiny-llm-synth", "");
}
