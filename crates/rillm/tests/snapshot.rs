//! Saved sessions: a restored session continues with the same bits under any plan, and damage is an error.

use std::io::{self, Read, Write};
use std::sync::LazyLock;

use crate::support::{block_on, config, model_file, open, session, shapes};
use proptest::prelude::*;
use rillm::format::{Header, KeyBits, crc32};
use rillm::{Bytes, Fingerprint, Memory, Model, PlanOptions, Q16, RestoreError, Sampling, Session, WeightSource};

const SAMPLING: Sampling = Sampling::GREEDY.temperature(Q16::ONE).seed(5);

fn saved<S: WeightSource>(session: &Session<'_, S>) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.save(|piece| bytes.write_all(piece)).unwrap();
    bytes
}

fn restore<S: WeightSource>(session: &mut Session<'_, S>, mut bytes: &[u8]) -> Result<(), RestoreError<io::ErrorKind>> {
    session.restore(|piece| bytes.read_exact(piece).map_err(|error| error.kind()))
}

/// Generates three more tokens. Returns all tokens and the fingerprint of the logits.
fn go_on<S: WeightSource<Error: std::fmt::Debug>>(session: &mut Session<'_, S>) -> (Vec<u32>, u32) {
    let mut logits = Fingerprint::new();
    for _ in 0..3 {
        block_on(session.next_observed(&SAMPLING, |logit| logits.add(logit))).unwrap();
    }
    (session.tokens().to_vec(), logits.value())
}

fn with_key_bits(mut file: Vec<u8>, key_bits: KeyBits) -> Vec<u8> {
    let mut header = Header::parse(file.first_chunk().unwrap()).unwrap();
    header.key_bits = key_bits;
    file[..512].copy_from_slice(&header.emit());
    file
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_session_goes_on_with_the_same_bits(
        config in config(),
        seed: u64,
        prompt in prop::collection::vec(1u32..400, 1..20),
        computed in 0usize..3,
        wide_keys: bool,
        context in 24usize..64,
        batch in 1usize..9,
        resident in 0usize..100_000,
        external in prop::sample::select(vec![0, 1 << 20]),
    ) {
        let key_bits = if wide_keys { KeyBits::Sixteen } else { KeyBits::Eight };
        let file = with_key_bits(model_file(&config, seed), key_bits);
        let (model, source) = open(Bytes::copied(&file));
        let plenty = PlanOptions::default().context(32);
        let mut memory = vec![0; 4 << 20];
        let mut first = session(&model, source, &plenty, &mut memory);
        // Computed in part, completely, or not at all.
        let (front, back) = prompt.split_at(if computed == 1 { prompt.len() / 2 } else { prompt.len() });
        first.push(front).unwrap();
        if computed > 0 && !front.is_empty() {
            block_on(first.logits(|_| ())).unwrap();
        }
        first.push(back).unwrap();
        let bytes = saved(&first);
        let expected = go_on(&mut first);

        let internal = if external > 0 { 60_000 } else { 4 << 20 };
        let options = PlanOptions::default()
            .context((external == 0).then_some(context))
            .batch(batch)
            .resident(resident.min(internal / 3));
        let (mut internal, mut external) = (vec![0xaa; internal], vec![0xaa; external]);
        let memory = Memory { internal: &mut internal, external: &mut external };
        let mut second = Session::new(&model, source, memory, &options).unwrap();
        // The restored session's previous tokens are removed.
        second.push(&[7; 9]).unwrap();
        restore(&mut second, &bytes).unwrap();
        prop_assert_eq!(second.tokens(), &prompt[..]);
        let kept = if computed == 0 { 0 } else { front.len().min(prompt.len() - 1) };
        prop_assert_eq!(second.computed(), kept);
        // Saving gives the same bytes under every plan.
        prop_assert_eq!(&saved(&second), &bytes);
        prop_assert_eq!(go_on(&mut second), expected);
        // Saved positions are not computed again, except the last token of a history that is completely in the cache.
        prop_assert_eq!(second.stats().tokens, (prompt.len() - kept + 2) as u64);
    }
}

/// A model of one layer.
static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| model_file(&shapes()[2], 2));

/// The file of that model, and a saved session of it with five tokens.
fn small() -> (Vec<u8>, Vec<u8>) {
    let file = SMALL.clone();
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &options(), &mut memory);
    session.push(&[1, 40, 41, 42]).unwrap();
    block_on(session.next(&SAMPLING)).unwrap();
    let bytes = saved(&session);
    (file, bytes)
}

fn options() -> PlanOptions {
    PlanOptions::default().context(16)
}

/// Corrects the checksums of the header and of the whole.
fn seal(bytes: &mut [u8]) {
    let head = crc32(&bytes[..24]);
    bytes[24..28].copy_from_slice(&head.to_le_bytes());
    let end = bytes.len() - 4;
    let all = crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&all.to_le_bytes());
}

