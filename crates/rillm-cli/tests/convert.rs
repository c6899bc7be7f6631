//! `rillm convert`.

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../../rillm-convert/tests/support/gguf.rs"]
mod gguf;

use std::fs;

use crate::support::{CONTEXT, Models, config, error, json as json_of, llama2c, path, rillm, stdout, words};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::random;
use rillm_quantise::config::LlamaConfig;
use serde_json::{Value, json};

#[test]
fn a_checkpoint_becomes_a_file_that_runs() {
    let models = Models::new();
    let (checkpoint, file) = (models.checkpoint(), models.file());

    let table = stdout(&mut models.convert(&[]));
    assert!(table.contains("embed_tokens") && table.contains("layers.1.down_proj"), "{table}");
    assert!(table.lines().last().expect("a line").contains(&format!("rillm run --model {}", file.display())));

    let inspected = json_of(&mut rillm(&["inspect", path(&file), "--verify", "--json"]));
    assert_eq!(inspected["verified"], true);

    let report = json_of(&mut models.run(&["--prompt", "hello", "-n", "10", "--json"]));
    assert_eq!(report["generated_tokens"], 10);

    let book = models.at("book.txt");
    fs::write(&book, "the cat and the dog went away. ".repeat(20)).expect("a file");
    let arguments = ["eval", "--model", path(&file), "--against", path(&checkpoint), "--text", path(&book), "--json"];
    let evaluation = json_of(&mut rillm(&arguments));
    assert!(evaluation["kl"].as_f64().expect("a number") < 0.02, "{evaluation}");
}

#[test]
fn json_lists_the_tensors() {
    let models = Models::new();
    let report = json_of(&mut models.convert(&["--json"]));
    assert_eq!(report["file"], path(&models.file()));
    assert_eq!(report["file_bytes"], fs::metadata(models.file()).expect("a file").len());
    let tensors = report["tensors"].as_array().expect("a list");
    // The embedding table, nine tensors in each of two layers, the norm and the head.
    assert_eq!(tensors.len(), 1 + 2 * 9 + 2);
    for tensor in tensors {
        assert!(tensor["snr_db"].as_f64().is_none_or(|snr| snr > 30.0), "{tensor}");
    }
}

#[test]
fn the_same_bytes_each_time() {
    let models = Models::new();
    let [one, two] = ["one.rillm", "two.rillm"].map(|name| models.at(name));
    for file in [&one, &two] {
        rillm(&["convert", path(&models.checkpoint()), path(file)]).assert().success();
    }
    assert_eq!(fs::read(one).expect("a file"), fs::read(two).expect("a file"));
}

#[test]
fn options_reach_the_file() {
    let models = Models::new();
    models.convert(&["--group-size", "16", "--key-bits", "8"]).assert().success();
    let inspected = json_of(&mut rillm(&["inspect", path(&models.file()), "--json"]));
    assert_eq!(inspected["key_bits"], 8);
    assert_eq!(inspected["tensors"][0]["quantisation"], "int8/16");
}

