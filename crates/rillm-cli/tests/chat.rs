//! `rillm chat` with its input from a pipe.

use crate::support::{self, Models, TEMPLATE, chatty, error, rillm, stdout, text};
use predicates::str::contains;
use serde_json::Value;

fn chat(models: &Models, args: &[&str], lines: &str) -> assert_cmd::Command {
    let mut command = rillm(&["chat", "--model", support::path(&models.file()), "--temperature", "0"]);
    command.args(args).write_stdin(lines.to_owned());
    command
}

/// The JSON object of each answer.
fn answers(models: &Models, args: &[&str], lines: &str) -> Vec<Value> {
    let stdout = stdout(chat(models, args, lines).arg("--json"));
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} of {value}"))
}

#[test]
fn answers_of_a_chat() {
    let models = chatty(TEMPLATE);
    let answers = answers(&models, &["-n", "5"], "hello\n\n  \ngood day\nwhy\n");
    assert_eq!(answers.len(), 3);
    for (turn, answer) in answers.iter().enumerate() {
        assert!(number(answer, "generated_tokens") <= 5);
        assert_eq!(number(answer, "turns") + number(answer, "forgotten_turns"), turn as u64 + 1);
        assert!(number(answer, "context_tokens") > number(answer, "prompt_tokens"));
    }
    // The first turn is not computed again.
    let new = number(&answers[1], "prompt_tokens") - number(&answers[1], "cached_tokens");
    assert_eq!(number(&answers[0], "cached_tokens"), 0);
    assert!(new < 30 && number(&answers[1], "cached_tokens") > 15, "{new}");
}

#[test]
fn the_text_goes_to_stdout_and_figures_to_stderr() {
    let models = chatty(TEMPLATE);
    let texts: Vec<String> = answers(&models, &["-n", "5"], "hello\ngood day\n")
        .iter()
        .map(|answer| answer["text"].as_str().expect("text").to_owned())
        .collect();
    let assert = chat(&models, &["-n", "5"], "hello\ngood day\n").assert().success();
    assert_eq!(text(assert.get_output().stdout.clone()), format!("{}\n{}\n", texts[0], texts[1]));
    let stderr = text(assert.get_output().stderr.clone());
    assert_eq!(stderr.lines().filter(|line| line.contains(" tokens at ")).count(), 2, "{stderr}");
}

#[test]
fn a_full_context_slides_and_says_so() {
    let models = chatty(TEMPLATE);
    let lines = "one\ntwo\nthree\nfour\nfive\n";
    let args = ["-n", "9", "--context", "60"];
    let answers = answers(&models, &args, lines);
    let forgotten: u64 = answers.iter().map(|answer| number(answer, "forgotten_turns")).sum();
    assert!(forgotten > 0 && answers.iter().all(|answer| number(answer, "context_tokens") <= 60));
    assert!(answers.iter().all(|answer| answer["stop"] != "context_full"));
    chat(&models, &args, lines).assert().success().stderr(contains("the context of 60 is full: forgot the oldest "));
    // A turn that does not fit is rejected, and the chat continues.
    let lines = format!("one\n{}\ntwo\n", "x".repeat(60));
    let refused =
        chat(&models, &args, &lines).arg("--json").assert().code(1).stderr(contains("error: the text makes "));
    assert_eq!(text(refused.get_output().stdout.clone()).lines().count(), 2);
}

