//! `rillm inspect`.

use std::fs;

use crate::support::{CONTEXT, Models, VOCAB_SIZE, error, json, path, rillm, stdout};

#[test]
fn json_describes_the_file() {
    let models = Models::converted();
    let file = json(&mut rillm(&["inspect", path(&models.file()), "--json"]));
    for (name, value) in [
        ("hidden_size", 48),
        ("intermediate_size", 80),
        ("num_hidden_layers", 2),
        ("num_attention_heads", 6),
        ("num_key_value_heads", 3),
        ("head_dim", 8),
        ("vocab_size", VOCAB_SIZE),
        ("max_position_embeddings", CONTEXT),
        ("bos_token_id", 1),
    ] {
        assert_eq!(file[name], value, "{name}");
    }
    assert_eq!(file["file_bytes"], fs::metadata(models.file()).expect("a file").len());
    assert_eq!(file["source"], "checkpoint");
    assert_eq!(file["source_sha256"].as_str().expect("a hash").len(), 64);
    assert_eq!(file["tie_word_embeddings"], true);
    assert!(file.get("verified").is_none());
    assert_eq!((&file["tokenizer"], &file["chat"]), (&"sentencepiece BPE".into(), &false.into()));
    assert!(file["tokenizer_split"].is_null() && file["system_prompt"] == false);
    // Two layers of norms, attention and feed-forward, then the last norm and the embedding table.
    let layer = 2 * 48 + 2 * 48 * 48 + 2 * 24 * 48 + 3 * 48 * 80;
    assert_eq!(file["parameters"], 2 * layer + 48 + VOCAB_SIZE * 48);
}

#[test]
fn tables_name_everything() {
    let models = Models::converted();
    let text = stdout(&mut rillm(&["inspect", path(&models.file()), "--verify"]));
    for expected in ["hidden size", "tokenizer", "tape", "layers.0.q_proj", "lm_head", "parameters", "whole:"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains('\x1b'));
    let dimensions = text.split("\n\n").next().expect("dimensions");
    for line in ["parameters   ", "tokenizer    sentencepiece BPE\n", "chat         no\n"] {
        assert!(dimensions.contains(line), "{line} in {dimensions}");
    }
}

#[test]
fn one_bit_of_a_weight() {
    let models = Models::converted();
    let described = json(&mut rillm(&["inspect", path(&models.file()), "--json"]));
    let tensors = described["tensors"].as_array().expect("a list");
    let tensor = tensors.iter().find(|tensor| tensor["name"] == "layers.1.up_proj").expect("a tensor");
    let [offset, len] = ["offset", "bytes"].map(|name| tensor[name].as_u64().expect("a number") as usize);
    let mut bytes = fs::read(models.file()).expect("a file");
    bytes[offset + len / 2] ^= 1;
    fs::write(models.file(), bytes).expect("a file");

    rillm(&["inspect", path(&models.file())]).assert().success();
    for args in [&[][..], &["--json"]] {
        let message = error(rillm(&["inspect", path(&models.file()), "--verify"]).args(args), 1);
        assert!(message.contains("layers.1.up_proj") && message.contains(path(&models.file())), "{message}");
        assert!(!message.contains("layers.1.down_proj") && !message.contains("layers.0"), "{message}");
    }
}

#[test]
fn a_file_that_was_not_copied_whole() {
    let models = Models::converted();
    let bytes = fs::read(models.file()).expect("a file");
    for len in [bytes.len() - 1, bytes.len() / 2, 600, 512, 100, 8, 1] {
        fs::write(models.file(), &bytes[..len]).expect("a file");
        for command in [&mut rillm(&["inspect", path(&models.file())]), &mut models.run(&["--prompt", "a"])] {
            let message = error(command, 1);
            assert!(message.contains(&format!(" {len} bytes")), "{len}: {message}");
            assert!(message.contains("copy it again") && message.contains(path(&models.file())), "{message}");
        }
    }
}

#[test]
fn what_is_no_rillm_file() {
    let models = Models::converted();
    let [empty, other] = ["empty", "other"].map(|name| models.at(name));
    fs::write(&empty, "").expect("a file");
    fs::write(&other, "some text ".repeat(200)).expect("a file");
    for (file, expected) in [
        (empty, "is empty"),
        (other, "not a .rillm file"),
        (models.checkpoint(), "is a directory"),
        (models.at("nowhere"), "os error 2"),
    ] {
        for command in [&mut rillm(&["inspect", path(&file)]), &mut rillm(&["run", "--model", path(&file)])] {
            let message = error(command, 1);
            assert!(message.contains(expected) && message.contains(path(&file)), "{message}");
        }
    }
}

#[test]
fn widths_and_logits_that_are_computed_again_are_told() {
    let models = Models::new();
    // Rows of their own, as the embedding table has 4 bits, too.
    let args = ["--head-bits", "4", "--embed-bits", "4", "--rescore", "9", "--json"];
    let converted = json(&mut models.convert(&args));
    let file = models.file();
    let inspected = json(&mut rillm(&["inspect", path(&file), "--json"]));
    for field in ["bits_per_weight", "bytes_per_token", "rescored_rows", "rescoring_bytes"] {
        assert_eq!(inspected[field], converted[field], "{field}");
    }
    assert!(inspected["rescored_rows"] == 9 && inspected["rescoring_bytes"].as_u64() > Some(48 * 403), "{inspected}");
    let text = stdout(&mut rillm(&["inspect", path(&file)]));
    for expected in
        ["layers int8/32, head int4/32, embedding table int4/32; ", "the 9 best logits", "rows of their own"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
    }

    let plan = json(&mut rillm(&["plan", "--board", "esp32-cam", "--model", path(&file), "--json"]));
    assert_eq!((&plan["rescoring_reads"], &plan["rescoring_bytes"]), (&9.into(), &(9 * 1024).into()));
    let plan = stdout(&mut rillm(&["plan", "--board", "esp32-cam", "--model", path(&file)]));
    assert!(plan.contains("up to 9,216 bytes more in 9 reads, for the logits that are computed again"), "{plan}");
    let flash = ["plan", "--board", "esp32-cam", "--model", path(&file), "--source", "flash", "--json"];
    assert_eq!(json(&mut rillm(&flash))["rescoring_reads"], 0);
}
