//! Sampling of the next token while the head's logits stream by.
//!
//! No buffer has the vocabulary's size: a heap keeps the best candidates. Without top-k, top-p or min-p, the token is
//! sampled in the same pass, by the Gumbel-max trick (Maddison et al. 2014): the largest sum of `logit / temperature`
//! and Gumbel noise is a sample of the softmax. The noise is a function of seed, position and token, so that the same
//! seed gives the same text independent of the order of reads.

use crate::fixed::round_shift;
use crate::logits::{Logits, leading};
use crate::noise::{MOST_GUMBEL, Noise, gumbel, most_gumbel};
use crate::sampling::{Q16, Sampling};
use crate::temperature::{TemperatureScale, negligible_octaves};

/// Number of recent tokens that the repetition penalty covers.
pub const REPEAT_WINDOW: usize = 64;

/// A candidate: a penalised logit and a token id, packed so that the greater number is the better candidate: the larger
/// logit, and among equals the smaller id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate(pub u64);

impl Candidate {
    pub fn new(logit: i32, id: u32) -> Self {
        Self((u64::from(logit as u32 ^ 1 << 31) << 32) | u64::from(!id))
    }

    pub fn logit(self) -> i32 {
        ((self.0 >> 32) as u32 ^ 1 << 31) as i32
    }

    pub fn id(self) -> u32 {
        !(self.0 as u32)
    }
}

/// Samples a token from the logits of one position.
///
/// The order of the logits does not change a greedy choice, one from the whole vocabulary, or the candidates. The
/// mass, from which top-p without top-k is cut, is rounded down wherever a logit exceeds all before it: that cut is
/// defined for the engine's order, which depends on the logits only (see [`Session::logits`](crate::Session::logits)).
pub(crate) struct Sampler {
    sampling: Sampling,
    /// Offered logits below this one change nothing.
    ignored_below: i32,
    /// Offered logits below this one at most add to the mass.
    counted_below: i32,
    /// Number of candidates on the heap.
    len: usize,
    /// The logit of the worst candidate, once the heap is full; before, `i32::MIN`.
    worst: i32,
    /// Penalised ids in ascending order, and their number.
    recent: [u32; REPEAT_WINDOW],
    recent_len: usize,
    scale: TemperatureScale,
    noise: Noise,
    best: Option<(i64, u32)>,
    /// Σ 2^-distance over the vocabulary, 32 fraction bits.
    mass: u64,
    /// The logit from which distances are measured: the largest so far, `i32::MIN` without one.
    largest: i32,
    /// The smallest logit that may be a candidate's.
    least: i32,
    /// The smallest logit that adds to the mass. `i32::MAX`, which no logit reaches, if no mass is needed.
    counted: i32,
}

impl Sampler {
    /// Creates a sampler for the token after `history`.
    pub fn new(sampling: Sampling, history: &[u32], vocab_size: u32) -> Self {
        let mut recent = [0; REPEAT_WINDOW];
        let mut recent_len = 0;
        if sampling.repeat_penalty != Q16::ONE && sampling.repeat_penalty != Q16::ZERO {
            let window = &history[history.len().saturating_sub(REPEAT_WINDOW)..];
            recent[..window.len()].copy_from_slice(window);
            recent_len = window.len();
            recent[..recent_len].sort_unstable();
        }
        Self {
            sampling,
            ignored_below: i32::MIN,
            counted_below: i32::MIN,
            len: 0,
            worst: i32::MIN,
            recent,
            recent_len,
            scale: TemperatureScale::new(sampling.temperature, negligible_octaves(&sampling, vocab_size)),
            noise: Noise::new(sampling.seed, history.len() as u64),
            best: None,
            mass: 0,
            largest: i32::MIN,
            least: i32::MIN,
            counted: if sampling.top_k == 0 && sampling.top_p < Q16::ONE { i32::MIN } else { i32::MAX },
        }
    }

    /// The parameters.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Takes the logits of consecutive tokens. Every token must be offered once, with the same exponent. `heap` holds the packed
    /// best candidates so far, with the worst one at the root; pass the same heap for all logits.
    pub fn offer(&mut self, Logits { mut first, mut mantissas, exponent }: Logits<'_>, heap: &mut [u64]) {
        loop {
            let passed = self.pass_over(mantissas);
            let Some((&mantissa, rest)) = mantissas[passed..].split_first() else {
                return;
            };
            first += passed as u32;
            self.weigh(first, mantissa, exponent, heap);
            (first, mantissas) = (first + 1, rest);
        }
    }

