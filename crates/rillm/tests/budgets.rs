//! Memory and traffic: sessions keep to their plan.

use std::sync::LazyLock;

use crate::support::{block_on, model_file, open, session, shapes};
use proptest::prelude::*;
use rillm::{Buffer, Region};
use rillm::{
    Bytes, Error, Memory, MemoryLen, Plan, PlanOptions, Residency, Sampling, Sector, Session, Stage, Traffic,
    WeightSource,
};

#[test]
fn a_token_reads_its_row_and_one_run_of_the_tape() {
    for config in shapes() {
        let file = model_file(&config, 1);
        let (model, source) = open(Bytes::copied(&file));
        let options = PlanOptions::default().resident(0).chunk(2048).context(16);
        let mut memory = vec![0; 4 << 20];
        let mut session = session(&model, source, &options, &mut memory);
        session.push(&[1, 2, 3]).unwrap();
        block_on(session.next(&Sampling::GREEDY)).unwrap();
        for _ in 0..3 {
            let before = session.stats().traffic;
            block_on(session.next(&Sampling::GREEDY)).unwrap();
            let after = session.stats().traffic;
            assert!(after.seeks - before.seeks <= 2);
            // The last sector of the tape, and the sectors of a record.
            let most = model.tape_len().next_multiple_of(512) + 1024;
            assert!(after.bytes - before.bytes <= most, "{} of {most}", after.bytes - before.bytes);
        }
    }
}

#[test]
fn resident_weights_are_read_once() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let tape = model.tape_len();
    let options = PlanOptions::default().context(16);
    let mut memory = vec![0; 4 << 20];
    let mut session = session(&model, source, &options, &mut memory);
    assert_eq!(session.plan().resident as u64, tape.next_multiple_of(512));
    session.push(&[1, 2, 3]).unwrap();
    for _ in 0..5 {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    let traffic = session.stats().traffic;
    // The rope table and the tape once, and eight records.
    assert!(traffic.bytes <= tape.next_multiple_of(512) + 9 * 1024, "{}", traffic.bytes);
    assert_eq!(traffic.resident_bytes, 5 * tape);
}

