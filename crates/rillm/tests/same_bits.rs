//! The same bits for every chunk size, budget, batch size and source, over random small models of odd shapes.

use crate::support::{self, Late, block_on, config, model_file, open, session};
use proptest::prelude::*;
use rillm::kernels::{Dot, Rows};
use rillm::plan::{Pinning, PlanOptions};
use rillm::sampler::{Q16, Sampling};
use rillm::session::Session;
use rillm::source::WeightSource;
use rillm::sources::Bytes;

/// The tokens that follow a prompt, and every logit of the position after them.
fn run<S: WeightSource<Error: std::fmt::Debug>>(
    source: S,
    options: &PlanOptions,
    sampling: &Sampling,
    prompt: &[u32],
) -> (Vec<u32>, Vec<(u32, i32, i32)>) {
    run_by(None, source, options, sampling, prompt)
}

/// The same, multiplied by `dot`.
fn run_by<S: WeightSource<Error: std::fmt::Debug>>(
    dot: Option<Dot>,
    source: S,
    options: &PlanOptions,
    sampling: &Sampling,
    prompt: &[u32],
) -> (Vec<u32>, Vec<(u32, i32, i32)>) {
    let (model, source) = open(source);
    let (mut memory, mut large) = (vec![0; options.ram], vec![0; options.large]);
    let mut session = Session::with_large(&model, source, options, &mut memory, &mut large).unwrap();
    if let Some(dot) = dot {
        session.set_dot(dot);
    }
    session.push(prompt).unwrap();
    for _ in 0..4 {
        block_on(session.next(sampling)).unwrap();
    }
    let mut logits = Vec::new();
    block_on(session.logits(|id, mantissa, exponent| logits.push((id, mantissa, exponent)))).unwrap();
    (session.tokens().to_vec(), logits)
}

/// Half of the rows in another thread, as on another core.
fn halves(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    // What firmware relies on: a strip's sums find room in what two cores share.
    assert!((1..=16).contains(&rows.len()) && rows.len() == sums.len());
    let (first, second) = rows.split_at(rows.len() / 2);
    let (first_sums, second_sums) = sums.split_at_mut(first.len());
    std::thread::scope(|scope| {
        scope.spawn(|| second.dot(x, second_sums));
        first.dot(x, first_sums);
    });
}

/// A row, then the others in threes.
fn uneven(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (mut part, mut rest) = rows.split_at(1);
    let mut sums = sums;
    while !part.is_empty() {
        let (part_sums, rest_sums) = sums.split_at_mut(part.len());
        part.dot(x, part_sums);
        sums = rest_sums;
        (part, rest) = rest.split_at(3);
    }
    assert!(sums.is_empty() && rest.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_way_to_run_a_model_gives_the_same_bits(
        config in config(),
        seed: u64,
        prompt in prop::collection::vec(0u32..512, 1..20),
        temperature in prop::sample::select(vec![Q16::ZERO, Q16(1 << 15), Q16::ONE]),
        top_k in prop::sample::select(vec![0, 5]),
        pinned in 0usize..200_000,
        chunk in prop::sample::select(vec![1, 1000, 4096, 70_000]),
        batch in 1usize..9,
    ) {
        let file = model_file(&config, seed);
        let prompt: Vec<u32> = prompt.iter().map(|id| id % config.vocab_size).collect();
        let sampling = Sampling { temperature, top_k, seed, ..Sampling::GREEDY };
        let plenty = PlanOptions { context: Some(32), batch: Some(1), ..PlanOptions::new(4 << 20) };
        let expected = run(Bytes::lent(&file), &plenty, &sampling, &prompt);
        prop_assert_eq!(expected.1.len(), config.vocab_size as usize);

        let by_batch = PlanOptions { batch: Some(batch), ..plenty };
        let by_chunk = PlanOptions { chunk: Some(chunk), pinned: Some(0), ..by_batch };
        let by_pins = PlanOptions { pinned: Some(pinned), ..by_chunk };
        let by_spread = PlanOptions { pinning: Pinning::Spread { most: pinned }, pinned: None, ..by_chunk };
        let by_itself = PlanOptions { batch: None, context: None, ..PlanOptions::new(600_000) };
        let with_large = PlanOptions { large: pinned + 40_000, pinned: None, ..by_pins };
        let cache_in_large = PlanOptions { ram: 60_000, large: 1 << 20, context: None, ..PlanOptions::new(60_000) };
        prop_assert_eq!(&run(Bytes::lent(&file), &by_batch, &sampling, &prompt), &expected);
        for options in [plenty, by_batch, by_chunk, by_pins, by_spread, by_itself, with_large, cache_in_large] {
            prop_assert_eq!(&run(Bytes::copied(&file), &options, &sampling, &prompt), &expected, "{:?}", options);
        }
        prop_assert_eq!(&run(Late::new(Bytes::copied(&file)), &by_chunk, &sampling, &prompt), &expected);
        let in_parts = run_by(Some(uneven), Late::new(Bytes::copied(&file)), &by_spread, &sampling, &prompt);
        prop_assert_eq!(&in_parts, &expected);
    }
}

#[test]
fn two_cores_give_the_same_bits() {
    for config in support::shapes().iter().take(2) {
        let file = model_file(config, 4);
        let options = PlanOptions { batch: Some(3), context: Some(16), ..PlanOptions::new(1 << 20) };
        let by_spread = PlanOptions { pinning: Pinning::Spread { most: 9000 }, chunk: Some(1500), ..options };
        let expected = run(Bytes::lent(&file), &options, &Sampling::GREEDY, &[1, 2, 3, 4]);
        let got = run_by(Some(halves), Late::new(Bytes::copied(&file)), &by_spread, &Sampling::GREEDY, &[1, 2, 3, 4]);
        assert_eq!(got, expected);
    }
}

#[test]
fn a_prompt_in_pieces_is_the_same_prompt() {
    let config = support::shapes().remove(0);
    let file = model_file(&config, 3);
    let prompt = [1, 30, 31, 32, 33, 34, 35];
    let options = PlanOptions { context: Some(32), batch: Some(3), ..PlanOptions::new(4 << 20) };
    let whole = run(Bytes::copied(&file), &options, &Sampling::GREEDY, &prompt).0;

    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; options.ram];
    let mut session = session(&model, source, &options, &mut memory);
    // Something else first, taken back in part and as a whole.
    session.push(&[5, 6, 7]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    session.reset();
    session.push(&prompt[..2]).unwrap();
    block_on(session.logits(|_, _, _| ())).unwrap();
    session.push(&[9, 9, 9]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    session.truncate(2);
    session.push(&prompt[2..]).unwrap();
    for _ in 0..4 {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    assert_eq!(session.tokens(), whole);
}
