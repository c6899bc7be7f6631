//! Failing sources and damaged files: a typed error, no panic, and a session that stays usable.

use crate::support::{Flipping, block_on, model_file, open, session, shapes};
use proptest::prelude::*;
use rillm::format::FormatError;
use rillm::{Bytes, Error, Fault, Faulty, Memory, Model, PlanOptions, Q16, Sampling, Session, WeightSource};

const PROMPT: &str = "a tale of two";
const SAMPLING: Sampling = Sampling::GREEDY.temperature(Q16::ONE).seed(5);

fn options() -> PlanOptions {
    PlanOptions::default().context(32).batch(3).chunk(1024).resident(4096)
}

/// Generates four tokens after the prompt, repeating failed calls. Returns the tokens and the number of errors.
fn run_to_the_end<S: WeightSource<Error: std::fmt::Debug + PartialEq>>(
    model: &Model,
    source: S,
    planned: &Error<S::Error>,
) -> (Vec<u32>, usize, u64) {
    let mut memory = vec![0; 1 << 20];
    let mut session = session(model, source, &options(), &mut memory);
    let mut errors = 0;
    while let Err(error) = block_on(session.push_text(PROMPT)) {
        assert_eq!(&error, planned);
        assert!(session.tokens().is_empty());
        errors += 1;
    }
    let prompt = session.tokens().len();
    while session.tokens().len() < prompt + 4 {
        let before = session.tokens().len();
        if let Err(error) = block_on(session.next(&SAMPLING)).map(|_| ()) {
            assert_eq!(&error, planned);
            assert_eq!(session.tokens().len(), before);
            errors += 1;
        }
    }
    (session.tokens().to_vec(), errors, session.stats().traffic.reads)
}

#[test]
fn a_failed_read_loses_and_doubles_nothing() {
    let file = model_file(&shapes()[1], 2);
    let (model, source) = open(Bytes::copied(&file));
    let planned = Error::Source(Fault::Planned);
    let (expected, _, reads) = run_to_the_end(&model, Faulty::new(source, u64::MAX), &planned);
    assert!(reads > 50);
    for index in 0..reads {
        let (tokens, errors, _) = run_to_the_end(&model, Faulty::new(source, index), &planned);
        assert_eq!(tokens, expected, "read {index}");
        assert_eq!(errors, 1, "read {index}");
    }
}

/// The tokens of a prompt of eleven and four more, with a check in every pass, and the number of errors; gives up after
/// ten.
fn run_checked(model: &Model, source: impl WeightSource<Error: std::fmt::Debug>) -> (Vec<u32>, usize) {
    let mut memory = vec![0; 1 << 20];
    let mut session = session(model, source, &options(), &mut memory);
    session.set_check_every(1);
    session.push(&[1, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49]).unwrap();
    let mut errors = 0;
    while session.tokens().len() < 15 && errors < 10 {
        if let Err(error) = block_on(session.next(&SAMPLING)) {
            // A flipped bit in a tensor's header is detected at once.
            let noticed = matches!(error, Error::Format(FormatError::Checksum { .. } | FormatError::Tensor { .. }));
            assert!(noticed, "{error:?}");
            errors += 1;
        }
    }
    (session.tokens().to_vec(), errors)
}

#[test]
fn a_flipped_bit_is_noticed_and_the_tokens_stay_the_same() {
    let file = model_file(&shapes()[1], 2);
    let (model, inner) = open(Bytes::copied(&file));
    let header = rillm::format::Header::parse(file.first_chunk().unwrap()).unwrap();
    let tape = header.section(rillm::format::SectionKind::Tape).unwrap();
    let (expected, errors) = run_checked(&model, inner);
    assert_eq!(errors, 0);
    // Resident weights, weights that a prompt needs, and weights of the head; in any read of the byte.
    for at in [100, 3000, 6000, tape.len / 2, tape.len - 10] {
        for read in 0..4 {
            let source = Flipping { inner, reads: 0, flipped: read..read + 1, byte: tape.offset + at };
            let (tokens, errors) = run_checked(&model, source);
            assert_eq!(tokens, expected, "byte {at}, read {read}");
            // Resident weights are read once, and again after an error.
            let resident = at < 4096;
            assert_eq!(errors, usize::from(!resident || read == 0), "byte {at}, read {read}");
        }
        let broken = Flipping { inner, reads: 0, flipped: 0..u64::MAX, byte: tape.offset + at };
        assert_eq!(run_checked(&model, broken), (expected[..11].to_vec(), 10));
    }
}

