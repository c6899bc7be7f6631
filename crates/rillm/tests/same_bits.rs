//! The same bits for every chunk size, memory size, batch size and source, over random small models of odd shapes.

use crate::support::{self, Late, block_on, config, model_file, open, session};
use proptest::prelude::*;
use rillm::kernels::{Multiply, Rows, STRIP_ROWS};
use rillm::{Bytes, Logit, Memory, MemoryLen, PlanOptions, Q16, Residency, Sampling, Session, WeightSource};

/// The tokens after a prompt, and all logits of the position after them.
fn run<S: WeightSource<Error: std::fmt::Debug>>(
    source: S,
    (memory, options): (MemoryLen, PlanOptions),
    sampling: &Sampling,
    prompt: &[u32],
) -> (Vec<u32>, Vec<Logit>) {
    run_by(None, source, (memory, options), sampling, prompt)
}

/// The same, multiplied with `multiplier`.
fn run_by<S: WeightSource<Error: std::fmt::Debug>>(
    multiplier: Option<&dyn Multiply>,
    source: S,
    (memory, options): (MemoryLen, PlanOptions),
    sampling: &Sampling,
    prompt: &[u32],
) -> (Vec<u32>, Vec<Logit>) {
    let (model, source) = open(source);
    let (mut internal, mut external) = (vec![0; memory.internal], vec![0; memory.external]);
    let memory = Memory { internal: &mut internal, external: &mut external };
    let mut session = Session::new(&model, source, memory, &options).unwrap();
    if let Some(multiplier) = multiplier {
        session.set_multiplier(multiplier);
    }
    session.push(prompt).unwrap();
    for _ in 0..4 {
        block_on(session.next(sampling)).unwrap();
    }
    let mut logits = Vec::new();
    block_on(session.logits(|logit| logits.push(logit))).unwrap();
    (session.tokens().to_vec(), logits)
}

/// Multiplies half of the rows in another thread, as on a second core.
fn halves(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    // Firmware relies on this: the sums of a strip fit the memory shared by two cores.
    assert!((1..=STRIP_ROWS).contains(&rows.len()) && rows.len() == sums.len());
    let (first, second) = rows.split_at(rows.len() / 2);
    let (first_sums, second_sums) = sums.split_at_mut(first.len());
    std::thread::scope(|scope| {
        scope.spawn(|| second.dot(x, second_sums));
        first.dot(x, first_sums);
    });
}

/// Multiplies one row, then the others in threes.
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
        resident in 0usize..200_000,
        chunk in prop::sample::select(vec![1, 1000, 4096, 70_000]),
        batch in 1usize..9,
    ) {
        let file = model_file(&config, seed);
        let prompt: Vec<u32> = prompt.iter().map(|id| id % config.vocab_size).collect();
        let sampling = Sampling::GREEDY.temperature(temperature).top_k(top_k).seed(seed);
        let plenty = PlanOptions::default().context(32).batch(1);
        let plenty_of = MemoryLen::internal(4 << 20);
        let expected = run(Bytes::lent(&file), (plenty_of, plenty), &sampling, &prompt);
        prop_assert_eq!(expected.1.len(), config.vocab_size as usize);

        let by_batch = plenty.batch(batch);
        let by_chunk = by_batch.chunk(chunk).resident(0);
        let by_residents = by_chunk.resident(resident);
        let by_spread = by_chunk.residency(Residency::Spread { most: resident }).resident(None);
        prop_assert_eq!(&run(Bytes::lent(&file), (plenty_of, by_batch), &sampling, &prompt), &expected);
        for planned in [
            (plenty_of, plenty),
            (plenty_of, by_batch),
            (plenty_of, by_chunk),
            (plenty_of, by_residents),
            (plenty_of, by_spread),
            (MemoryLen::internal(600_000), PlanOptions::default()),
            (MemoryLen { internal: 4 << 20, external: resident + 40_000 }, by_chunk.resident(None)),
            // The cache does not fit internal memory.
            (MemoryLen { internal: 60_000, external: 1 << 20 }, PlanOptions::default()),
        ] {
            prop_assert_eq!(&run(Bytes::copied(&file), planned, &sampling, &prompt), &expected, "{:?}", planned);
        }
        prop_assert_eq!(&run(Late::new(Bytes::copied(&file)), (plenty_of, by_chunk), &sampling, &prompt), &expected);
        let by_spread = (plenty_of, by_spread);
        let in_parts = run_by(Some(&uneven), Late::new(Bytes::copied(&file)), by_spread, &sampling, &prompt);
        prop_assert_eq!(&in_parts, &expected);
    }
}

#[test]
fn two_cores_give_the_same_bits() {
    for config in support::shapes().iter().take(2) {
        let file = model_file(config, 4);
        let options = PlanOptions::default().batch(3).context(16);
        let by_spread = options.residency(Residency::Spread { most: 9000 }).chunk(1500);
        let [options, by_spread] = [options, by_spread].map(|options| (MemoryLen::internal(1 << 20), options));
        let expected = run(Bytes::lent(&file), options, &Sampling::GREEDY, &[1, 2, 3, 4]);
        let got = run_by(Some(&halves), Late::new(Bytes::copied(&file)), by_spread, &Sampling::GREEDY, &[1, 2, 3, 4]);
        assert_eq!(got, expected);
    }
}

#[test]
fn a_prompt_in_pieces_is_the_same_prompt() {
    let config = support::shapes().remove(0);
    let file = model_file(&config, 3);
    let prompt = [1, 30, 31, 32, 33, 34, 35];
    let options = PlanOptions::default().context(32).batch(3);
    let whole = run(Bytes::copied(&file), (MemoryLen::internal(4 << 20), options), &Sampling::GREEDY, &prompt).0;

    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; 4 << 20];
    let mut session = session(&model, source, &options, &mut memory);
    // First other tokens, removed in part and then completely.
    session.push(&[5, 6, 7]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    session.reset();
    session.push(&prompt[..2]).unwrap();
    block_on(session.logits(|_| ())).unwrap();
    session.push(&[9, 9, 9]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    session.truncate(2);
    session.push(&prompt[2..]).unwrap();
    for _ in 0..4 {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    assert_eq!(session.tokens(), whole);
}