#[test]
fn a_context_without_room_for_the_template() {
    let models = chatty(TEMPLATE);
    let template = support::words(&error(&mut chat(&models, &["--context", "9"], ""), 1), "template takes ", " tokens");
    let needed = template.parse::<usize>().expect("a number") + 2;
    let refused = error(&mut chat(&models, &["--context", &(needed - 1).to_string()], ""), 1);
    assert!(refused.contains(&format!("room for {}; use --context {needed} or more", needed - 1)), "{refused}");
    assert_eq!(answers(&models, &["--context", &needed.to_string()], "").len(), 0);
    // The plan chose this context.
    let smallest = support::words(&error(&mut chat(&models, &["--ram", "1K"], ""), 1), "use --ram ", " or more");
    let refused = error(&mut chat(&models, &["--ram", &smallest], ""), 1);
    assert!(refused.contains(&format!("and --ram {smallest} has room for ")), "{refused}");
    let ram = support::words(&refused, "use --ram ", " or more");
    assert_eq!(answers(&models, &["--ram", &ram, "-n", "1"], "a\n").len(), 1);
}

#[test]
fn inspect_tells_whether_a_model_chats() {
    for (template, system, line) in [
        (TEMPLATE, true, "chat         yes, with system prompt\n"),
        (
            &TEMPLATE.replace("{{ bos_token }}", "{{ raise_exception('no') if messages[0].role == 'system' }}"),
            false,
            "chat         yes, without system prompt\n",
        ),
    ] {
        let models = chatty(template);
        let file = models.file();
        let inspect = ["inspect", support::path(&file)];
        assert!(stdout(&mut rillm(&inspect)).contains(line));
        let object = support::json(rillm(&inspect).arg("--json"));
        assert!(object["chat"] == true && object["system_prompt"] == system);
    }
}

