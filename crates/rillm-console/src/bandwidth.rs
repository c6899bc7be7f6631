//! `/bench`: read bandwidth of the model file and of the memories that hold weights.

use core::fmt;
use core::hint::black_box;

use embedded_io::{Read, ReadReady, Write};
use rillm::{SECTOR_LEN, Sector, WeightSource};

use crate::Clock;
use crate::screen::Screen;
use rillm_generate::Unit;
use rillm_generate::number::{Bytes, Hundredths};

/// Most bytes to read for one figure. A slow card transfers half of this in a second.
const MOST: usize = 512 * 1024;
/// Number of random reads of one sector.
const RANDOM_READS: u32 = 64;
/// Lengths in bytes of the sequential reads.
const RUNS: [usize; 3] = [4 * 1024, 16 * 1024, 64 * 1024];

/// Reads `source`, a file of `len` bytes, through `internal`, and then reads `external`. Prints each figure as soon as it is
/// measured.
pub async fn measure<C, S>(
    screen: &mut Screen<C>,
    clock: Clock,
    source: &mut S,
    len: u64,
    internal: &mut [u8],
    external: &[u8],
) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    if let Some(file) = source.memory() {
        screen.say(format_args!("model file, where it lies: {}\n", words(clock, file)))?;
    } else {
        // Aligned like the engine's buffers.
        let start = internal.as_ptr().align_offset(8).min(internal.len());
        let buffer = &mut internal[start..];
        match random(clock, source, len, buffer).await {
            Ok(Some(rate)) => screen.say(format_args!("model file, 512 B at random places: {rate}\n"))?,
            Ok(None) => {}
            Err(error) => return screen.say(format_args!("cannot read the model: {error}\n")),
        }
        for run in RUNS {
            match in_order(clock, source, len, buffer, run).await {
                Ok(Some(rate)) => screen.say(format_args!("model file, {} at a time: {rate}\n", Bytes(run as u64)))?,
                Ok(None) => {}
                Err(error) => return screen.say(format_args!("cannot read the model: {error}\n")),
            }
        }
    }
    if !external.is_empty() {
        screen.say(format_args!("external memory: {}\n", words(clock, external)))?;
    }
    Ok(())
}

/// Reads random sectors of the file. None if `buf` has no room for a sector.
async fn random<S: WeightSource>(
    clock: Clock,
    source: &mut S,
    len: u64,
    buffer: &mut [u8],
) -> Result<Option<Rate>, S::Error> {
    let sectors = (len / SECTOR_LEN as u64) as u32;
    let (Some(buffer), 1..) = (buffer.get_mut(..SECTOR_LEN), sectors) else { return Ok(None) };
    let (mut sector, mut ticks) = (1u32, 0);
    for _ in 0..RANDOM_READS {
        // The upper bits of a linear congruential generator are the random ones (Knuth, The Art of Computer
        // Programming, 3.3.4).
        sector = sector.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let place = (u64::from(sector) * u64::from(sectors)) >> 32;
        let start = (clock.ticks)();
        source.read(Sector(place as u32), buffer).await?;
        ticks += u64::from((clock.ticks)().wrapping_sub(start));
    }
    Ok(Some(Rate { bytes: u64::from(RANDOM_READS) * SECTOR_LEN as u64, ticks, clock }))
}

/// Reads the file from its start, `run` bytes at a time. None if `buf` or the file is shorter than `run`.
async fn in_order<S: WeightSource>(
    clock: Clock,
    source: &mut S,
    len: u64,
    buffer: &mut [u8],
    run: usize,
) -> Result<Option<Rate>, S::Error> {
    let Some(buffer) = buffer.get_mut(..run) else { return Ok(None) };
    let runs = len.min(MOST as u64) / run as u64;
    let mut ticks = 0;
    for first in (0..runs as u32).map(|index| index * (run / SECTOR_LEN) as u32) {
        let start = (clock.ticks)();
        source.read(Sector(first), buffer).await?;
        ticks += u64::from((clock.ticks)().wrapping_sub(start));
    }
    Ok((runs > 0).then_some(Rate { bytes: runs * run as u64, ticks, clock }))
}

/// Measures reading a memory, by adding up its words.
fn words(clock: Clock, memory: &[u8]) -> Rate {
    let (_, words, _) = bytemuck::pod_align_to::<u8, u32>(&memory[..memory.len().min(MOST)]);
    let start = (clock.ticks)();
    black_box(black_box(words).iter().fold(0u32, |sum, word| sum.wrapping_add(*word)));
    let ticks = (clock.ticks)().wrapping_sub(start);
    Rate { bytes: 4 * words.len() as u64, ticks: ticks.into(), clock }
}

/// A number of bytes, and the ticks that reading them took.
pub struct Rate {
    /// At most 2^20.
    pub bytes: u64,
    pub ticks: u64,
    pub clock: Clock,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, ticks, clock } = *self;
        match clock.unit {
            // The dividend is below 2^52: at most 2^20 bytes times less than 2^32 ticks a second. The divisor is cut at
            // 2^54.
            Unit::Time { per_second } => {
                let by = ticks.saturating_mul(1_000_000).min(1 << 54);
                write!(f, "{} MB/s", Hundredths { of: bytes.min(1 << 20) * u64::from(per_second), by })
            }
            Unit::Count(unit) => write!(f, "{} {unit} a byte", Hundredths { of: ticks, by: bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn rates() {
        let clock = |unit| Clock { ticks: || 0, unit };
        let rate = |bytes, ticks, unit| Rate { bytes, ticks, clock: clock(unit) }.to_string();
        let micros = Unit::Time { per_second: 1_000_000 };
        assert_eq!(rate(512 * 64, 64 * 600, micros), "0.85 MB/s");
        assert_eq!(rate(MOST as u64, 60_000, micros), "8.74 MB/s");
        assert_eq!(rate(MOST as u64, 0, micros), "0.00 MB/s");
        assert_eq!(rate(MOST as u64, u64::from(u32::MAX), Unit::Time { per_second: u32::MAX }), "0.52 MB/s");
        assert_eq!(rate(MOST as u64, u64::MAX, Unit::Time { per_second: 1 }), "0.00 MB/s");
        assert_eq!(rate(1000, 7_250, Unit::Count("instructions")), "7.25 instructions a byte");
    }
}
