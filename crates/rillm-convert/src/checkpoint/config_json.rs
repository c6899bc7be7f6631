//! Reads `config.json` of a Hugging Face checkpoint. The defaults are those of `LlamaConfig` and its siblings in
//! transformers.

use std::fs;
use std::path::{Path, PathBuf};

use rillm::format::{AttentionExtras, MAX_EOS, Rope, RopeScaling};
use rillm_quantise::config::LlamaConfig;
use serde_json::{Map, Value};

use super::{CheckpointError, check, io_error};
use crate::json;

/// The model families that rillm runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    /// Adds a bias to queries, keys and values.
    Qwen2,
    /// Normalises the heads of queries and keys.
    Qwen3,
}

/// `model_type`, and the name of the class in transformers.
const FAMILIES: [(Family, &str, &str); 3] = [
    (Family::Llama, "llama", "LlamaForCausalLM"),
    (Family::Qwen2, "qwen2", "Qwen2ForCausalLM"),
    (Family::Qwen3, "qwen3", "Qwen3ForCausalLM"),
];

/// Fields that change the arithmetic when they are true.
const MUST_BE_FALSE: [&str; 6] =
    ["mlp_bias", "use_bias", "use_sliding_window", "use_qk_norm", "rope_interleaved", "alibi"];
/// The longest context of a model in a file; a checkpoint may have a longer one.
pub(super) const MAX_CONTEXT: u32 = 1 << 20;
/// Factors that change the arithmetic unless they are 1.
const MUST_BE_ONE: [&str; 5] =
    ["partial_rotary_factor", "embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale"];
/// Fields that change the arithmetic when they are present.
const MUST_BE_ABSENT: [&str; 7] = [
    "quantization_config",
    "compression_config",
    "attention_multiplier",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "no_rope_layers",
    "num_local_experts",
];

/// The configuration from `config.json`, with what only the weights can decide.
pub(super) struct ConfigJson {
    /// The configuration; `tied_embeddings` is false if the file does not say.
    pub config: LlamaConfig,
    /// Whether the file says if the embeddings are tied.
    pub ties_are_explicit: bool,
}

/// Reads and checks `config.json` of a directory, and the end-of-text tokens of `generation_config.json`, if there is one.
pub(super) fn read(directory: &Path) -> Result<ConfigJson, CheckpointError> {
    let fields = Fields::read(directory.join("config.json"))?;
    let mut read = config(&fields)?;
    let generation = directory.join("generation_config.json");
    if generation.exists() {
        let generation = Fields::read(generation)?;
        let eos = generation.tokens("eos_token_id", &[], read.config.vocab_size)?;
        // The tokens of `config.json` end a text, too, as far as there is room for them.
        let own = std::mem::replace(&mut read.config.eos, eos);
        let more = own.into_iter().filter(|token| !read.config.eos.contains(token)).collect::<Vec<_>>();
        let room = MAX_EOS.saturating_sub(read.config.eos.len());
        read.config.eos.extend(more.into_iter().take(room));
        // Everything else is checked, so an error here is about the tokens of this file.
        check(&read.config, &generation.path)?;
    }
    Ok(read)
}

/// Reads and checks the fields of `config.json`, or of another file with the same fields.
pub(super) fn config(fields: &Fields) -> Result<ConfigJson, CheckpointError> {
    let family = family(fields)?;
    refuse_other_arithmetic(fields, family)?;

    let hidden_size = fields.required_u32("hidden_size")?;
    let n_heads = fields.required_u32("num_attention_heads")?;
    let context_length = fields.u32("max_position_embeddings")?.unwrap_or(2048);
    let head_dim = match fields.u32("head_dim")? {
        Some(head_dim) => head_dim,
        None if family == Family::Qwen3 => 128,
        None if n_heads > 0 && hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
        None => {
            return Err(fields.error("num_attention_heads", "a divisor of hidden_size, or an explicit head_dim"));
        }
    };
    let ties = fields.bool("tie_word_embeddings")?;
    let vocab_size = fields.required_u32("vocab_size")?;
    let [bos, eos]: [&[u32]; 2] = if family == Family::Llama { [&[1], &[2]] } else { [&[], &[]] };
    let config = LlamaConfig {
        hidden_size,
        intermediate_size: fields.required_u32("intermediate_size")?,
        n_layers: fields.required_u32("num_hidden_layers")?,
        n_heads,
        n_kv_heads: fields.u32("num_key_value_heads")?.unwrap_or(n_heads),
        head_dim,
        vocab_size,
        // No board has room for more positions than the format allows.
        context_length: context_length.min(MAX_CONTEXT),
        attention: attention(fields, family)?,
        rope: rope(fields, context_length)?,
        rope_divisors: Vec::new(),
        norm_eps: fields.f32("rms_norm_eps")?.unwrap_or(1e-6),
        tied_embeddings: ties.unwrap_or(false),
        bos: fields.tokens("bos_token_id", bos, vocab_size)?.first().copied(),
        eos: fields.tokens("eos_token_id", eos, vocab_size)?,
    };
    check(&config, &fields.path)?;
    Ok(ConfigJson { config, ties_are_explicit: ties.is_some() })
}

