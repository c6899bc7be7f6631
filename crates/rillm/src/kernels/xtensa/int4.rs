//! Int4 rows.
//!
//! A byte is the index of a table whose words have the levels of its lower and its upper four bits in their halves. MAC16
//! multiplies such a word with a pair of `x`, and its two instructions load the next word and the next pair: four
//! instructions for two products.

use core::arch::asm;

use super::GROUP;
use crate::format::INT4_LEVELS;

/// For each byte of weights the level of its lower four bits in the lower half, and of its upper four bits in the upper
/// half. In data, which a linker script keeps in RAM, for a load from a cached flash would wait for the weights that
/// pass through the cache.
#[unsafe(link_section = ".data.rillm_int4_levels")]
static LEVELS: [[i16; 2]; 256] = {
    let mut levels = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        levels[byte] = [INT4_LEVELS[byte & 15] as i16, INT4_LEVELS[byte >> 4] as i16];
        byte += 1;
    }
    levels
};

/// Multiplies the pair in M1 and M3, which loads the levels of byte `$even`, and then that one in M0 and M2, which loads
/// those of byte `$odd`. Each first product loads the other pair of `x`.
macro_rules! two_bytes {
    ($even:literal $odd:literal) => {
        concat!(
            "l8ui {w}, {q}, ",
            $even,
            "\naddx4 {w}, {w}, {levels}\n",
            "mula.dd.ll.ldinc m0, {x}, m1, m3\nmula.dd.hh.ldinc m2, {w}, m1, m3\n",
            "l8ui {w}, {q}, ",
            $odd,
            "\naddx4 {w}, {w}, {levels}\n",
            "mula.dd.ll.ldinc m1, {x}, m0, m2\nmula.dd.hh.ldinc m3, {w}, m0, m2",
        )
    };
}

/// Multiplies the rows from `q` on, `stride` bytes apart, one row for each sum.
///
/// # Safety
/// There is a sum. `x` is 1 to [`MAX_GROUPS`](super::MAX_GROUPS) groups long and starts at a multiple of four bytes, and
/// each row starts with as many groups and has at least one more byte.
#[inline(never)]
pub unsafe fn dot(q: *const u8, stride: usize, x: &[i16], sums: &mut [i64]) {
    /// Bytes of a group, its scale included.
    const GROUP_LEN: usize = GROUP / 2 + 1;
    let groups = x.len() / GROUP;
    // SAFETY: reads the groups that the caller vouches for and the byte after them, `LEVELS` at any byte, and the values
    // of `x`; the word before those of `x` and of `LEVELS` is not read, for `ldinc` counts first. Writes the sums, and
    // registers that a call may change.
    unsafe {
        asm!(
            "2:",
            "l8ui {w}, {q}, 0", "mov {x}, {x_start}", "addx4 {w}, {w}, {levels}",
            "movi {low}, 0", "movi {high}, 0", "ldinc m2, {w}",
            "loop {groups}, 3f",
            // Pair 0 in M0 and M2; its first product starts the sum, and `mul` has no form that loads.
            "ldinc m0, {x}", "ldinc m1, {x}", "l8ui {w}, {q}, 1", "addx4 {w}, {w}, {levels}",
            "mul.dd.ll m0, m2", "mula.dd.hh.ldinc m3, {w}, m0, m2",
            two_bytes!(2 3), two_bytes!(4 5), two_bytes!(6 7), two_bytes!(8 9), two_bytes!(10 11), two_bytes!(12 13),
            two_bytes!(14 15),
            // Pair 15 loads no further `x`, but the first levels of the next group; after the last group, of any byte.
            "l8ui {w}, {q}, 17", "l8ui {s}, {q}, 16", "addx4 {w}, {w}, {levels}", "addi {q}, {q}, 17",
            "mula.dd.ll m1, m3", "mula.dd.hh.ldinc m2, {w}, m1, m3",
            // The group's sum, below 2^27, is in the accumulator's lower word. `low` sums the lower 32 bits of its product
            // with the scale, `high` the product of all but its lower 15 bits, below 2^12 · 128.
            "rsr {w}, acclo", "sext {s}, {s}, 7", "srai {u}, {w}, 15", "mull {w}, {w}, {s}", "mul16s {u}, {u}, {s}",
            "add {low}, {low}, {w}", "add {high}, {high}, {u}",
            "3:",
            // The row's sum is high · 2^15 and the rest, at most 256 products of at most 2^15 · 128, which is within ±2^30. So
            // low - high · 2^15 is the rest with its sign, and the upper words and a carry are added to it.
            "slli {w}, {high}, 15", "srai {high}, {high}, 17", "sub {u}, {low}, {w}", "srai {u}, {u}, 31",
            "add {high}, {high}, {u}", "bgeu {low}, {w}, 4f", "addi {high}, {high}, 1",
            "4:",
            "s32i {low}, {sum}, 0", "s32i {high}, {sum}, 4", "addi {sum}, {sum}, 8", "add {q}, {q}, {step}",
            // The loop's start is too far for a branch.
            "bgeu {sum}, {end}, 5f", "j 2b",
            "5:",
            q = inout(reg) q => _,
            x_start = in(reg) x.as_ptr().wrapping_sub(2),
            groups = in(reg) groups,
            levels = in(reg) LEVELS.as_ptr().wrapping_sub(1),
            sum = inout(reg) sums.as_mut_ptr() => _,
            end = in(reg) sums.as_mut_ptr_range().end,
            step = in(reg) stride - groups * GROUP_LEN,
            x = out(reg) _, low = out(reg) _, high = out(reg) _, w = out(reg) _, u = out(reg) _, s = out(reg) _,
            options(nostack),
        );
    }
}
