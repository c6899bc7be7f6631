//! Choosing among texts: the likelihoods are those of the logits, and the session keeps what it had.

use crate::support::{block_on, model_file, model_file_with, open, session, shapes};
use rillm::{
    Bytes, Choice, Choose, ChooseError, Error, Fault, Faulty, Logit, Nats, PlanOptions, Sampling, Session, WeightSource,
};
use rillm_quantise::config::LlamaConfig;

/// The context of the models and of the sessions.
const CONTEXT: usize = 160;
const RAM: usize = 1 << 20;
const PROMPT: &str = "the boat is";
/// Texts that share tokens, one that is a part of others, and one that has no token in common with any.
const TEXTS: [&str; 8] =
    [" on the land", " once", " on", " on the lake", " and on the sea, once", ".", " on the", " and then"];

/// A shape of the tests' models, with a context in which all texts have room.
fn shape(index: usize) -> LlamaConfig {
    LlamaConfig { context_length: CONTEXT as u32, vocab_size: 512, ..shapes()[index].clone() }
}

fn options() -> PlanOptions {
    PlanOptions::default().context(CONTEXT).batch(3)
}

fn nats(choice: &Choice<'_>) -> f64 {
    choice.log_probability().0 as f64 / f64::from(1 << Nats::FRACTION_BITS)
}

/// The probability of each token after some tokens.
fn probabilities<S: WeightSource<Error: std::fmt::Debug>>(session: &mut Session<'_, S>, tokens: &[u32]) -> Vec<f64> {
    session.reset();
    session.push(tokens).unwrap();
    let mut logits = vec![0.0; session.model().header().vocab_size as usize];
    block_on(session.logits(|Logit { token, mantissa, exponent }| {
        logits[token as usize] = f64::from(mantissa) * 2f64.powi(exponent);
    }))
    .unwrap();
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.iter().map(|logit| (logit - largest).exp() / sum).collect()
}

/// The logarithm of the probability of one of several token sequences after `before`, by the definition.
fn expected<S: WeightSource<Error: std::fmt::Debug>>(
    session: &mut Session<'_, S>,
    before: &[u32],
    tokens: &[u32],
    all: &[Vec<u32>],
) -> f64 {
    let path = |len: usize| [before, &tokens[..len]].concat();
    let mut sum: f64 = (0..tokens.len()).map(|len| probabilities(session, &path(len))[tokens[len] as usize].ln()).sum();
    let mut longer: Vec<u32> = all.iter().filter_map(|other| Some(*other.strip_prefix(tokens)?.first()?)).collect();
    longer.sort_unstable();
    longer.dedup();
    if !longer.is_empty() {
        let after = probabilities(session, &path(tokens.len()));
        let others = (0..).zip(after).filter(|(token, _)| !longer.contains(token));
        sum += others.map(|(_, probability)| probability).sum::<f64>().ln();
    }
    sum
}

#[test]
fn likelihoods_are_those_of_the_logits() {
    // Heads of 8 bits, of 4, and of 4 that ask twice.
    for seed in [0, 2, 3] {
        let file = model_file(&shape(1), seed);
        let (model, source) = open(Bytes::copied(&file));
        let (mut memory, mut other) = (vec![0; RAM], vec![0; RAM]);
        let mut chooser = session(&model, source, &options(), &mut memory);
        let mut choices = TEXTS.map(Choice::new);
        let best = block_on(chooser.choose(PROMPT, &mut choices)).unwrap();
        let tokens: Vec<Vec<u32>> = choices.iter().map(|choice| chooser.tokens_of(choice).to_vec()).collect();
        assert!(tokens[3].starts_with(&tokens[6]) && tokens[6].starts_with(&tokens[2]), "{tokens:?}");

        let mut session = session(&model, source, &options(), &mut other);
        block_on(session.push_text(PROMPT)).unwrap();
        let before = session.tokens().to_vec();
        for (choice, own) in choices.iter().zip(&tokens) {
            let expected = expected(&mut session, &before, own, &tokens);
            let bound = 2f64.powi(-19) * (own.len() + 1) as f64;
            assert!((nats(choice) - expected).abs() < bound, "{choice:?} is not {expected}");
        }
        assert!(choices.iter().map(|choice| nats(choice).exp()).sum::<f64>() < 1.0);
        assert!(choices.iter().all(|choice| choice.log_probability() <= choices[best].log_probability()));
        assert_ne!(tokens[best].len(), 0);
    }
}

#[test]
fn the_probabilities_of_all_tokens_sum_up_to_one() {
    let file = model_file_with(&shape(2), "gpt2");
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; RAM];
    let mut session = session(&model, source, &options(), &mut memory);
    // Every byte is a token, and most others are not given: the last text stands for all that is not `!x`.
    let mut choices = ["!x", "!"].map(Choice::new);
    block_on(session.choose("box", &mut choices)).unwrap();
    let [longer, shorter] = choices.map(|choice| nats(&choice).exp());
    let mut alone = [Choice::new("!")];
    block_on(session.choose("box", &mut alone)).unwrap();
    assert!((longer + shorter - nats(&alone[0]).exp()).abs() < 1e-8, "{longer} {shorter} {alone:?}");
}

