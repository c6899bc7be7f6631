//! SiLU (Hendrycks and Gimpel 2016; Elfwing et al. 2018), the gate of SwiGLU (Shazeer 2020).

use crate::fixed::{round_shift, sigmoid, to_log2_domain};

/// `x · sigmoid(x)` for `x = gate · 2^exponent`, in units of `2^exponent`. `gate` lies within ±2^30, and so does the
/// result.
pub(crate) fn silu(gate: i32, exponent: i32) -> i32 {
    // The logistic function takes x / ln 2. Its 30 fraction bits are at most 2^30.
    let sigmoid = i64::from(sigmoid(to_log2_domain(gate.into(), exponent)));
    round_shift(i64::from(gate) * sigmoid, 30) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn silu_is_near_float64(gate in -(1i32 << 30)..1 << 30, exponent in -40i32..-22) {
            let x = f64::from(gate) * 2f64.powi(exponent);
            let exact = x / (1.0 + (-x).exp());
            let got = f64::from(silu(gate, exponent)) * 2f64.powi(exponent);
            // 2^-23 of the sigmoid's error, and half a unit of the rounding.
            let bound = x.abs() * 2f64.powi(-23) + 2f64.powi(exponent);
            prop_assert!((got - exact).abs() <= bound, "{got} {exact}");
        }
    }
}