#[test]
fn commands() {
    let models = chatty(TEMPLATE);
    chat(&models, &["-n", "2"], "/help\n/stats\nhello\n/exit\nhello\n")
        .assert()
        .success()
        .stderr(contains("/save [FILE]"))
        .stderr(contains("0 turns, "));
    let answers = answers(&models, &["-n", "2"], "hello\n/reset\nhello\n/exit\nhello\n");
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["token_ids"], answers[1]["token_ids"]);
    for (line, message) in [
        ("/nonsense", "there is no command `/nonsense`; /help lists them"),
        ("/reset now", "/reset takes no value, and there is `now`"),
        ("/save", "name a file"),
        ("/save /nowhere/at/all", "there is no directory /nowhere/at"),
    ] {
        let error = error(&mut chat(&models, &[], &format!("{line}\n")), 1);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_saved_chat_goes_on_where_it_ended() {
    let models = chatty(TEMPLATE);
    let whole = answers(&models, &["-n", "4", "--system", "Be brief."], "one\ntwo\nthree\n");
    let cache = models.at("talk.cache");
    let cached = ["-n", "4", "--prompt-cache", support::path(&cache)];
    let begun = answers(&models, &[&cached[..], &["--system", "Be brief."]].concat(), "one\ntwo\n");
    assert_eq!(begun[1]["token_ids"], whole[1]["token_ids"]);
    let last = answers(&models, &cached, "three\n");
    assert_eq!((&last[0]["token_ids"], &last[0]["turns"]), (&whole[2]["token_ids"], &whole[2]["turns"]));
    assert_eq!(last[0]["cached_tokens"], whole[2]["cached_tokens"]);
    let error = error(&mut chat(&models, &[&cached[..], &["--system", "Be long."]].concat(), "four\n"), 1);
    assert!(error.contains("has another system prompt; leave --system out, name another file"), "{error}");
    // `/save` to another file.
    let other = models.at("other.cache");
    let save = format!("one\ntwo\n/save {}\n", other.display());
    chat(&models, &["-n", "4", "--system", "Be brief."], &save).assert().success();
    let last = answers(&models, &["-n", "4", "--prompt-cache", support::path(&other)], "three\n");
    assert_eq!(last[0]["token_ids"], whole[2]["token_ids"]);
    // A file that `rillm run` saved is not a chat.
    let run = models.at("run.cache");
    models.run(&["--prompt", "a", "-n", "2", "--prompt-cache", support::path(&run)]).assert().success();
    let refused = support::error(&mut chat(&models, &["--prompt-cache", support::path(&run)], "one\n"), 1);
    assert!(refused.contains("run.cache is not of a chat; name another file, or delete this one"), "{refused}");
    // `rillm run` must not replace a saved chat either.
    let before = std::fs::read(&cache).expect("a file");
    let refused = support::error(&mut models.run(&["--prompt", "a", "--prompt-cache", support::path(&cache)]), 1);
    assert!(refused.contains("talk.cache is the saved session of a chat; continue it with `rillm chat`"), "{refused}");
    assert_eq!(std::fs::read(&cache).expect("a file"), before);
}

#[test]
fn a_file_that_is_no_saved_session_is_never_replaced() {
    let models = chatty(TEMPLATE);
    let keep = models.at("keep.txt");
    std::fs::write(&keep, "a poem").expect("a file");
    let save = format!("/save {}\n", keep.display());
    let refused = error(&mut chat(&models, &[], &save), 1);
    assert!(refused.contains("keep.txt is no saved session; name another file"), "{refused}");
    let refused = error(&mut chat(&models, &["--prompt-cache", support::path(&keep)], "one\n"), 1);
    assert!(refused.contains("keep.txt is no prompt cache; name another file"), "{refused}");
    assert_eq!(std::fs::read(&keep).expect("a file"), b"a poem");
}

#[test]
fn a_line_that_is_not_utf8_is_left_out() {
    let models = chatty(TEMPLATE);
    let cache = models.at("talk.cache");
    let mut chat = chat(&models, &["-n", "3", "--json", "--prompt-cache", support::path(&cache)], "");
    let assert = chat.write_stdin(&b"one\ncaf\xe9\ntwo"[..]).assert().code(1);
    let output = assert.get_output();
    assert!(text(output.stderr.clone()).contains("error: a line is not UTF-8 from its byte 4 on"));
    assert_eq!(text(output.stdout.clone()).lines().count(), 2);
    let last = answers(&models, &["-n", "3", "--prompt-cache", support::path(&cache)], "three\n");
    assert_eq!(last[0]["turns"], 3);
}

#[test]
fn models_that_do_not_chat() {
    let refused = error(rillm(&["chat"]).write_stdin("hello\n"), 1);
    assert!(refused.contains("the bundled model has no chat template") && refused.contains("rillm run"), "{refused}");
    // A template that rillm does not support: the file is made, with a note that says why it has no chat template.
    let models = chatty("{% for m in messages %}{{ loop.length }}{{ m.content }}{% endfor %}");
    let report = support::json(&mut models.convert(&["--json"]));
    assert_eq!(report["chat"], false);
    assert!(report["chat_problem"].as_str().expect("a reason").contains("how many turns"), "{report}");
    assert!(error(&mut chat(&models, &[], "hello\n"), 1).contains("has no chat template that rillm can use"));
    // A template without a place for a system prompt.
    let models =
        chatty(&TEMPLATE.replace("{{ bos_token }}", "{{ raise_exception('no') if messages[0].role == 'system' }}"));
    let refused = error(&mut chat(&models, &["--system", "Be brief."], "hello\n"), 1);
    assert!(refused.contains("no place for a system prompt"), "{refused}");
}

/// Ctrl-C ends a long answer, and the next line is answered.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_answer_and_not_the_chat() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    let models = chatty(TEMPLATE);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(["chat", "--model", support::path(&models.file()), "--temperature", "0", "--json"])
        .args(["--source", "throttled", "--card-latency", "20000", "--ram", "36K"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut stops = Vec::new();
    for _ in 0..2 {
        writeln!(stdin, "hello").expect("a line");
        std::thread::sleep(std::time::Duration::from_millis(700));
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
        assert!(kill.success());
        let mut line = String::new();
        stdout.read_line(&mut line).expect("an answer");
        stops.push(serde_json::from_str::<Value>(&line).expect("JSON")["stop"].clone());
    }
    drop(stdin);
    assert_eq!(stops, ["interrupted", "interrupted"]);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}
