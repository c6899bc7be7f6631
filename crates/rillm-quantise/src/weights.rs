//! A model's weights in float32.

use rillm::format::{AttentionExtras, TensorKind};

use crate::config::LlamaConfig;

/// The weights of a model. Matrices are row-major, in the shapes of [`TensorKind`].
#[derive(Clone, Debug)]
pub struct Weights {
    /// The model's dimensions.
    pub config: LlamaConfig,
    /// `[vocab_size, hidden_size]`
    pub embedding: Vec<f32>,
    /// One a layer.
    pub layers: Vec<Layer>,
    /// The norm before the head, `[hidden_size]`.
    pub norm: Vec<f32>,
    /// `[vocab_size, hidden_size]`, of its own even where the checkpoint shares the embedding table.
    pub head: Vec<f32>,
}

/// A layer's weights.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[hidden_size]`
    pub attention_norm: Vec<f32>,
    /// `[n_heads × head_dim, hidden_size]`
    pub q_proj: Linear,
    /// `[n_kv_heads × head_dim, hidden_size]`
    pub k_proj: Linear,
    /// `[n_kv_heads × head_dim, hidden_size]`
    pub v_proj: Linear,
    /// `[hidden_size, n_heads × head_dim]`
    pub o_proj: Linear,
    /// The norm of every query head, `[head_dim]`, if the model has it.
    pub q_norm: Option<Vec<f32>>,
    /// The norm of every key head, `[head_dim]`, if the model has it.
    pub k_norm: Option<Vec<f32>>,
    /// `[hidden_size]`
    pub mlp_norm: Vec<f32>,
    /// `[intermediate_size, hidden_size]`
    pub gate_proj: Vec<f32>,
    /// `[intermediate_size, hidden_size]`
    pub up_proj: Vec<f32>,
    /// `[hidden_size, intermediate_size]`
    pub down_proj: Vec<f32>,
}

/// A projection, with a bias if it has one.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[rows, columns]`
    pub weights: Vec<f32>,
    /// `[rows]`
    pub bias: Option<Vec<f32>>,
}

impl Weights {
    /// Collects the weights. `tensor` supplies each tensor once, row-major and in its configured shape; the head, too, if
    /// it shares the embedding table.
    ///
    /// # Panics
    /// If a tensor's number of values does not match its shape.
    pub fn new(config: &LlamaConfig, mut tensor: impl FnMut(TensorKind, u32) -> Vec<f32>) -> Self {
        let mut tensor = |kind, layer| {
            let (values, (rows, cols)) = (tensor(kind, layer), config.shape(kind));
            assert_eq!(values.len(), rows * cols, "{kind} of layer {layer}");
            values
        };
        let AttentionExtras { qkv_bias, o_bias, qk_norm } = config.attention;
        let layers = (0..config.n_layers)
            .map(|layer| Layer {
                attention_norm: tensor(TensorKind::AttentionNorm, layer),
                q_proj: linear(&mut tensor, TensorKind::QProj, qkv_bias.then_some(TensorKind::QBias), layer),
                k_proj: linear(&mut tensor, TensorKind::KProj, qkv_bias.then_some(TensorKind::KBias), layer),
                v_proj: linear(&mut tensor, TensorKind::VProj, qkv_bias.then_some(TensorKind::VBias), layer),
                o_proj: linear(&mut tensor, TensorKind::OProj, o_bias.then_some(TensorKind::OBias), layer),
                q_norm: qk_norm.then(|| tensor(TensorKind::QNorm, layer)),
                k_norm: qk_norm.then(|| tensor(TensorKind::KNorm, layer)),
                mlp_norm: tensor(TensorKind::MlpNorm, layer),
                gate_proj: tensor(TensorKind::GateProj, layer),
                up_proj: tensor(TensorKind::UpProj, layer),
                down_proj: tensor(TensorKind::DownProj, layer),
            })
            .collect();
        Self {
            embedding: tensor(TensorKind::Embedding, 0),
            layers,
            norm: tensor(TensorKind::FinalNorm, 0),
            head: tensor(TensorKind::Head, 0),
            config: config.clone(),
        }
    }

