//! Sampling of the next token while the head's logits stream by.
//!
//! No buffer has the vocabulary's size: a heap keeps the best candidates. Without top-k, top-p or min-p, the token is
//! sampled in the same pass, by the Gumbel-max trick (Maddison et al. 2014): the largest sum of `logit / temperature`
//! and Gumbel noise is a sample of the softmax. The noise is a function of seed, position and token, so that the same
//! seed gives the same text independent of the order of reads.

use crate::fixed::{exp2_neg, neg_log2, round_shift};

/// Number of recent tokens that the repetition penalty covers.
pub const REPEAT_WINDOW: usize = 64;

/// The logit of a token: `mantissa · 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logit {
    /// The token's number in the vocabulary.
    pub token: u32,
    /// The mantissa, within ±2^30.
    pub mantissa: i32,
    /// The exponent, the same for all logits of a position.
    pub exponent: i32,
}

/// A non-negative number with 16 fraction bits: 65,536 stands for 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Q16(pub u32);

impl Q16 {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(1 << 16);

    /// `thousandths / 1000`, rounded: 0.8 is `Q16::thousandths(800)`. From 65,536 on it saturates.
    pub const fn thousandths(thousandths: u32) -> Self {
        // Below 2^48.
        let bits = (((thousandths as u64) << 16) + 500) / 1000;
        Self(if bits > u32::MAX as u64 { u32::MAX } else { bits as u32 })
    }
}

/// Sampling parameters. The order of the steps is that of `transformers`: penalty, temperature, top-k, top-p, min-p.
///
/// ```
/// use rillm::{Q16, Sampling};
///
/// let sampling = Sampling::default().temperature(Q16::thousandths(700)).top_k(40).seed(42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sampling {
    /// Divides the logits. 0 always takes the likeliest token. Values between 0 and 1/64 count as 1/64.
    pub temperature: Q16,
    /// Samples among this many of the likeliest tokens; 0 for the whole vocabulary. The number must not exceed the
    /// plan's candidates; above the vocabulary size it counts as the vocabulary size.
    pub top_k: u32,
    /// Samples among the fewest tokens whose probabilities sum to at least this value; all tokens from 1 on.
    ///
    /// With `top_k` 0 the probabilities are relative to the whole vocabulary, and the number of tokens is limited to
    /// the plan's candidates.
    pub top_p: Q16,
    /// Samples among the tokens with at least this fraction of the likeliest token's probability; 0 for all. With
    /// `top_k` 0 the number of tokens is limited to the plan's candidates.
    pub min_p: Q16,
    /// Divides positive logits of the last 64 tokens and multiplies negative ones; 1 (and 0) for no penalty.
    pub repeat_penalty: Q16,
    /// The seed of the random numbers: the same seed gives the same text.
    pub seed: u64,
}

/// Temperature 0.8, top-p 0.95, seed 0: the defaults of `rillm run`.
impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: Q16::thousandths(800), top_p: Q16::thousandths(950), ..Self::GREEDY }
    }
}

impl Sampling {
    /// Greedy decoding: always the likeliest token.
    pub const GREEDY: Self =
        Self { temperature: Q16::ZERO, top_k: 0, top_p: Q16::ONE, min_p: Q16::ZERO, repeat_penalty: Q16::ONE, seed: 0 };

    /// Sets [`temperature`](Self::temperature).
    #[must_use]
    pub const fn temperature(self, temperature: Q16) -> Self {
        Self { temperature, ..self }
    }

    /// Sets [`top_k`](Self::top_k).
    #[must_use]
    pub const fn top_k(self, top_k: u32) -> Self {
        Self { top_k, ..self }
    }

    /// Sets [`top_p`](Self::top_p).
    #[must_use]
    pub const fn top_p(self, top_p: Q16) -> Self {
        Self { top_p, ..self }
    }

