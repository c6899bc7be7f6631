//! Int8 rows.
//!
//! MAC16 multiplies 16-bit halves of registers and loads the next pair of `x` at the same time. A word of four weights
//! becomes two words whose halves are 256 times a weight: eight instructions for four products.

use core::arch::asm;

use super::GROUP;

/// The four weights at `$offset`, not a group's first. Their bytes become halves of two words: 256 b1 and 256 b3 in
/// `w`, 256 b0 and 256 b2 in `u`.
macro_rules! four {
    ($offset:literal) => {
        concat!(
            "l32i {w}, {q}, ",
            $offset,
            "\nslli {u}, {w}, 8\nand {w}, {w}, {mask}\nand {u}, {u}, {mask}\n",
            "mula.da.ll m0, {u}\nmula.da.hl.ldinc m0, {x}, m0, {w}\n",
            "mula.da.lh m1, {u}\nmula.da.hh.ldinc m1, {x}, m1, {w}",
        )
    };
}

/// Multiplies the rows from `q` on, `stride` bytes apart, with their scales at byte `scales`, one row for each sum.
///
/// # Safety
/// There is a sum. `x` is 1 to [`MAX_GROUPS`](super::MAX_GROUPS) groups long, and each row has as many values and a scale for each group
/// of them; the rows and `x` start at multiples of four bytes.
#[inline(never)]
pub unsafe fn dot(q: *const u8, stride: usize, scales: usize, x: &[i16], sums: &mut [i64]) {
    let groups = x.len() / GROUP;
    // The loop over rows needs these besides its registers, which are all taken: the steps from a row's last value and
    // last scale to the next row's first.
    let steps = [stride - x.len(), stride - groups];
    // SAFETY: reads as many values and scales as the caller vouches for, and the word of `x` before the first one is
    // not read, for `ldinc` counts first; writes the sums, and registers that a call may change.
    unsafe {
        asm!(
            "ssai 24",
            "2:",
            "mov {x}, {x_start}", "movi {low}, 0", "movi {high}, 0",
            "loop {groups}, 3f",
            "ldinc m0, {x}",
            // As in `four`, but the first product starts the sum; `mul` has no form that loads.
            "l32i {w}, {q}, 0", "slli {u}, {w}, 8", "and {w}, {w}, {mask}", "and {u}, {u}, {mask}",
            "ldinc m1, {x}",
            "mul.da.ll m0, {u}", "mula.da.hl.ldinc m0, {x}, m0, {w}",
            "mula.da.lh m1, {u}", "mula.da.hh.ldinc m1, {x}, m1, {w}",
            four!(4), four!(8), four!(12), four!(16), four!(20), four!(24),
            // The last four weights load no further `x`.
            "l32i {w}, {q}, 28", "slli {u}, {w}, 8", "and {w}, {w}, {mask}", "and {u}, {u}, {mask}",
            "mula.da.ll m0, {u}", "mula.da.hl m0, {w}",
            "mula.da.lh m1, {u}", "mula.da.hh m1, {w}",
            // The accumulator is 256 times the group's sum: its bits 8 to 23, and the 16 above them with the sign,
            // times the scale. At most 256 lower sums of at most 65,535 · 255 are below 2^32.
            "l8ui {s}, {scale}, 0", "addi {scale}, {scale}, 1", "addi {q}, {q}, 32",
            "rsr {w}, acclo", "rsr {u}, acchi",
            "src {u}, {u}, {w}", "extui {w}, {w}, 8, 16",
            "mul16s {u}, {u}, {s}", "mull {w}, {w}, {s}",
            "add {high}, {high}, {u}", "add {low}, {low}, {w}",
            "3:",
            // high · 2^16 + low in two words.
            "slli {w}, {high}, 16", "add {w}, {w}, {low}", "srai {high}, {high}, 16",
            "bgeu {w}, {low}, 4f", "addi {high}, {high}, 1",
            "4:",
            "s32i {w}, {sum}, 0", "s32i {high}, {sum}, 4", "addi {sum}, {sum}, 8",
            "l32i {w}, {steps}, 0", "l32i {u}, {steps}, 4", "add {q}, {q}, {w}", "add {scale}, {scale}, {u}",
            // The loop's start is too far for a branch.
            "bgeu {sum}, {end}, 5f", "j 2b",
            "5:",
            scale = inout(reg) q.wrapping_add(scales) => _,
            q = inout(reg) q => _,
            x_start = in(reg) x.as_ptr().wrapping_sub(2),
            groups = in(reg) groups,
            mask = in(reg) 0xff00_ff00_u32,
            sum = inout(reg) sums.as_mut_ptr() => _,
            end = in(reg) sums.as_mut_ptr_range().end,
            steps = in(reg) &steps,
            x = out(reg) _, low = out(reg) _, high = out(reg) _, w = out(reg) _, u = out(reg) _, s = out(reg) _,
            options(nostack),
        );
    }
}
