//! Rescoring: logits of an int4 head that are computed again are those of int8 rows.

use crate::support::{self, block_on, model_file_of, open, session};
use rillm::{Bytes, Logit, Plan, PlanOptions, Sampling};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::mix::{Bits, Mix};

/// A model of random weights, whose head has these bits, and what its layers and table have stays.
fn file(config: &LlamaConfig, head: Bits, rescored_rows: u8) -> Vec<u8> {
    model_file_of(config, 4, Mix { embedding: Bits::Eight, layers: Bits::Eight, head }, Some(rescored_rows))
}

fn logits(file: &[u8]) -> Vec<Logit> {
    let (model, source) = open(Bytes::copied(file));
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &PlanOptions::default(), &mut memory);
    session.push(&[1, 30, 31, 32]).unwrap();
    let mut logits = Vec::new();
    block_on(session.logits(|logit| logits.push(logit))).unwrap();
    logits
}

fn value(logit: &Logit) -> f64 {
    f64::from(logit.mantissa) * 2f64.powi(logit.exponent)
}

#[test]
fn the_best_logits_are_those_of_an_int8_head() {
    const ROWS: usize = 20;
    // Tied and not tied: rows of the embedding table, and of a section of their own.
    for config in support::shapes() {
        let plain = logits(&file(&config, Bits::Four, 0));
        let twice = logits(&file(&config, Bits::Four, ROWS as u8));
        let exact = logits(&file(&config, Bits::Eight, 0));
        assert_eq!(twice.len(), config.vocab_size as usize);
        let (once, again) = twice.split_at(twice.len() - ROWS);
        assert!(again.is_sorted_by_key(|logit| logit.token));
        assert!(once.iter().all(|logit| *logit == plain[logit.token as usize]));
        let worst = again.iter().map(|logit| plain[logit.token as usize].mantissa).min().unwrap();
        assert!(once.iter().all(|logit| logit.mantissa <= worst));
        for logit in again {
            let (exact, unit) = (value(&exact[logit.token as usize]), 2f64.powi(logit.exponent));
            assert!((value(logit) - exact).abs() <= unit, "{logit:?}: {exact}");
        }
        assert!(again.iter().any(|logit| *logit != plain[logit.token as usize]));
    }
}

#[test]
fn a_greedy_choice_reads_fewer_rows_than_a_sampled_one() {
    let config = &support::shapes()[0];
    let file = file(config, Bits::Four, 200);
    let (model, source) = open(Bytes::copied(&file));
    let rows = model.header().rescoring.expect("rescoring").rows;
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &PlanOptions::default(), &mut memory);
    session.push(&[1, 30, 31, 32]).unwrap();
    block_on(session.logits(|_| ())).unwrap();
    let mut reads = |sampling: &Sampling| {
        let before = session.stats().traffic.reads;
        block_on(session.next(sampling)).unwrap();
        let reads = session.stats().traffic.reads - before;
        session.truncate(4);
        reads
    };
    // The weights are resident. Beside the rows, the new token's record is read, and that of the last token again.
    reads(&Sampling::GREEDY);
    let greedy = reads(&Sampling::GREEDY);
    let sampled = reads(&Sampling::default());
    let penalised = reads(&Sampling::GREEDY.repeat_penalty(rillm::Q16::thousandths(1100)));
    assert!((3..sampled).contains(&greedy) && sampled <= penalised, "{greedy} {sampled} {penalised}");
    assert_eq!(penalised, 2 + u64::from(rows));
    let plan: &Plan = session.plan();
    assert_eq!(plan.rescoring_traffic(&model).reads, u64::from(rows));
}