fn family(fields: &Fields) -> Result<Family, CheckpointError> {
    let model_type = fields.str("model_type")?.unwrap_or("llama");
    let Some((family, _, class)) = FAMILIES.into_iter().find(|(_, name, _)| *name == model_type) else {
        return Err(fields.error("model_type", "\"llama\", \"qwen2\" or \"qwen3\": rillm runs no other architecture"));
    };
    let base = class.replace("ForCausalLM", "Model");
    let is_known = |name: &&str| name.eq_ignore_ascii_case(class) || *name == base;
    match fields.get("architectures") {
        None => Ok(family),
        // A model that was saved without its head may have one in the weights all the same, or share the embeddings. The first
        // conversions wrote LLaMAForCausalLM.
        Some(Value::Array(names)) if names.iter().filter_map(Value::as_str).filter(is_known).count() == names.len() => {
            Ok(family)
        }
        Some(_) => Err(fields.error("architectures", &format!("[\"{class}\"]: rillm runs models that write text"))),
    }
}

fn attention(fields: &Fields, family: Family) -> Result<AttentionExtras, CheckpointError> {
    // transformers gives Qwen2 its biases whatever the configuration says.
    let bias = family != Family::Qwen2 && fields.bool("attention_bias")? == Some(true);
    Ok(AttentionExtras { qkv_bias: bias || family == Family::Qwen2, o_bias: bias, qk_norm: family == Family::Qwen3 })
}

fn refuse_other_arithmetic(fields: &Fields, family: Family) -> Result<(), CheckpointError> {
    // A window that Qwen's configurations contain but disable.
    if family == Family::Llama && fields.get("sliding_window").is_some() {
        return Err(fields.error("sliding_window", "nothing: rillm does not compute this"));
    }
    let full = |kind: &Value| kind == "full_attention";
    if let Some(kinds) = fields.get("layer_types")
        && !kinds.as_array().is_some_and(|kinds| kinds.iter().all(full))
    {
        return Err(fields.error("layer_types", "\"full_attention\" for every layer: rillm computes no other"));
    }
    if !matches!(fields.str("hidden_act")?, None | Some("silu" | "swish")) {
        return Err(fields.error("hidden_act", "\"silu\", the only activation that rillm computes"));
    }
    for name in MUST_BE_FALSE {
        if fields.bool(name)? == Some(true) {
            return Err(fields.error(name, "false: rillm does not compute this"));
        }
    }
    for name in MUST_BE_ONE {
        if fields.f64(name)?.is_some_and(|value| value != 1.0) {
            return Err(fields.error(name, "1: rillm does not compute this"));
        }
    }
    for name in MUST_BE_ABSENT {
        if fields.get(name).is_some() {
            return Err(fields.error(name, "nothing: rillm does not compute this"));
        }
    }
    Ok(())
}

/// The rotary embedding: `rope_parameters` of transformers 5, or `rope_theta` and `rope_scaling` of those before. Where a
/// file has both forms, they must agree.
fn rope(fields: &Fields, context_length: u32) -> Result<Rope, CheckpointError> {
    let plain = Rope { theta: fields.f32("rope_theta")?.unwrap_or(10_000.0), scaling: RopeScaling::None };
    let read = |name| -> Result<Option<Rope>, CheckpointError> {
        let object = fields.object(name)?;
        object.map(|object| rope_object(fields, &object, plain.theta, context_length)).transpose()
    };
    match (read("rope_parameters")?, read("rope_scaling")?) {
        (Some(new), Some(old)) if new != old => {
            Err(fields.error("rope_scaling", "the same as rope_parameters, or nothing"))
        }
        (new, old) => Ok(new.or(old).unwrap_or(plain)),
    }
}

