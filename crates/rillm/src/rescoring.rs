//! The selection of the logits that the head computes again.
//!
//! A head of few bits is read as a whole for every token, and most of its rows do not matter. Its best logits are
//! computed again from rows of more bits, one row each: n-best rescoring, as in speech recognition.

use crate::fixed::{neg_log2, round_shift};
use crate::format::Rescoring;
use crate::logits::{Logit, leading};
use crate::sampler::Candidate;
use crate::sampling::{Q16, Sampling};

/// The largest magnitude of a logit's mantissa.
const MOST: i64 = 1 << 30;

/// The best logits of a position so far.
pub(crate) struct Selection<'a> {
    /// Room for the logits, of which the first `len` are there, in ascending order.
    kept: &'a mut [u64],
    len: usize,
    exponent: i32,
    /// The mantissa of the worst logit, once there is no more room.
    worst: i32,
}

impl<'a> Selection<'a> {
    /// Selects as many logits as there is room for.
    pub fn new(room: &'a mut [u64]) -> Self {
        // Without room, no logit is good enough.
        let worst = if room.is_empty() { i32::MAX } else { i32::MIN };
        Self { kept: room, len: 0, exponent: 0, worst }
    }

    /// Whether a logit with this mantissa is not selected.
    fn passes(&self, mantissa: i32) -> bool {
        mantissa <= self.worst
    }

    /// The number of logits before the first one that may be selected.
    pub fn passed(&self, mantissas: &[i32]) -> usize {
        if self.passes(i32::MAX) {
            return mantissas.len();
        }
        let passes = |mantissa| self.passes(mantissa);
        let first = leading(mantissas, passes);
        first + mantissas[first..].iter().take_while(|&&mantissa| passes(mantissa)).count()
    }

    /// Takes the next logit, and returns the one that is not selected instead. Tokens arrive in ascending order, so that
    /// of equal logits the later one is the worse.
    pub fn keep(&mut self, logit: Logit) -> Option<Logit> {
        self.exponent = logit.exponent;
        let candidate = Candidate::new(logit.mantissa, logit.token).0;
        let place = self.kept[..self.len].partition_point(|&kept| kept < candidate);
        let evicted = if self.len < self.kept.len() {
            self.kept[place..=self.len].rotate_right(1);
            self.kept[place] = candidate;
            self.len += 1;
            None
        } else if place == 0 {
            return Some(logit);
        } else {
            let evicted = self.logit(self.kept[0]);
            self.kept[..place].rotate_left(1);
            self.kept[place - 1] = candidate;
            Some(evicted)
        };
        if self.len == self.kept.len() {
            self.worst = Candidate(self.kept[0]).logit();
        }
        evicted
    }

    /// The selected logits in ascending order of tokens, each with whether it is to be computed again: whether it is at
    /// most `reach` below the best one.
    pub fn finish(self, reach: Option<Reach>) -> impl Iterator<Item = (Logit, bool)> {
        let Self { kept, len, exponent, .. } = self;
        let kept = &mut kept[..len];
        let best = kept.last().map_or(0, |&best| Candidate(best).logit());
        kept.sort_unstable_by_key(|&kept| Candidate(kept).id());
        let reach = reach.map_or(u64::MAX, |reach| reach.mantissa(exponent));
        kept.iter().map(move |&kept| {
            let (token, mantissa) = (Candidate(kept).id(), Candidate(kept).logit());
            (Logit { token, mantissa, exponent }, u64::from(best.abs_diff(mantissa)) <= reach)
        })
    }

    fn logit(&self, kept: u64) -> Logit {
        Logit { token: Candidate(kept).id(), mantissa: Candidate(kept).logit(), exponent: self.exponent }
    }
}

/// A difference of logits, in units of 2^-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach(u64);

impl Reach {
    /// How far below the best logit of few bits one can be that matters to a sampler: for a greedy choice twice the
    /// margin by which a logit may change; for sampling also the distance to a probability that min-p cuts, or to 2^-10
    /// of the likeliest's. `None` if any logit may matter, as the repetition penalty may lower the best ones.
    pub fn of(sampling: &Sampling, rescoring: Rescoring) -> Option<Self> {
        /// ln(2) with 16 fraction bits, and the octaves to 2^-10.
        const LN_2: u64 = 45_426;
        const OCTAVES: u64 = 10 << 16;
        if ![Q16::ZERO, Q16::ONE].contains(&sampling.repeat_penalty) {
            return None;
        }
        // Twice the margin, from 8 to 16 fraction bits.
        let margin = u64::from(rescoring.margin) << 9;
        if sampling.temperature == Q16::ZERO {
            return Some(Self(margin));
        }
        // -log2(min_p) from 26 to 16 fraction bits. min_p has 16 of them, a 32-bit fraction of 2^32 16 more.
        let cut = match sampling.min_p {
            Q16::ZERO => OCTAVES,
            min_p if min_p >= Q16::ONE => 0,
            min_p => u64::from(neg_log2(min_p.0 << 16) >> 10).min(OCTAVES),
        };
        // Below 2^32 · 2^19: the temperature's least value is that of the sampler's scale.
        let temperature = u64::from(sampling.temperature.0.max(1 << 10));
        Some(Self(margin + ((temperature * ((cut * LN_2) >> 16)) >> 16)))
    }