#[test]
fn four_bits_make_a_smaller_file_that_runs() {
    // Distillation takes seconds with a larger one.
    let models = Models::new();
    let small = LlamaConfig {
        hidden_size: 32,
        intermediate_size: 48,
        n_layers: 1,
        n_heads: 4,
        n_kv_heads: 2,
        context_length: 32,
        ..config()
    };
    random::write(&models.checkpoint(), &small, Dtype::Bf16, 11).expect("a checkpoint");
    let (eight, four, again) = (models.at("eight.rillm"), models.at("four.rillm"), models.at("again.rillm"));
    let convert = |file, args: &[&str]| {
        let report = json_of(rillm(&["convert", path(&models.checkpoint()), path(file), "--json"]).args(args));
        ["bits_per_weight", "bytes_per_token"].map(|field| report[field].as_f64().expect("a number"))
    };
    let [bits, bytes] = convert(&eight, &[]);
    let [few_bits, few_bytes] = convert(&four, &["--bits", "4"]);
    assert!(bits > 8.0 && few_bits < 0.65 * bits, "{few_bits} and {bits} bits");
    assert!(few_bytes < 0.65 * bytes, "{few_bytes} and {bytes} bytes");
    // The only mix for a file of this size.
    let len = fs::metadata(&four).expect("a file").len().to_string();
    let table = stdout(&mut rillm(&["convert", path(&models.checkpoint()), path(&again), "--target-size", &len]));
    assert!(fs::read(&four).expect("a file") == fs::read(again).expect("a file"), "other bytes");
    let chosen = table.lines().find(|line| line.ends_with("chosen")).expect("a choice");
    assert!(chosen.starts_with("int4    int4    int4 ") && table.matches("not tried").count() == 7, "{table}");
    assert!(table.contains("\nKL ") && table.contains(" tokens that were not used for calibration"), "{table}");

    let inspected = json_of(&mut rillm(&["inspect", path(&four), "--verify", "--json"]));
    assert_eq!((&inspected["verified"], &inspected["tensors"][0]["quantisation"]), (&json!(true), &json!("int4/32")));
    let report = json_of(&mut rillm(&["run", "--model", path(&four), "--prompt", "hello", "-n", "10", "--json"]));
    assert_eq!(report["generated_tokens"], 10);
}

#[test]
fn a_text_to_calibrate_with_and_bits_by_class() {
    let models = Models::new();
    let book = models.at("book.txt");
    fs::write(&book, "the cat and the dog went away. ".repeat(200)).expect("a file");
    models.convert(&["--head-bits", "4", "--calibrate", path(&book)]).assert().success();
    let inspected = json_of(&mut rillm(&["inspect", path(&models.file()), "--json"]));
    for tensor in inspected["tensors"].as_array().expect("a list") {
        let expected = match tensor["name"].as_str().expect("a name") {
            "lm_head" => "int4/32",
            name if name.contains("norm") => "fixed32",
            _ => "int8/32",
        };
        assert_eq!(tensor["quantisation"], expected, "{tensor}");
    }

    fs::write(&book, "the cat and the dog").expect("a file");
    let message = error(&mut models.convert(&["--bits", "4", "--calibrate", path(&book)]), 1);
    assert!(message.contains("1024") && message.contains("--calibrate"), "{message}");
}

#[test]
fn a_file_of_that_name_is_replaced() {
    let models = Models::new();
    fs::write(models.file(), "something else").expect("a file");
    models.convert(&[]).assert().success();
    rillm(&["inspect", path(&models.file()), "--verify"]).assert().success();
    assert_eq!(models.names(), ["checkpoint", "model.rillm"]);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let cases: [(&str, Value, &str); 4] = [
        ("model_type", json!("gpt2"), "gpt2"),
        ("mlp_bias", json!(true), "true"),
        ("hidden_act", json!("gelu"), "gelu"),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0}), "yarn"),
    ];
    for (field, value, shown) in cases {
        let models = Models::new();
        models.set_config(field, value);
        let message = error(&mut models.convert(&[]), 1);
        assert!(message.contains("config.json") && message.contains(field) && message.contains(shown), "{message}");
        assert_eq!(models.names(), ["checkpoint"], "{field}");
    }
}

#[test]
fn a_refusal_leaves_the_older_file() {
    let models = Models::new();
    models.set_config("attention_bias", json!(true));
    fs::write(models.file(), "something else").expect("a file");
    error(&mut models.convert(&[]), 1);
    assert_eq!(fs::read(models.file()).expect("a file"), b"something else");
}

#[test]
fn a_wrong_group_size() {
    let models = Models::new();
    let message = error(&mut models.convert(&["--group-size", "17"]), 2);
    assert!(message.contains("17") && message.contains("512"), "{message}");
    assert_eq!(models.names(), ["checkpoint"]);
}