/// Reads one of the two forms; `fields` is the object around it.
fn rope_object(
    fields: &Fields,
    rope: &Fields,
    default_theta: f32,
    context_length: u32,
) -> Result<Rope, CheckpointError> {
    let partial = rope.f64("partial_rotary_factor")?;
    if partial.is_some_and(|factor| factor != 1.0) {
        return Err(rope.error("partial_rotary_factor", "1: rillm turns all of a head's dimensions"));
    }
    if let Some((name, _)) = rope.map.iter().find(|(_, value)| value.is_object()) {
        return Err(rope.error(name, "nothing: rillm turns the heads of all layers alike"));
    }
    let key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
    let scaling = match rope.str(key)? {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: rope.required_f32("factor")? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: rope.required_f32("factor")?,
            low_freq_factor: rope.required_f32("low_freq_factor")?,
            high_freq_factor: rope.required_f32("high_freq_factor")?,
            original_context: match fields.u32("original_max_position_embeddings")? {
                Some(original) => original,
                None => rope.u32("original_max_position_embeddings")?.unwrap_or(context_length),
            },
        },
        Some(_) => {
            return Err(rope.error(key, "\"default\", \"linear\" or \"llama3\": rillm knows no other scaling"));
        }
    };
    Ok(Rope { theta: rope.f32("rope_theta")?.unwrap_or(default_theta), scaling })
}

/// A JSON object and its position, for messages. A null field counts as absent.
pub(super) struct Fields {
    path: PathBuf,
    /// The prefix of a field's name: empty, or `rope_scaling.`.
    prefix: String,
    map: Map<String, Value>,
}

impl Fields {
    pub fn read(path: PathBuf) -> Result<Self, CheckpointError> {
        let text = fs::read(&path).map_err(|source| io_error(&path, source))?;
        match json::read(&text) {
            Ok(map) => Ok(Self { path, prefix: String::new(), map }),
            Err(source) => Err(CheckpointError::Json { path, source }),
        }
    }

    pub fn error(&self, name: &str, expected: &str) -> CheckpointError {
        CheckpointError::Field {
            path: self.path.clone(),
            field: format!("{}{name}", self.prefix),
            found: self.map.get(name).map_or_else(|| "absent".to_owned(), json::shown),
            expected: expected.to_owned(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// The field as converted by `convert`, if it is present.
    fn optional<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        self.get(name).map(|value| convert(value).ok_or_else(|| self.error(name, expected))).transpose()
    }

    fn u32(&self, name: &str) -> Result<Option<u32>, CheckpointError> {
        self.optional(name, "an integer, 0 to 2^32 - 1", as_u32)
    }

    fn required_u32(&self, name: &str) -> Result<u32, CheckpointError> {
        self.u32(name)?.ok_or_else(|| self.error(name, "an integer"))
    }

    fn f64(&self, name: &str) -> Result<Option<f64>, CheckpointError> {
        self.optional(name, "a number", Value::as_f64)
    }

    pub fn f32(&self, name: &str) -> Result<Option<f32>, CheckpointError> {
        Ok(self.f64(name)?.map(|value| value as f32))
    }

    fn required_f32(&self, name: &str) -> Result<f32, CheckpointError> {
        self.f32(name)?.ok_or_else(|| self.error(name, "a number"))
    }

    fn bool(&self, name: &str) -> Result<Option<bool>, CheckpointError> {
        self.optional(name, "true or false", Value::as_bool)
    }

    fn str(&self, name: &str) -> Result<Option<&str>, CheckpointError> {
        self.optional(name, "a string", Value::as_str)
    }

    /// A token or a list of tokens; `default` if the field is absent, no tokens if it is null. Numbers outside the
    /// vocabulary, such as -1, are dropped.
    fn tokens(&self, name: &str, default: &[u32], vocab_size: u32) -> Result<Vec<u32>, CheckpointError> {
        let list = match self.map.get(name) {
            None => return Ok(default.iter().copied().filter(|&token| token < vocab_size).collect()),
            Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let mut tokens = Vec::new();
        for value in list {
            let token = value.as_i64().ok_or_else(|| self.error(name, "a token or a list of tokens"))?;
            let token = u32::try_from(token).ok().filter(|token| *token < vocab_size && !tokens.contains(token));
            tokens.extend(token);
        }
        Ok(tokens)
    }

    fn object(&self, name: &str) -> Result<Option<Self>, CheckpointError> {
        let map = self.optional(name, "an object", Value::as_object)?;
        Ok(map.map(|map| Self { path: self.path.clone(), prefix: format!("{}{name}.", self.prefix), map: map.clone() }))
    }
}

fn as_u32(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|value| u32::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads a plain configuration after `change`.
    fn read_changed(change: impl FnOnce(&mut Value)) -> Result<LlamaConfig, CheckpointError> {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5, "num_attention_heads": 8,
            "num_key_value_heads": 4, "vocab_size": 512, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "rope_scaling": null, "tie_word_embeddings": true, "bos_token_id": 1,
            "eos_token_id": 2, "pretraining_tp": 1, "attention_bias": false, "torch_dtype": "float32"
        });
        change(&mut config);
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("config.json"), config.to_string()).expect("a file");
        read(directory.path()).map(|read| read.config)
    }

