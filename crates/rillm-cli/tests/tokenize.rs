//! `rillm tokenize`.

use crate::support::{Models, error, json, path, rillm, stdout};

#[test]
fn tokens_and_what_they_take() {
    let models = Models::converted();
    let file = models.file();
    let args = ["tokenize", "--model", path(&file), "the<|end|>"];
    let object = json(rillm(&args).arg("--json"));
    let texts: Vec<_> =
        object["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(texts[0], "<s>");
    assert!(texts[texts.len() - 1] == "<|end|>" && texts.len() < 8, "{texts:?}");
    assert_eq!(texts[1..].concat().trim_start(), "the<|end|>");
    assert!(object["reads"].as_u64() > Some(0));
    assert_eq!(object["bytes_read"].as_u64(), object["reads"].as_u64().map(|reads| 512 * reads));
    assert!((4000..8192).contains(&object["ram_bytes"].as_u64().unwrap()), "{object}");

    let lines = stdout(&mut rillm(&args));
    let (tokens, summary) = lines.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(tokens.lines().count(), texts.len());
    assert!(tokens.starts_with("       1 \"") && tokens.ends_with("<|end|>\""), "{tokens}");
    assert!(summary.starts_with(&format!("encoded: {} tokens; a token: ", texts.len())), "{summary}");
    assert!(
        summary.contains(" reads, ") && summary.contains(" seeks, ") && summary.ends_with("bytes of RAM"),
        "{summary}"
    );

    // From standard input, with the mark as plain text.
    for end in [&["-", "--plain"][..], &["--plain"]] {
        let plain = json(rillm(&args[..3]).args(end).arg("--json").write_stdin("the<|end|>"));
        let ids: Vec<_> =
            plain["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap()).collect();
        assert!(!ids.iter().any(|text| text.contains("<|end|>")) && ids.len() > texts.len(), "{ids:?}");
        assert_eq!(ids[1..].concat().trim_start(), "the<|end|>");
    }
    // The final newline from the shell is not part of the text.
    let ids =
        |end: &str| json(rillm(&args[..3]).arg("--json").write_stdin(format!("the<|end|>{end}")))["tokens"].clone();
    assert!(ids("") == object["tokens"] && ids("\n") == ids("") && ids("\r\n") == ids("") && ids("\n\n") != ids(""));
    assert!(stdout(rillm(&args[..3]).arg("")).contains("encoded: 1 token; a token: "));
    let none = json(rillm(&args[..3]).args(["", "--json"]));
    assert_eq!(none["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn text_that_is_no_utf8() {
    let message = error(rillm(&["tokenize"]).write_stdin(&b"\xff"[..]), 1);
    assert!(message.contains("cannot read the text from standard input as UTF-8"), "{message}");
}