    /// The sampled token, from the logits offered with `heap`; `None` without logits.
    pub fn choose(mut self, heap: &mut [u64]) -> Option<u32> {
        if self.sampling.temperature != Q16::ZERO && self.sampling.cuts() {
            self.choose_among(&mut heap[..self.len]);
        }
        self.best.map(|(_, id)| id)
    }

    /// Takes the logits before the first one that may change the choice: at most they add to the mass. Returns their number.
    #[inline(always)]
    fn pass_over(&mut self, mantissas: &[i32]) -> usize {
        let Self { ignored_below, counted_below, largest, scale, mut mass, .. } = *self;
        let mut passed = leading(mantissas, |mantissa| mantissa < ignored_below);
        for &mantissa in &mantissas[passed..] {
            if mantissa >= counted_below {
                break;
            }
            if mantissa >= ignored_below {
                mass += u64::from(scale.share(largest, mantissa));
            }
            passed += 1;
        }
        self.mass = mass;
        passed
    }

    /// Takes a logit that may change the choice. Not inlined, so that the loop of [`pass_over`](Self::pass_over) has all
    /// registers.
    #[inline(never)]
    fn weigh(&mut self, id: u32, mantissa: i32, exponent: i32, heap: &mut [u64]) {
        let logit = if self.recent_len == 0 { mantissa } else { self.penalised(id, mantissa) };
        if self.sampling.temperature == Q16::ZERO {
            if self.take_if_better(logit.into(), id) {
                self.ignore_below(logit, logit);
            }
            return;
        }
        if self.scale.exponent != exponent {
            self.scale.set_exponent(exponent);
        }
        if !self.sampling.cuts() {
            self.weigh_with_noise(logit, id);
            return;
        }
        if logit > self.largest {
            self.set_largest(logit);
        }
        if logit >= self.counted {
            self.mass += u64::from(self.scale.share(self.largest, logit));
        }
        // A new largest logit is at least the worst candidate's.
        if logit >= self.worst.max(self.least) {
            let heap = self.sampling.room(heap);
            if self.len == heap.len() && self.worst < self.least {
                self.drop_negligible(heap);
            }
            self.push(Candidate::new(logit, id).0, heap);
            self.worst = match heap.first() {
                Some(&root) if self.len == heap.len() => Candidate(root).logit(),
                _ => i32::MIN,
            };
            let least = self.worst.max(self.least);
            self.ignore_below(least.min(self.counted), least);
        }
    }

    /// From now on, penalised logits below `ignored` change nothing, and those below `counted` at most add to the mass.
    fn ignore_below(&mut self, ignored: i32, counted: i32) {
        if self.recent_len == 0 {
            (self.ignored_below, self.counted_below) = (ignored, counted);
        } else if self.sampling.repeat_penalty > Q16::ONE {
            // A penalty above 1 raises no logit: one that is too small without it is so with it, too.
            (self.ignored_below, self.counted_below) = (ignored, ignored);
        }
    }

    /// Compares the sum of a logit's score and its noise with the best one.
    fn weigh_with_noise(&mut self, logit: i32, id: u32) {
        let (score, uniform) = (self.scale.score(logit), self.noise.uniform(id));
        // The logarithms are for the few tokens that can win.
        let can_win = self.best.is_none_or(|(best, _)| score + most_gumbel(uniform) >= best);
        if can_win && self.take_if_better(score + gumbel(uniform), id) {
            let best = self.best.map_or(i64::MIN, |(best, _)| best);
            let least = self.scale.least_with_score(best - MOST_GUMBEL);
            self.ignore_below(least, least);
        }
    }

    /// Whether the score is the best one so far; of equal ones that of the smaller id is.
    fn take_if_better(&mut self, score: i64, id: u32) -> bool {
        let better = self.best.is_none_or(|(best, best_id)| score > best || score == best && id < best_id);
        if better {
            self.best = Some((score, id));
        }
        better
    }

    fn penalised(&self, id: u32, logit: i32) -> i32 {
        if self.recent[..self.recent_len].binary_search(&id).is_err() {
            return logit;
        }
        // |logit| ≤ 2^30 and the penalty is below 2^32: within ±2^62.
        let penalty = i64::from(self.sampling.repeat_penalty.0);
        let penalised =
            if logit > 0 { (i64::from(logit) << 16) / penalty } else { round_shift(i64::from(logit) * penalty, 16) };
        penalised.clamp(-(1 << 30), 1 << 30) as i32
    }

