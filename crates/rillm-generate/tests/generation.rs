//! Texts of the bundled model, generated step by step.

use rillm::{Bytes, Faulty, Memory, Model, PlanOptions, Sampling, Session, WeightSource, block_on};
use rillm_generate::{Generation, Step, StopReason, StopStrings};

static MODEL: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));
const PROMPT: &str = "Once upon a time";

/// Runs `test` with a session of `source` after the prompt.
fn in_session<S: WeightSource, T>(
    source: S,
    options: PlanOptions,
    prompt: &str,
    test: impl FnOnce(&Model, &mut Session<'_, S>) -> T,
) -> T
where
    S::Error: std::fmt::Debug,
{
    let model = block_on(Model::open(&mut Bytes::copied(MODEL))).unwrap();
    let mut ram = vec![0; 1 << 18];
    let mut session = Session::new(&model, source, Memory::internal(&mut ram), &options).unwrap();
    while block_on(session.push_text(prompt)).is_err() {}
    test(&model, &mut session)
}

fn options() -> PlanOptions {
    PlanOptions::default().batch(2)
}

/// Generates the text to its end. Returns the text and why it ended.
fn text<S: WeightSource>(generation: &mut Generation<'_>, session: &mut Session<'_, S>) -> (String, StopReason)
where
    S::Error: std::fmt::Debug,
{
    let mut text = String::new();
    loop {
        match block_on(generation.step(session)).unwrap() {
            Step::Prefill => {}
            Step::Token(pieces) => text += &pieces.to_string(),
            Step::Done(reason) => {
                text.extend(generation.finish());
                return (text, reason);
            }
        }
    }
}

#[test]
fn a_prompt_comes_first_and_every_step_is_a_pass() {
    in_session(Bytes::copied(MODEL), options(), PROMPT, |model, session| {
        let prompt = session.tokens().len();
        let mut generation = Generation::new(model, PROMPT, Sampling::GREEDY).max_tokens(3);
        let mut steps = String::new();
        loop {
            let passes = session.stats().passes;
            let step = match block_on(generation.step(session)).unwrap() {
                Step::Prefill => 'p',
                Step::Token(_) => 't',
                Step::Done(StopReason::MaxTokens) => break,
                Step::Done(reason) => panic!("{reason:?}"),
            };
            assert_eq!(session.stats().passes, passes + 1);
            steps.push(step);
        }
        assert_eq!(steps, format!("{}ttt", "p".repeat(prompt.div_ceil(2) - 1)));
        assert_eq!(generation.generated(), 3);
        // The text stays ended until it is resumed.
        assert!(matches!(block_on(generation.step(session)), Ok(Step::Done(StopReason::MaxTokens))));
        generation.resume(Sampling::GREEDY, 1);
        assert!(matches!(block_on(generation.step(session)), Ok(Step::Token(_))));
        assert_eq!((generation.done(session), generation.generated()), (Some(StopReason::MaxTokens), 1));
    });
}

#[test]
fn a_text_ends_before_a_stop_string_or_where_the_context_does() {
    let whole = in_session(Bytes::copied(MODEL), options(), PROMPT, |model, session| {
        text(&mut Generation::new(model, PROMPT, Sampling::GREEDY).max_tokens(40), session)
    });
    assert_eq!(whole.1, StopReason::MaxTokens);
    let (before, _) = whole.0.split_once("the highest").unwrap();
    let stops = StopStrings::new(&["the highest"]).unwrap();
    let stopped = in_session(Bytes::copied(MODEL), options(), PROMPT, |model, session| {
        text(&mut Generation::new(model, PROMPT, Sampling::GREEDY).stop_strings(stops), session)
    });
    assert_eq!(stopped, (before.to_owned(), StopReason::StopString));
    let full = options().context(9);
    let full = in_session(Bytes::copied(MODEL), full, PROMPT, |model, session| {
        text(&mut Generation::new(model, PROMPT, Sampling::GREEDY), session)
    });
    assert_eq!(full.1, StopReason::ContextFull);
    assert!(whole.0.starts_with(&full.0));
}

#[test]
fn without_a_prompt_the_text_starts_without_its_space_and_ends_by_itself() {
    let (text, reason) = in_session(Bytes::copied(MODEL), options(), "", |model, session| {
        text(&mut Generation::new(model, "", Sampling::GREEDY), session)
    });
    assert!(!text.starts_with(' ') && text.len() > 100, "{text}");
    assert_eq!(reason, StopReason::EndOfText);
}

#[test]
fn a_failed_step_is_repeated_and_nothing_is_lost_or_doubled() {
    let generate = |faulty: Option<u64>| {
        let source = Faulty::new(Bytes::copied(MODEL), faulty.unwrap_or(u64::MAX));
        in_session(source, options(), PROMPT, |model, session| {
            let mut generation = Generation::new(model, PROMPT, Sampling::GREEDY).max_tokens(5).with_fingerprint();
            let (mut text, mut failed) = (String::new(), 0);
            loop {
                match block_on(generation.step(session)) {
                    Ok(Step::Token(pieces)) => text.extend(pieces),
                    Ok(Step::Prefill) => {}
                    Ok(Step::Done(_)) => break,
                    Err(_) => failed += 1,
                }
            }
            text.extend(generation.finish());
            (text, generation.fingerprint(), failed)
        })
    };
    let (text, fingerprint, failed) = generate(None);
    assert_eq!(failed, 0);
    let mut struck = 0;
    for read in (20..400).step_by(37) {
        let (again, same, failed) = generate(Some(read));
        assert_eq!((&again, same), (&text, fingerprint), "read {read}");
        struck += failed;
    }
    assert!(struck > 3, "{struck}");
}