#[test]
fn a_tokenizer_elsewhere() {
    let models = Models::new();
    let tokenizer = models.at("tokenizer.json");
    fs::rename(models.checkpoint().join("tokenizer.json"), &tokenizer).expect("a file");

    let message = error(&mut models.convert(&[]), 1);
    assert_eq!(message.matches("no tokenizer.json").count(), 1, "{message}");
    assert!(message.contains(path(&models.checkpoint())) && message.contains("--tokenizer"), "{message}");
    let message = error(&mut models.convert(&["--tokenizer", "nowhere.json"]), 1);
    assert!(message.contains("nowhere.json"), "{message}");
    assert!(!models.file().exists());

    models.convert(&["--tokenizer", path(&tokenizer)]).assert().success();
    assert!(models.file().exists());
}

#[test]
fn a_place_that_no_file_can_be_made_in() {
    let models = Models::new();
    let missing = models.at("nowhere").join("model.rillm");
    let message = error(&mut rillm(&["convert", path(&models.checkpoint()), path(&missing)]), 1);
    assert!(message.contains("there is no directory") && message.contains(path(&models.at("nowhere"))), "{message}");
    let message = error(&mut rillm(&["convert", path(&models.checkpoint()), path(&models.checkpoint())]), 1);
    assert!(message.contains("is a directory") && message.contains("model.rillm"), "{message}");

    // The message names the output and the reason, but not the temporary file.
    let beside_a_file = models.checkpoint().join("config.json").join("model.rillm");
    let message = error(&mut rillm(&["convert", path(&models.checkpoint()), path(&beside_a_file)]), 1);
    assert!(message.contains(path(&beside_a_file)) && !message.contains(".part"), "{message}");
    assert_eq!(message.matches("os error").count(), 1, "{message}");
}

#[test]
fn what_is_no_checkpoint() {
    let models = Models::converted();
    let out = models.at("out.rillm");
    for (source, expected) in [
        (models.at("nowhere"), "there is no such file or directory; expected a Hugging Face directory"),
        (models.file(), "is a .rillm file already"),
        (models.checkpoint().join("model.safetensors"), "the weights alone; name the directory"),
        (models.at(""), "config.json"),
        (models.checkpoint().join("tokenizer.json"), "a GGUF file"),
    ] {
        let message = error(&mut rillm(&["convert", path(&source), path(&out)]), 1);
        assert!(message.contains(expected) && message.contains(path(&source)), "{message}");
        assert_eq!(message.matches("os error").count(), usize::from(message.contains("os error")), "{message}");
    }
    assert!(!out.exists());
}

#[test]
fn a_llama2c_file_finds_its_tokenizer_by_either_name() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("model.bin");
    let (model, tokenizer) = llama2c();
    fs::write(&source, model).unwrap();

    let out = directory.path().join("model.rillm");
    let convert = || rillm(&["convert", path(&source), path(&out)]);
    let message = error(&mut convert(), 1);
    assert!(message.contains("no tokenizer.bin and no tok259.bin"), "{message}");
    for name in ["tok259.bin", "tokenizer.bin"] {
        let tokenizer_path = directory.path().join(name);
        fs::write(&tokenizer_path, &tokenizer).unwrap();
        stdout(&mut convert());
        fs::remove_file(tokenizer_path).unwrap();
    }
}

