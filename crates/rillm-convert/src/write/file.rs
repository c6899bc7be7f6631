//! Writes the sections at their offsets; sections that hold checksums of others come last.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{SectionKind, TensorEntry, TensorKind};

use super::layout::Layout;
use super::rows::{self, Rows};
use super::{ConversionReport, Progress, TensorReport, TokenizerSections, WriteError};
use crate::checkpoint::Checkpoint;
use rillm_quantise::model::QuantisedModel;
use rillm_quantise::rope;

/// The file in progress, and the name that it will have, for messages.
pub(super) struct Output<'a> {
    file: &'a mut File,
    path: &'a Path,
}

impl<'a> Output<'a> {
    pub fn new(file: &'a mut File, path: &'a Path) -> Self {
        Self { file, path }
    }

    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.write_all(bytes))
            .map_err(|source| self.error(source))
    }

    fn set_len(&mut self, len: u64) -> Result<(), WriteError> {
        self.file.set_len(len).map_err(|source| self.error(source))
    }

    fn error(&self, source: std::io::Error) -> WriteError {
        WriteError::Io { path: self.path.to_owned(), source }
    }
}

pub(super) fn write(
    checkpoint: &Checkpoint,
    tokenizer: &TokenizerSections,
    quantised: &QuantisedModel,
    mut layout: Layout,
    output: &mut Output<'_>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<ConversionReport, WriteError> {
    // The padding between sections is not written: extending a file fills it with zeros.
    output.set_len(layout.file_len)?;
    let config = checkpoint.config();
    let rope: Vec<u8> = rope::table(&config.rope, &config.rope_divisors, config.head_dim)
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    write_section(&mut layout, output, SectionKind::Rope, &rope)?;
    write_section(&mut layout, output, SectionKind::Tokenizer, &tokenizer.tokenizer)?;
    write_section(&mut layout, output, SectionKind::ChatTemplate, tokenizer.chat_template.as_bytes())?;
    write_section(&mut layout, output, SectionKind::Chat, tokenizer.chat_bytes())?;

    let bytes = layout.entries.iter().chain(&layout.rescoring_head).map(|entry| entry.len).sum();
    let mut bytes_done = 0;
    let mut reports = Vec::new();
    let mut tape_crc = crc32fast::Hasher::new();
    for index in 0..layout.entries.len() {
        let entry = layout.entries[index];
        let record_len = layout.record_len(&entry.tensor) as u64;
        let mut rows_done = |rows_done: u32| {
            progress(Progress {
                kind: entry.tensor.kind,
                layer: entry.tensor.layer,
                rows_done,
                rows: entry.tensor.rows,
                bytes_done: bytes_done + entry.len - u64::from(entry.tensor.rows - rows_done) * record_len,
                bytes,
            })
        };
        let rows = Rows {
            tensor: entry.tensor,
            record_len: layout.record_len(&entry.tensor),
            quantised: quantised.get(&(entry.tensor.kind, entry.tensor.layer)),
            tokens: (entry.tensor.kind == TensorKind::Embedding).then_some(&tokenizer.tokens[..]),
        };
        let (entry, crc, snr_db) = write_tensor(checkpoint, &rows, &layout, entry, output, &mut rows_done)?;
        layout.entries[index] = entry;
        if entry.tensor.kind == TensorKind::Embedding {
            set_crc(&mut layout, SectionKind::Embedding, entry.crc32);
        } else {
            tape_crc.combine(&crc);
        }
        bytes_done += entry.len;
        reports.push(TensorReport { tensor: entry.tensor, bytes: entry.len, snr_db });
    }
    set_crc(&mut layout, SectionKind::Tape, tape_crc.finalize());
    if let Some(entry) = layout.rescoring_head {
        let rows = Rows { tensor: entry.tensor, record_len: entry.tensor.row_len(), quantised: None, tokens: None };
        let tensor = entry.tensor;
        let mut rows_done = |rows_done: u32| {
            let bytes_done = bytes - u64::from(tensor.rows - rows_done) * tensor.row_len() as u64;
            progress(Progress { kind: tensor.kind, layer: 0, rows_done, rows: tensor.rows, bytes_done, bytes })
        };
        let (entry, ..) = write_tensor(checkpoint, &rows, &layout, entry, output, &mut rows_done)?;
        set_crc(&mut layout, SectionKind::RescoringHead, entry.crc32);
    }

    let table = layout.tensors_section();
    write_section(&mut layout, output, SectionKind::Tensors, &table)?;
    output.write_at(0, &layout.first_sector())?;
    Ok(ConversionReport {
        tensors: reports,
        rescoring: layout.header.rescoring,
        rescoring_bytes: layout.rescoring_head.map_or(0, |entry| entry.len),
        file_len: layout.file_len,
    })
}

/// Writes a tensor's rows and then its header, whose exponent depends on the rows. Returns the completed entry of the
/// tensor table, the running checksum and the signal-to-noise ratio.
fn write_tensor(
    checkpoint: &Checkpoint,
    rows: &Rows<'_>,
    layout: &Layout,
    mut entry: TensorEntry,
    output: &mut Output<'_>,
    rows_done: &mut impl FnMut(u32) -> ControlFlow<()>,
) -> Result<(TensorEntry, crc32fast::Hasher, f64), WriteError> {
    let header_len = layout.tensor_header(&entry.tensor).len() as u64;
    let written = rows::write(checkpoint, rows, output, entry.offset + header_len, rows_done)?;
    entry.tensor.exponent = written.exponent;
    let header = layout.tensor_header(&entry.tensor);
    output.write_at(entry.offset, &header)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header);
    crc.combine(&written.crc);
    entry.crc32 = crc.clone().finalize();
    Ok((entry, crc, written.noise.snr_db()))
}

/// Writes a whole section, unless the layout omits it.
fn write_section(
    layout: &mut Layout,
    output: &mut Output<'_>,
    kind: SectionKind,
    bytes: &[u8],
) -> Result<(), WriteError> {
    set_crc(layout, kind, crc32fast::hash(bytes));
    match layout.sections.iter().find(|section| section.kind == kind) {
        Some(section) => output.write_at(section.offset, bytes),
        None => Ok(()),
    }
}

fn set_crc(layout: &mut Layout, kind: SectionKind, crc32: u32) {
    for section in &mut layout.sections {
        if section.kind == kind {
            section.crc32 = crc32;
        }
    }
}
