//! Chats on the console, with a random model that has a chat template.

use crate::support::chat_model::MODEL;
use crate::support::{RAM, Script, converse, run};
use rillm::{Bytes, Chat, Faulty, Memory, Model, PlanOptions, Sampling, Session, block_on};
use rillm_generate::{Check, Generation, Step};

const START: &str = "/temp 0\r/max 4\r/check on\r";

/// The output of a session with the model.
fn chat(typed: &str) -> String {
    let open = async |_: Option<&str>| Ok::<_, &str>((Bytes::copied(&MODEL), "a file in memory"));
    run(&mut Script::new(typed), open)
}

/// The check lines of a conversation without the console.
fn expected(system: Option<&str>, turns: &[&str]) -> Vec<String> {
    let mut source = Bytes::copied(&MODEL);
    let model = block_on(Model::open(&mut source)).unwrap();
    let mut ram = vec![0; RAM];
    let mut session = Session::new(&model, source, Memory::internal(&mut ram), &PlanOptions::default()).unwrap();
    let mut chat = block_on(Chat::new(&mut session, system)).unwrap();
    let mut answer = |turn: &&str| {
        block_on(chat.ask(&mut session, turn)).unwrap();
        let generation = Generation::new(&model, "", Sampling::GREEDY).max_tokens(4).with_fingerprint();
        let mut generation = generation.in_chat(&mut chat);
        while !matches!(block_on(generation.step(&mut session)).unwrap(), Step::Done(_)) {}
        Check { ids: session.tokens(), logits: generation.fingerprint().unwrap() }.to_string()
    };
    turns.iter().map(&mut answer).collect()
}

fn checks(seen: &str) -> Vec<&str> {
    seen.lines().filter(|line| line.starts_with("check: ")).collect()
}

#[test]
fn a_line_is_a_turn() {
    let seen = chat(&format!("{START}the sea\rand then?\r"));
    assert!(seen.contains("Say something to the model, or type /help.\r\n"), "{seen}");
    assert_eq!(checks(&seen), expected(None, &["the sea", "and then?"]));
    // What was typed is not printed again.
    assert_eq!(seen.matches("and then?").count(), 1, "{seen}");
    assert!(!seen.contains("forgot"), "{seen}");
}

#[test]
fn a_system_text_starts_the_chat_again() {
    let system = "say one thing";
    let seen = chat(&format!("{START}the sea\r/system {system}\rthe sea\r/reset\r{START}a\r/system\ra\r"));
    assert_eq!(seen.matches("the chat starts again\r\n").count(), 2, "{seen}");
    let [first, with, reset, without] = checks(&seen)[..] else { panic!("{seen}") };
    assert_eq!(first, expected(None, &["the sea"])[0]);
    assert_eq!(with, expected(Some(system), &["the sea"])[0]);
    // The system prompt outlives a reset, but not another one.
    assert_eq!(reset, expected(Some(system), &["a"])[0]);
    assert_eq!(without, expected(None, &["a"])[0]);
    let seen = chat(&format!("/system {}\r", "x y z ".repeat(40)));
    assert!(seen.contains("a chat starts with ") && seen.contains("room for 96; shorten the system prompt"), "{seen}");
    let seen = converse("/system be kind\r/max\r");
    assert!(seen.contains("> /system be kind\r\nthis model does not chat: ") && seen.contains("max 256"), "{seen}");
}

#[test]
fn a_model_for_chats_goes_on_with_texts_too() {
    let seen = chat(&format!("{START}the\r/chat off\rthe\r/chat on\rthe\r/chat maybe\r"));
    let [first, text, last] = checks(&seen)[..] else { panic!("{seen}") };
    assert_eq!(first, last);
    assert_eq!(first, expected(None, &["the"])[0]);
    assert_ne!(first, text);
    assert!(text.starts_with("check: 6 tokens, ids 1 323 "), "{text}");
    assert!(seen.contains("`maybe` cannot be taken: it must be on or off; still chat on\r\n"), "{seen}");
    let seen = converse("/chat on\r/max 1\rOnce\r");
    assert!(seen.contains("Type the beginning of a text") && seen.contains("\r\nOnce"), "{seen}");
}

#[test]
fn the_oldest_turns_are_forgotten() {
    let turns = ["the boat and the sea"; 8];
    let seen = chat(&format!("{START}{}\r", turns.join("\r")));
    assert_eq!(checks(&seen), expected(None, &turns));
    assert!(seen.contains("the context of 96 is full: forgot the oldest "), "{seen}");
    let seen = chat(&format!("{START}{}\rthe sea\r", "x y z ".repeat(40)));
    assert!(seen.contains("the text has at least ") && seen.contains("there is room for 96; shorten it\r\n"), "{seen}");
    assert_eq!(checks(&seen), expected(None, &["the sea"]));
}

#[test]
fn failed_reads_lose_nothing_of_a_chat() {
    let turns = ["the sea", "and then?"];
    let typed = format!("{START}{}\r", turns.join("\r"));
    let expected = expected(None, &turns);
    let mut errors = 0;
    for reads in (10..150).step_by(3) {
        let open = async |_: Option<&str>| Ok::<_, &str>((Faulty::new(Bytes::copied(&MODEL), reads), "a file"));
        let seen = run(&mut Script::new(&typed), open);
        errors += seen.matches("trying again, 1 of 3]").count();
        assert_eq!(checks(&seen), expected, "{seen}");
    }
    assert!(errors > 20, "{errors}");
}

#[test]
fn a_choice_follows_what_was_said() {
    let seen = chat(&format!("{START}the sea\r/choose | on | off\rand\r"));
    assert_eq!(checks(&seen), expected(None, &["the sea", "and"]));
    let alone = chat("/choose | on | off\r");
    let logarithm = |seen: &str| seen.lines().find(|line| line.ends_with(" on")).map(str::to_owned);
    assert!(logarithm(&seen).is_some());
    assert_ne!(logarithm(&seen), logarithm(&alone));
}

#[test]
fn the_bench_says_that_the_chat_is_forgotten() {
    let seen = chat(&format!("{START}the sea\r/bench\rthe sea\r"));
    assert!(seen.contains("the chat is forgotten, as its memory is needed\r\n"), "{seen}");
    assert_eq!(checks(&seen), [expected(None, &["the sea"]), expected(None, &["the sea"])].concat());
}

#[test]
fn a_self_test_of_another_model_prints_a_check_line() {
    let seen = chat("/selftest\r/chat off\r/temp 0\r/max 12\r/check on\rOnce upon a time\r");
    let [test, text] = checks(&seen)[..] else { panic!("{seen}") };
    assert_eq!(test, text);
    assert!(seen.contains("-n 12 --check` prints for this file?\r\nselftest: passed\r\n"), "{seen}");
}