    /// Measures distances from now on from this logit, the largest so far.
    fn set_largest(&mut self, logit: i32) {
        if self.counted != i32::MAX {
            // Without a logit so far, the mass is zero, whatever the distance.
            self.mass = scaled_down(self.mass, self.scale.share(logit, self.largest));
            self.counted = logit.saturating_sub_unsigned(self.scale.reach - 1);
        }
        self.largest = logit;
        self.least = logit.saturating_sub_unsigned(self.scale.negligible - 1);
    }

    /// Keeps those on the heap that may still be candidates. The largest logit has grown since the others were pushed.
    fn drop_negligible(&mut self, heap: &mut [u64]) {
        for index in 0..core::mem::take(&mut self.len) {
            // Not beyond `index` yet.
            if Candidate(heap[index]).logit() >= self.least {
                self.push(heap[index], heap);
            }
        }
    }

    /// Pushes a candidate onto the heap. On a full heap it replaces the worst candidate, if that is worse.
    fn push(&mut self, candidate: u64, heap: &mut [u64]) {
        // What the new candidate passes moves into the hole that it leaves.
        if self.len < heap.len() {
            let mut hole = self.len;
            self.len += 1;
            while let Some(parent) = hole.checked_sub(1).map(|below| below / 2)
                && candidate < heap[parent]
            {
                heap[hole] = heap[parent];
                hole = parent;
            }
            heap[hole] = candidate;
        } else if heap.first().is_some_and(|&root| candidate > root) {
            let mut hole = 0;
            while let Some(&left) = heap.get(2 * hole + 1) {
                let right = heap.get(2 * hole + 2).copied().unwrap_or(u64::MAX);
                let (child, least) = if right < left { (2 * hole + 2, right) } else { (2 * hole + 1, left) };
                if candidate <= least {
                    break;
                }
                heap[hole] = least;
                hole = child;
            }
            heap[hole] = candidate;
        }
    }

    fn choose_among(&mut self, candidates: &mut [u64]) {
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        let Some(largest) = candidates.first().map(|&packed| Candidate(packed).logit()) else {
            return;
        };
        // Some were pushed before the largest logit came, from which they are too far away.
        let is_near = |&packed: &u64| largest.abs_diff(Candidate(packed).logit()) < self.scale.negligible;
        let near = candidates.partition_point(is_near);
        let candidates = candidates[..near].iter().map(|&packed| Candidate(packed));
        let share = |candidate: Candidate| u64::from(self.scale.share(largest, candidate.logit()));
        let mass = if self.sampling.top_k == 0 { self.mass } else { candidates.clone().map(share).sum() };
        // Shares and masses have 32 fraction bits, and at most 2^20 shares make 52 bits: sum ≥ mass · top_p, rounded
        // up, in 64.
        let top_p = self.sampling.top_p;
        let wanted = |top_p: u64| (mass >> 16) * top_p + ((mass & 0xffff) * top_p).div_ceil(1 << 16);
        let enough = |sum: u64| top_p < Q16::ONE && sum >= wanted(top_p.0.into());
        let min_p = u64::from(self.sampling.min_p.0.min(Q16::ONE.0));
        let (mut sum, mut best) = (0, None);
        for candidate in candidates {
            let is_cut =
                || enough(sum) || share(candidate) << 16 < min_p * u64::from(self.scale.share(largest, largest));
            if best.is_some() && is_cut() {
                break;
            }
            sum += share(candidate);
            let score = self.scale.score(candidate.logit()) + gumbel(self.noise.uniform(candidate.id()));
            if best.is_none_or(|(best, _)| score > best) {
                best = Some((score, candidate.id()));
            }
        }
        self.best = best;
    }
}