#[test]
fn the_order_of_the_texts_and_the_memory_change_no_bit() {
    let file = model_file(&shape(0), 5);
    let (model, source) = open(Bytes::copied(&file));
    let run = |options: &PlanOptions, texts: [&'static str; 8]| {
        let mut memory = vec![0; RAM];
        let mut session = session(&model, Faulty::new(source, u64::MAX), options, &mut memory);
        let mut choices = texts.map(Choice::new);
        let best = block_on(session.choose(PROMPT, &mut choices)).unwrap();
        let mut found: Vec<_> = choices.iter().map(|choice| (choice.text(), choice.log_probability())).collect();
        found.sort_unstable();
        (texts[best], found, session.stats())
    };
    let (best, expected, stats) = run(&options(), TEXTS);
    let mut reversed = TEXTS;
    reversed.reverse();
    for options in [options(), PlanOptions::default().context(130).batch(1).chunk(512).resident(0)] {
        let (other_best, found, _) = run(&options, reversed);
        assert_eq!((other_best, &found), (best, &expected));
    }
    // The prompt's tokens and each inner node of the trie once: `on`, `on the`, `on the la`, and the longer ones.
    let mut memory = vec![0; RAM];
    let mut session = session(&model, source, &options(), &mut memory);
    block_on(session.push_text(PROMPT)).unwrap();
    let prompt = session.tokens().len();
    let mut choices = TEXTS.map(Choice::new);
    session.reset();
    block_on(session.choose(PROMPT, &mut choices)).unwrap();
    let tokens: Vec<&[u32]> = choices.iter().map(|choice| session.tokens_of(choice)).collect();
    let mut inner: Vec<&[u32]> = tokens.iter().flat_map(|tokens| (0..tokens.len()).map(|len| &tokens[..len])).collect();
    inner.sort_unstable();
    inner.dedup();
    assert_eq!(stats.tokens as usize, prompt + inner.len() - 1);
    assert_eq!(stats.passes as usize, prompt.div_ceil(3) + inner.len() - 1);
}

#[test]
fn a_session_keeps_its_tokens_and_what_was_computed() {
    let file = model_file(&shape(1), 2);
    let (model, source) = open(Bytes::copied(&file));
    let (mut memory, mut other) = (vec![0; RAM], vec![0; RAM]);
    let mut chooser = session(&model, source, &options(), &mut memory);
    let mut plain = session(&model, source, &options(), &mut other);
    for session in [&mut chooser, &mut plain] {
        block_on(session.push_text("a tale of two")).unwrap();
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    let (tokens, computed) = (chooser.tokens().to_vec(), chooser.computed());
    let mut choices = TEXTS.map(Choice::new);
    block_on(chooser.choose(PROMPT, &mut choices)).unwrap();
    assert_eq!((chooser.tokens(), chooser.computed()), (&*tokens, computed));
    // With an empty prompt the texts follow the session's tokens.
    block_on(chooser.choose("", &mut choices)).unwrap();
    let own = chooser.tokens_of(&choices[1]).to_vec();
    assert_eq!((chooser.tokens(), chooser.computed()), (&*tokens, computed));
    for session in [&mut chooser, &mut plain] {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    assert_eq!(chooser.tokens(), plain.tokens());
    plain.truncate(tokens.len());
    block_on(plain.push_text(choices[1].text())).unwrap();
    assert_eq!(own, plain.tokens()[tokens.len()..]);
}

/// Pieces of texts in which words, marks, spaces and merges meet.
const PIECES: [&str; 16] =
    [" ", "  ", "the", " the", "in", "g", "Day", "</s>", "\n", "\u{e9}", "t", "'s", "1", "42", ".", " \u{301}"];

#[test]
fn prompt_and_text_have_the_tokens_of_one_text() {
    let files = ["bert", "gpt2", "llama3", "qwen2", "smollm2"].map(|tokenizer| model_file_with(&shape(2), tokenizer));
    for file in [model_file(&shape(2), 0)].iter().chain(&files) {
        let (model, source) = open(Bytes::copied(file));
        let (mut memory, mut other) = (vec![0; RAM], vec![0; RAM]);
        let mut chooser = session(&model, source, &options(), &mut memory);
        let mut plain = session(&model, source, &options(), &mut other);
        let mut random = 1u32;
        let mut text = |most: u32| -> String {
            let mut next = |most: u32| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 16) % most
            };
            (0..next(most) + 1).map(|_| PIECES[next(16) as usize]).collect()
        };
        let mut compared = 0;
        for _ in 0..300 {
            let (prompt, first, second) = (text(5), text(3), text(3));
            let mut choices = [&*first, &*second].map(Choice::new);
            match block_on(Choose::new(&mut chooser, &prompt, &mut choices)) {
                Ok(choose) => {
                    let before = chooser.tokens().to_vec();
                    choose.finish(&mut chooser);
                    for choice in &choices {
                        plain.reset();
                        block_on(plain.push_text(&(prompt.clone() + choice.text()))).unwrap();
                        let tokens = [&before, chooser.tokens_of(choice)].concat();
                        assert_eq!(tokens, plain.tokens(), "{prompt:?} {choice:?}");
                    }
                    compared += 1;
                }
                // The texts are equal, or blank where blanks are nothing, or nothing stands before them.
                Err(ChooseError::Same { .. } | ChooseError::Empty { .. } | ChooseError::Session(Error::Empty)) => {}
                Err(error) => panic!("{prompt:?} {first:?} {second:?}: {error}"),
            }
            assert!(chooser.tokens().is_empty());
        }
        assert!(compared > 150, "{compared}");
    }
}

