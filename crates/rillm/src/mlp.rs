//! The gated feed-forward network's elementwise part: SwiGLU (Shazeer 2020), `silu(gate) · up`.

use crate::fixed::{round_shift, sigmoid, to_log2_domain};

/// `silu(gate · 2^gate_exponent) · up` in units of `2^(gate_exponent + 30)`; both arguments lie within ±2^30, and so does
/// the result.
pub(crate) fn swiglu(gate: i32, gate_exponent: i32, up: i32) -> i32 {
    // silu(x) = x · sigmoid(x), and the logistic function takes x / ln 2. Its 30 fraction bits are at most 2^30.
    let sigmoid = i64::from(sigmoid(to_log2_domain(gate.into(), gate_exponent)));
    let silu = round_shift(i64::from(gate) * sigmoid, 30);
    round_shift(silu * i64::from(up), 30) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn swiglu_is_near_float64(gate in -(1i32 << 30)..1 << 30, exponent in -40i32..-22, up in -(1i32 << 30)..1 << 30) {
            let x = f64::from(gate) * 2f64.powi(exponent);
            let exact = x / (1.0 + (-x).exp()) * f64::from(up);
            let got = f64::from(swiglu(gate, exponent, up)) * 2f64.powi(exponent + 30);
            // 2^-23 of the sigmoid's error, and half a unit of each rounding.
            let bound = (x.abs() * 2f64.powi(-22) + 2f64.powi(exponent)) * f64::from(up).abs() + 2f64.powi(exponent + 30);
            prop_assert!((got - exact).abs() <= bound, "{got} {exact}");
        }
    }
}
