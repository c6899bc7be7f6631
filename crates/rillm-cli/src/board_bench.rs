//! The figures of a board's `/bench`, in place of modelled ones.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rillm_boards::{Cpu, Figure, Pace, Range};

/// Where the figures come from.
pub const SOURCE: &str = "the board's /bench";

/// What a board has measured. Nothing, where it has printed no such line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardBench {
    /// Length of the rows, and picoseconds a weight of 8 bits.
    int8: Vec<(u64, u64)>,
    /// The same for weights of 4 bits.
    int4: Vec<(u64, u64)>,
    /// Length of sequential reads from the card, and bytes a second.
    card: Vec<(u64, u64)>,
    /// Bytes a second of the external memory.
    pub external: Option<u64>,
    /// Bytes a second of mapped flash.
    pub flash: Option<u64>,
}

impl BoardBench {
    /// The figures in a file, or in the text itself.
    ///
    /// # Errors
    /// The file cannot be read, or there is no figure.
    pub fn read(lines_or_file: &str) -> Result<Self> {
        let path = Path::new(lines_or_file);
        let text = if path.is_file() {
            fs::read_to_string(path).with_context(|| format!("cannot read {lines_or_file}"))?
        } else {
            lines_or_file.to_owned()
        };
        Self::parse(&text)
    }

    /// The figures among the lines that a board's console has printed.
    fn parse(text: &str) -> Result<Self> {
        let mut found = Self::default();
        for line in text.lines().map(str::trim) {
            let Some((what, figure)) = line.split_once(": ") else { continue };
            ensure!(
                !figure.contains("instructions a byte") && !figure.contains("instructions a weight"),
                "`{line}` counts instructions, as emulated boards do; --bench takes the times of a real board"
            );
            if let Some(rows) = row_len(what) {
                let Some(time) = figure.split_once(" ns a weight").and_then(|(number, _)| hundredths(number)) else {
                    continue;
                };
                let list = if what.starts_with("int8") { &mut found.int8 } else { &mut found.int4 };
                list.push((rows, time * 10));
            } else if let Some(rate) = figure.strip_suffix(" MB/s").and_then(hundredths).map(|rate| rate * 10_000) {
                match what {
                    "external memory" => found.external = Some(rate),
                    "model file, where it lies" => found.flash = Some(rate),
                    _ => found.card.extend(read_len(what).map(|len| (len, rate))),
                }
            }
        }
        if found == Self::default() {
            bail!(
                "--bench has no line of a board's /bench, such as `model file, 16.00 KiB at a time: 9.20 MB/s`; give them as text or as a file"
            );
        }
        Ok(found)
    }

    /// The pace of a board with these figures, for a model whose rows have about `cols` weights.
    pub fn pace(&self, modelled: Pace, cols: u64) -> Pace {
        let mut pace = modelled;
        if let Some((rate, command)) = self.card_rate() {
            (pace.card, pace.command) = (Range::exactly(rate), Range::exactly(command));
        }
        if let Some(rate) = self.external {
            pace.external = Range::exactly(rate);
        }
        if let Some(rate) = self.flash {
            pace.flash = Range::exactly(rate);
        }
        let mut cpu: Cpu = *pace.cpu;
        for (figure, bits) in [(&mut cpu.weight, 8), (&mut cpu.int4_weight, 4)] {
            if let Some(cycles) = self.cycles(bits, cols, pace.mhz) {
                // As many instructions as take these cycles, at either end of the range of cycles an instruction.
                let of = |each: u64| cycles * 100 / each.max(1);
                let range = Range { low: of(pace.cpu.cycles.range.low), high: of(pace.cpu.cycles.range.high) };
                *figure = Figure { range, source: SOURCE };
            }
        }
        // One for the whole program.
        pace.cpu = Box::leak(Box::new(cpu));
        pace
    }

    /// Bytes a second of the card within a read, and microseconds of a read besides: of the shortest and the longest
    /// reads, whose times are a command's and that of their bytes.
    pub fn card_rate(&self) -> Option<(u64, u64)> {
        let (short, long) = (self.card.iter().min()?, self.card.iter().max()?);
        let nanoseconds = |&(len, rate): &(u64, u64)| len * 1_000_000_000 / rate.max(1);
        let (first, last) = (nanoseconds(short), nanoseconds(long));
        if short.0 == long.0 || last <= first {
            return Some((long.1, 0));
        }
        let rate = (long.0 - short.0) * 1_000_000_000 / (last - first);
        Some((rate, first.saturating_sub(short.0 * 1_000_000_000 / rate.max(1)) / 1000))
    }

