//! Makes and judges model files of a checkpoint, with progress bars.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use rillm_convert::calibrate::{Calibrator, Progress};
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::write::{self, Draft, Options, TokenizerSections, WriteError};
use rillm_quantise::evaluate::Agreement;
use rillm_quantise::model::QuantisedModel;
use rillm_quantise::reference::Reference;

use crate::evaluation::evaluate;
use crate::model_file::from_path;
use crate::number::tensor_name;
use crate::source::{Access, CardPace};
use crate::{interrupt, progress};

/// A checkpoint of which files are made.
pub struct Converter<'a> {
    pub checkpoint: &'a Checkpoint,
    pub sections: &'a TokenizerSections,
    /// A text to calibrate with.
    pub text: Option<&'a str>,
    /// The file to make.
    pub out: &'a Path,
    /// What the bars start with: the file of several that is made.
    pub prefix: String,
    calibrator: Option<Calibrator>,
    /// The texts to judge by, once they are written.
    judges: Option<Vec<Vec<u32>>>,
}

impl<'a> Converter<'a> {
    pub fn new(
        checkpoint: &'a Checkpoint,
        sections: &'a TokenizerSections,
        text: Option<&'a str>,
        out: &'a Path,
    ) -> Self {
        Self { checkpoint, sections, text, out, prefix: String::new(), calibrator: None, judges: None }
    }

    /// Makes a file, which is not in its place yet.
    pub fn make(&mut self, options: Options) -> Result<Draft, WriteError> {
        let quantised = if options.mix.has_int4() { self.quantise(options)? } else { QuantisedModel::new() };
        let bar = progress::bytes(0).with_prefix(self.prefix.clone());
        let progress = |progress: write::Progress| {
            bar.set_length(progress.bytes);
            bar.set_position(progress.bytes_done);
            bar.set_message(tensor_name(progress.kind, progress.layer));
            go_on()
        };
        write::draft(self.checkpoint, self.sections, &quantised, options, progress, self.out)
    }

    /// How far a file's predictions are from the checkpoint's, on text of the model's own that was not used to calibrate it.
    pub fn judge(&mut self, file: &Path) -> Result<Agreement> {
        let calibrator = load(&mut self.calibrator, self.checkpoint, self.sections, self.text)?;
        let texts = match &mut self.judges {
            Some(texts) => texts,
            judges => {
                let bar = progress::tokens(0);
                bar.set_message("· the model writes a text to be judged by");
                judges.insert(calibrator.judges(|progress| {
                    if let Progress::Text { tokens_done, tokens } = progress {
                        bar.set_length(tokens as u64);
                        bar.set_position(tokens_done as u64);
                    }
                    go_on()
                })?)
            }
        };
        let file = from_path(file, Access::Mmap, CardPace::UNUSED)?;
        let mut reference = Reference::new(calibrator.float().clone());
        let bar = progress::tokens(texts.iter().map(Vec::len).sum::<usize>() as u64).with_prefix(self.prefix.clone());
        let found = evaluate(vec![file], &mut reference, texts, |done, evaluations| {
            bar.set_position(done as u64);
            bar.set_message(format!("· KL {:.5}", evaluations[0].agreement.mean_kl()));
            go_on()
        })?;
        found.map_or(Err(WriteError::Interrupted.into()), |evaluations| Ok(evaluations[0].agreement))
    }

    /// Quantises the tensors, with a bar for the text that the model writes, one for the tensors and one for distillation.
    fn quantise(&mut self, options: Options) -> Result<QuantisedModel, WriteError> {
        let [writing, tensors, steps] = [progress::tokens(0), progress::weights(0), progress::steps(0)]
            .map(|bar| bar.with_prefix(self.prefix.clone()));
        writing.set_message("· the model writes a text to calibrate with");
        let calibrator = load(&mut self.calibrator, self.checkpoint, self.sections, self.text)?;
        calibrator.quantise(options, |progress| {
            match progress {
                Progress::Text { tokens_done, tokens } => {
                    writing.set_length(tokens as u64);
                    writing.set_position(tokens_done as u64);
                }
                Progress::Tensors(done) => {
                    writing.finish_and_clear();
                    tensors.set_length(done.weights as u64);
                    tensors.set_position(done.weights_done as u64);
                    tensors.set_message(tensor_name(done.kind, done.layer));
                }
                Progress::Distillation(done) => {
                    tensors.finish_and_clear();
                    steps.set_length(done.steps.into());
                    steps.set_position(done.step.into());
                    steps.set_message(format!("· scales and norms are distilled, KL {:.4}", done.divergence));
                }
            }
            go_on()
        })
    }
}

/// The calibrator, loaded when it is first needed.
fn load<'c>(
    calibrator: &'c mut Option<Calibrator>,
    checkpoint: &Checkpoint,
    sections: &TokenizerSections,
    text: Option<&str>,
) -> Result<&'c mut Calibrator, WriteError> {
    match calibrator {
        Some(calibrator) => Ok(calibrator),
        none => Ok(none.insert(Calibrator::new(checkpoint, sections, text)?)),
    }
}

fn go_on() -> ControlFlow<()> {
    if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