    /// Sets [`min_p`](Self::min_p).
    #[must_use]
    pub const fn min_p(self, min_p: Q16) -> Self {
        Self { min_p, ..self }
    }

    /// Sets [`repeat_penalty`](Self::repeat_penalty).
    #[must_use]
    pub const fn repeat_penalty(self, repeat_penalty: Q16) -> Self {
        Self { repeat_penalty, ..self }
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The part of the heap that the candidates use.
    fn room<'h>(&self, heap: &'h mut [u64]) -> &'h mut [u64] {
        let room = if self.top_k == 0 { heap.len() } else { heap.len().min(self.top_k as usize) };
        &mut heap[..room]
    }

    /// Whether top-k, top-p or min-p excludes tokens, so that candidates must be kept.
    fn cuts(&self) -> bool {
        self.top_k > 0 || self.top_p < Q16::ONE || self.min_p > Q16::ZERO
    }

    /// Whether a plan with this many candidates supports these parameters. The vocabulary size bounds the number of
    /// candidates.
    pub(crate) fn fits(&self, candidates: usize, vocab_size: u32) -> bool {
        self.temperature == Q16::ZERO || self.top_k.min(vocab_size) as usize <= candidates
    }
}

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

/// Samples a token from the logits of one position, which arrive in ascending order of ids.
pub(crate) struct Sampler {
    sampling: Sampling,
    /// Number of candidates on the heap.
    len: usize,
    /// The logit of the worst candidate, once the heap is full.
    worst: Option<i32>,
    /// Penalised ids in ascending order, their number, and the number already passed.
    recent: [u32; REPEAT_WINDOW],
    recent_len: usize,
    recent_at: usize,
    scale: Scale,
    noise: Noise,
    best: Option<(i64, u32)>,
    /// Σ 2^-distance over the vocabulary, 32 fraction bits, and the largest logit, from which the distances are
    /// measured.
    mass: u64,
    largest: Option<i32>,
}