    /// The difference in units of `2^exponent`, rounded down.
    fn mantissa(self, exponent: i32) -> u64 {
        let left = -16 - exponent;
        match u32::try_from(left) {
            Ok(left) if left <= self.0.leading_zeros() => self.0 << left,
            Ok(_) => u64::MAX,
            Err(_) => self.0.checked_shr(left.unsigned_abs()).unwrap_or(0),
        }
    }
}

/// The mantissa of a logit that is `sum · 2^-right` in its unit, |sum| < 2^47, limited to ±2^30.
pub(crate) fn mantissa(sum: i64, right: i32) -> i32 {
    let value = if right >= 0 {
        round_shift(sum, right as u32)
    } else {
        sum.clamp(-MOST, MOST) << right.unsigned_abs().min(31)
    };
    value.clamp(-MOST, MOST) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn the_best_are_selected_and_no_logit_is_lost(
            logits in prop::collection::vec(-20i32..20, 0..60), room in 0usize..9, reach in 0u64..30,
        ) {
            let mut kept = std::vec![0; room];
            let mut selection = Selection::new(&mut kept);
            let all = logits.iter().zip(0..).map(|(&mantissa, token)| Logit { token, mantissa, exponent: -16 });
            let mut passed: Vec<Logit> = all.clone().filter_map(|logit| selection.keep(logit)).collect();
            let selected: Vec<(Logit, bool)> = selection.finish(Some(Reach(reach))).collect();
            let mut best: Vec<Logit> = all.clone().collect();
            best.sort_by_key(|logit| (-logit.mantissa, logit.token));
            best.truncate(room);
            let largest = best.first().map_or(0, |logit| logit.mantissa);
            best.sort_by_key(|logit| logit.token);
            let expected: Vec<(Logit, bool)> =
                best.into_iter().map(|logit| (logit, u64::from(largest.abs_diff(logit.mantissa)) <= reach)).collect();
            prop_assert_eq!(&selected, &expected);
            passed.extend(selected.iter().map(|(logit, _)| *logit));
            passed.sort_by_key(|logit| logit.token);
            prop_assert!(passed.into_iter().eq(all));
        }
    }

    #[test]
    fn the_reach_is_that_of_the_sampler() {
        let rescoring = Rescoring { rows: 32, margin: 128 };
        let reach = |sampling| Reach::of(&sampling, rescoring).map(|reach| reach.0 as f64 / 65_536.0);
        assert_eq!(reach(Sampling::GREEDY), Some(1.0));
        let near = |sampling, expected: f64| assert!((reach(sampling).unwrap() / expected - 1.0).abs() < 1e-4);
        near(Sampling::default(), 1.0 + 0.8 * 1024f64.ln());
        near(Sampling::default().min_p(Q16::thousandths(100)), 1.0 + 0.8 * 10f64.ln());
        near(Sampling::default().min_p(Q16(1)), 1.0 + 0.8 * 1024f64.ln());
        near(Sampling::default().min_p(Q16::ONE), 1.0);
        near(Sampling::GREEDY.temperature(Q16(u32::MAX)), 1.0 + 65_536.0 * 1024f64.ln());
        assert_eq!(reach(Sampling::default().repeat_penalty(Q16::thousandths(1100))), None);
    }

    #[test]
    fn a_reach_saturates_at_every_exponent() {
        assert_eq!(Reach(3 << 16).mantissa(-20), 3 << 20);
        assert_eq!(Reach(3 << 16).mantissa(0), 3);
        assert_eq!(Reach(3 << 16).mantissa(2), 0);
        assert_eq!(Reach(1).mantissa(200), 0);
        assert_eq!(Reach(1).mantissa(-400), u64::MAX);
    }

    #[test]
    fn a_rescored_logit_saturates() {
        assert_eq!(mantissa(-5 << 40, 40), -5);
        assert_eq!(mantissa(3, -2), 12);
        assert_eq!([mantissa((1 << 47) - 1, 0), mantissa(-1, -300)], [1 << 30, -1 << 30]);
        assert_eq!(mantissa((1 << 47) - 1, 300), 0);
    }
}