    fn refused(change: impl FnOnce(&mut Value)) -> (String, String) {
        match read_changed(change) {
            Err(CheckpointError::Field { field, found, .. }) => (field, found),
            other => panic!("expected a refused field, got {other:?}"),
        }
    }

    #[test]
    fn plain_configuration() {
        let config = read_changed(|_| {}).expect("a plain configuration");
        assert_eq!(config.head_dim, 8);
        assert_eq!(config.n_kv_heads, 4);
        assert_eq!(config.norm_eps, 1e-5);
        assert_eq!((config.bos, config.eos), (Some(1), vec![2]));
        assert!(config.tied_embeddings);
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = read_changed(|config| {
            for name in [
                "num_key_value_heads",
                "rope_theta",
                "rms_norm_eps",
                "max_position_embeddings",
                "tie_word_embeddings",
                "bos_token_id",
                "eos_token_id",
            ] {
                config.as_object_mut().expect("an object").remove(name);
            }
        })
        .expect("defaults");
        assert_eq!(config.n_kv_heads, 8);
        assert_eq!(config.rope.theta, 10_000.0);
        assert_eq!(config.norm_eps, 1e-6);
        assert_eq!(config.context_length, 2048);
        assert!(!config.tied_embeddings);
        assert_eq!((config.bos, config.eos), (Some(1), vec![2]));
    }

    #[test]
    fn both_spellings_of_rope_scaling_are_read() {
        let llama3 = json!({
            "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128
        });
        let expected = Rope {
            theta: 500_000.0,
            scaling: RopeScaling::Llama3 {
                factor: 32.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 128,
            },
        };
        for key in ["type", "rope_type"] {
            let config = read_changed(|config| {
                config["rope_theta"] = json!(500_000.0);
                config["rope_scaling"] = llama3.clone();
                config["rope_scaling"][key] = json!("llama3");
            });
            assert_eq!(config.expect("the old form").rope, expected);
        }
        let config = read_changed(|config| {
            config.as_object_mut().expect("an object").remove("rope_theta");
            config["rope_parameters"] = llama3.clone();
            config["rope_parameters"]["rope_type"] = json!("llama3");
            config["rope_parameters"]["rope_theta"] = json!(500_000.0);
        });
        assert_eq!(config.expect("the new form").rope, expected);

        let both = |factor: f64| {
            read_changed(|config| {
                config["rope_theta"] = json!(500_000.0);
                config["rope_scaling"] = llama3.clone();
                config["rope_scaling"]["type"] = json!("llama3");
                config["rope_parameters"] = config["rope_scaling"].clone();
                config["rope_parameters"]["factor"] = json!(factor);
            })
        };
        assert_eq!(both(32.0).expect("both forms").rope, expected);
        assert!(matches!(both(8.0), Err(CheckpointError::Field { field, .. }) if field == "rope_scaling"));
    }