#[test]
fn a_gguf_file_brings_its_tokenizer() {
    let models = Models::new();
    let checkpoint = Checkpoint::open(&models.checkpoint()).unwrap();
    let config = LlamaConfig {
        hidden_size: 64,
        intermediate_size: 96,
        n_heads: 8,
        n_kv_heads: 4,
        ..checkpoint.config().clone()
    };
    let (mut file, _) = gguf::random(&config, 3);
    let marks = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(text, kind)| (text.to_owned(), kind));
    let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), 6));
    let (tokens, types): (Vec<_>, Vec<_>) = marks.into_iter().chain(bytes).unzip();
    file.set("tokenizer.ggml.scores", gguf::Value::F32s(vec![0.0; tokens.len()]));
    file.set("tokenizer.ggml.tokens", gguf::Value::Texts(tokens));
    file.set("tokenizer.ggml.token_type", gguf::Value::I32s(types));
    file.set("tokenizer.ggml.model", gguf::Value::Text("llama".to_owned()));
    let (source, out) = (models.at("model.gguf"), models.file());
    fs::write(&source, file.to_bytes()).unwrap();

    stdout(&mut rillm(&["convert", path(&source), path(&out)]));
    let report = json_of(&mut models.run(&["--prompt", "hello", "-n", "4", "--json"]));
    // The beginning-of-text token, the space before the word (three bytes), and five letters.
    assert_eq!(report["prompt_tokens"], 1 + 3 + 5);
    let book = models.at("book.txt");
    fs::write(&book, "once upon a time").unwrap();
    let arguments = ["eval", "--model", path(&out), "--against", path(&source), "--text", path(&book), "--json"];
    let evaluation = json_of(&mut rillm(&arguments));
    assert!(evaluation["kl"].as_f64().unwrap() < 0.02, "{evaluation}");

    // A checkpoint is not overwritten.
    let message = error(&mut rillm(&["convert", path(&source), path(&source)]), 1);
    assert!(message.contains("is the checkpoint itself"), "{message}");
    assert_eq!(fs::read(&source).unwrap(), file.to_bytes());

    // Another tokenizer may be named. A damaged one is reported as damaged.
    let named = models.checkpoint().join("tokenizer.json");
    stdout(&mut rillm(&["convert", path(&source), path(&out), "--tokenizer", path(&named)]));
    file.remove("tokenizer.ggml.model");
    fs::write(&source, file.to_bytes()).unwrap();
    let message = error(&mut rillm(&["convert", path(&source), path(&out)]), 1);
    assert!(message.contains("model.gguf: tokenizer.ggml.model is absent"), "{message}");
    fs::write(&source, &file.to_bytes()[..1000]).unwrap();
    let message = error(&mut rillm(&["convert", path(&source), path(&out)]), 1);
    assert!(message.contains("model.gguf") && message.contains("cut off"), "{message}");
}

#[test]
fn a_file_is_evaluated_on_text_that_was_not_used() {
    let models = Models::new();
    let report = json_of(&mut models.convert(&["--head-bits", "4", "--rescore", "8", "--evaluate", "--json"]));
    let figure = |name: &str| report["evaluation"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert_eq!(figure("tokens"), f64::from(32 * CONTEXT));
    let (kl, top1) = (figure("kl"), figure("top1"));
    assert!(kl > 0.0 && kl < 0.02 && top1 > 0.9 && top1 <= 1.0, "{report}");
    assert_eq!(report["mixes"], json!([]));

    let table = stdout(&mut models.convert(&["--evaluate"]));
    let of_int8: f64 = words(&table, "\nKL ", " nats").parse().expect("a number");
    assert!(of_int8 < kl && table.contains("bits a weight") && !table.contains("note:"), "{of_int8} {kl} {table}");
}

#[test]
fn a_mix_is_searched_for() {
    let models = Models::new();
    for (goal, found) in [(["--target-size", "1K"], "1,024 bytes"), (["--max-kl", "1e-9"], "0.000000001 nats")] {
        let message = error(&mut models.convert(&goal), 1);
        assert!(message.contains(found) && models.names() == ["checkpoint"], "{message}");
    }
    // int8 is the closest, and fits.
    let len = json_of(&mut models.convert(&["--json"]))["file_bytes"].to_string();
    let eight = fs::read(models.file()).expect("a file");
    let report = json_of(&mut models.convert(&["--target-size", &len, "--json"]));
    assert_eq!(report["mixes"][0]["file_bytes"].to_string(), len);
    let mixes = report["mixes"].as_array().expect("a list");
    assert_eq!((mixes.len(), &mixes[0]["chosen"], &mixes[0]["layer_bits"]), (8, &json!(true), &json!(8)));
    assert_eq!(mixes[0]["evaluation"], report["evaluation"]);
    assert!(mixes[1..].iter().all(|mix| mix["evaluation"].is_null() && mix["chosen"] == false), "{report}");
    assert_eq!(fs::read(models.file()).expect("a file"), eight);
}
