//! The kernel for Xtensa with the MAC16 option (ESP32, ESP32-S3): one row at a time, through the 40-bit accumulator.
//!
//! MAC16 multiplies 16-bit halves of registers and loads the next pair of `x` at the same time. A word of four weights
//! becomes two words whose halves are 256 times a weight: eight instructions for four products. The instructions are
//! described in Tensilica's *Xtensa Instruction Set Architecture Reference Manual*, chapter 4.3.7; the order of loads
//! follows esp-dsp's `dsps_dotprod_s16`.
//!
//! QEMU (7.2, `target/xtensa/translate.c`) keeps each of M0 to M3 twice, as `cpu_MR` and `cpu_SR`. If one translation
//! block loads and multiplies one of them, QEMU may use the stale copy. With one block for each instruction
//! (`-singlestep`) it does not.

use core::arch::asm;

use super::Rows;

/// Weights that share a scale: this number of products and a loop fit the 256 bytes that `loop` spans.
const GROUP: usize = 32;
/// With more groups than this, a row's lower sum could exceed 32 bits.
const MAX_GROUPS: usize = 256;

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

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    let aligned = (rows.bytes.as_ptr().addr() | rows.row_len | x.as_ptr().addr()).is_multiple_of(4);
    let whole = rows.whole_cols(GROUP);
    if !(1..=MAX_GROUPS).contains(&(whole / GROUP)) || !aligned {
        return rows.dot_generic(x, sums);
    }
    if !sums.is_empty() {
        // SAFETY: a row holds `cols` values and, from there on, their scales; it and `x` start at a multiple of four.
        unsafe { dot(rows.bytes.as_ptr(), rows.row_len, rows.cols, &x[..whole], sums) };
        if whole < rows.cols {
            rows.add_last_group(whole, x, sums);
        }
    }
}

/// Multiplies the rows from `q` on, `stride` bytes apart, with their scales at byte `scales`, one row for each sum.
///
/// Never inlined: SAR, LBEG, LEND, LCOUNT, the accumulator and M0 to M3 are not preserved across a call (Xtensa ABI),
/// and compilers differ in which of them `asm!` can name. xtensa-lx-rt saves all of them on an interrupt.
///
/// # Safety
/// There is a sum. `x` is 1 to [`MAX_GROUPS`] groups long, and each row has as many values and a scale for each group
/// of them; the rows and `x` start at multiples of four bytes.
#[inline(never)]
unsafe fn dot(q: *const u8, stride: usize, scales: usize, x: &[i16], sums: &mut [i64]) {
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
