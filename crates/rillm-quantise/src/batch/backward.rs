//! The backward pass, a layer at a time: gradients of a loss with respect to every tensor.
//!
//! Gradients are named `d_x` for the derivative of the loss by `x`, as in the formulas of the operations.

use rillm::format::TensorKind;

use super::attention::{attention, attention_back};
use super::operations::{add, rms_norm_back, sum_rows, swiglu, swiglu_back};
use super::{Batch, Heads, q_dim};
use crate::config::LlamaConfig;
use crate::matmul::{outer, project, project_back};
use crate::weights::{Layer, Weights};

/// What a layer's gradients need of its forward pass.
#[derive(Clone, Debug)]
pub struct LayerTrace {
    /// The residual stream before the layer.
    x: Vec<f32>,
    attention_input: Vec<f32>,
    heads: Heads,
    attended: Vec<f32>,
    /// The residual stream after attention.
    x_mid: Vec<f32>,
    mlp_input: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    activated: Vec<f32>,
}

impl Batch {
    /// [`layer`](Self::layer), which keeps what its gradients need.
    pub fn trace_layer(&self, layer: &Layer, x: &mut [f32]) -> LayerTrace {
        let hidden_size = self.config.hidden_size as usize;
        let before = x.to_vec();
        let attention_input = self.attention_input(layer, x);
        let heads = self.heads(layer, &attention_input);
        let attended = attention(&self.config, &self.lengths, &heads.q, &heads.k, &heads.v);
        self.add_attention(layer, &attended, x);
        let x_mid = x.to_vec();
        let mlp_input = self.mlp_input(layer, x);
        let gate = project(&mlp_input, &layer.gate_proj, hidden_size);
        let up = project(&mlp_input, &layer.up_proj, hidden_size);
        let activated = swiglu(&gate, &up);
        self.add_mlp(layer, &activated, x);
        LayerTrace { x: before, attention_input, heads, attended, x_mid, mlp_input, gate, up, activated }
    }

    /// The gradient of a loss with respect to the residual stream before a layer, of `dx`, that after it. `gradient`
    /// receives the loss's gradient for each tensor of the layer, in its shape.
    pub fn layer_back(
        &self,
        layer: &Layer,
        trace: &LayerTrace,
        mut dx: Vec<f32>,
        gradient: &mut impl FnMut(TensorKind, &[f32]),
    ) -> Vec<f32> {
        let LlamaConfig { hidden_size, intermediate_size, norm_eps, .. } = self.config;
        let (hidden_size, intermediate_size) = (hidden_size as usize, intermediate_size as usize);
        let q_dim = q_dim(&self.config);

        gradient(TensorKind::DownProj, &outer(&dx, &trace.activated, hidden_size, intermediate_size));
        let d_activated = project_back(&dx, &layer.down_proj, intermediate_size);
        let (d_gate, d_up) = swiglu_back(&trace.gate, &trace.up, &d_activated);
        gradient(TensorKind::GateProj, &outer(&d_gate, &trace.mlp_input, intermediate_size, hidden_size));
        gradient(TensorKind::UpProj, &outer(&d_up, &trace.mlp_input, intermediate_size, hidden_size));
        let mut d_input = project_back(&d_gate, &layer.gate_proj, hidden_size);
        add(&mut d_input, &project_back(&d_up, &layer.up_proj, hidden_size));
        let (d_x, d_norm) = rms_norm_back(&trace.x_mid, &layer.mlp_norm, norm_eps, &d_input);
        gradient(TensorKind::MlpNorm, &d_norm);
        add(&mut dx, &d_x);

        gradient(TensorKind::OProj, &outer(&dx, &trace.attended, hidden_size, q_dim));
        if layer.o_proj.bias.is_some() {
            gradient(TensorKind::OBias, &sum_rows(&dx, hidden_size));
        }
        let d_attended = project_back(&dx, &layer.o_proj.weights, q_dim);
        let Heads { before_norms, q, k, v } = &trace.heads;
        let mut d = attention_back(&self.config, &self.lengths, (q, k, v), &d_attended);
        self.rotation.apply_back(&mut d.q, &self.lengths);
        self.rotation.apply_back(&mut d.k, &self.lengths);
        if let (Some((q, k)), Some(q_norm), Some(k_norm)) = (before_norms, &layer.q_norm, &layer.k_norm) {
            for (kind, x, norm, d) in
                [(TensorKind::QNorm, q, q_norm, &mut d.q), (TensorKind::KNorm, k, k_norm, &mut d.k)]
            {
                let (d_x, d_norm) = rms_norm_back(x, norm, norm_eps, d);
                gradient(kind, &d_norm);
                *d = d_x;
            }
        }
        let mut d_input = vec![0.0; trace.attention_input.len()];
        for (kind, bias, proj, d) in [
            (TensorKind::QProj, TensorKind::QBias, &layer.q_proj, &d.q),
            (TensorKind::KProj, TensorKind::KBias, &layer.k_proj, &d.k),
            (TensorKind::VProj, TensorKind::VBias, &layer.v_proj, &d.v),
        ] {
            let rows = proj.weights.len() / hidden_size;
            gradient(kind, &outer(d, &trace.attention_input, rows, hidden_size));
            if proj.bias.is_some() {
                gradient(bias, &sum_rows(d, rows));
            }
            add(&mut d_input, &project_back(d, &proj.weights, hidden_size));
        }
        let (d_x, d_norm) = rms_norm_back(&trace.x, &layer.attention_norm, norm_eps, &d_input);
        gradient(TensorKind::AttentionNorm, &d_norm);
        add(&mut dx, &d_x);
        dx
    }

    /// The gradients of a loss with respect to the residual stream after the last layer and to the norm before the head,
    /// of `d_input`, that of [`head_input`](Self::head_input)'s result.
    pub fn head_input_back(&self, weights: &Weights, x: &[f32], d_input: &[f32]) -> (Vec<f32>, Vec<f32>) {
        rms_norm_back(x, &weights.norm, self.config.norm_eps, d_input)
    }
}
