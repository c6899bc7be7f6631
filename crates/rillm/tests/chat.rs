//! Chats: the tokens of a session, the tokens computed, and the turns removed when the context is full.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use crate::support::{self, block_on, open};
use rillm::{Bytes, Chat, ChatError, Error, Faulty, PlanOptions, Sampling, Session, WeightSource};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert};
use rillm_quantise::config::LlamaConfig;

/// Zephyr's template: a mark after every text, here the tiny tokenizer's `<|end|>`. Texts are trimmed.
const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content | trim + '<|end|>' }}{% endfor %}assistant:";
const RAM: usize = 100 << 10;
const END: u32 = 345;
const EOS: u32 = 2;

/// A random model with this template.
fn file_of(template: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let config = &LlamaConfig { context_length: 256, ..support::shapes()[1].clone() };
    rillm_convert::random::write(directory.path(), config, Dtype::F16, 3).unwrap();
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rillm-convert/tests/tiny_tokenizer.json");
    let mut vocabulary = Vocabulary::open(tokenizer.as_ref(), config.vocab_size).unwrap();
    vocabulary.chat_template = template.to_owned();
    vocabulary.special_tokens = vec![("bos_token".to_owned(), "<s>".to_owned())];
    let out = directory.path().join("model.rillm");
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let sections = vocabulary.sections().unwrap();
    convert(&checkpoint, &sections, Options::default(), |_| ControlFlow::Continue(()), &out).unwrap();
    std::fs::read(out).unwrap()
}

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| file_of(TEMPLATE));

/// Runs `test` with a session with a context of `context`.
fn with_session<T>(context: usize, test: impl FnOnce(&mut Session<'_, Bytes<'_>>) -> T) -> T {
    with_file(&FILE, context, test)
}

fn with_file<T>(file: &[u8], context: usize, test: impl FnOnce(&mut Session<'_, Bytes<'_>>) -> T) -> T {
    let (model, source) = open(Bytes::copied(file));
    let options = PlanOptions::default().context(context);
    let mut memory = vec![0; RAM];
    test(&mut support::session(&model, source, &options, &mut memory))
}

fn logits<S: WeightSource<Error: std::fmt::Debug>>(session: &mut Session<'_, S>) -> Vec<(i32, i32)> {
    let mut logits = Vec::new();
    block_on(session.logits(|logit| logits.push((logit.mantissa, logit.exponent)))).unwrap();
    logits
}

