//! Chooses the mix of widths for a file of a size, or for a divergence, by making files and judging them.
//!
//! There are eight mixes. More int4 classes are taken to be never closer to the checkpoint, so that most of the mixes need not
//! be tried.

use anyhow::{Result, anyhow};
use rillm_convert::write::{Draft, Options, file_len};
use rillm_quantise::evaluate::Agreement;
use rillm_quantise::mix::Mix;

use crate::converter::Converter;
use crate::number::grouped;

/// The target of a search.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At most so many bytes, and of these files the least divergence.
    Size(u64),
    /// At most this divergence in nats, and of these files the smallest.
    Kl(f64),
}

/// A mix, and what is known of its file.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub mix: Mix,
    pub bytes: u64,
    /// If it was made and judged.
    pub agreement: Option<Agreement>,
}

/// Makes the file that the goal asks for. Returns it, its agreement, and all candidates.
pub fn search(converter: &mut Converter<'_>, options: Options, goal: Goal) -> Result<(Draft, Mix, Vec<Candidate>)> {
    let len = |mix| file_len(converter.checkpoint, converter.sections, options.mix(mix));
    let candidates = Mix::every().map(|mix| Ok(Candidate { mix, bytes: len(mix)?, agreement: None }));
    let mut candidates = candidates.collect::<Result<Vec<_>>>()?;
    let found = choose(goal, &mut candidates, |mix| {
        let Mix { layers, head, embedding } = mix;
        converter.prefix = format!("layers {layers}, head {head}, table {embedding} ");
        let draft = converter.make(options.mix(mix))?;
        let agreement = converter.judge(draft.path())?;
        Ok((draft, agreement))
    })?;
    let (draft, mix) = found.ok_or_else(|| unreachable(goal, &candidates))?;
    Ok((draft, mix, candidates))
}

/// Tries mixes until it is clear which one the goal asks for. Nothing, if none does.
fn choose<T>(
    goal: Goal,
    candidates: &mut [Candidate],
    mut make: impl FnMut(Mix) -> Result<(T, Agreement)>,
) -> Result<Option<(T, Mix)>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    match goal {
        // Of the mixes that fit, those without int4 classes that another one does without.
        Goal::Size(most) => {
            order.retain(|&at| candidates[at].bytes <= most);
            let fitting = order.clone();
            order.retain(|&at| !fitting.iter().any(|&other| is_part(&candidates[other], &candidates[at])));
        }
        // No class, each class alone, and then what is smallest.
        Goal::Kl(_) => order.sort_by_key(|&at| (int4_classes(&candidates[at]).min(2), candidates[at].bytes)),
    }
    let mut best: Option<(T, usize, f64)> = None;
    for at in order {
        let candidate = candidates[at];
        if let Goal::Kl(most) = goal {
            let is_beyond = |tried: &Candidate| tried.agreement.is_some_and(|found| found.mean_kl() > most);
            let part_is_beyond = candidates.iter().any(|tried| is_beyond(tried) && is_part(tried, &candidate));
            let best = best.as_ref().map_or(u64::MAX, |(_, best, _)| candidates[*best].bytes);
            if part_is_beyond || int4_classes(&candidate) > 1 && candidate.bytes >= best {
                continue;
            }
        }
        let (made, agreement) = make(candidate.mix)?;
        candidates[at].agreement = Some(agreement);
        let kl = agreement.mean_kl();
        let is_best = match (goal, &best) {
            (Goal::Kl(most), _) if kl > most => false,
            (_, None) => true,
            (Goal::Size(_), Some((.., best))) => kl < *best,
            (Goal::Kl(_), Some((_, best, best_kl))) => (candidate.bytes, kl) < (candidates[*best].bytes, *best_kl),
        };
        if is_best {
            best = Some((made, at, kl));
        }
    }
    Ok(best.map(|(made, at, _)| (made, candidates[at].mix)))
}

fn int4_classes(candidate: &Candidate) -> usize {
    candidate.mix.int4_classes().into_iter().filter(|&is_int4| is_int4).count()
}

/// Whether the int4 classes of a mix are some of another one's, and fewer.
fn is_part(part: &Candidate, whole: &Candidate) -> bool {
    let (a, b) = (part.mix.int4_classes(), whole.mix.int4_classes());
    a != b && a.into_iter().zip(b).all(|(part, whole)| whole || !part)
}