impl Sampler {
    /// Creates a sampler for the token after `history`.
    pub fn new(sampling: Sampling, history: &[u32]) -> Self {
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
            len: 0,
            worst: None,
            recent,
            recent_len,
            recent_at: 0,
            scale: Scale::new(sampling.temperature),
            noise: Noise::new(sampling.seed, history.len() as u64),
            best: None,
            mass: 0,
            largest: None,
        }
    }

    /// The parameters.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Takes the next logit. Tokens must arrive in ascending order, with the same exponent. `heap` holds the packed
    /// best candidates so far, with the worst one at the root; pass the same heap for all logits.
    #[inline]
    pub fn offer(&mut self, Logit { token: id, mantissa, exponent }: Logit, heap: &mut [u64]) {
        let logit = self.penalised(id, mantissa);
        if self.sampling.temperature == Q16::ZERO {
            self.take_if_better(logit.into(), id);
            return;
        }
        self.scale.exponent = exponent;
        if !self.sampling.cuts() {
            let score = self.scale.score(logit) + self.noise.gumbel(id);
            self.take_if_better(score, id);
            return;
        }
        if self.sampling.top_k == 0 && self.sampling.top_p < Q16::ONE {
            self.add_mass(logit);
        }
        // Ids ascend: of equal logits the later one is the worse candidate.
        if self.worst.is_none_or(|worst| logit > worst) {
            let heap = self.sampling.room(heap);
            self.push(Candidate::new(logit, id).0, heap);
            self.worst = heap.first().filter(|_| self.len == heap.len()).map(|&root| Candidate(root).logit());
        }
    }

    /// The sampled token, from the logits offered with `heap`; `None` without logits.
    pub fn choose(mut self, heap: &mut [u64]) -> Option<u32> {
        if self.sampling.temperature != Q16::ZERO && self.sampling.cuts() {
            self.choose_among(&mut heap[..self.len]);
        }
        self.best.map(|(_, id)| id)
    }

    fn take_if_better(&mut self, score: i64, id: u32) {
        if self.best.is_none_or(|(best, _)| score > best) {
            self.best = Some((score, id));
        }
    }

    fn penalised(&mut self, id: u32, logit: i32) -> i32 {
        while self.recent_at < self.recent_len && self.recent[self.recent_at] < id {
            self.recent_at += 1;
        }
        if self.recent_at == self.recent_len || self.recent[self.recent_at] != id {
            return logit;
        }
        // |logit| ≤ 2^30 and the penalty is below 2^32: within ±2^62.
        let penalty = i64::from(self.sampling.repeat_penalty.0);
        let penalised =
            if logit > 0 { (i64::from(logit) << 16) / penalty } else { round_shift(i64::from(logit) * penalty, 16) };
        penalised.clamp(-(1 << 30), 1 << 30) as i32
    }

    /// Adds a token's probability to the mass of the vocabulary so far.
    fn add_mass(&mut self, logit: i32) {
        match self.largest {
            Some(largest) if logit <= largest => self.mass += u64::from(self.scale.share(largest, logit)),
            largest => {
                let shrunk = largest.map_or(0, |largest| scaled_down(self.mass, self.scale.share(logit, largest)));
                self.mass = shrunk + u64::from(self.scale.share(logit, logit));
                self.largest = Some(logit);
            }
        }
    }

    /// Pushes a candidate onto the heap. On a full heap it replaces the worst candidate, which must be worse.
    fn push(&mut self, candidate: u64, heap: &mut [u64]) {
        if self.len < heap.len() {
            let mut child = self.len;
            heap[child] = candidate;
            self.len += 1;
            while child > 0 && heap[child] < heap[(child - 1) / 2] {
                heap.swap(child, (child - 1) / 2);
                child = (child - 1) / 2;
            }
        } else if let Some(root) = heap.first_mut() {
            *root = candidate;
            let mut parent = 0;
            while let Some(child) = (2 * parent + 1..heap.len().min(2 * parent + 3)).min_by_key(|&child| heap[child])
                && heap[child] < heap[parent]
            {
                heap.swap(child, parent);
                parent = child;
            }
        }
    }

    fn choose_among(&mut self, candidates: &mut [u64]) {
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        let candidates = candidates.iter().map(|&packed| Candidate(packed));
        let Some(largest) = candidates.clone().next().map(Candidate::logit) else {
            return;
        };
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
            if best.is_some()
                && (enough(sum) || share(candidate) << 16 < min_p * u64::from(self.scale.share(largest, largest)))
            {
                break;
            }
            sum += share(candidate);
            let score = self.scale.score(candidate.logit()) + self.noise.gumbel(candidate.id());
            if best.is_none_or(|(best, _)| score > best) {
                best = Some((score, candidate.id()));
            }
        }
        self.best = best;
    }
}

/// Scores: logits divided by the temperature, in the base-2 logarithmic domain, 16 fraction bits.
struct Scale {
    /// 2^22 · log2(e) / temperature, below 2^29.
    factor: u32,
    exponent: i32,
}

impl Scale {
    fn new(temperature: Q16) -> Self {
        // log2(e) with 22 + 16 fraction bits, by at least 2^10: below 2^29.
        const LOG2_E: i64 = 6_051_102 << 16;
        Self { factor: (LOG2_E / i64::from(temperature.0.max(1 << 10))) as u32, exponent: 0 }
    }

    /// The probability of a logit as a share of that of the largest one, 32 fraction bits: `2^-distance`.
    fn share(&self, largest: i32, logit: i32) -> u32 {
        // A distance of at most 2^31 times 29 bits; then 20 fraction bits, as `exp2_neg` takes them. Shares of 2^-32
        // and less are 0.
        const NOTHING: u64 = 32 << 20;
        let product = u64::from(largest.abs_diff(logit)) * u64::from(self.factor);
        let right = 22 - 20 - self.exponent;
        let distance = if right >= 0 {
            product.checked_shr(right as u32).unwrap_or(0)
        } else {
            product.min(NOTHING) << (-right).min(32)
        };
        if distance < NOTHING { exp2_neg(distance as u32) } else { 0 }
    }

