//! `/selftest`: whether the kernels, the memories, the model file and a text are right.

use core::fmt;
use core::hint::black_box;

use embedded_io::{Read, ReadReady, Write};
use rillm::format::{Crc32, SectionKind};
use rillm::{Model, SECTOR_LEN, Sampling, Sector, Session, WeightSource};
use rillm_generate::number::Grouped;
use rillm_generate::{Check, Generation, Step};

use crate::Clock;
use crate::bandwidth::Rate;
use crate::kernel_bench::{TRIALS, equal_trials};
use crate::screen::Screen;

/// The text of the test: the prompt, and the number of tokens after it, each the likeliest.
const PROMPT: &str = "Once upon a time";
const TOKENS: usize = 12;
/// The models whose logits of this text are known, by the checksum of their weights: the bundled one.
const KNOWN: [(u32, u32); 1] = [(0x1c45_b51a, 0x9776_9a74)];

/// Compares the board's kernel with the generic one.
pub fn kernels<C: Read + ReadReady + Write>(screen: &mut Screen<C>) -> Result<bool, C::Error> {
    let equal = equal_trials();
    screen.say(format_args!("kernel: {equal} of {TRIALS} random matrices multiplied as the definition has it\n"))?;
    Ok(equal == TRIALS)
}

/// Fills a memory with a pattern and with its inverse, and reads each back.
pub fn memory<C>(screen: &mut Screen<C>, name: &str, memory: &mut [u8]) -> Result<bool, C::Error>
where
    C: Read + ReadReady + Write,
{
    let len = Grouped(memory.len() as u64);
    match first_fault(memory) {
        None => screen.say(format_args!("{name}: {len} bytes hold what is written\n"))?,
        Some(at) => {
            let at = Grouped(at as u64);
            screen.say(format_args!("{name}: of {len} bytes, those at {at} do not hold what is written\n"))?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where the memory first differs from what was written to it, in bytes.
fn first_fault(memory: &mut [u8]) -> Option<usize> {
    let start = memory.as_ptr().align_offset(4);
    let (_, words, _) = bytemuck::pod_align_to_mut::<u8, u32>(memory);
    for inverted in [0, u32::MAX] {
        // Different at every address, so that a missing address line is found, too. The multiplier is odd.
        let pattern = |index: usize| (index as u32).wrapping_mul(0x9e37_79b9) ^ inverted;
        words.iter_mut().enumerate().for_each(|(index, word)| *word = pattern(index));
        // All of it is written before any of it is read: a cache holds little of external memory.
        let words = black_box(&mut *words);
        if let Some(index) = (0..words.len()).find(|&index| words[index] != pattern(index)) {
            return Some(start + 4 * index);
        }
    }
    None
}

/// Reads the whole file through `buffer` and compares the checksum of each section.
pub async fn file<C, S>(
    screen: &mut Screen<C>,
    clock: Option<Clock>,
    source: &mut S,
    model: &Model,
    buffer: &mut [u8],
) -> Result<bool, C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    // Aligned like the engine's buffers, in whole sectors, and as many as a read of the engine has.
    let start = buffer.as_ptr().align_offset(8).min(buffer.len());
    let most = (buffer.len() - start).min(16 * 1024) / SECTOR_LEN * SECTOR_LEN;
    let buffer = &mut buffer[start..start + most];
    let (mut bytes, mut ticks, mut damaged) = (0, 0, 0u32);
    for section in model.header().sections() {
        let (mut crc, mut done) = (Crc32::new(), 0);
        while done < section.len && !buffer.is_empty() {
            if screen.interrupted()? {
                screen.print("model file: stopped\n")?;
                return Ok(false);
            }
            let (first, at) = Sector::of(section.offset + done);
            let len = (section.len - done).min((buffer.len() - at) as u64) as usize;
            let sectors = &mut buffer[..(at + len).next_multiple_of(SECTOR_LEN)];
            let before = clock.map_or(0, |clock| (clock.ticks)());
            if let Err(error) = source.read(first, sectors).await {
                screen.say(format_args!("cannot read the model: {error}\n"))?;
                return Ok(false);
            }
            ticks += u64::from(clock.map_or(0, |clock| (clock.ticks)()).wrapping_sub(before));
            bytes += sectors.len() as u64;
            crc.update(&sectors[at..at + len]);
            done += len as u64;
        }
        if crc.value() != section.crc32 {
            let (kind, computed, stored) = (section.kind, crc.value(), section.crc32);
            screen.say(format_args!(
                "model file: {kind} is damaged: checksum {computed:08x}, should be {stored:08x}\n"
            ))?;
            damaged += 1;
        }
    }
    if damaged == 0 {
        screen.say(format_args!("model file: {} bytes read, all checksums are right", Grouped(bytes)))?;
        // The rate takes less than 2^20 bytes, and is that of the whole file.
        let shift = (bytes >> 20).checked_ilog2().map_or(0, |bits| bits + 1);
        if let Some(clock) = clock {
            screen.say(format_args!(", {}", Rate { bytes: bytes >> shift, ticks: ticks >> shift, clock }))?;
        }
        screen.print("\n")?;
    }
    Ok(damaged == 0)
}

/// Generates a text and compares its logits with those of other machines, if they are known. Otherwise prints the check
/// line.
pub async fn text<C, S>(screen: &mut Screen<C>, session: &mut Session<'_, S>) -> Result<bool, C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    let mut generation =
        Generation::new(session.model(), PROMPT, Sampling::GREEDY).max_tokens(TOKENS).with_fingerprint();
    let mut result = session.push_text(PROMPT).await.map(|_| ());
    while result.is_ok() {
        result = match generation.step(session).await {
            Ok(Step::Done(_)) => break,
            Ok(Step::Prefill | Step::Token(_)) => Ok(()),
            Err(error) => Err(error),
        };
    }
    if let Err(error) = result {
        screen.say(format_args!("text: {error}\n"))?;
        return Ok(false);
    }
    let logits = generation.fingerprint().unwrap_or_default();
    let weights = session.model().header().section(SectionKind::Tape).map_or(0, |tape| tape.crc32);
    match KNOWN.iter().find(|(known, _)| *known == weights) {
        Some(&(_, expected)) if expected == logits => {
            screen.say(format_args!("text: logits {logits:08x}, as everywhere\n"))?;
            Ok(true)
        }
        Some(&(_, expected)) => {
            screen.say(format_args!(
                "text: logits {logits:08x}, should be {expected:08x}: this board computes wrongly\n"
            ))?;
            Ok(false)
        }
        None => {
            screen.say(format_args!("{}\n", Check { ids: session.tokens(), logits }))?;
            screen.say(format_args!(
                "the same as `rillm run --prompt \"{PROMPT}\" --temperature 0 -n {TOKENS} --check` prints for this file?\n"
            ))?;
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_memory_that_holds_everything_has_no_fault() {
        for len in [0, 1, 3, 4, 1000, 1027] {
            for start in 0..4 {
                let mut memory = vec![0x55; start + len];
                assert_eq!(first_fault(&mut memory[start..]), None, "{len}");
            }
        }
    }
}