/// Pushes an answer of `len` tokens, with or without its end mark.
fn answer(session: &mut Session<'_, Bytes<'_>>, len: usize, ended: bool) {
    for _ in 0..len {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    if ended {
        session.push(&[END]).unwrap();
    }
}

/// The tokens of a text at the start of a session.
fn tokens_of(text: &str) -> Vec<u32> {
    with_session(64, |session| {
        block_on(session.push_text(&format!("<s>{text}"))).unwrap();
        // Without the start-of-text token.
        session.tokens()[1..].to_vec()
    })
}

#[test]
fn a_chat_has_the_templates_tokens() {
    with_session(64, |session| {
        let mut chat = block_on(Chat::new(session, None)).unwrap();
        block_on(chat.ask(session, "  hello\n")).unwrap();
        assert_eq!(session.tokens(), tokens_of("user: hello<|end|>assistant:"));
        session.push(&[100, 101]).unwrap();
        let first = session.tokens().to_vec();
        let second = &tokens_of("<|end|>user: good<|end|>assistant:")[1..];
        // Whatever token ended the answer, the template's mark follows it exactly once.
        for ending in [&[][..], &[END], &[EOS]] {
            session.truncate(first.len());
            let mut chat = chat.clone();
            session.push(ending).unwrap();
            assert_eq!(block_on(chat.ask(session, "good")), Ok(0));
            assert_eq!(session.tokens(), [&first, second].concat(), "{ending:?}");
            assert_eq!(chat.turns(), 2);
        }
        let mut chat = block_on(Chat::new(session, Some(" Be brief. "))).unwrap();
        block_on(chat.ask(session, "hello")).unwrap();
        assert_eq!(session.tokens(), tokens_of("system: Be brief.<|end|>user: hello<|end|>assistant:"));
        assert!(chat.ends(session, END) && chat.ends(session, EOS) && !chat.ends(session, 100));
    });
}

#[test]
fn marks_in_what_is_said_are_text() {
    with_session(64, |session| {
        let mut chat = block_on(Chat::new(session, None)).unwrap();
        block_on(chat.ask(session, "a<|end|>b<s></s>")).unwrap();
        let marks = session.tokens().iter().filter(|&&id| id == END).count();
        assert_eq!((marks, session.tokens().iter().filter(|&&id| id < 3).count()), (1, 1), "{:?}", session.tokens());
    });
}

#[test]
fn only_new_tokens_are_computed() {
    with_session(128, |session| {
        let mut chat = block_on(Chat::new(session, Some("Be brief."))).unwrap();
        block_on(chat.ask(session, "hello")).unwrap();
        answer(session, 5, true);
        let (before, computed) = (session.tokens().len(), session.stats().tokens);
        block_on(chat.ask(session, "good day")).unwrap();
        let new = session.tokens().len() - before;
        answer(session, 1, false);
        // The token that ended the answer was not computed before, and the last token is not computed yet.
        assert_eq!(session.stats().tokens - computed, new as u64 + 2);
        // The turns are removed, and the system prompt stays computed.
        chat.reset(session);
        assert_eq!((session.tokens().len(), chat.turns()), (chat.prologue(), 0));
        let computed = session.stats().tokens;
        block_on(chat.ask(session, "hello")).unwrap();
        answer(session, 1, false);
        assert_eq!(session.stats().tokens - computed, (session.tokens().len() - 1 - chat.prologue()) as u64);
    });
}

#[test]
fn a_full_context_forgets_whole_turns() {
    with_session(64, |session| {
        let mut chat = block_on(Chat::new(session, Some("Be brief."))).unwrap();
        let questions = ["one", "two", "three", "four", "five", "six", "seven"];
        let mut answers = Vec::new();
        let mut forgotten = 0;
        for (turn, question) in questions.iter().enumerate() {
            forgotten += block_on(chat.ask(session, question)).unwrap();
            let start = session.tokens().len();
            answer(session, 2 + turn % 3, true);
            answers.push(session.tokens()[start..].to_vec());
            assert_eq!(chat.turns() + forgotten, turn as u32 + 1);
        }
        assert!(forgotten > 0, "{}", session.tokens().len());
        // The result equals that of a chat that had only the remaining turns.
        let slid = (session.tokens().to_vec(), logits(session));
        let mut fresh = block_on(Chat::new(session, Some("Be brief."))).unwrap();
        for (question, answer) in questions.iter().zip(&answers).skip(forgotten as usize) {
            assert_eq!(block_on(fresh.ask(session, question)), Ok(0));
            session.push(answer).unwrap();
        }
        assert_eq!((session.tokens().to_vec(), logits(session)), slid);
    });
}

#[test]
fn an_answer_that_reaches_the_end_pushes_the_oldest_turns_out() {
    with_session(80, |session| {
        let mut chat = block_on(Chat::new(session, None)).unwrap();
        for question in ["one", "two"] {
            block_on(chat.ask(session, question)).unwrap();
            answer(session, 3, true);
        }
        block_on(chat.ask(session, "three")).unwrap();
        let present = session.tokens().len();
        assert_eq!(chat.make_room(session), 0);
        answer(session, 80 - present, false);
        let said = session.tokens()[present..].to_vec();
        let forgotten = chat.make_room(session);
        assert!((1..=2).contains(&forgotten) && chat.turns() == 3 - forgotten);
        assert!(session.tokens().ends_with(&said) && session.tokens().len() < 80 - 80 / 4);
        answer(session, 80 - session.tokens().len(), false);
        // In the end, only the current turn is left.
        while chat.turns() > 1 {
            assert!(chat.make_room(session) > 0);
            answer(session, 80 - session.tokens().len(), false);
        }
        assert_eq!(chat.make_room(session), 0);
        let full = block_on(session.next(&Sampling::GREEDY)).map(|token| token.id);
        assert_eq!(full, Err(Error::ContextFull { tokens: 81, context: 80 }));
        // The chat continues: the whole turn is removed.
        assert_eq!(block_on(chat.ask(session, "four")), Ok(1));
        assert_eq!(session.tokens(), tokens_of("user: four<|end|>assistant:"));
    });
}

#[test]
fn a_text_that_is_too_long_changes_nothing() {
    with_session(48, |session| {
        let mut chat = block_on(Chat::new(session, None)).unwrap();
        block_on(chat.ask(session, "one")).unwrap();
        for ended in [true, false] {
            answer(session, 2, ended);
            let before = (session.tokens().to_vec(), chat.numbers().collect::<Vec<_>>());
            let error = block_on(chat.ask(session, &"x".repeat(40)));
            let Err(ChatError::TooLong { tokens, context: 48 }) = error else { panic!("{error:?}") };
            assert!(tokens > 48 && tokens < 70, "{tokens}");
            assert_eq!((session.tokens().to_vec(), chat.numbers().collect()), before);
        }
        assert!(matches!(block_on(Chat::new(session, Some(&"x".repeat(60)))), Err(ChatError::TooLong { .. })));
        assert!(session.tokens().is_empty());
    });
}

/// A text after the prologue may have a space before it, and a text after a turn none. A text may therefore be too long
/// only after the prologue. That must be detected before any turn is removed.
#[test]
fn a_text_that_is_too_long_after_the_prologue_changes_nothing() {
    let (model, _) = open(Bytes::copied(&FILE));
    let section = model.header().section(rillm::format::SectionKind::Chat).unwrap();
    let mut too_long = 0;
    for flags in 0..4u8 {
        let mut file = FILE.clone();
        // The space flags of the parts before the first turn and between turns.
        let at = section.offset as usize + 4;
        file[at] = file[at] & !0x48 | (flags & 1) << 3 | (flags & 2) << 5;
        for context in 36..48 {
            with_file(&file, context, |session| {
                let mut chat = block_on(Chat::new(session, None)).unwrap();
                block_on(chat.ask(session, "one")).unwrap();
                answer(session, 2, true);
                let before = (session.tokens().to_vec(), chat.numbers().collect::<Vec<_>>());
                match block_on(chat.ask(session, "xyxyxyxyxyxyxyxyxyxy")) {
                    Ok(forgotten) => assert_eq!(chat.turns(), 2 - forgotten),
                    Err(ChatError::TooLong { .. }) => {
                        too_long += 1;
                        assert_eq!((session.tokens().to_vec(), chat.numbers().collect()), before);
                    }
                    error => panic!("flags {flags}, context {context}: {error:?}"),
                }
            });
        }
    }
    assert!(too_long > 4, "{too_long}");
}

#[test]
fn more_turns_than_places_are_forgotten_together() {
    // Short turns: the context holds more of them than there are places.
    let file = file_of("{% for m in messages %}{{ m.content + '<|end|>' }}{% endfor %}");
    with_file(&file, 160, |session| {
        let mut chat = block_on(Chat::new(session, None)).unwrap();
        let turns = Chat::MAX_TURNS as u32 + 5;
        for turn in 1..=turns {
            assert_eq!(block_on(chat.ask(session, "a")), Ok(0));
            session.push(&[END]).unwrap();
            assert_eq!(chat.turns(), turn);
        }
        assert_eq!(chat.numbers().count(), Chat::MAX_NUMBERS);
        while session.tokens().len() < 160 {
            session.push(&[100]).unwrap();
        }
        // The first place stands for six turns.
        let forgotten = chat.make_room(session);
        assert!(forgotten > 6 && chat.turns() == turns - forgotten, "{forgotten}");
    });
}

#[test]
fn a_saved_chat_goes_on() {
    with_session(64, |session| {
        let mut chat = block_on(Chat::new(session, Some("Be brief."))).unwrap();
        for question in ["one", "two", "three"] {
            block_on(chat.ask(session, question)).unwrap();
            answer(session, 3, true);
        }
        let mut saved = Vec::new();
        session
            .save(|bytes| {
                saved.extend_from_slice(bytes);
                Ok::<(), ()>(())
            })
            .unwrap();
        let numbers: Vec<u32> = chat.numbers().collect();
        let forgotten = block_on(chat.ask(session, "four")).unwrap();
        let expected = (forgotten, session.tokens().to_vec(), logits(session));

        let mut resumed = block_on(Chat::new(session, None)).unwrap();
        let mut rest = &saved[..];
        session
            .restore(|out| {
                let (bytes, left) = rest.split_at_checked(out.len()).ok_or(())?;
                out.copy_from_slice(bytes);
                rest = left;
                Ok::<(), ()>(())
            })
            .unwrap();
        for wrong in 0..numbers.len() {
            let mut numbers = numbers.clone();
            numbers[wrong] = u32::MAX;
            assert_eq!(resumed.resume(session, &numbers), Err(ChatError::NotAChat), "{wrong}");
        }
        for wrong in [&[][..], &numbers[..2], &[0; 3], &[1, 0, 1, 1, 1], &[1, 0, 1, 2], &[1; Chat::MAX_NUMBERS + 1]] {
            assert_eq!(resumed.resume(session, wrong), Err(ChatError::NotAChat), "{wrong:?}");
        }
        let computed = session.stats().tokens;
        resumed.resume(session, &numbers).unwrap();
        assert_eq!(block_on(resumed.ask(session, "four")), Ok(expected.0));
        assert_eq!((session.tokens().to_vec(), logits(session)), (expected.1, expected.2));
        assert!(expected.0 > 0 || session.stats().tokens - computed < 20);
    });
}

#[test]
fn a_failed_read_leaves_the_conversation() {
    let (model, _) = open(Bytes::copied(&FILE));
    let options = PlanOptions::default().context(64);
    let mut failed = 0;
    for reads in 0..100 {
        let mut memory = vec![0; RAM];
        let mut session = support::session(&model, Faulty::new(Bytes::copied(&FILE), reads), &options, &mut memory);
        let Ok(mut chat) = block_on(Chat::new(&mut session, Some("Be brief."))) else {
            assert!(session.tokens().is_empty());
            continue;
        };
        let mut asked = Vec::new();
        for question in ["one", "two"] {
            let before = (session.tokens().to_vec(), chat.numbers().collect::<Vec<_>>());
            if block_on(chat.ask(&mut session, question)).is_err() {
                failed += 1;
                assert_eq!((session.tokens().to_vec(), chat.numbers().collect()), before);
                block_on(chat.ask(&mut session, question)).unwrap();
            }
            asked.push(session.tokens().to_vec());
            session.push(&[END]).unwrap();
        }
        let [first, second] = &asked[..] else { unreachable!("two questions") };
        let next = &tokens_of("<|end|>user: two<|end|>assistant:")[1..];
        assert_eq!(*first, tokens_of("system: Be brief.<|end|>user: one<|end|>assistant:"));
        assert_eq!(*second, [first, next].concat());
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_model_without_a_template_or_a_place_for_a_system_text_says_so() {
    let error = |file: &[u8], system| with_file(file, 64, |session| block_on(Chat::new(session, system)).err());
    assert_eq!(error(&file_of(""), None), Some(ChatError::NoTemplate));
    let alternate = "{% for m in messages %}{{ m.content + '<|end|>' }}{{ raise_exception('no') if m.role == 'system' }}{% endfor %}";
    assert_eq!(error(&file_of(alternate), Some("Be brief.")), Some(ChatError::NoSystem));
    assert_eq!(error(&file_of(alternate), None), None);
}

#[test]
fn a_damaged_section_is_an_error_or_another_chat() {
    let (model, _) = open(Bytes::copied(&FILE));
    let section = model.header().section(rillm::format::SectionKind::Chat).unwrap();
    let mut errors = 0;
    for at in section.offset..section.offset + section.len {
        for bit in 0..8 {
            let mut file = FILE.clone();
            file[at as usize] ^= 1 << bit;
            with_file(&file, 64, |session| {
                let chat = block_on(Chat::new(session, Some("Be brief.")));
                match chat {
                    Ok(mut chat) => errors += u32::from(block_on(chat.ask(session, "hello")).is_err()),
                    Err(_) => errors += 1,
                }
            });
        }
    }
    assert!(errors > 100, "{errors}");
}
