//! What 4-bit weights cost: `cargo run --release -p rillm-convert --example int4 -- CHECKPOINT`
//!
//! The checkpoint writes texts to calibrate with, and others to judge by. Weights are quantised and restored, everything
//! else is float32.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use rillm_convert::checkpoint::Checkpoint;
use rillm_quantise::calibration::own_texts;
use rillm_quantise::evaluate::Agreement;
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::quantise;
use rillm_quantise::rows::{dequantise_row, quantise_row};
use rillm_quantise::weights::Weights;

/// Values that share a scale.
const GROUP: u32 = 32;
/// Tokens of a text.
const LENGTH: usize = 128;
/// Texts to calibrate with and their seed.
const CALIBRATION: (usize, u64) = (64, 1);
/// Texts to judge by and their seed.
const JUDGES: (usize, u64) = (32, 2);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give a checkpoint's path")?;
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let weights = checkpoint.weights();
    let [texts, judges] = [CALIBRATION, JUDGES].map(|(texts, seed)| {
        let length = LENGTH.min(checkpoint.config().context_length as usize);
        own_texts(&weights, 0..texts, length, seed, |_| ControlFlow::Continue(())).continue_value().unwrap_or_default()
    });
    println!("{}: {} tokens", checkpoint.name(), judges.iter().map(Vec::len).sum::<usize>());
    println!("| weights | KL, nats | top-1 |");
    println!("| --- | --- | --- |");
    let judge = |name: &str, candidate: &Weights| {
        let agreement = Agreement::over(&weights, candidate, &judges);
        println!("| {name} | {:.5} | {:.2} % |", agreement.mean_kl(), 100.0 * agreement.top1());
    };

    let eight = Mix::all(Bits::Eight);
    judge("int8", &nearest(&weights, eight));
    judge("int4, the nearest values", &nearest(&weights, Mix::all(Bits::Four)));
    for (name, mix) in [
        ("int4, calibrated", Mix::all(Bits::Four)),
        ("of it the layers", Mix { layers: Bits::Four, ..eight }),
        ("of it the head", Mix { head: Bits::Four, ..eight }),
        ("of it the embedding table", Mix { embedding: Bits::Four, ..eight }),
    ] {
        let mut candidate = weights.clone();
        quantise(&mut candidate, mix, GROUP, &texts, |_| ControlFlow::Continue(()))
            .expect("the float32 model has run, so that its weights are finite");
        judge(name, &candidate);
    }
    Ok(())
}

/// The model with every row quantised to the nearest values, and restored.
fn nearest(weights: &Weights, mix: Mix) -> Weights {
    let mut candidate = weights.clone();
    for (kind, layer) in weights.config.tensors() {
        let quantisation = mix.quantisation(kind, GROUP);
        let (_, cols) = weights.config.shape(kind);
        let mut row = vec![0; quantisation.row_len(cols as u32)];
        for values in candidate.tensor_mut(kind, layer).chunks_exact_mut(cols) {
            let exponent = quantise_row(quantisation, values, &mut row)
                .expect("the float32 model has run, so that its weights are finite");
            dequantise_row(quantisation, exponent, &row, values);
        }
    }
    candidate
}
