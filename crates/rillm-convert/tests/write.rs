//! A written file, read back.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rillm::SECTOR_LEN;
use rillm::format::{
    AttentionExtras, EMBEDDING_HEADER_LEN, EmbeddingHeader, Header, KeyBits, Quantisation, Rope, RopeScaling,
    SectionKind, TENSOR_ENTRY_LEN, TENSOR_HEADER_LEN, TensorEntry, TensorHeader, TensorKind, TokenKind, crc32,
};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::random;
use rillm_convert::vocabulary::Token;
use rillm_convert::write::{ConversionReport, Options, Progress, TokenizerSections, WriteError, convert};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::rope;
use rillm_quantise::rows::{Noise, dequantise_row};

use crate::support::tensors::edit_tensors;

/// Shapes that divide nothing evenly.
fn odd_config() -> LlamaConfig {
    LlamaConfig {
        hidden_size: 40,
        intermediate_size: 172,
        n_layers: 3,
        n_heads: 6,
        n_kv_heads: 3,
        head_dim: 8,
        vocab_size: 1003,
        context_length: 64,
        attention: AttentionExtras::default(),
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: false,
        bos: Some(1),
        eos: vec![2, 3],
    }
}

fn vocabulary(tokens: usize) -> TokenizerSections {
    let token = |index: usize| Token {
        text: format!("<{index}>").into_bytes(),
        kind: match index {
            0 => TokenKind::Unknown,
            1..=3 => TokenKind::Control,
            _ => TokenKind::Text,
        },
    };
    TokenizerSections {
        tokenizer: b"a tokenizer".to_vec(),
        tokens: (0..tokens).map(token).collect(),
        chat_template: "{{ messages }}".to_owned(),
        chat: Ok(b"a chat".to_vec()),
    }
}

struct Converted {
    directory: tempfile::TempDir,
    checkpoint: Checkpoint,
    report: ConversionReport,
    bytes: Vec<u8>,
}

fn converted(config: &LlamaConfig, vocabulary: &TokenizerSections) -> Converted {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), config, Dtype::Bf16, 7).expect("a checkpoint");
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let out = directory.path().join("model.rillm");
    let report = convert(&checkpoint, vocabulary, Options::default(), |_| ControlFlow::Continue(()), &out);
    Converted { report: report.expect("a report"), bytes: fs::read(out).expect("a file"), directory, checkpoint }
}

/// The width of keys that a conversion chooses, for a model whose query or key tensors are changed.
fn key_bits(config: &LlamaConfig, tensor: &str, change: impl Fn(&mut [f32])) -> KeyBits {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), config, Dtype::F32, 7).expect("a checkpoint");
    edit_tensors(directory.path(), |tensors| {
        let (.., bytes) = tensors.get_mut(&format!("model.layers.1.self_attn.{tensor}")).expect("a tensor");
        let mut values: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        change(&mut values);
        *bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
    });
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let out = directory.path().join("model.rillm");
    convert(&checkpoint, &vocabulary(1003), Options::default(), |_| ControlFlow::Continue(()), &out).expect("a report");
    header(&fs::read(out).expect("a file")).key_bits
}

/// Large elements take the others' bits; large queries multiply the keys' errors.
#[test]
fn keys_have_16_bits_where_8_are_too_few() {
    let extras = AttentionExtras { qkv_bias: true, ..AttentionExtras::default() };
    let config = LlamaConfig { n_heads: 2, n_kv_heads: 1, head_dim: 64, attention: extras, ..odd_config() };
    assert_eq!(key_bits(&config, "k_proj.bias", |_| ()), KeyBits::Eight);
    for outlier in [50.0, -150.0, 400.0] {
        let change = |bias: &mut [f32]| (bias[3], bias[40]) = (outlier, -outlier);
        assert_eq!(key_bits(&config, "k_proj.bias", change), KeyBits::Sixteen, "{outlier}");
    }
    let large = |weights: &mut [f32]| weights.iter_mut().for_each(|weight| *weight *= 1000.0);
    assert_eq!(key_bits(&config, "q_proj.weight", large), KeyBits::Sixteen);
    // One row of a key head.
    let row = |weights: &mut [f32]| weights[40 * 7..40 * 8].iter_mut().for_each(|weight| *weight *= 60.0);
    assert_eq!(key_bits(&config, "k_proj.weight", row), KeyBits::Sixteen);
    let narrow = LlamaConfig { n_heads: 2, n_kv_heads: 1, head_dim: 16, ..odd_config() };
    assert_eq!(key_bits(&narrow, "k_proj.weight", |_| ()), KeyBits::Sixteen);
}

