//! `/bench`: checks that this board's multiplication kernel equals the generic one, and measures both.

use core::fmt;
use core::hint::black_box;

use rillm::format::Quantisation;
use rillm::kernels::Rows;

use crate::Clock;
use rillm_generate::number::Hundredths;
use rillm_generate::{Unit, micros};

/// Length of the longest row. It is small because all matrices are on the stack.
const COLS: usize = 1024;
const ROWS: usize = 4;
/// Rows of one call to the kernel, as the engine uses it.
const STRIP: usize = 16;
/// Group size: weights that share a scale, the default of `rillm convert`.
const GROUP: usize = 32;
/// The quantisations of matrices, by group size.
const QUANTISATIONS: [fn(usize) -> Quantisation; 2] =
    [|group| Quantisation::Int8 { group: group as u32 }, |group| Quantisation::Int4 { group: group as u32 }];
const ROW_LEN: usize = (COLS + COLS / GROUP + 1).next_multiple_of(4);
/// Number of random matrices for the comparison.
pub const TRIALS: usize = 500;
/// Multiplications between two readings of the clock. For a coarse clock there are more readings, at most this many,
/// until a tick is less than 1/500 of the measured time.
const REPEATS: usize = 50;
const LOOKS: usize = 64;
const ENOUGH: u64 = 500;
/// Row lengths to time: those of the bundled model and of Tiny-LLM.
const TIMED: [usize; 4] = [128, 192, 352, 1024];

/// The result of the kernel benchmark, as text. Without a clock nothing is timed.
pub struct KernelBench(pub Option<Clock>);

impl fmt::Display for KernelBench {
    #[inline(never)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut matrix = Matrix::ZEROS;
        let equal = matrix.equal_trials();
        writeln!(f, "kernel: {equal} of {TRIALS} random matrices multiplied as the definition has it")?;
        let Some(clock) = self.0 else { return Ok(()) };
        let unit = match clock.unit {
            Unit::Count(unit) => unit,
            Unit::Time { .. } => "ns",
        };
        matrix.fill();
        for (bits, quantisation) in [8, 4].into_iter().zip(QUANTISATIONS) {
            for cols in TIMED {
                let [native, generic] = matrix.time(clock, quantisation(GROUP), cols);
                writeln!(
                    f,
                    "  int{bits}, rows of {cols:>4}: {native} {unit} a weight, {generic} by the generic kernel"
                )?;
            }
        }
        Ok(())
    }
}

/// Number of random matrices, of [`TRIALS`], that this board's kernel multiplies as the generic one does.
#[inline(never)]
pub fn equal_trials() -> usize {
    let mut matrix = Matrix::ZEROS;
    matrix.equal_trials()
}

/// Aligned like the engine's memory.
#[repr(align(4))]
struct Aligned<T>(T);

struct Matrix {
    bytes: Aligned<[u8; ROWS * ROW_LEN]>,
    x: Aligned<[i16; COLS]>,
    noise: u32,
}

impl Matrix {
    /// A constant, which is written to its place: a function would return it through a second place on the stack.
    const ZEROS: Self = Self { bytes: Aligned([0; ROWS * ROW_LEN]), x: Aligned([0; COLS]), noise: 1 };

    fn equal_trials(&mut self) -> usize {
        (0..TRIALS).filter(|_| self.trial()).count()
    }