    /// The values of a tensor; of those outside the layers, `layer` is 0.
    ///
    /// # Panics
    /// If the model has no such tensor.
    pub fn tensor(&self, kind: TensorKind, layer: u32) -> &[f32] {
        match kind {
            TensorKind::Embedding => &self.embedding,
            TensorKind::FinalNorm => &self.norm,
            TensorKind::Head => &self.head,
            _ => self.layers[layer as usize].tensor(kind).unwrap_or_else(|| panic!("the model has no {kind}")),
        }
    }

    /// [`tensor`](Self::tensor), to be changed.
    ///
    /// # Panics
    /// Likewise.
    pub fn tensor_mut(&mut self, kind: TensorKind, layer: u32) -> &mut [f32] {
        match kind {
            TensorKind::Embedding => &mut self.embedding,
            TensorKind::FinalNorm => &mut self.norm,
            TensorKind::Head => &mut self.head,
            _ => self.layers[layer as usize].tensor_mut(kind).unwrap_or_else(|| panic!("the model has no {kind}")),
        }
    }
}

impl Layer {
    fn tensor(&self, kind: TensorKind) -> Option<&[f32]> {
        match kind {
            TensorKind::AttentionNorm => Some(&self.attention_norm),
            TensorKind::QProj => Some(&self.q_proj.weights),
            TensorKind::KProj => Some(&self.k_proj.weights),
            TensorKind::VProj => Some(&self.v_proj.weights),
            TensorKind::OProj => Some(&self.o_proj.weights),
            TensorKind::QBias => self.q_proj.bias.as_deref(),
            TensorKind::KBias => self.k_proj.bias.as_deref(),
            TensorKind::VBias => self.v_proj.bias.as_deref(),
            TensorKind::OBias => self.o_proj.bias.as_deref(),
            TensorKind::QNorm => self.q_norm.as_deref(),
            TensorKind::KNorm => self.k_norm.as_deref(),
            TensorKind::MlpNorm => Some(&self.mlp_norm),
            TensorKind::GateProj => Some(&self.gate_proj),
            TensorKind::UpProj => Some(&self.up_proj),
            TensorKind::DownProj => Some(&self.down_proj),
            TensorKind::Embedding | TensorKind::FinalNorm | TensorKind::Head => None,
        }
    }

    fn tensor_mut(&mut self, kind: TensorKind) -> Option<&mut [f32]> {
        match kind {
            TensorKind::AttentionNorm => Some(&mut self.attention_norm),
            TensorKind::QProj => Some(&mut self.q_proj.weights),
            TensorKind::KProj => Some(&mut self.k_proj.weights),
            TensorKind::VProj => Some(&mut self.v_proj.weights),
            TensorKind::OProj => Some(&mut self.o_proj.weights),
            TensorKind::QBias => self.q_proj.bias.as_deref_mut(),
            TensorKind::KBias => self.k_proj.bias.as_deref_mut(),
            TensorKind::VBias => self.v_proj.bias.as_deref_mut(),
            TensorKind::OBias => self.o_proj.bias.as_deref_mut(),
            TensorKind::QNorm => self.q_norm.as_deref_mut(),
            TensorKind::KNorm => self.k_norm.as_deref_mut(),
            TensorKind::MlpNorm => Some(&mut self.mlp_norm),
            TensorKind::GateProj => Some(&mut self.gate_proj),
            TensorKind::UpProj => Some(&mut self.up_proj),
            TensorKind::DownProj => Some(&mut self.down_proj),
            TensorKind::Embedding | TensorKind::FinalNorm | TensorKind::Head => None,
        }
    }
}

fn linear(
    tensor: &mut impl FnMut(TensorKind, u32) -> Vec<f32>,
    proj: TensorKind,
    bias: Option<TensorKind>,
    layer: u32,
) -> Linear {
    Linear { weights: tensor(proj, layer), bias: bias.map(|bias| tensor(bias, layer)) }
}
