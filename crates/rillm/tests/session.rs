//! Sessions that forget, and sessions that are saved: the same bits as if they had been there all along.

mod support;

use rillm::{Bytes, Logit, PlanOptions, Sampling, Session, WeightSource};
use support::{block_on, model_file, open, session, shapes};

const RAM: usize = 1 << 20;

fn options() -> PlanOptions {
    PlanOptions::default().context(32).batch(3)
}

/// Every logit of the position after the last token.
fn logits<S: WeightSource<Error: std::fmt::Debug>>(session: &mut Session<'_, S>) -> Vec<Logit> {
    let mut logits = Vec::new();
    block_on(session.logits(|logit| logits.push(logit))).unwrap();
    logits
}

#[test]
fn what_was_removed_was_never_there() {
    let file = model_file(&shapes()[0], 3);
    let (model, source) = open(Bytes::copied(&file));
    let tokens: Vec<u32> = (1..21).collect();
    for (range, computed) in [
        (3..7, true),
        (0..5, true),
        (15..20, true),
        (18..19, false),
        (19..400, true),
        (0..19, false),
        (7..7, true),
        (30..40, true),
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may count wrong")]
        (9..2, true),
    ] {
        let mut expected = tokens.clone();
        expected.drain(range.start.min(20)..range.end.clamp(range.start.min(20), 20));
        let (mut memory, mut other) = (vec![0; RAM], vec![0; RAM]);
        let mut cut = session(&model, source, &options(), &mut memory);
        cut.push(&tokens).unwrap();
        if computed {
            logits(&mut cut);
        } else {
            // With an embedding that was read ahead, of a token that goes or stays.
            cut.truncate(19);
            let chosen = block_on(cut.next(&Sampling::GREEDY)).unwrap().id;
            if !range.contains(&19) {
                *expected.last_mut().unwrap() = chosen;
            }
        }
        cut.remove(range.clone());
        assert_eq!(cut.tokens(), expected);
        let mut fresh = session(&model, source, &options(), &mut other);
        fresh.push(&expected).unwrap();
        assert_eq!(logits(&mut cut), logits(&mut fresh), "{range:?}");
        // What lies before the range is not computed again, nor what stays as a whole.
        let again = cut.stats().tokens - if computed { 20 } else { 19 };
        let kept = if expected.len() == 20 { 19 } else { range.start.min(expected.len() - 1) };
        assert_eq!(again, (expected.len() - kept) as u64, "{range:?}");
    }
}

#[test]
fn a_session_without_tokens_stays_one() {
    let file = model_file(&shapes()[1], 2);
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; RAM];
    let mut session = session(&model, source, &options(), &mut memory);
    session.remove(0..usize::MAX);
    session.push(&[1, 2, 3]).unwrap();
    session.remove(0..usize::MAX);
    assert!(session.tokens().is_empty());
}

#[test]
fn a_prompt_step_by_step_is_a_prompt_at_once() {
    let file = model_file(&shapes()[0], 3);
    let (model, source) = open(Bytes::copied(&file));
    let tokens: Vec<u32> = (1..12).collect();
    let (mut memory, mut other) = (vec![0; RAM], vec![0; RAM]);
    let mut steps = session(&model, source, &options(), &mut memory);
    assert!(!block_on(steps.prefill()).unwrap(), "nothing to do");
    steps.push(&tokens).unwrap();
    let mut computed = Vec::new();
    while block_on(steps.prefill()).unwrap() {
        computed.push(steps.computed());
    }
    // Batches of 3; the last 2 of 11 tokens are left for the head.
    assert_eq!(computed, [3, 6, 9]);
    let mut once = session(&model, source, &options(), &mut other);
    once.push(&tokens).unwrap();
    assert_eq!(logits(&mut steps), logits(&mut once));
    assert_eq!(steps.stats().tokens, 11);
}
