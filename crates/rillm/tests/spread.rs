//! Resident weights spread over the tape: the same bits, correct counts, and less waiting.

use std::sync::LazyLock;

use crate::support::{Flipping, Late, block_on, model_file, open, session, shapes};
use proptest::prelude::*;
use rillm::{
    Bytes, Error, Fault, Faulty, Logit, Memory, MemoryLen, Plan, PlanOptions, Residency, Sampling, Session,
    WeightSource,
};
use rillm_quantise::config::LlamaConfig;

const CONTEXT: usize = 32;
const MEMORY: MemoryLen = MemoryLen::internal(1 << 20);

fn options() -> PlanOptions {
    PlanOptions::default().context(CONTEXT)
}

fn spread(most: usize, chunk: usize) -> PlanOptions {
    options().residency(Residency::Spread { most }).chunk(chunk)
}

/// A model with rows of three sectors, in which a row crosses many spans and chunks, and a model with many layers.
static FILES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let long = LlamaConfig { intermediate_size: 1500, ..shapes()[1].clone() };
    [model_file(&long, 1), model_file(&shapes()[0], 2)]
});

/// Tokens, and the logits of the position after them.
type Written = (Vec<u32>, Vec<Logit>);

/// The tokens of a prompt and three more, and all logits after them.
fn run<S: WeightSource<Error: std::fmt::Debug>>(source: S, memory: MemoryLen, options: &PlanOptions) -> Written {
    let (model, source) = open(source);
    let (mut internal, mut external) = (vec![0; memory.internal], vec![0; memory.external]);
    let memory = Memory { internal: &mut internal, external: &mut external };
    let mut session = Session::new(&model, source, memory, options).unwrap();
    session.push(&[1, 30, 31, 32, 33, 34, 35]).unwrap();
    for _ in 0..3 {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    let mut logits = Vec::new();
    block_on(session.logits(|logit| logits.push(logit))).unwrap();
    (session.tokens().to_vec(), logits)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn spread_weights_give_the_same_bits(
        file in 0usize..2, chunk in 1usize..9000, most in 0usize..400_000, batch in 1usize..9, external in prop::option::of(0usize..300_000),
    ) {
        static EXPECTED: LazyLock<[Written; 2]> =
            LazyLock::new(|| [0, 1].map(|file| run(Bytes::lent(&FILES[file]), MEMORY, &options())));
        let memory = external.map_or(MEMORY, |external| MemoryLen { internal: 120_000, external });
        let options = spread(most, chunk).batch(batch);
        prop_assert_eq!(&run(Bytes::copied(&FILES[file]), memory, &options), &EXPECTED[file]);
        prop_assert_eq!(&run(Late::new(Bytes::copied(&FILES[file])), memory, &options), &EXPECTED[file]);
        if external.is_none() {
            let sectors = options.resident(most / 2);
            prop_assert_eq!(&run(Late::new(Bytes::copied(&FILES[file])), memory, &sectors), &EXPECTED[file]);
        }
    }

    #[test]
    fn a_plan_keeps_what_was_asked_for(ram in 60_000usize..600_000, most in 0usize..400_000, chunk in prop::option::of(1usize..9000)) {
        let (model, source) = open(Bytes::copied(&FILES[1]));
        let tape = model.tape_len().next_multiple_of(512) as usize;
        let options = spread(most, 1).chunk(chunk);
        if let Ok(plan) = Plan::new(&model, &source, MemoryLen::internal(ram), &options) {
            prop_assert!(plan.memory().internal <= ram && plan.resident <= most.min(tape) && plan.resident.is_multiple_of(512));
            // Either the free memory or the rest of the limit is less than a sector.
            prop_assert!(ram - plan.memory().internal < 512 || most.min(tape) - plan.resident < 512, "{:?}", plan);
            let mut memory = vec![0; plan.memory().internal];
            let mut session = Session::from_plan(&model, source, plan, Memory::internal(&mut memory)).unwrap();
            session.push(&[1, 2, 3]).unwrap();
            block_on(session.next(&Sampling::GREEDY)).unwrap();
        }
    }

    #[test]
    fn what_is_damaged_is_an_error_and_no_panic(
        byte in 0.0f64..1.0, most in 0usize..100_000, chunk in 1usize..3000, cut: bool, check_every in 0u32..2,
    ) {
        let (model, _) = open(Bytes::copied(&FILES[0]));
        let mut file = FILES[0].clone();
        let byte = (byte * file.len() as f64) as usize;
        if cut { file.truncate(byte) } else { file[byte] ^= 0x81 }
        let options = spread(most, chunk).batch(2);
        let mut memory = vec![0; 1 << 20];
        let mut session = session(&model, Late::new(Bytes::copied(&file)), &options, &mut memory);
        session.set_check_every(check_every);
        session.push(&[1, 2, 3, 4, 5]).unwrap();
        for _ in 0..2 {
            let result = block_on(session.next(&Sampling::GREEDY)).map(|_| ());
            prop_assert!(!cut || result.is_err());
        }
    }
}

#[test]
fn a_failed_read_or_a_flipped_bit_costs_nothing_but_time() {
    let file = &FILES[0];
    let options = spread(20_000, 1024).batch(3);
    let (expected, _) = run(Bytes::lent(file), MEMORY, &options);
    let (model, _) = open(Bytes::copied(file));
    for reads in 0..60 {
        let mut memory = vec![0; 1 << 20];
        let mut session = session(&model, Faulty::new(Bytes::copied(file), reads), &options, &mut memory);
        session.set_check_every(1);
        session.push(&expected[..7]).unwrap();
        let mut errors = 0;
        while session.tokens().len() < expected.len() {
            if let Err(error) = block_on(session.next(&Sampling::GREEDY)).map(|_| ()) {
                assert_eq!(error, Error::Source(Fault::Planned));
                errors += 1;
            }
        }
        assert_eq!((session.tokens(), errors), (&expected[..], 1), "{reads}");
    }
    // Damages bytes of spans and of runs, in the first read only.
    let first = (file.len() as u64 - model.tape_len()).next_multiple_of(512);
    let mut found = 0;
    for byte in (first..file.len() as u64 - 2000).step_by(1777) {
        let source = Flipping { inner: Bytes::copied(file), reads: 0, flipped: 0..1, byte };
        let mut memory = vec![0; 1 << 20];
        let mut session = session(&model, source, &options, &mut memory);
        session.set_check_every(1);
        session.push(&expected[..7]).unwrap();
        while session.tokens().len() < expected.len() {
            found += usize::from(block_on(session.next(&Sampling::GREEDY)).is_err());
        }
        assert_eq!(session.tokens(), expected);
    }
    assert!(found > 10, "{found}");
}

#[test]
fn reads_and_seeks_are_counted_as_they_are() {
    let (model, source) = open(Bytes::copied(&FILES[1]));
    let options = spread(40_000, 4096);
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &options, &mut memory);
    session.push(&[1]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    let plan = *session.plan();
    assert_eq!((plan.resident, plan.chunk), (40_000 / 512 * 512, 4096));
    let chunks = (model.tape_len() - plan.resident as u64).div_ceil(4096);
    let before = session.stats().traffic;
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    let after = session.stats().traffic;
    // The chunks, the token's record, and up to as many rows as are computed again. Each needs a seek, but rows that follow
    // each other.
    let rescored = plan.rescoring_traffic(&model);
    let [reads, seeks] = [after.reads - before.reads, after.seeks - before.seeks];
    for count in [reads, seeks] {
        assert!((chunks + 2..=chunks + 1 + rescored.reads).contains(&count), "{reads} {seeks}, {chunks} chunks");
    }
    let most = model.tape_len() - plan.resident as u64 + 512 + 1024;
    assert!(
        (most - 1024..most + rescored.bytes).contains(&(after.bytes - before.bytes)),
        "{}",
        after.bytes - before.bytes
    );
    assert_eq!(after.resident_bytes - before.resident_bytes, plan.resident as u64);
}