    #[test]
    fn end_of_text_tokens_are_a_list_or_one() {
        let config = read_changed(|config| config["eos_token_id"] = json!([2, 7, 9]));
        assert_eq!(config.expect("a list").eos, [2, 7, 9]);
        let config = read_changed(|config| config["eos_token_id"] = json!(null));
        assert!(config.expect("none").eos.is_empty());
        let config = read_changed(|config| {
            config["bos_token_id"] = json!(512);
            config["eos_token_id"] = json!(-1);
            config["pad_token_id"] = json!(-1);
        });
        assert_eq!(config.map(|config| (config.bos, config.eos)).expect("none"), (None, vec![]));
    }

    #[test]
    fn generation_config_has_the_end_of_text_tokens() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = json!({
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5,
            "num_attention_heads": 8, "vocab_size": 512, "eos_token_id": 2
        });
        let write = |name: &str, value: &Value| {
            fs::write(directory.path().join(name), value.to_string()).expect("a file");
        };
        write("config.json", &config);
        write("generation_config.json", &json!({"eos_token_id": [2, 5]}));
        let read = super::read(directory.path()).expect("a configuration");
        assert_eq!(read.config.eos, [2, 5]);
        assert!(!read.ties_are_explicit);

        // Numbers of no token end nothing.
        write("generation_config.json", &json!({"eos_token_id": [-1, 512, 7, 7]}));
        assert_eq!(super::read(directory.path()).expect("a configuration").config.eos, [7, 2]);
        write("generation_config.json", &json!({"eos_token_id": [3, 4, 5, 6]}));
        assert_eq!(super::read(directory.path()).expect("a configuration").config.eos, [3, 4, 5, 6]);
        write("generation_config.json", &json!({"eos_token_id": null}));
        assert_eq!(super::read(directory.path()).expect("a configuration").config.eos, [2]);
        for refused in [json!([3, 4, 5, 6, 7]), json!("</s>"), json!([[2]]), json!(2.0)] {
            write("generation_config.json", &json!({ "eos_token_id": refused }));
            let error = super::read(directory.path()).err().expect("a refusal").to_string();
            assert!(error.contains("generation_config.json: eos_token_id is"), "{error}");
        }
    }

    #[test]
    fn what_rillm_does_not_compute_is_refused_by_name() {
        let cases = [
            ("model_type", json!("mistral")),
            ("architectures", json!(["LlamaForSequenceClassification"])),
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!("yes")),
            ("layer_types", json!(["full_attention", "sliding_attention"])),
            ("use_sliding_window", json!(true)),
            ("mlp_bias", json!(true)),
            ("sliding_window", json!(4096)),
            ("partial_rotary_factor", json!(0.5)),
            ("quantization_config", json!({"bits": 4})),
            ("rms_norm_eps", json!(-1.0)),
            ("rms_norm_eps", json!("small")),
            ("rope_theta", json!(0.0)),
            ("num_key_value_heads", json!(3)),
            ("num_key_value_heads", json!(16)),
            ("num_attention_heads", json!(7)),
            ("num_attention_heads", json!(0)),
            ("head_dim", json!(9)),
            ("head_dim", json!(1024)),
            ("hidden_size", json!(131_072)),
            ("hidden_size", json!(null)),
            ("hidden_size", json!(-64)),
            ("vocab_size", json!(1 << 21)),
            ("num_hidden_layers", json!(0)),
            ("bos_token_id", json!("<s>")),
            ("eos_token_id", json!([1, 2, 3, 4, 5])),
        ];
        for (name, value) in cases {
            let (field, found) = refused(|config| config[name] = value.clone());
            assert_eq!(field, name);
            if value.is_number() && !value.is_f64() {
                assert_eq!(found, value.to_string(), "{name}");
            }
        }
        let (field, found) = refused(|config| {
            config["rope_scaling"] = json!({"type": "dynamic", "factor": 2.0});
        });
        assert_eq!(field, "rope_scaling.type");
        assert_eq!(found, "\"dynamic\"");
        let (field, _) = refused(|config| config["rope_scaling"] = json!({"rope_type": "linear"}));
        assert_eq!(field, "rope_scaling.factor");
    }
}