fn header(bytes: &[u8]) -> Header {
    let sector: &[u8; SECTOR_LEN] = bytes.first_chunk().expect("a sector");
    Header::parse(sector).expect("a header")
}

fn section(bytes: &[u8], kind: SectionKind) -> &[u8] {
    let section = header(bytes).section(kind).expect("a section");
    &bytes[section.offset as usize..][..section.len as usize]
}

fn entries(bytes: &[u8]) -> Vec<TensorEntry> {
    let (lines, rest) = section(bytes, SectionKind::Tensors).as_chunks::<TENSOR_ENTRY_LEN>();
    assert!(rest.is_empty());
    lines.iter().map(|line| TensorEntry::parse(line).expect("a line of the table")).collect()
}

#[test]
fn header_and_sections_are_as_specified() {
    let config = odd_config();
    let Converted { directory, checkpoint, report, bytes } = converted(&config, &vocabulary(1003));
    let header = header(&bytes);
    assert_eq!(header.file_len(), bytes.len() as u64);
    assert_eq!(report.file_len, bytes.len() as u64);
    assert_eq!(header.source_hash, checkpoint.weights_sha256());
    assert_eq!(header.source_name(), directory.path().file_name().and_then(|name| name.to_str()));
    assert_eq!((header.bos, header.unk), (Some(1), Some(0)));
    assert_eq!(header.eos, [Some(2), Some(3), None, None]);

    let kinds: Vec<SectionKind> = header.sections().map(|section| section.kind).collect();
    assert!(SectionKind::ALL.into_iter().filter(|&kind| kind != SectionKind::RescoringHead).eq(kinds));
    let mut end = SECTOR_LEN as u64;
    for found in header.sections() {
        assert_eq!(found.offset, end, "{}", found.kind);
        let (start, len) = (found.offset as usize, found.len as usize);
        assert_eq!(crc32(&bytes[start..start + len]), found.crc32, "{}", found.kind);
        end = (found.offset + found.len).next_multiple_of(SECTOR_LEN as u64);
        assert!(bytes[start + len..end as usize].iter().all(|&byte| byte == 0));
    }
    assert_eq!(end, bytes.len() as u64);

    assert_eq!(section(&bytes, SectionKind::Tokenizer), b"a tokenizer");
    assert_eq!(section(&bytes, SectionKind::ChatTemplate), b"{{ messages }}");
    assert_eq!(section(&bytes, SectionKind::Chat), b"a chat");
    let angles: Vec<u64> =
        section(&bytes, SectionKind::Rope).as_chunks().0.iter().map(|&angle| u64::from_le_bytes(angle)).collect();
    assert_eq!(angles, rope::table(&config.rope, &[], config.head_dim));
}

#[test]
fn tensors_follow_each_other_and_hold_the_weights() {
    let config = odd_config();
    let Converted { checkpoint, report, bytes, .. } = converted(&config, &vocabulary(1003));
    let header = header(&bytes);
    let entries = entries(&bytes);
    let expected: Vec<(TensorKind, u32)> = config.tensors().collect();
    assert_eq!(entries.len(), expected.len());
    assert_eq!(report.tensors.len(), expected.len());

    let mut end = header.section(SectionKind::Tape).expect("a tape").offset;
    for ((entry, (kind, layer)), report) in entries.iter().zip(expected).zip(&report.tensors) {
        entry.tensor.expect(&header, kind, layer).expect("the tensor in its place");
        assert_eq!(report.tensor, entry.tensor);
        assert_eq!(report.bytes, entry.len);
        let stored = &bytes[entry.offset as usize..][..entry.len as usize];
        assert_eq!(crc32(stored), entry.crc32, "{kind}");
        let first: &[u8; TENSOR_HEADER_LEN] = stored.first_chunk().expect("a header");
        assert_eq!(TensorHeader::parse(first), Ok(entry.tensor));
        let (header_len, record_len) = if kind == TensorKind::Embedding {
            let head: &[u8; EMBEDDING_HEADER_LEN] = stored.first_chunk().expect("a header");
            let embedding = EmbeddingHeader::parse(head, &header).expect("an embedding header");
            assert_eq!(embedding.byte_len(), entry.len);
            (EMBEDDING_HEADER_LEN, embedding.record_len as usize)
        } else {
            assert_eq!(entry.offset, end, "{kind}");
            end += entry.len;
            (TENSOR_HEADER_LEN, entry.tensor.row_len())
        };

        let weights = checkpoint.tensor(kind, layer);
        let mut restored = vec![0.0; weights.len()];
        let cols = entry.tensor.cols as usize;
        let mut exponents = Vec::new();
        for (record, row) in stored[header_len..].chunks_exact(record_len).zip(restored.chunks_exact_mut(cols)) {
            let record = &record[..entry.tensor.row_len()];
            dequantise_row(entry.tensor.quantisation, entry.tensor.exponent, record, row);
            exponents.push(record[cols + cols.div_ceil(32)] as i8);
        }
        if entry.tensor.quantisation == Quantisation::Fixed32 {
            assert_eq!(restored, weights, "{kind}: bf16 norms fit 24 bits");
            assert_eq!(report.snr_db, f64::INFINITY);
        } else {
            assert_eq!(exponents.iter().max(), Some(&entry.tensor.exponent));
            let snr = Noise::between(&weights, &restored).snr_db();
            assert!((snr - report.snr_db).abs() < 1e-9 && snr > 40.0, "{kind}: {snr}");
        }
    }
}

