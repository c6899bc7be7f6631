//! What `rillm convert` tells of the file that it has made.

use std::io::{self, Write};
use std::path::Path;

use console::style;
use indicatif::BinaryBytes;
use rillm::format::Rescoring;
use rillm_convert::chat::UnsupportedTemplate;
use rillm_convert::write::{ConversionReport, TokenizerSections};
use rillm_quantise::evaluate::Agreement;
use rillm_quantise::mix::{Bits, Mix};
use serde_json::{Value, json};

use crate::mix_search::Candidate;
use crate::number::{grouped, tensor_name};

/// A file, and how it was made.
pub struct Report<'a> {
    pub file: &'a Path,
    pub sections: &'a TokenizerSections,
    pub conversion: ConversionReport,
    pub mix: Mix,
    /// The mixes to choose from, if the mix was searched for.
    pub candidates: Vec<Candidate>,
    /// Agreement of the file with the checkpoint, if it was evaluated.
    pub agreement: Option<Agreement>,
    /// Length of the file with 4-bit weights.
    pub int4_len: u64,
}

impl Report<'_> {
    pub fn json(&self) -> Value {
        let Self { conversion, sections, .. } = self;
        let bits = |bits| if bits == Bits::Four { 4 } else { 8 };
        let evaluation = |agreement: Agreement| {
            json!({
                "tokens": agreement.tokens(), "kl": agreement.mean_kl(), "kl_sampled": agreement.mean_sampled_kl(),
                "top1": agreement.top1(),
            })
        };
        json!({
            "file": self.file,
            "file_bytes": conversion.file_len,
            "bits_per_weight": conversion.bits_per_weight(),
            "bytes_per_token": conversion.bytes_per_token(),
            "rescored_rows": conversion.rescoring.map_or(0, |rescoring| rescoring.rows),
            "rescoring_bytes": conversion.rescoring_bytes,
            "evaluation": self.agreement.map(evaluation),
            "mixes": self.candidates.iter().map(|Candidate { mix, bytes, agreement }| json!({
                "layer_bits": bits(mix.layers), "head_bits": bits(mix.head), "embed_bits": bits(mix.embedding),
                "file_bytes": bytes, "evaluation": agreement.map(evaluation), "chosen": *mix == self.mix,
            })).collect::<Vec<_>>(),
            "chat": sections.chat.is_ok(),
            "chat_problem": sections.chat.as_ref().err().map(UnsupportedTemplate::to_string),
            "tensors": conversion.tensors.iter().map(|t| json!({
                "name": tensor_name(t.tensor.kind, t.tensor.layer), "rows": t.tensor.rows, "cols": t.tensor.cols,
                "quantisation": t.tensor.quantisation.to_string(), "bytes": t.bytes,
                "snr_db": t.snr_db.is_finite().then_some(t.snr_db),
            })).collect::<Vec<_>>(),
        })
    }

    pub fn print(&self, seconds: f64, out: &mut impl Write) -> io::Result<()> {
        let Self { conversion, .. } = self;
        self.print_tensors(out)?;
        self.print_candidates(out)?;
        writeln!(
            out,
            "{:.2} bits a weight; {} bytes are read for a token",
            conversion.bits_per_weight(),
            grouped(conversion.bytes_per_token())
        )?;
        if let Some(Rescoring { rows, margin }) = conversion.rescoring {
            writeln!(
                out,
                "rescoring: the {rows} best logits of a token are computed again in 8 bits; for a greedy choice those up to {:.2} below the best",
                f64::from(margin) / 128.0
            )?;
        }
        if let Some(agreement) = self.agreement {
            writeln!(
                out,
                "KL {:.6} nats, {:.6} among the tokens that are sampled; top-1 {:.2} %; over {} tokens that were not used for calibration",
                agreement.mean_kl(),
                agreement.mean_sampled_kl(),
                100.0 * agreement.top1(),
                grouped(agreement.tokens() as u64)
            )?;
        }
        let note = style("note:").yellow().bold();
        if let Some(hint) = self.hint() {
            writeln!(out, "{note} {hint}")?;
        }
        let path = self.file.display();
        let command = match &self.sections.chat {
            Ok(_) => "chat",
            Err(UnsupportedTemplate::NoTemplate) => "run",
            Err(problem) => {
                writeln!(out, "{note} it continues texts and does not chat: {problem}")?;
                "run"
            }
        };
        writeln!(
            out,
            "{} {path} ({}) in {seconds:.1} s; try it: rillm {command} --model {path}",
            style("wrote").green().bold(),
            BinaryBytes(conversion.file_len)
        )
    }

    fn print_tensors(&self, out: &mut impl Write) -> io::Result<()> {
        let titles = format!("{:<40} {:>16} {:>9} {:>12} {:>8}", "tensor", "shape", "stored", "bytes", "SNR");
        writeln!(out, "{}", style(titles).bold())?;
        for tensor in &self.conversion.tensors {
            let header = &tensor.tensor;
            writeln!(
                out,
                "{:<40} {:>16} {:>9} {:>12} {:>8}",
                tensor_name(header.kind, header.layer),
                format!("{} × {}", header.rows, header.cols),
                header.quantisation.to_string(),
                grouped(tensor.bytes),
                if tensor.snr_db.is_finite() { format!("{:.1} dB", tensor.snr_db) } else { "exact".to_owned() },
            )?;
        }
        Ok(())
    }

    /// The mixes that were to be chosen from: those that were tried have a KL.
    fn print_candidates(&self, out: &mut impl Write) -> io::Result<()> {
        if self.candidates.is_empty() {
            return Ok(());
        }
        let line = |[layers, head, embedding, bytes, kl, top1]: [&str; 6]| {
            format!("{layers:<7} {head:<7} {embedding:<16} {bytes:>12} {kl:>10} {top1:>8}")
        };
        let titles = line(["layers", "head", "embedding table", "file", "KL, nats", "top-1"]);
        writeln!(out, "\n{}", style(titles).bold())?;
        for Candidate { mix, bytes, agreement } in &self.candidates {
            let [layers, head, embedding] = [mix.layers, mix.head, mix.embedding].map(|bits| bits.to_string());
            let kl = agreement.map_or("not tried".to_owned(), |found| format!("{:.6}", found.mean_kl()));
            let top1 = agreement.map_or(String::new(), |found| format!("{:.2} %", 100.0 * found.top1()));
            let line = line([&layers, &head, &embedding, &grouped(*bytes), &kl, &top1]);
            writeln!(out, "{line}{}", if *mix == self.mix { "  chosen" } else { "" })?;
        }
        writeln!(out)
    }

    /// What 4 bits would change, where none are used.
    fn hint(&self) -> Option<String> {
        let is_chosen = self.mix.has_int4() || !self.candidates.is_empty();
        if is_chosen { None } else { flash_hint(self.conversion.file_len, self.int4_len) }
    }
}

/// What 4 bits would change, if an int8 file of `len` bytes is too large for the flash of a board. A file of 4 bits has `int4`.
fn flash_hint(len: u64, int4: u64) -> Option<String> {
    let board = rillm_boards::ALL.into_iter().min_by_key(|board| board.flash_model_len())?;
    let room = board.flash_model_len() as u64;
    (len > room).then(|| {
        format!(
            "flash has room for {} bytes on {}; with --bits 4 the file has {}{}, and a token reads about half",
            grouped(room),
            board.name,
            grouped(int4),
            if int4 <= room { " and fits" } else { "" }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_for_flash_is_told() {
        assert_eq!(flash_hint(1_000_000, 500_000), None);
        let fits = flash_hint(5_000_000, 2_600_000).expect("a hint");
        assert!(fits.contains("2,600,000 and fits,") && fits.contains("--bits 4"), "{fits}");
        let neither = flash_hint(15_000_000, 8_000_000).expect("a hint");
        assert!(neither.contains("8,000,000, and a token reads"), "{neither}");
    }
}
