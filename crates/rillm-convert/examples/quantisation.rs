//! What quantisation costs: `cargo run --release -p rillm-convert --example quantisation -- CHECKPOINT`
//!
//! Samples texts from the checkpoint itself in float32 (from BOS, temperature 1, a fixed seed), then runs models whose
//! weights were quantised and restored over the same texts, everything else in float32.

use std::error::Error;
use std::path::Path;

use rillm::format::{Quantisation, TensorKind};
use rillm_convert::checkpoint::Checkpoint;
use rillm_quantise::evaluate::Agreement;
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::random::SplitMix64;
use rillm_quantise::reference::Reference;
use rillm_quantise::rows::{Noise, dequantise_row, quantise_row};
use rillm_quantise::weights::Weights;

/// Tokens to judge by.
const TOKENS: usize = 2048;
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give a checkpoint's path")?;
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let mut reference = checkpoint.reference();
    let texts = sample_texts(&mut reference);
    let tokens: usize = texts.iter().map(Vec::len).sum();
    println!("{}: {tokens} tokens in {} texts", checkpoint.name(), texts.len());

    println!("| weights | KL, nats | top-1 | SNR, dB |");
    println!("| --- | --- | --- | --- |");
    for group in [512, 128, 64, 32, 16] {
        let (mut candidate, noise) = quantised(&checkpoint, group);
        let mut agreement = Agreement::default();
        for text in &texts {
            for (position, &token) in text.iter().enumerate() {
                agreement.add(reference.forward(token, position), candidate.forward(token, position));
            }
        }
        println!(
            "| {} | {:.6} | {:.2} % | {:.1} |",
            Quantisation::Int8 { group },
            agreement.mean_kl(),
            100.0 * agreement.top1(),
            noise.snr_db()
        );
    }
    Ok(())
}

/// Texts that the model makes up, each ending before its context does.
fn sample_texts(reference: &mut Reference) -> Vec<Vec<u32>> {
    let config = reference.config().clone();
    let mut random = SplitMix64(SEED);
    let mut texts = vec![];
    let mut tokens = 0;
    while tokens < TOKENS {
        let bos = config.bos.unwrap_or(0);
        let mut text = vec![bos];
        while text.len() < (config.context_length as usize).min(TOKENS - tokens) {
            let logits = reference.forward(text[text.len() - 1], text.len() - 1);
            let next = sample(logits, random.uniform());
            if next == bos || config.eos.contains(&next) {
                break;
            }
            text.push(next);
        }
        tokens += text.len();
        texts.push(text);
    }
    texts
}

/// The token at `point`, 0 to 1, of the cumulated probabilities.
fn sample(logits: &[f32], point: f32) -> u32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from((logit - max).exp())).sum();
    let mut left = f64::from(point) * total;
    for (token, logit) in logits.iter().enumerate() {
        left -= f64::from((logit - max).exp());
        if left < 0.0 {
            return token as u32;
        }
    }
    logits.len() as u32 - 1
}

/// The model with every row quantised and restored, and what that cost the matrices.
fn quantised(checkpoint: &Checkpoint, group: u32) -> (Reference, Noise) {
    let mut noise = Noise::default();
    let weights = Weights::new(checkpoint.config(), |kind, layer| {
        let mut values = checkpoint.tensor(kind, layer);
        let (_, cols) = checkpoint.config().shape(kind);
        for row in values.chunks_exact_mut(cols) {
            let original = row.to_vec();
            restore_row(kind, group, row);
            noise = noise.plus(Noise::between(&original, row));
        }
        values
    });
    (Reference::new(weights), noise)
}

fn restore_row(kind: TensorKind, group: u32, row: &mut [f32]) {
    let quantisation = Mix::all(Bits::Eight).quantisation(kind, group);
    let mut bytes = vec![0; quantisation.row_len(row.len() as u32)];
    let exponent =
        quantise_row(quantisation, row, &mut bytes).expect("the float32 model has run, so that its weights are finite");
    dequantise_row(quantisation, exponent, &bytes, row);
}