#[test]
fn a_failed_read_while_opening_is_reported() {
    let file = model_file(&shapes()[1], 2);
    for index in 0..100 {
        match block_on(Model::open(&mut Faulty::new(Bytes::copied(&file), index))) {
            Err(error) => assert_eq!(error, Error::Source(Fault::Planned)),
            Ok(_) => return assert!(index > 2),
        }
    }
    panic!("opening took more than a hundred reads");
}

/// Opens and runs arbitrary bytes without the checksum of the weights. Any result but a panic is allowed.
fn run_whatever(file: &[u8], lend: bool) -> Result<Vec<u32>, ()> {
    let mut source = if lend { Bytes::lent(file) } else { Bytes::copied(file) };
    let model = block_on(Model::open(&mut source)).map_err(|_| ())?;
    let mut memory = vec![0; 1 << 20];
    let mut session = Session::new(&model, source, Memory::internal(&mut memory), &options()).map_err(|_| ())?;
    session.set_check_every(0);
    block_on(session.push_text(PROMPT)).map_err(|_| ())?;
    for _ in 0..3 {
        block_on(session.next(&SAMPLING)).map_err(|_| ())?;
    }
    Ok(session.tokens().to_vec())
}

#[test]
fn a_truncated_file_is_an_error_at_every_length() {
    let file = model_file(&shapes()[1], 2);
    assert!(run_whatever(&file, false).is_ok());
    let header = rillm::format::Header::parse(file.first_chunk().unwrap()).unwrap();
    let tape = header.section(rillm::format::SectionKind::Tape).unwrap();
    // The bytes after the tape are padding.
    let last = (tape.offset + tape.len) as usize - 1;
    for lend in [false, true] {
        for len in (0..last).step_by(1021).chain([1, 511, 512, 513, last]) {
            assert!(run_whatever(&file[..len], lend).is_err(), "{len} of {} bytes", file.len());
        }
    }
}

#[test]
fn a_damaged_header_is_never_opened() {
    let file = model_file(&shapes()[1], 2);
    for at in 0..512 {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = file.clone();
            bad[at] ^= flip;
            let error = block_on(Model::open(&mut Bytes::lent(&bad))).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Format(_)), "byte {at}: {error}");
        }
    }
    let not_a_model = [b'x'; 4096];
    let error = block_on(Model::open(&mut Bytes::copied(&not_a_model))).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Format(FormatError::NotRillm { found: [b'x'; 8] }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_does_not_panic(
        seed in 0u64..3, at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40), lend: bool,
    ) {
        let mut file = model_file(&shapes()[1], seed);
        for (index, byte) in at {
            let index = 512 + index.index(file.len() - 512);
            file[index] = byte;
        }
        let _ = run_whatever(&file, lend);
    }

    #[test]
    fn noise_for_weights_does_not_panic(seed: u64, lend: bool) {
        let mut file = model_file(&shapes()[1], 0);
        let header = rillm::format::Header::parse(file.first_chunk().unwrap()).unwrap();
        let mut noise = seed | 1;
        for kind in [rillm::format::SectionKind::Embedding, rillm::format::SectionKind::Tape] {
            let section = header.section(kind).unwrap();
            // Runs of noise that leave enough of the tensors' headers intact.
            for byte in &mut file[section.offset as usize + 32..][..section.len as usize - 32] {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if noise >> 55 < 40 {
                    *byte = (noise >> 40) as u8;
                }
            }
        }
        let _ = run_whatever(&file, lend);
    }
}
