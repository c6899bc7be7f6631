//! Adam (Kingma & Ba, 2014, arXiv 1412.6980).

const MEAN_DECAY: f32 = 0.9;
const SQUARE_DECAY: f32 = 0.99;
/// Added to the root of the mean square, so that parameters without a gradient rest.
const EPSILON: f32 = 1e-12;

/// Parameters, with what Adam knows of their gradients.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub values: Vec<f32>,
    /// The gradient of this step, which is summed up here.
    pub gradient: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    /// Steps that the means are of.
    steps: u32,
}

impl Parameters {
    pub fn zeros(len: usize) -> Self {
        let zeros = vec![0.0; len];
        Self { values: zeros.clone(), gradient: zeros.clone(), mean: zeros.clone(), square: zeros, steps: 0 }
    }

    /// Parameters that start at `values`.
    pub fn at(values: &[f32]) -> Self {
        Self { values: values.to_vec(), ..Self::zeros(values.len()) }
    }

    /// A step against the gradient, which is then zero again.
    pub fn step(&mut self, rate: f32) {
        self.steps += 1;
        let bias = |decay: f32| 1.0 - libm::pow(f64::from(decay), self.steps.into()) as f32;
        let (mean_bias, square_bias) = (bias(MEAN_DECAY), bias(SQUARE_DECAY));
        let state = self.mean.iter_mut().zip(&mut self.square);
        for ((value, gradient), (mean, square)) in self.values.iter_mut().zip(&mut self.gradient).zip(state) {
            *mean += (1.0 - MEAN_DECAY) * (*gradient - *mean);
            *square += (1.0 - SQUARE_DECAY) * (*gradient * *gradient - *square);
            *value -= rate * (*mean / mean_bias) / ((*square / square_bias).sqrt() + EPSILON);
            *gradient = 0.0;
        }
    }
}