    /// Hundredths of a cycle for a weight of `bits` bits, in rows of about `cols`.
    pub fn cycles(&self, bits: u32, cols: u64, mhz: u32) -> Option<u64> {
        let list = if bits == 8 { &self.int8 } else { &self.int4 };
        let nearest = list.iter().min_by_key(|(len, _)| len.abs_diff(cols))?;
        Some(nearest.1 * u64::from(mhz) / 10_000)
    }
}

/// The row length of `int8, rows of  128`.
fn row_len(what: &str) -> Option<u64> {
    let (bits, rows) = what.split_once(", rows of ")?;
    if !matches!(bits, "int8" | "int4") {
        return None;
    }
    rows.trim().parse().ok()
}

/// The bytes of `model file, 4.00 KiB at a time`.
fn read_len(what: &str) -> Option<u64> {
    let number = what.strip_prefix("model file, ")?.strip_suffix(" KiB at a time")?;
    hundredths(number).map(|number| number * 1024 / 100)
}

/// A number with two digits after the point, times 100. None if it is 0, or so large that no board has it.
fn hundredths(number: &str) -> Option<u64> {
    let (whole, rest) = number.trim().split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if rest.len() != 2 || !(1..=6).contains(&whole.len()) || !digits(whole) || !digits(rest) {
        return None;
    }
    Some(whole.parse::<u64>().ok()? * 100 + rest.parse::<u64>().ok()?).filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rillm_boards::{ESP32_CAM, Pace};

    const PRINTED: &str = "> /bench\r
kernel: 500 of 500 random matrices multiplied as the definition has it\r
  int8, rows of  128: 12.50 ns a weight, 40.00 by the generic kernel\r
  int8, rows of 1024: 10.00 ns a weight, 38.00 by the generic kernel\r
  int4, rows of  128: 14.00 ns a weight, 50.00 by the generic kernel\r
model file, 512 B at random places: 0.75 MB/s\r
model file, 4.00 KiB at a time: 5.12 MB/s\r
model file, 16.00 KiB at a time: 9.64 MB/s\r
external memory: 21.50 MB/s\r
> ";

    #[test]
    fn the_lines_of_a_board_replace_what_they_measure() {
        let bench = BoardBench::parse(PRINTED).expect("figures");
        // 4 KiB take 800 µs and 16 KiB 1,699.6: 13.66 MB/s, and 500 µs a read.
        assert_eq!(bench.card_rate(), Some((13_659_631, 500)));
        // 12.5 ns at 240 MHz are three cycles.
        assert_eq!([100, 192, 900].map(|cols| bench.cycles(8, cols, 240)), [Some(300), Some(300), Some(240)]);
        assert_eq!(bench.cycles(4, 192, 240), Some(336));
        let modelled = Pace::of(&ESP32_CAM);
        let pace = bench.pace(modelled, 192);
        assert_eq!((pace.external, pace.flash), (Range::exactly(21_500_000), modelled.flash));
        // Whatever an instruction takes, a weight takes three cycles.
        let [weight, cycles] = [pace.cpu.weight.range, pace.cpu.cycles.range];
        assert_eq!([weight.low * cycles.low / 10_000, weight.high * cycles.high / 10_000], [2, 2]);
        assert!(weight.low * cycles.low > 29_800 && weight.high * cycles.high > 29_800);
        assert_eq!(pace.cpu.norm, modelled.cpu.norm);
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        let told = BoardBench::parse("hello: 1\nexternal memory: fast").expect_err("no figure").to_string();
        assert!(told.contains("16.00 KiB at a time"), "{told}");
        let told = BoardBench::parse("external memory: 7.25 instructions a byte").expect_err("no time").to_string();
        assert!(told.contains("real board"), "{told}");
        for number in ["1", "1.5", ".50", "-1.00", "0.00", "9999999.00", "1.x0"] {
            assert_eq!(hundredths(number), None, "{number}");
        }
        let one = BoardBench::parse("model file, 16.00 KiB at a time: 9.20 MB/s").expect("a figure");
        assert_eq!(one.card_rate(), Some((9_200_000, 0)));
    }
}
