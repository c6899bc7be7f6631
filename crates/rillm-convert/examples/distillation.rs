//! What distillation gains: `cargo run --release -p rillm-convert --example distillation -- CHECKPOINT [CALIBRATION] [JUDGES]`
//!
//! The checkpoint writes texts of 256 tokens, 128 to calibrate and distil with and 16 others to judge by, or as many as are
//! asked for. All matrices become int4 but the embedding table, which becomes int8. Everything that is computed is float32.

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use rillm_convert::checkpoint::Checkpoint;
use rillm_quantise::calibration::own_texts;
use rillm_quantise::distil::{Schedule, distil};
use rillm_quantise::evaluate::Agreement;
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::quantise;
use rillm_quantise::weights::Weights;

const LENGTH: usize = 256;
const GROUP: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give a checkpoint's path")?;
    let mut number = |default| arguments.next().map_or(Ok(default), |number| number.parse());
    let (calibration, judges) = (number(128)?, number(16)?);
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let float = checkpoint.weights();
    let length = LENGTH.min(float.config.context_length as usize);
    let own = |texts, seed| {
        let texts = own_texts(&float, 0..texts, length, seed, |_| ControlFlow::Continue(()));
        texts.continue_value().expect("texts, as nothing stops them")
    };
    let start = Instant::now();
    let (texts, others) = (own(calibration, 1), own(judges, 77));
    println!("{}: texts in {:.0} s", checkpoint.name(), start.elapsed().as_secs_f32());

    println!("| weights | KL, nats | top-1 | seconds |");
    println!("| --- | --- | --- | --- |");
    let judge = |name: &str, weights: &Weights, start: Instant| {
        let seconds = start.elapsed().as_secs_f32();
        let agreement = Agreement::over(&float, weights, &others);
        println!("| {name} | {:.5} | {:.2} % | {seconds:.0} |", agreement.mean_kl(), 100.0 * agreement.top1());
    };
    let start = Instant::now();
    let mut weights = float.clone();
    let mix = Mix { embedding: Bits::Eight, ..Mix::all(Bits::Four) };
    let mut model = quantise(&mut weights, mix, GROUP, &texts, |_| ControlFlow::Continue(()))
        .map_err(|error| format!("{error:?}"))?;
    judge("GPTQ", &weights, start);

    let start = Instant::now();
    let schedule = Schedule::for_model(&float.config);
    let gain = distil(&float, &mut weights, &mut model, &texts, schedule, |progress| {
        eprint!("\rstep {} of {}: {:.5} ", progress.step, progress.steps, progress.divergence);
        std::io::stderr().flush().ok();
        ControlFlow::Continue(())
    });
    eprintln!("\rheld out: {:.5} before, {:.5} after", gain.before, gain.after);
    judge("GPTQ, distilled", &weights, start);
    Ok(())
}