    /// |logit| ≤ 2^30, the product is below 2^59. Scores beyond ±2^40 saturate: probabilities of 2^(-2^24).
    fn score(&self, logit: i32) -> i64 {
        const LIMIT: i64 = 1 << 40;
        let product = i64::from(logit) * i64::from(self.factor);
        let right = 22 - 16 - self.exponent;
        let score = if right >= 0 {
            round_shift(product, right as u32)
        } else {
            product.clamp(-LIMIT, LIMIT) << (-right).min(20)
        };
        score.clamp(-LIMIT, LIMIT)
    }
}

/// `mass · power / 2^32`, rounded down: both halves' products fit 64 bits, and the upper one's is a whole number of
/// 2^32.
fn scaled_down(mass: u64, power: u32) -> u64 {
    (mass >> 32) * u64::from(power) + (((mass & 0xffff_ffff) * u64::from(power)) >> 32)
}

/// Gumbel noise for every token of a position.
struct Noise {
    key: [u32; 2],
}

impl Noise {
    fn new(seed: u64, position: u64) -> Self {
        // SplitMix64 (Steele, Lea and Flood 2014) of the seed's `position`-th state.
        let mut z = seed.wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Self { key: [z as u32, (z >> 32) as u32] }
    }

    /// Noise in the base-2 logarithmic domain, 16 fraction bits: `-log2(-log2(u))` for a uniform `u`.
    fn gumbel(&self, id: u32) -> i64 {
        gumbel(mix(mix(id ^ self.key[0]).wrapping_add(self.key[1])))
    }
}

/// `-log2(-log2(u))` of the fraction `u = uniform / 2^32`, 16 fraction bits.
fn gumbel(uniform: u32) -> i64 {
    // Odd, so that neither it nor its distance from 1 is zero.
    let uniform = uniform | 1;
    let distance = uniform.wrapping_neg();
    if distance < 1 << 20 {
        // Near 1, -log2(u) is (1 - u) · log2(e) but for a part in 2^13; log2(log2(e)) is 0.528766.
        return round_shift(neg_log2(distance).into(), 10) - 34_653;
    }
    // -log2(u) has 26 fraction bits; log2 of it as a fraction of 2^32 is log2(it) + 26 - 32.
    round_shift(neg_log2(neg_log2(uniform)).into(), 10) - (6 << 16)
}

/// A bijection of 32 bits in which every input bit changes about half of the output bits: MurmurHash3's finaliser
/// (Appleby).
fn mix(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

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
        let mut sampler = Sampler::new(sampling, history);
        for (id, &logit) in logits.iter().enumerate() {
            sampler.offer(Logit { token: id as u32, mantissa: logit, exponent: EXPONENT }, &mut candidates);
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
    fn gumbel_noise_is_near_float64_to_its_ends() {
        let exact = |uniform: u32| -(-(f64::from(uniform | 1) * 2f64.powi(-32)).log2()).log2();
        for zeros in 0..32 {
            for uniform in [u32::MAX >> zeros, !(u32::MAX >> 1 >> zeros), !(u32::MAX >> zeros), 0x9e37_79b9 >> zeros] {
                let got = gumbel(uniform) as f64 / ONE;
                assert!((got - exact(uniform)).abs() < 2.5e-4, "{uniform:x}: {got} {}", exact(uniform));
            }
        }
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
                let mut sampler = Sampler::new(sampling, &[0, 1]);
                for (id, logit) in [-(1 << 30), 1 << 30, 0, 1, -1].into_iter().enumerate() {
                    sampler.offer(Logit { token: id as u32, mantissa: logit, exponent }, &mut candidates);
                }
                assert!(sampler.choose(&mut candidates).is_some());
            }
        }
    }
}