/// `mass · power / 2^32`, rounded down: both halves' products fit 64 bits, and the upper one's is a whole number of
/// 2^32.
fn scaled_down(mass: u64, power: u32) -> u64 {
    (mass >> 32) * u64::from(power) + (((mass & 0xffff_ffff) * u64::from(power)) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec as any_vec, prelude::*};
    use std::{vec, vec::Vec};

    use crate::logits::Logit;
    use crate::temperature::NEVER;
    use crate::temperature::tests::{any_q16, distance_by_definition, share_by_definition};

    const ONE: f64 = 65_536.0;
    /// Exponent of the tests' logits.
    const EXPONENT: i32 = -20;

    fn sampling() -> Sampling {
        Sampling { temperature: Q16::ONE, ..Sampling::GREEDY }
    }

    fn fixed(logits: &[f64]) -> Vec<i32> {
        logits.iter().map(|logit| (logit * 2f64.powi(-EXPONENT)) as i32).collect()
    }

    fn choose(sampling: Sampling, history: &[u32], logits: &[i32]) -> u32 {
        let mut candidates = vec![0; 16];
        let mut sampler = Sampler::new(sampling, history, logits.len() as u32);
        for (id, &logit) in logits.iter().enumerate() {
            sampler
                .offer(Logits::one(&Logit { token: id as u32, mantissa: logit, exponent: EXPONENT }), &mut candidates);
        }
        sampler.choose(&mut candidates).unwrap()
    }

    /// How often each token is chosen in 40,000 tries, as a share.
    fn shares(sampling: Sampling, logits: &[f64]) -> Vec<f64> {
        const TRIES: u64 = 40_000;
        let logits = fixed(logits);
        let mut counts = vec![0u64; logits.len()];
        for seed in 0..TRIES {
            counts[choose(Sampling { seed, ..sampling }, &[1, 2, 3], &logits) as usize] += 1;
        }
        counts.iter().map(|&count| count as f64 / TRIES as f64).collect()
    }

    fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
        let powers: Vec<f64> = logits.iter().map(|logit| (logit / temperature).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    }

    fn assert_near(shares: &[f64], expected: &[f64]) {
        for (share, expected) in shares.iter().zip(expected) {
            // Five standard deviations of 40,000 tries.
            assert!(
                (share - expected).abs() < 5.0 * (expected * (1.0 - expected) / 40_000.0).sqrt() + 1e-9,
                "{shares:?} is not {expected:?}"
            );
        }
    }

    /// What a sampler chooses, and the mass of the vocabulary, without a heap and without leaving out anything: logits
    /// in ascending order of tokens.
    fn choose_plainly(
        sampling: Sampling,
        history: &[u32],
        logits: &[i32],
        exponent: i32,
        candidates: usize,
    ) -> (u32, u64) {
        let penalty = i64::from(sampling.repeat_penalty.0);
        let recent = &history[history.len().saturating_sub(REPEAT_WINDOW)..];
        let penalised = |(id, &logit): (usize, &i32)| {
            let logit = if penalty == 0 || !recent.contains(&(id as u32)) {
                logit
            } else if logit > 0 {
                ((i64::from(logit) << 16) / penalty).min(1 << 30) as i32
            } else {
                round_shift(i64::from(logit) * penalty, 16).max(-(1 << 30)) as i32
            };
            (logit, id as u32)
        };
        let mut tokens: Vec<(i32, u32)> = logits.iter().enumerate().map(penalised).collect();
        let (mut mass, mut largest) = (0u64, i32::MIN);
        let share = |from: i32, to: i32| share_by_definition(sampling.temperature, exponent, from.abs_diff(to));
        for &(logit, _) in &tokens {
            if logit > largest {
                mass = ((u128::from(mass) * u128::from(share(logit, largest))) >> 32) as u64;
                largest = logit;
            }
            mass += u64::from(share(largest, logit));
        }
        tokens.sort_by_key(|&(logit, id)| (-i64::from(logit), id));
        if sampling.temperature == Q16::ZERO {
            return (tokens[0].1, mass);
        }
        if sampling.cuts() {
            let octaves = negligible_octaves(&sampling, logits.len() as u32);
            tokens.retain(|&(logit, _)| {
                distance_by_definition(sampling.temperature, exponent, largest.abs_diff(logit))
                    < u128::from(octaves) << 16
            });
            let top_k = if sampling.top_k == 0 { usize::MAX } else { sampling.top_k as usize };
            tokens.truncate(top_k.min(candidates));
            let shares: Vec<u64> = tokens.iter().map(|&(logit, _)| share(largest, logit).into()).collect();
            let kept_mass = if sampling.top_k == 0 { mass } else { shares.iter().sum() };
            let wanted = (u128::from(kept_mass) * u128::from(sampling.top_p.0)).div_ceil(1 << 16);
            let least = u64::from(sampling.min_p.0.min(Q16::ONE.0)) * shares[0];
            let mut sum = 0;
            let kept = shares.iter().take_while(|&&share| {
                let goes = sum > 0 && (sampling.top_p < Q16::ONE && u128::from(sum) >= wanted || share << 16 < least);
                sum += share;
                !goes
            });
            tokens.truncate(kept.count());
        }
        let mut scale = TemperatureScale::new(sampling.temperature, NEVER);
        scale.exponent = exponent;
        let noise = Noise::new(sampling.seed, history.len() as u64);
        let score = |&(logit, id): &(i32, u32)| (scale.score(logit) + gumbel(noise.uniform(id)), u32::MAX - id);
        // Of equal scores, the smaller token of the whole vocabulary, and the likelier of the candidates.
        let first =
            tokens.iter().rev().max_by_key(|token| if sampling.cuts() { (score(token).0, 0) } else { score(token) });
        (first.unwrap().1, mass)
    }

    /// Any parameters: usual ones, and extremes.
    fn any_sampling() -> impl Strategy<Value = Sampling> {
        (any_q16(), prop_oneof![Just(0), 0u32..40, any::<u32>()], any_q16(), any_q16(), any_q16(), any::<u64>())
            .prop_map(|(temperature, top_k, top_p, min_p, repeat_penalty, seed)| Sampling {
                temperature,
                top_k,
                top_p,
                min_p,
                repeat_penalty,
                seed,
            })
    }

    /// Logits with an exponent, spread over a few units or over any range; small ranges make equal ones.
    fn any_logits() -> impl Strategy<Value = (Vec<i32>, i32)> {
        let exponent = prop_oneof![-32i32..0, -200i32..200];
        let range = (0u32..=30).prop_flat_map(|bits| any_vec(-(1i32 << bits)..=1 << bits, 1..200));
        (range, exponent)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn nothing_that_is_left_out_changes_the_choice(
            sampling in any_sampling(),
            (logits, exponent) in any_logits(),
            history in any_vec(0u32..200, 0..80),
            candidates in 1usize..40,
        ) {
            let mut heap = vec![0; candidates];
            let mut sampler = Sampler::new(sampling, &history, logits.len() as u32);
            for (id, &mantissa) in logits.iter().enumerate() {
                sampler.offer(Logits::one(&Logit { token: id as u32, mantissa, exponent }), &mut heap);
            }
            let (expected, mass) = choose_plainly(sampling, &history, &logits, exponent, candidates);
            if sampling.temperature > Q16::ZERO && sampling.top_k == 0 && sampling.top_p < Q16::ONE {
                prop_assert_eq!(sampler.mass, mass);
            }
            prop_assert_eq!(sampler.choose(&mut heap), Some(expected));
        }

        #[test]
        fn the_order_of_logits_does_not_change_the_choice(
            sampling in any_sampling(),
            (logits, exponent) in any_logits(),
            history in any_vec(0u32..200, 0..80),
            by in any::<u32>(),
        ) {
            // All but the mass: top-p without top-k.
            let sampling = if sampling.top_k == 0 { sampling.top_p(Q16::ONE) } else { sampling };
            let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
            tokens.sort_by_key(|id| id.wrapping_mul(0x9e37_79b9) ^ by);
            let mut heap = vec![0; 20];
            let mut sampler = Sampler::new(sampling, &history, logits.len() as u32);
            for id in tokens {
                sampler.offer(Logits::one(&Logit { token: id, mantissa: logits[id as usize], exponent }), &mut heap);
            }
            let (expected, _) = choose_plainly(sampling, &history, &logits, exponent, 20);
            prop_assert_eq!(sampler.choose(&mut heap), Some(expected));
        }

    }

    const LOGITS: [f64; 6] = [1.0, -2.0, 3.0, 2.5, 0.0, 2.9];

    #[test]
    fn a_mass_is_scaled_exactly() {
        for (mass, power) in [(u64::MAX, u32::MAX), (1 << 52, 0x8000_0001), (0x000f_ffff_ffff_ffff, 77), (5, 1 << 31)] {
            assert_eq!(u128::from(scaled_down(mass, power)), (u128::from(mass) * u128::from(power)) >> 32);
        }
    }

    #[test]
    fn the_whole_vocabulary_follows_the_softmax() {
        assert_near(&shares(sampling(), &LOGITS), &softmax(&LOGITS, 1.0));
        let hot = Sampling { temperature: Q16((2.5 * ONE) as u32), ..sampling() };
        assert_near(&shares(hot, &LOGITS), &softmax(&LOGITS, 2.5));
    }

    #[test]
    fn top_k_follows_the_softmax_of_the_k_likeliest() {
        let kept = [f64::MIN, f64::MIN, 3.0, 2.5, f64::MIN, 2.9];
        assert_near(&shares(Sampling { top_k: 3, ..sampling() }, &LOGITS), &softmax(&kept, 1.0));
        // More than the vocabulary: all tokens.
        assert_near(&shares(Sampling { top_k: 9, ..sampling() }, &LOGITS), &softmax(&LOGITS, 1.0));
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_it() {
        // 0.38, 0.35, 0.23, … : two reach 0.7, three 0.9.
        let [two, three] = [0.7, 0.9].map(|p| Sampling { top_p: Q16((p * ONE) as u32), ..sampling() });
        let kept = [f64::MIN, f64::MIN, 3.0, f64::MIN, f64::MIN, 2.9];
        assert_near(&shares(two, &LOGITS), &softmax(&kept, 1.0));
        let kept = [f64::MIN, f64::MIN, 3.0, 2.5, f64::MIN, 2.9];
        assert_near(&shares(three, &LOGITS), &softmax(&kept, 1.0));
        // Of the two that top-k leaves, the first has more than half.
        let both = Sampling { top_k: 2, top_p: Q16(1 << 15), ..sampling() };
        assert_eq!(shares(both, &LOGITS)[2], 1.0);
    }

    #[test]
    fn min_p_keeps_those_near_the_likeliest() {
        let half = Sampling { min_p: Q16(1 << 15), ..sampling() };
        let kept = [f64::MIN, f64::MIN, 3.0, 2.5, f64::MIN, 2.9];
        assert_near(&shares(half, &LOGITS), &softmax(&kept, 1.0));
    }

    #[test]
    fn a_flat_distribution_is_cut_at_the_candidates() {
        let flat = vec![0.0; 100];
        let all = Sampling { top_p: Q16((0.99 * ONE) as u32), ..sampling() };
        let shares = shares(all, &flat);
        assert!(shares[..16].iter().all(|&share| share > 0.05) && shares[16..].iter().all(|&share| share == 0.0));
    }

    #[test]
    fn equal_logits_pass_min_p_together() {
        let equal = Sampling { min_p: Q16::ONE, ..sampling() };
        assert_near(&shares(equal, &[1.0, 1.0, 0.9]), &[0.5, 0.5, 0.0]);
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        assert_eq!(choose(Sampling::GREEDY, &[], &[-5, 7, 3, 7]), 1);
        let cold = Sampling { temperature: Q16(1), ..sampling() };
        assert_eq!(choose(cold, &[], &fixed(&LOGITS)), 2);
    }

    #[test]
    fn the_penalty_meets_recent_tokens_only() {
        let penalty = Sampling { repeat_penalty: Q16(2 << 16), ..Sampling::GREEDY };
        let logits = fixed(&[3.0, -1.0, 2.9, 1.0]);
        assert_eq!(choose(penalty, &[1, 2, 1], &logits), 0);
        assert_eq!(choose(penalty, &[0, 1, 1], &logits), 2);
        assert_eq!(choose(penalty, &[0, 2, 3], &fixed(&[-1.0, -1.9, -1.0, -1.0])), 1);
        let long_ago: Vec<u32> = [0].into_iter().chain([1; REPEAT_WINDOW]).collect();
        assert_eq!(choose(penalty, &long_ago, &logits), 0);
    }

    #[test]
    fn extreme_logits_and_parameters_do_not_panic() {
        for exponent in [-200, -30, 0, 30, 200] {
            for bits in [0, 1, 1 << 10, 1 << 16, u32::MAX] {
                let extreme = Q16(bits);
                let sampling = Sampling {
                    temperature: extreme,
                    top_k: bits,
                    top_p: extreme,
                    min_p: extreme,
                    repeat_penalty: extreme,
                    seed: 1,
                };
                let mut candidates = [0; 3];
                let mut sampler = Sampler::new(sampling, &[0, 1], 5);
                for (id, logit) in [-(1 << 30), 1 << 30, 0, 1, -1].into_iter().enumerate() {
                    sampler.offer(Logits::one(&Logit { token: id as u32, mantissa: logit, exponent }), &mut candidates);
                }
                assert!(sampler.choose(&mut candidates).is_some());
            }
        }
    }
}