#[test]
fn a_prompt_in_batches_reads_the_tape_once_a_batch() {
    let config = shapes().remove(1);
    let file = model_file(&config, 1);
    let (model, source) = open(Bytes::copied(&file));
    let options = PlanOptions::default().batch(8).resident(0).context(32);
    let mut memory = vec![0; 4 << 20];
    let mut session = session(&model, source, &options, &mut memory);
    session.push(&[7; 20]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    let stats = session.stats();
    assert_eq!((stats.passes, stats.tokens), (3, 20));
    assert!(stats.traffic.bytes < 3 * model.tape_len() + 22 * 1024);
}

#[test]
fn every_budget_is_kept_or_refused_with_one_that_works() {
    for config in shapes() {
        let file = model_file(&config, 1);
        for lent in [false, true] {
            let bytes = if lent { Bytes::lent(&file) } else { Bytes::copied(&file) };
            let (model, source) = open(bytes);
            for ram in [1, 1024, 10_000, 30_000, 60_000, 100_000, 1 << 20, 8 << 20] {
                let (memory, options) = (MemoryLen::internal(ram), PlanOptions::default());
                match Plan::new(&model, &source, memory, &options) {
                    Ok(plan) => {
                        assert!(memory.holds(plan.memory()));
                        let mut memory = vec![0; plan.memory().internal];
                        let mut session =
                            Session::from_plan(&model, source, plan, Memory::internal(&mut memory)).unwrap();
                        session.push(&[1, 2]).unwrap();
                        block_on(session.next(&Sampling::GREEDY)).unwrap();
                    }
                    Err(error) => {
                        assert!(error.needed > ram && error.given == ram, "{error}");
                        let fits =
                            |ram, options| Plan::new(&model, &source, MemoryLen::internal(ram), &options).is_ok();
                        assert!(fits(error.needed, options), "{error}");
                        assert!(fits(error.smallest, options.context(1)), "{error}");
                        if error.fitting_context > 0 {
                            assert!(fits(ram, options.context(error.fitting_context)), "{error}");
                            assert!(!fits(ram, options.context(error.fitting_context + 1)), "{error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_second_memory_takes_weights_and_a_cache_that_has_no_room() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let plan = |internal, external, options: PlanOptions| {
        Plan::new(&model, &source, MemoryLen { internal, external }, &options)
    };
    let place = |internal, external, options, buffer| {
        let plan = plan(internal, external, options).unwrap();
        assert!(MemoryLen { internal, external }.holds(plan.memory()));
        let row = plan.allocations().into_iter().find(|row| row.buffer == buffer).unwrap();
        (row.region, row.len)
    };
    let tape = model.tape_len().next_multiple_of(512) as usize;
    let options = PlanOptions::default();
    assert_eq!(place(100_000, 1 << 20, options, Buffer::KvCache).0, Region::Internal);
    assert_eq!(place(100_000, 1 << 20, options, Buffer::ResidentWeights), (Region::External, tape));
    let smallest = plan(100_000, 1 << 20, options.context(64).batch(1).chunk(1).resident(0)).unwrap();
    let cache = place(100_000, 1 << 20, options, Buffer::KvCache).1;
    let tight = smallest.memory().internal - cache / 2;
    let (options, whole) = (options.batch(1), options.batch(1).context(64));
    assert!(plan(tight, 0, whole).is_err());
    assert_eq!(place(tight, 1 << 20, whole, Buffer::KvCache), (Region::External, cache));
    assert_eq!(place(tight, 1 << 20, options, Buffer::KvCache), (Region::External, cache));
    // If external memory may hold only weights, the context shrinks.
    assert!(plan(tight, 1 << 20, whole.cache_in_external(false)).is_err());
    let weights_alone = options.cache_in_external(false);
    let (cache_region, shorter_cache) = place(tight, 1 << 20, weights_alone, Buffer::KvCache);
    assert!(cache_region == Region::Internal && shorter_cache < cache);
    assert_eq!(place(tight, 1 << 20, weights_alone, Buffer::ResidentWeights), (Region::External, tape));
    // External memory that is too small for the cache holds resident weights if it has room for more of them.
    let little = options.chunk(1).context(8);
    let weights = |external| place(20_000, external, little, Buffer::ResidentWeights);
    let resident = weights(0).1;
    assert!(resident > 1024);
    assert_eq!(weights(resident), (Region::Internal, resident));
    assert_eq!(weights(resident + 518), (Region::Internal, resident));
    assert_eq!(weights(resident + 519), (Region::External, resident + 512));
}

proptest! {
    #[test]
    fn a_second_memory_never_makes_a_plan_worse(
        internal in 1usize..400_000, external in 0usize..400_000, context in prop::option::of(1usize..100),
        resident in prop::option::of(0usize..200_000), batch in prop::option::of(1usize..20),
    ) {
        static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| model_file(&shapes()[0], 1));
        let (model, source) = open(Bytes::copied(&FILE));
        let options = PlanOptions::default().context(context).resident(resident).batch(batch);
        let memory = MemoryLen { internal, external };
        let alone = Plan::new(&model, &source, MemoryLen::internal(internal), &options);
        match Plan::new(&model, &source, memory, &options) {
            Ok(plan) => {
                prop_assert!(memory.holds(plan.memory()));
                if let Ok(alone) = alone {
                    prop_assert!(plan.context >= alone.context);
                    prop_assert!(plan.context > alone.context || plan.resident >= alone.resident);
                }
            }
            Err(error) => {
                prop_assert!(alone.is_err() && error.needed > error.given, "{}", error);
                if error.fitting_context > 0 {
                    let fits = options.context(error.fitting_context);
                    prop_assert!(Plan::new(&model, &source, memory, &fits).is_ok(), "{}", error);
                }
            }
        }
    }
}

#[test]
fn a_clock_that_goes_round_while_the_card_is_slow_counts_the_tokenizer_right() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NOW: AtomicU32 = AtomicU32::new(0);
    /// A source that takes a third of the clock's full round for each read.
    struct Slow<S>(S);
    impl<S: WeightSource> WeightSource for Slow<S> {
        type Error = S::Error;
        async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), S::Error> {
            NOW.fetch_add(u32::MAX / 3, Ordering::Relaxed);
            self.0.read(first, buf).await
        }
    }
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Slow(Bytes::copied(&file)));
    let options = PlanOptions::default();
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &options, &mut memory);
    session.set_clock(|| NOW.fetch_add(1, Ordering::Relaxed));
    block_on(session.push_text("a tale of two cities")).unwrap();
    let (stats, times) = (session.stats().traffic, session.stats().times);
    assert!(stats.reads > 3 && times[Stage::Read] >= stats.reads * u64::from(u32::MAX / 3));
    assert!((1..1000).contains(&times[Stage::Tokenizer]), "{times:?}");
}

#[test]
fn a_clock_tells_every_stage() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NOW: AtomicU32 = AtomicU32::new(u32::MAX - 50);
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let options = PlanOptions::default().chunk(1024).resident(0);
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &options, &mut memory);
    session.set_clock(|| NOW.fetch_add(1, Ordering::Relaxed));
    block_on(session.push_text("a tale")).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    let times = session.stats().times;
    for stage in Stage::ALL {
        assert!(times[stage] > 0, "{}: {times:?}", stage.name());
    }
    // Each tick is counted once.
    assert!(times.total() <= u64::from(NOW.load(Ordering::Relaxed).wrapping_add(51)));
}

