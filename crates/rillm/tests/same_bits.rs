//! The same bits for every chunk size, budget, batch size and source, over random small models of odd shapes.

mod support;

use proptest::prelude::*;
use rillm::plan::PlanOptions;
use rillm::sampler::{Q16, Sampling};
use rillm::session::Session;
use rillm::source::WeightSource;
use rillm::sources::Bytes;
use support::{Late, block_on, config, model_file, open, session};

/// The tokens that follow a prompt, and every logit of the position after them.
fn run<S: WeightSource<Error: std::fmt::Debug>>(
    source: S,
    options: &PlanOptions,
    sampling: &Sampling,
    prompt: &[u32],
) -> (Vec<u32>, Vec<(u32, i32, i32)>) {
    let (model, source) = open(source);
    let (mut memory, mut large) = (vec![0; options.ram], vec![0; options.large]);
    let mut session = Session::with_large(&model, source, options, &mut memory, &mut large).unwrap();
    session.push(prompt).unwrap();
    for _ in 0..4 {
        block_on(session.next(sampling)).unwrap();
    }
    let mut logits = Vec::new();
    block_on(session.logits(|id, mantissa, exponent| logits.push((id, mantissa, exponent)))).unwrap();
    (session.tokens().to_vec(), logits)
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
        let by_itself = PlanOptions { batch: None, context: None, ..PlanOptions::new(600_000) };
        let with_large = PlanOptions { large: pinned + 40_000, pinned: None, ..by_pins };
        let cache_in_large = PlanOptions { ram: 60_000, large: 1 << 20, context: None, ..PlanOptions::new(60_000) };
        prop_assert_eq!(&run(Bytes::lent(&file), &by_batch, &sampling, &prompt), &expected);
        for options in [plenty, by_batch, by_chunk, by_pins, by_itself, with_large, cache_in_large] {
            prop_assert_eq!(&run(Bytes::copied(&file), &options, &sampling, &prompt), &expected, "{:?}", options);
        }
        prop_assert_eq!(&run(Late::new(Bytes::copied(&file)), &by_chunk, &sampling, &prompt), &expected);
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
