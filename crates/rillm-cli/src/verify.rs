//! Verification of a model file: compares every checksum.

use anyhow::{Result, bail};
use rillm::WeightSource;
use rillm::format::{Header, TensorEntry};

use crate::number::tensor_name;
use crate::progress;
use crate::sections::read;

/// Compares the checksums of all sections and all tensors.
pub fn verify<S>(header: &Header, tensors: &[TensorEntry], source: &mut S) -> Result<()>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let sections = header.sections().map(|s| (format!("section {}", s.kind), s.offset, s.len, s.crc32));
    let tensors = tensors.iter().map(|t| (tensor_name(t.tensor.kind, t.tensor.layer), t.offset, t.len, t.crc32));
    let parts: Vec<_> = sections.chain(tensors).collect();
    let bar = progress::bytes(parts.iter().map(|part| part.2).sum());
    let mut damaged = Vec::new();
    for (name, offset, len, crc32) in parts {
        bar.set_message(name.clone());
        let mut hasher = crc32fast::Hasher::new();
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(1 << 20);
            hasher.update(&read(source, offset + at, piece as usize)?);
            at += piece;
            bar.inc(piece);
        }
        let computed = hasher.finalize();
        if computed != crc32 {
            damaged.push(format!("{name} (checksum {computed:08x}, should be {crc32:08x})"));
        }
    }
    if !damaged.is_empty() {
        bail!("damaged: {}; copy the file again or convert it again", damaged.join(", "));
    }
    Ok(())
}