#[test]
fn memory_may_start_at_any_address() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let options = PlanOptions::default().context(8);
    let mut memory = vec![0; 200_000 + 8];
    for start in 0..8 {
        let mut session = session(&model, source, &options, &mut memory[start..]);
        session.push(&[1]).unwrap();
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let options = PlanOptions::default().context(8).candidates(4);
    let mut memory = vec![0; 4 << 20];
    let mut session = session(&model, source, &options, &mut memory);

    assert_eq!(block_on(session.next(&Sampling::GREEDY)).unwrap_err(), Error::Empty);
    let long = "a prompt that is longer than eight tokens by far and away";
    let error = block_on(session.push_text(long)).unwrap_err();
    assert!(matches!(error, Error::ContextFull { tokens: 9.., context: 8 }), "{error}");
    assert_eq!(session.push(&[1; 9]).unwrap_err(), Error::ContextFull { tokens: 9, context: 8 });
    let vocab_size = model.header().vocab_size;
    assert_eq!(session.push(&[vocab_size]).unwrap_err(), Error::NoSuchToken { id: vocab_size, vocab_size });
    assert!(session.tokens().is_empty());

    session.push(&[1; 6]).unwrap();
    let sampling = Sampling::GREEDY.top_k(5).temperature(rillm::Q16::ONE);
    assert_eq!(block_on(session.next(&sampling)).unwrap_err(), Error::TopK { top_k: 5, candidates: 4 });
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    let error = block_on(session.next(&Sampling::GREEDY)).unwrap_err();
    assert_eq!(error, Error::ContextFull { tokens: 9, context: 8 });
    assert_eq!(session.tokens().len(), 8);
}

#[test]
fn a_text_is_counted_as_far_as_a_plan_could_have_room_for_it() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let most = model.header().context_length as usize;
    let mut memory = vec![0; 4 << 20];
    let mut push = |context: usize, text: &str| {
        let options = PlanOptions::default().context(context);
        let mut session = session(&model, source, &options, &mut memory);
        block_on(session.push_text(text))
    };
    let text = "a text of some tokens";
    let tokens = push(most, text).unwrap();
    assert_eq!(push(tokens, text), Ok(tokens));
    assert_eq!(push(tokens - 1, text), Err(Error::ContextFull { tokens, context: tokens - 1 }));
    // A text that exactly fills the model's context is accepted, too.
    let (fits, longer) =
        (1..).map(|n| ("a".repeat(n), "a".repeat(n + 1))).find(|(_, b)| push(most, b).is_err()).unwrap();
    assert!(push(most, &fits).is_ok());
    for text in [longer, "some words ".repeat(1 << 17)] {
        for context in [most, tokens] {
            assert_eq!(push(context, &text), Err(Error::ContextFull { tokens: most + 1, context }));
        }
    }
}

#[test]
fn more_candidates_than_tokens_are_all_of_them() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let options = PlanOptions::default().context(8).candidates(usize::MAX);
    let mut memory = vec![0; 200_000];
    let mut session = session(&model, source, &options, &mut memory);
    assert_eq!(session.plan().candidates, model.header().vocab_size as usize);
    session.push(&[1]).unwrap();
    let sampling = Sampling::GREEDY.top_k(u32::MAX).temperature(rillm::Q16::ONE);
    block_on(session.next(&sampling)).unwrap();
}