/// What the best candidate reaches instead.
fn unreachable(goal: Goal, candidates: &[Candidate]) -> anyhow::Error {
    match goal {
        Goal::Size(most) => {
            let least = candidates.iter().map(|candidate| candidate.bytes).min().unwrap_or(0);
            anyhow!(
                "no file of this model has at most {} bytes: the smallest mix of 8 and 4 bits has {}; ask for as many, or \
                 convert a smaller model",
                grouped(most),
                grouped(least)
            )
        }
        Goal::Kl(most) => {
            let tried = candidates.iter().filter_map(|candidate| candidate.agreement);
            let least = tried.map(|agreement| agreement.mean_kl()).fold(f64::INFINITY, f64::min);
            // Rounded up, so that as much is enough.
            let least = (least * 1e6).ceil() / 1e6;
            anyhow!("no file of this model has a KL of at most {most} nats: int8 has {least:.6}; allow as much")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries mixes that have these bytes and this divergence for each int4 class of the embedding table, the layers, the head.
    /// Returns the int4 classes of the choice, and of all that were tried in their order.
    fn tried(goal: Goal, saved: [u64; 3], kl: [f64; 3]) -> (Option<[bool; 3]>, Vec<[bool; 3]>) {
        let sum = |mix: Mix, of: [f64; 3]| -> f64 {
            mix.int4_classes().into_iter().zip(of).filter(|(is_int4, _)| *is_int4).map(|(_, of)| of).sum()
        };
        let bytes = |mix| 1000 - sum(mix, saved.map(|saved| saved as f64)) as u64;
        let mut candidates: Vec<_> =
            Mix::every().map(|mix| Candidate { mix, bytes: bytes(mix), agreement: None }).collect();
        let mut order = vec![];
        let found = choose(goal, &mut candidates, |mix| {
            order.push(mix.int4_classes());
            let mut agreement = Agreement::default();
            // KL of (1/2, 1/2) to (p, 1 − p) is −ln(4p(1 − p)) / 2.
            let odds = (1.0 - (-2.0 * (0.01 + sum(mix, kl))).exp()).sqrt();
            agreement.add(&[0.0, 0.0], &[(1.0 + odds).ln() as f32, (1.0 - odds).ln() as f32]);
            Ok(((), agreement))
        });
        (found.expect("no error").map(|((), mix)| mix.int4_classes()), order)
    }

    const NONE: [bool; 3] = [false; 3];
    const TABLE: [bool; 3] = [true, false, false];
    const LAYERS: [bool; 3] = [false, true, false];
    const HEAD: [bool; 3] = [false, false, true];
    const ENDS: [bool; 3] = [true, false, true];
    const ALL: [bool; 3] = [true; 3];
    const SAVED: [u64; 3] = [100, 300, 150];
    const KL: [f64; 3] = [0.02, 0.1, 0.005];

    #[test]
    fn the_closest_file_of_a_size() {
        assert_eq!(tried(Goal::Size(1000), SAVED, KL), (Some(NONE), vec![NONE]));
        assert_eq!(tried(Goal::Size(900), SAVED, KL), (Some(HEAD), vec![TABLE, LAYERS, HEAD]));
        assert_eq!(tried(Goal::Size(750), SAVED, KL), (Some(ENDS), vec![LAYERS, ENDS]));
        assert_eq!(tried(Goal::Size(450), SAVED, KL), (Some(ALL), vec![ALL]));
        assert_eq!(tried(Goal::Size(449), SAVED, KL), (None, vec![]));
    }

    #[test]
    fn the_smallest_file_of_a_divergence() {
        assert_eq!(tried(Goal::Kl(0.005), SAVED, KL), (None, vec![NONE]));
        assert_eq!(tried(Goal::Kl(0.012), SAVED, KL), (Some(NONE), vec![NONE, LAYERS, HEAD, TABLE]));
        assert_eq!(tried(Goal::Kl(0.04), SAVED, KL), (Some(ENDS), vec![NONE, LAYERS, HEAD, TABLE, ENDS]));
        assert_eq!(tried(Goal::Kl(1.0), SAVED, KL), (Some(ALL), vec![NONE, LAYERS, HEAD, TABLE, ALL]));
        // Of two files of the same size the closer one, though it comes later.
        assert_eq!(tried(Goal::Kl(0.04), [100, 0, 100], KL).0, Some(ENDS));
        assert_eq!(tried(Goal::Kl(0.033), [100, 0, 100], KL).0, Some(HEAD));
        // All of them together are too far, and so is the next smaller file.
        let layers_and_head = [false, true, true];
        let (found, order) = tried(Goal::Kl(0.116), SAVED, KL);
        assert_eq!((found, &order[4..]), (Some(layers_and_head), &[ALL, layers_and_head][..]));
    }
}