#[test]
fn its_bytes_are_those_of_the_documentation() {
    let (file, bytes) = small();
    let header = Header::parse(file.first_chunk().unwrap()).unwrap();
    let position = header.n_kv_heads * header.head_dim * (header.key_bits.byte_len() as u32 + 1) + 4;
    assert_eq!(bytes.len() as u32, 28 + 5 * 4 + 4 * position + 4);
    assert_eq!(bytes[..12], *b"RILLS\x1a\r\n\x01\0\0\0");
    assert_eq!(bytes[12..16], file[508..512]);
    assert_eq!(bytes[16..24], [5, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(bytes[28..36], [1, 0, 0, 0, 40, 0, 0, 0]);
    let mut sealed = bytes.clone();
    seal(&mut sealed);
    assert_eq!(sealed, bytes);
}

#[test]
fn every_truncation_and_every_flipped_bit_is_an_error() {
    let (file, bytes) = small();
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &options(), &mut memory);
    for len in 0..bytes.len() {
        let error = restore(&mut session, &bytes[..len]).unwrap_err();
        assert_eq!(error, RestoreError::Read(io::ErrorKind::UnexpectedEof), "{len}");
        assert!(session.tokens().is_empty());
    }
    let mut bad = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bad[at] ^= 1 << bit;
            let error = restore(&mut session, &bad).unwrap_err();
            match at {
                0..8 => assert!(matches!(error, RestoreError::NotASession { .. }), "{at}: {error}"),
                8..12 => assert!(matches!(error, RestoreError::Version { .. }), "{at}: {error}"),
                _ => assert!(matches!(error, RestoreError::Checksum { .. }), "{at}: {error}"),
            }
            assert!(session.tokens().is_empty());
            bad[at] = bytes[at];
        }
    }
    // The session stays usable: empty, or with the undamaged bytes.
    session.push(&[1, 40, 41, 42]).unwrap();
    block_on(session.next(&SAMPLING)).unwrap();
    assert_eq!(saved(&session), bytes);
    restore(&mut session, &bytes).unwrap();
    // Bytes after the saved session are left to the caller.
    restore(&mut session, &[bytes, vec![1, 2, 3]].concat()).unwrap();
}

#[test]
fn another_model_is_refused_and_a_small_context_says_what_would_do() {
    let (file, bytes) = small();
    let attempt = |model: &Model, file: &[u8], context| {
        let options = options().context(context);
        let mut memory = vec![0; 1 << 20];
        restore(&mut session(model, Bytes::copied(file), &options, &mut memory), &bytes)
    };
    let model = open(Bytes::copied(&file)).0;
    assert_eq!(attempt(&model, &file, 4), Err(RestoreError::ContextTooSmall { tokens: 5, context: 4 }));
    assert_eq!(attempt(&model, &file, 5), Ok(()));
    // A model with the same dimensions and other weights, and one with wider keys.
    for other in [model_file(&shapes()[2], 3), with_key_bits(file.clone(), KeyBits::Sixteen)] {
        let model = open(Bytes::copied(&other)).0;
        assert_eq!(attempt(&model, &other, 16), Err(RestoreError::OtherModel));
    }
}

#[test]
fn a_session_that_is_whole_and_makes_no_sense() {
    let (file, bytes) = small();
    let (model, source) = open(Bytes::copied(&file));
    let mut memory = vec![0; 1 << 20];
    let mut session = session(&model, source, &options(), &mut memory);
    let mut attempt = |at: usize, value: u32| {
        let mut bad = bytes.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        seal(&mut bad);
        restore(&mut session, &bad).unwrap_err()
    };
    assert_eq!(attempt(32, 512), RestoreError::OutOfRange { field: "a token", value: 512, most: 511 });
    assert_eq!(attempt(20, 6), RestoreError::OutOfRange { field: "positions", value: 6, most: 5 });
    assert_eq!(attempt(16, u32::MAX), RestoreError::ContextTooSmall { tokens: u32::MAX, context: 16 });
}

proptest! {
    /// Numbers that no model computes, with a correct checksum, have a result and cause no panic.
    #[test]
    fn hostile_keys_and_values_run(
        wide_keys: bool, fill in prop::sample::select(vec![0x80, 0x7f, 0xff, 0]),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
    ) {
        let key_bits = if wide_keys { KeyBits::Sixteen } else { KeyBits::Eight };
        let file = with_key_bits(SMALL.clone(), key_bits);
        let (model, source) = open(Bytes::copied(&file));
        let mut memory = vec![0; 1 << 20];
        let mut session = session(&model, source, &options(), &mut memory);
        session.push(&[1, 40, 41, 42]).unwrap();
        block_on(session.next(&SAMPLING)).unwrap();
        let mut bytes = saved(&session);
        let (start, end) = (28 + 5 * 4, bytes.len() - 4);
        bytes[start..end].fill(fill);
        for (index, byte) in noise {
            bytes[start..end][index.index(end - start)] = byte;
        }
        seal(&mut bytes);
        restore(&mut session, &bytes).unwrap();
        go_on(&mut session);
    }
}