#[test]
fn embedding_records_carry_their_tokens_text() {
    let vocabulary = vocabulary(1003);
    let Converted { bytes, .. } = converted(&odd_config(), &vocabulary);
    let header = header(&bytes);
    let stored = section(&bytes, SectionKind::Embedding);
    let head: &[u8; EMBEDDING_HEADER_LEN] = stored.first_chunk().expect("a header");
    let embedding = EmbeddingHeader::parse(head, &header).expect("an embedding header");
    let records = stored[EMBEDDING_HEADER_LEN..].chunks_exact(embedding.record_len as usize);
    assert_eq!(records.len(), vocabulary.tokens.len());
    for (record, Token { text, kind }) in records.zip(&vocabulary.tokens) {
        let tail = &record[embedding.tensor.row_len()..];
        assert_eq!(tail[0] as usize, text.len());
        assert_eq!(TokenKind::parse(tail[1]), Ok(*kind));
        assert_eq!(&tail[2..2 + text.len()], text);
        assert!(tail[2 + text.len()..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_cores() {
    let config = odd_config();
    let first = converted(&config, &vocabulary(1003));
    let out = first.directory.path().join("again.rillm");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let report = pool.expect("a thread").install(|| {
        convert(&first.checkpoint, &vocabulary(1003), Options::default(), |_| ControlFlow::Continue(()), &out)
    });
    assert_eq!(report.expect("a report"), first.report);
    assert!(fs::read(out).expect("a file") == first.bytes);
}

#[test]
fn tied_embeddings_are_stored_twice() {
    let config = LlamaConfig { tied_embeddings: true, ..odd_config() };
    let Converted { bytes, .. } = converted(&config, &vocabulary(1003));
    assert!(header(&bytes).tied_embeddings);
    let entries = entries(&bytes);
    let (embedding, head) = (&entries[0], &entries[entries.len() - 1]);
    let embedding_row = &bytes[embedding.offset as usize + EMBEDDING_HEADER_LEN..];
    let head_row = &bytes[head.offset as usize + TENSOR_HEADER_LEN..];
    let row_len = head.tensor.row_len();
    assert_eq!(embedding_row[..row_len], head_row[..row_len]);
}

#[test]
fn other_odd_shapes_are_laid_out_as_the_header_says() {
    let wide_heads = LlamaConfig {
        hidden_size: 52,
        intermediate_size: 1,
        n_layers: 1,
        n_heads: 4,
        n_kv_heads: 4,
        head_dim: 96,
        vocab_size: 7,
        eos: vec![],
        ..odd_config()
    };
    let deep = LlamaConfig {
        hidden_size: 1,
        n_layers: 6,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 2,
        tied_embeddings: true,
        ..odd_config()
    };
    for config in [wide_heads, deep] {
        let Converted { bytes, .. } = converted(&config, &vocabulary(config.vocab_size as usize));
        let header = header(&bytes);
        assert_eq!(header.file_len(), bytes.len() as u64);
        let tape = header.section(SectionKind::Tape).expect("a tape");
        let last = entries(&bytes).pop().expect("a head");
        assert_eq!(last.offset + last.len, tape.offset + tape.len);
    }
}

#[test]
fn progress_goes_up_to_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), &odd_config(), Dtype::F32, 7).expect("a checkpoint");
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let mut seen: Vec<Progress> = Vec::new();
    let out = directory.path().join("model.rillm");
    let progress = |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    };
    convert(&checkpoint, &vocabulary(1003), Options::default(), progress, &out).expect("a report");
    assert!(seen.is_sorted_by_key(|progress| progress.bytes_done));
    let last = seen.last().expect("progress");
    assert_eq!((last.kind, last.rows_done, last.bytes_done), (TensorKind::Head, 1003, last.bytes));
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_failed_conversion_leaves_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = odd_config();
    random::write(directory.path(), &config, Dtype::F32, 7).expect("a checkpoint");
    // The last tensor of the file in alphabetical order is `model.norm.weight`.
    let weights = directory.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("weights");
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).expect("weights");
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let before = files(directory.path());

    let out = directory.path().join("model.rillm");
    let error = convert(&checkpoint, &vocabulary(1003), Options::default(), |_| ControlFlow::Continue(()), &out);
    let error = error.expect_err("a NaN");
    assert!(matches!(error, WriteError::NotFinite { kind: TensorKind::FinalNorm, column: 39, .. }), "{error}");
    assert!(error.to_string().starts_with("norm has NaN at row 0, column 39;"), "{error}");
    assert_eq!(files(directory.path()), before);
}

