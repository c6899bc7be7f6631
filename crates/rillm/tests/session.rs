//! Removal of tokens and prefill: the same bits as in a session that had the final tokens from the start.

use crate::support::{block_on, model_file, open, session, shapes};
use rillm::{Bytes, Logit, PlanOptions, Sampling, Session, WeightSource};

const RAM: usize = 1 << 20;

fn options() -> PlanOptions {
    PlanOptions::default().context(32).batch(3)
}

/// All logits of the position after the last token.
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
            // The embedding of a token was read ahead; the token is removed or stays.
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
        // Tokens before the range are not computed again, nor is a session from which nothing is removed.
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