    /// The next random number: Xorshift (Marsaglia 2003).
    fn noise(&mut self) -> u32 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        self.noise
    }

    fn once_in_four(&mut self) -> bool {
        self.noise().is_multiple_of(4)
    }

    fn fill(&mut self) {
        for at in 0..self.bytes.0.len() {
            self.bytes.0[at] = self.noise() as u8;
        }
        for at in 0..COLS {
            self.x.0[at] = (self.noise() as i16).max(-i16::MAX);
        }
    }

    /// Multiplies a few rows of random length with both kernels. Every fourth trial has extreme values, whose sums are
    /// the largest.
    fn trial(&mut self) -> bool {
        let extreme = self.once_in_four();
        if extreme {
            let (q, x) = (self.noise() as u8 | 0x7f, if self.once_in_four() { i16::MAX } else { -i16::MAX });
            self.bytes.0.fill(q);
            self.x.0.fill(x);
        } else {
            self.fill();
        }
        let group = if self.once_in_four() { 16 << (self.noise() % 6) } else { GROUP };
        let cols = if self.once_in_four() {
            1 + self.noise() as usize % 300
        } else {
            GROUP * (1 + self.noise() as usize % 32)
        };
        let quantisation = QUANTISATIONS[self.noise() as usize % 2](group);
        let row_len = quantisation.row_len(cols as u32);
        let rows = (1 + self.noise() as usize % 9).min(self.bytes.0.len() / row_len);
        let Some(matrix) = Rows::new(&self.bytes.0[..rows * row_len], quantisation, cols) else { return false };
        let (mut native, mut generic) = ([1; 9], [2; 9]);
        matrix.dot(&self.x.0, &mut native[..rows]);
        matrix.dot_generic(&self.x.0, &mut generic[..rows]);
        native[..rows] == generic[..rows]
    }

    /// Time for a weight with the native and the generic kernel: nanoseconds, or the clock's unit.
    fn time(&self, clock: Clock, quantisation: Quantisation, cols: usize) -> [Hundredths; 2] {
        let row_len = quantisation.row_len(cols as u32);
        let rows = STRIP.min(self.bytes.0.len() / row_len) / 4 * 4;
        let Some(matrix) = Rows::new(&self.bytes.0[..rows * row_len], quantisation, cols) else {
            return [Hundredths { of: 0, by: 0 }; 2];
        };
        let mut sums = [0; STRIP];
        [Rows::dot, Rows::dot_generic].map(|dot| {
            let (mut ticks, mut looks) = (0, 0);
            while ticks < ENOUGH && looks < LOOKS {
                let start = (clock.ticks)();
                for _ in 0..REPEATS {
                    dot(black_box(&matrix), &self.x.0, &mut sums);
                }
                ticks += u64::from((clock.ticks)().wrapping_sub(start));
                looks += 1;
            }
            a_weight(clock.unit, ticks, (looks * REPEATS * rows * cols) as u64)
        })
    }
}

/// The ticks, or nanoseconds, for one of `weights` weights, which are fewer than 2^24.
fn a_weight(unit: Unit, ticks: u64, weights: u64) -> Hundredths {
    let of = match unit {
        Unit::Count(_) => ticks,
        // From 2^32 ticks on, microseconds are exact enough.
        Unit::Time { per_second } if ticks >> 32 > 0 => micros(ticks, per_second).saturating_mul(1000),
        Unit::Time { per_second } => ticks * 1_000_000_000 / u64::from(per_second.max(1)),
    };
    Hundredths { of: of.min(1 << 55), by: weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::format;
    use std::string::ToString;

    /// Ticks between two readings of the clock.
    static STEP: AtomicU32 = AtomicU32::new(0);
    static NOW: AtomicU32 = AtomicU32::new(0);

    fn ticks() -> u32 {
        NOW.fetch_add(STEP.load(Relaxed), Relaxed)
    }

    #[test]
    fn a_weight_takes_the_same_by_every_clock() {
        // 10.24 ns a weight.
        for (ticks, unit) in [
            (262_144, Unit::Time { per_second: 1_000_000 }),
            (245_760, Unit::Time { per_second: 937_500 }),
            (62_914_560, Unit::Time { per_second: 240_000_000 }),
            (1_073_741_824, Unit::Time { per_second: 4_096_000_000 }),
        ] {
            assert_eq!(a_weight(unit, ticks, 25_600_000).to_string(), "10.24", "{unit:?}");
        }
        assert_eq!(a_weight(Unit::Time { per_second: 1000 }, 262, 25_600_000).to_string(), "10.23");
        assert_eq!(a_weight(Unit::Count("instructions"), 96_000, 25_600).to_string(), "3.75");
        assert_eq!(a_weight(Unit::Time { per_second: 1 }, u64::from(u32::MAX) * 64, 1).to_string().len(), 20);
        assert_eq!(a_weight(Unit::Time { per_second: 0 }, 1, 0).to_string(), "0.00");
    }

    #[test]
    fn every_clock_has_its_unit() {
        let report = |step, unit| {
            STEP.store(step, Relaxed);
            KernelBench(Some(Clock { ticks, unit })).to_string()
        };
        // A clock that advances one tick between two readings is read 64 times, one that advances 2,560 ticks only
        // once.
        let coarse = report(1, Unit::Time { per_second: 1000 });
        let weights = [16 / 4 * 4 * 128, 16 / 4 * 4 * 192].map(|weights| weights * REPEATS);
        assert!(
            coarse.contains(&format!(
                "int8, rows of  128: {} ns a weight",
                a_weight(Unit::Time { per_second: 1000 }, 1, weights[0] as u64)
            )),
            "{coarse}"
        );
        let fine = report(25_600, Unit::Count("cycles"));
        assert!(
            fine.contains(&format!(
                "int8, rows of  192: {} cycles a weight",
                a_weight(Unit::Count("cycles"), 25_600, weights[1] as u64)
            )),
            "{fine}"
        );
        assert_eq!(KernelBench(None).to_string().lines().count(), 1);
    }
}