#[test]
fn what_does_not_fit_the_format_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), &odd_config(), Dtype::F16, 7).expect("a checkpoint");
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let out = directory.path().join("model.rillm");
    let refused = |vocabulary: &TokenizerSections, options, out: &Path| {
        convert(&checkpoint, vocabulary, options, |_| ControlFlow::Continue(()), out).expect_err("a refusal")
    };
    let options = Options::default();
    for group in [0, 8, 48, 1024] {
        let error = refused(&vocabulary(1003), Options::default().group(group), &out);
        assert!(matches!(error, WriteError::Group { found } if found == group));
    }
    for count in [1002, 1004] {
        let error = refused(&vocabulary(count), options, &out);
        assert!(matches!(error, WriteError::TokenCount { tokens, vocab_size: 1003 } if tokens == count));
    }
    let mut long = vocabulary(1003);
    long.tokens[5].text = vec![b'x'; 256];
    let error = refused(&long, options, &out);
    assert!(matches!(error, WriteError::TokenText { token: 5, len: 256 }));
    let mut empty = vocabulary(1003);
    empty.tokenizer.clear();
    assert!(matches!(refused(&empty, options, &out), WriteError::EmptyTokenizer));
    assert_eq!(files(directory.path()), ["config.json", "model.safetensors"]);
}

/// Even where the rest would be refused, too: that is found out later.
#[test]
fn an_output_that_cannot_be_written_is_refused_first() {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), &odd_config(), Dtype::F16, 7).expect("a checkpoint");
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let refused = |out: &Path| {
        let progress = |_| ControlFlow::Continue(());
        convert(&checkpoint, &TokenizerSections::default(), Options::default(), progress, out).expect_err("a refusal")
    };
    let error = refused(directory.path());
    assert!(matches!(&error, WriteError::IsDirectory { path } if path == directory.path()), "{error}");
    let nowhere = directory.path().join("nowhere");
    let error = refused(&nowhere.join("model.rillm"));
    assert!(matches!(&error, WriteError::NoDirectory { directory, .. } if *directory == nowhere), "{error}");
    // A file where a directory should be: nobody can write there, whatever the permissions.
    let out = directory.path().join("config.json").join("model.rillm");
    let error = refused(&out);
    assert!(matches!(&error, WriteError::Io { path, .. } if *path == out), "{error}");
    let message = error.to_string();
    assert!(message.contains("config.json") && message.contains("os error") && !message.contains(".part"), "{error}");
    assert!(std::error::Error::source(&error).is_none());
    assert_eq!(files(directory.path()), ["config.json", "model.safetensors"]);
}

#[test]
fn an_interrupted_conversion_leaves_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    random::write(directory.path(), &odd_config(), Dtype::F32, 7).expect("a checkpoint");
    let checkpoint = Checkpoint::open(directory.path()).expect("a checkpoint");
    let before = files(directory.path());
    let out = directory.path().join("model.rillm");
    let mut calls = 0;
    let progress = |_| {
        calls += 1;
        assert_eq!(files(directory.path()).len(), before.len() + 1, "the file in progress");
        if calls == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let error = convert(&checkpoint, &vocabulary(1003), Options::default(), progress, &out).expect_err("a break");
    assert!(matches!(error, WriteError::Interrupted), "{error}");
    assert_eq!((calls, files(directory.path())), (5, before));
}