#[test]
fn what_lies_outside_the_memory_is_small() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    let options = PlanOptions::default().context(8);
    let mut memory = vec![0; 200_000];
    let mut session = session(&model, source, &options, &mut memory);
    let (model_len, session_len) = (size_of_val(&model), size_of_val(&session));
    let push_len = size_of_val(&session.push_text("a"));
    let next_len = size_of_val(&session.next(&Sampling::GREEDY));
    println!("model {model_len}, session {session_len}, push_text {push_len}, next {next_len} bytes");
    assert!(model_len + session_len + push_len.max(next_len) <= 6 * 1024);
}

#[test]
fn a_session_of_a_plan_wants_the_memory_of_the_plan() {
    let file = model_file(&shapes()[0], 1);
    let (model, source) = open(Bytes::copied(&file));
    for internal in [60_000, 200_000] {
        let memory = MemoryLen { internal, external: 100_000 };
        let plan = Plan::new(&model, &source, memory, &PlanOptions::default()).unwrap();
        let needed = plan.memory();
        let (mut internal, mut external) = (vec![0; needed.internal], vec![0; needed.external]);
        for (short_internal, short_external) in [(0, 0), (1, 0), (0, 1)] {
            let memory = Memory {
                internal: &mut internal[short_internal..],
                external: external.get_mut(short_external..).unwrap_or_default(),
            };
            let given = memory.len();
            match Session::from_plan(&model, source, plan, memory) {
                Ok(session) => assert!(given.holds(needed) && *session.plan() == plan),
                Err(error) => assert_eq!((error.needed, error.given), (needed, given)),
            }
        }
    }
}

#[test]
fn a_plan_knows_what_a_token_reads() {
    for (index, config) in shapes().iter().enumerate() {
        let file = model_file(config, 1);
        for lend in [false, true] {
            let options = |resident, chunk, residency| {
                PlanOptions::default().resident(resident).chunk(chunk).residency(residency).context(16).batch(2)
            };
            let spread = Residency::Spread { most: 5000 };
            for options in [
                options(Some(0), Some(512), Residency::Front),
                options(Some(2048), Some(1536), Residency::Front),
                options(None, None, Residency::Front),
                options(None, Some(1024), spread),
                options(Some(1024), Some(512), spread),
            ] {
                let (model, source) = open(if lend { Bytes::lent(&file) } else { Bytes::copied(&file) });
                let mut memory = vec![0; 4 << 20];
                let mut session = session(&model, source, &options, &mut memory);
                session.push(&[1, 2, 3, 4, 5]).unwrap();
                block_on(session.next(&Sampling::GREEDY)).unwrap();
                for head in [true, false] {
                    let before = session.stats().traffic;
                    let embedding = if head {
                        let id = block_on(session.next(&Sampling::GREEDY)).unwrap().id;
                        session.plan().embedding_traffic(&model, id)
                    } else {
                        // Three tokens; the batch takes two of them.
                        session.push(&[4, 1]).unwrap();
                        assert!(block_on(session.prefill()).unwrap());
                        let tokens = session.tokens();
                        let [a, b] =
                            [3, 2].map(|back| session.plan().embedding_traffic(&model, tokens[tokens.len() - back]));
                        Traffic { reads: 2, bytes: a.bytes + b.bytes, ..a }
                    };
                    let after = session.stats().traffic;
                    let pass = session.plan().pass_traffic(&model, head);
                    let [reads, bytes] = if lend { [0; 2] } else { [embedding.reads, embedding.bytes] };
                    let what = format!("shape {index}, {options:?}, lent {lend}, head {head}");
                    assert_eq!(after.reads - before.reads, reads + pass.reads, "{what}");
                    assert_eq!(after.bytes - before.bytes, bytes + pass.bytes, "{what}");
                    assert_eq!(after.resident_bytes - before.resident_bytes, pass.resident_bytes, "{what}");
                    // Consecutive rows in the file may need no seek.
                    assert!(after.seeks - before.seeks <= reads + pass.seeks, "{what}");
                    assert!(after.seeks - before.seeks >= pass.seeks, "{what}");
                }
            }
        }
    }
}
