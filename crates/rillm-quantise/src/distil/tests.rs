//! Gradients against differences, and what distillation may and may not change.

use rillm::format::{AttentionExtras, Quantisation, Rope, RopeScaling, TensorKind};

use super::*;
use crate::calibration::own_texts;
use crate::config::LlamaConfig;
use crate::evaluate::Agreement;
use crate::mix::{Bits, Mix};
use crate::model::quantise;

fn config() -> LlamaConfig {
    LlamaConfig {
        hidden_size: 40,
        intermediate_size: 64,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 10,
        vocab_size: 60,
        context_length: 64,
        attention: AttentionExtras { qkv_bias: true, o_bias: true, qk_norm: true },
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: false,
        bos: Some(1),
        eos: vec![],
    }
}

/// Texts of a model's own, of 24 tokens.
fn own(float: &Weights, texts: usize, seed: u64) -> Vec<Vec<u32>> {
    own_texts(float, 0..texts, 24, seed, |_| ControlFlow::Continue(())).continue_value().expect("texts")
}

/// A random float model, its int4 form with an int8 head, and texts of its own.
fn models() -> (Weights, Weights, QuantisedModel, Vec<Vec<u32>>) {
    let config = config();
    let mut random = SplitMix64(5);
    let float = Weights::new(&config, |kind, _| {
        let (rows, cols) = config.shape(kind);
        let scale = if kind.is_bias() { 0.5 } else { 2.0 / (cols as f32).sqrt() };
        let value = |_| if kind.is_norm() { 0.5 + random.uniform() } else { scale * random.normal() };
        (0..rows * cols).map(value).collect()
    });
    let texts = own(&float, 96, 6);
    let mut weights = float.clone();
    let mix = Mix { head: Bits::Eight, ..Mix::all(Bits::Four) };
    let model = quantise(&mut weights, mix, 16, &texts[..2], |_| ControlFlow::Continue(())).expect("finite weights");
    (float, weights, model, texts)
}

#[test]
fn gradients_are_the_slopes_of_the_divergence() {
    let (float, weights, model, texts) = models();
    let (pieces, _) = split(&float, &texts[..5]);
    let mut trained = weights.clone();
    let mut student = Student::new(&mut trained, &model);
    let positions = pieces.iter().map(|piece| piece.tokens.len()).sum();
    let mut sum = 0.0;
    for piece in &pieces {
        let pass = [piece];
        let inputs = (&piece.float_inputs[..], &float.head[..]);
        sum += student.add_gradients(&batch_of(&float, &pass), &piece.tokens, inputs, positions);
    }
    let found = sum / positions as f64;
    assert!((found - mean_divergence(&float, &weights, &pieces)).abs() < 1e-6 * found);
    let gradients = student.gradients();
    assert_eq!(gradients.len(), config().tensors().count() - 1);
    for (key, gradient) in gradients {
        let mut random = SplitMix64(7);
        let direction: Vec<f32> = gradient.iter().map(|_| random.normal()).collect();
        let step = 2e-2 / (gradient.len() as f32).sqrt();
        let at = |step: f32| {
            let mut changed = weights.clone();
            let mut student = Student::new(&mut changed, &model);
            student.restart(&[(key, direction.iter().map(|d| step * d).collect())].into());
            mean_divergence(&float, student.weights, &pieces)
        };
        let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
        let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        let size = gradient.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        assert!((slope - expected).abs() < 0.02 * size, "{key:?}: {slope} for {expected}, of {size}");
    }
}

#[test]
fn distillation_helps_on_other_texts_and_keeps_every_level() {
    let (float, weights, model, texts) = models();
    let others = own(&float, 8, 8);
    let schedule = Schedule { steps: 60, tokens: 512, rate: 1e-2 };
    let (mut distilled, mut after) = (weights.clone(), model.clone());
    let mut steps = 0;
    let gain = distil(&float, &mut distilled, &mut after, &texts, schedule, |_| {
        steps += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(steps, schedule.steps);
    assert!(gain.after < 0.9 * gain.before, "{gain:?}");
    let [before_kl, after_kl] =
        [&weights, &distilled].map(|weights| Agreement::over(&float, weights, &others).mean_kl());
    assert!(after_kl < 0.9 * before_kl, "{after_kl} after {before_kl}");

    for (&(kind, layer), tensor) in &after {
        let (_, cols) = float.config.shape(kind);
        let before = &model[&(kind, layer)];
        assert_eq!((tensor.quantisation, tensor.rows.len()), (before.quantisation, before.rows.len()));
        let mut values = vec![0.0; distilled.tensor(kind, layer).len()];
        tensor.restore(cols, &mut values);
        assert_eq!(values, distilled.tensor(kind, layer), "weights of {kind}");
        assert_eq!(tensor.rows == before.rows, kind == TensorKind::Embedding, "{kind}");
        if let Quantisation::Int8 { .. } = tensor.quantisation {
            let row_len = tensor.quantisation.row_len(cols as u32);
            let rows = tensor.rows.chunks(row_len).zip(before.rows.chunks(row_len));
            rows.for_each(|(row, before)| assert_eq!(row[..cols], before[..cols]));
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_threads() {
    let (float, weights, model, texts) = models();
    let schedule = Schedule { steps: 4, tokens: 64, rate: 1e-2 };
    let on = |threads| {
        let (mut weights, mut model) = (weights.clone(), model.clone());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| distil(&float, &mut weights, &mut model, &texts, schedule, |_| ControlFlow::Continue(())));
        model
    };
    let found = on(1);
    assert_ne!(found, model);
    assert_eq!(found, on(3));
}

#[test]
fn what_does_not_help_is_not_kept() {
    let (float, weights, model, texts) = models();
    let (mut found_weights, mut found) = (weights.clone(), model.clone());
    // Far too fast.
    let schedule = Schedule { steps: 3, tokens: 32, rate: 3.0 };
    let gain = distil(&float, &mut found_weights, &mut found, &texts, schedule, |_| ControlFlow::Continue(()));
    assert_eq!(gain.before, gain.after);
    assert_eq!(found, model);
    assert_eq!(found_weights.layers[1].down_proj, weights.layers[1].down_proj);
}