#[test]
fn what_cannot_be_chosen_from_is_refused() {
    let file = model_file(&shape(1), 2);
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; RAM];
    let mut session = session(&model, source, &options(), &mut memory);
    block_on(session.push_text("a")).unwrap();
    let before = session.tokens().to_vec();
    let mut refused = |prompt: &str, texts: &[&'static str]| {
        let mut choices: Vec<Choice<'_>> = texts.iter().copied().map(Choice::new).collect();
        let error = block_on(session.choose(prompt, &mut choices)).unwrap_err();
        assert_eq!(session.tokens(), before, "{texts:?}");
        error
    };
    assert_eq!(refused(PROMPT, &[]), ChooseError::NoChoices);
    assert_eq!(refused(PROMPT, &["on", ""]), ChooseError::Empty { index: 1 });
    assert_eq!(refused(PROMPT, &[" on", " off", "x", " off"]), ChooseError::Same { first: 1, second: 3 });
    // The prompt alone, the prompt with texts, and one text.
    let long = "x ".repeat(CONTEXT);
    assert!(matches!(refused(&long, &["on"]), ChooseError::Session(Error::ContextFull { context: CONTEXT, .. })));
    let half = "x y ".repeat(CONTEXT / 5);
    let error = refused(&half, &["abcdefghijklm", "nopqrstuvwxyz"]);
    assert!(matches!(error, ChooseError::Session(Error::ContextFull { .. })), "{error:?}");
    assert!(error.to_string().contains("take room, too"));
    let long: &'static str = long.leak();
    assert!(matches!(refused("", &[long]), ChooseError::Session(Error::ContextFull { .. })));
}

#[test]
fn a_context_that_is_just_large_enough() {
    let file = model_file(&shape(1), 2);
    let (model, source) = open(Bytes::copied(&file));
    let mut fitting = (1..60).filter(|&context| {
        let mut memory = vec![0; RAM];
        let mut session = session(&model, source, &PlanOptions::default().context(context), &mut memory);
        let mut choices = ["abcde", "abcdf"].map(Choice::new);
        match block_on(session.choose("x", &mut choices)) {
            Ok(_) => true,
            Err(ChooseError::Session(Error::ContextFull { tokens, context: found })) => {
                assert!(tokens > context && found == context);
                false
            }
            Err(error) => panic!("{error}"),
        }
    });
    let least = fitting.next().unwrap();
    assert!(fitting.eq(least + 1..60));
    // Three tokens of the prompt and twice eight of the prompt with a text, and meanwhile the bytes of a text. Then
    // three of the prompt, twice five of the texts and four of a path are enough.
    assert!((21..=22).contains(&least), "{least}");
}

#[test]
fn a_first_token_needs_one_before_it() {
    let file = model_file_with(&shape(1), "gpt2");
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; RAM];
    let mut session = session(&model, source, &options(), &mut memory);
    let mut choices = [Choice::new("on"), Choice::new("off")];
    let error = block_on(session.choose("", &mut choices)).unwrap_err();
    assert_eq!(error, ChooseError::Session(Error::Empty));
}

#[test]
fn a_failed_step_can_be_repeated() {
    let file = model_file(&shape(1), 3);
    let (model, source) = open(Bytes::copied(&file));
    let run = |source: Faulty<Bytes<'_>>| {
        let mut memory = vec![0; RAM];
        let mut session = session(&model, source, &options().chunk(4096).resident(0), &mut memory);
        let mut choices = ["on", "once", "on the"].map(Choice::new);
        let mut errors = 0;
        let best = {
            let mut choose = loop {
                match block_on(Choose::new(&mut session, "the boat", &mut choices)) {
                    Ok(choose) => break choose,
                    Err(error) => assert_eq!(error, ChooseError::Session(Error::Source(Fault::Planned))),
                }
                errors += 1;
            };
            loop {
                match block_on(choose.step(&mut session)) {
                    Ok(true) => {}
                    Ok(false) => break choose.finish(&mut session),
                    Err(error) => {
                        assert_eq!(error, Error::Source(Fault::Planned));
                        errors += 1;
                    }
                }
            }
        };
        (best, choices.map(|choice| choice.log_probability()), errors, session.stats().traffic.reads)
    };
    let (best, expected, _, reads) = run(Faulty::new(source, u64::MAX));
    assert!(reads > 30);
    for index in (0..reads).step_by(3) {
        let (found_best, found, errors, _) = run(Faulty::new(source, index));
        assert_eq!((found_best, found, errors), (best, expected, 1), "read {index}");
    }
}
