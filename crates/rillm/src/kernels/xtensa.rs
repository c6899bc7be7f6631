//! Xtensa with the MAC16 option (ESP32, ESP32-S3): a row at a time, through its 40-bit accumulator.
//!
//! MAC16 multiplies 16-bit halves of registers and loads the next pair of `x` meanwhile. A word of four weights becomes two
//! words whose halves are 256 times a weight: eight instructions for four products. Instructions by Tensilica's *Xtensa
//! Instruction Set Architecture Reference Manual*, chapter 4.3.7; the order of loads as in esp-dsp's `dsps_dotprod_s16`.

use core::arch::asm;

use super::Rows;

/// Weights that share a scale: that many products and a loop fit the 256 bytes that `loop` spans.
const GROUP: usize = 32;
/// With more groups than this, a row's lower sum could exceed 32 bits.
const MAX_GROUPS: usize = 256;

/// The four weights at `$offset`, not a group's first. Their bytes become halves of two words: 256 b1 and 256 b3 in `w`,
/// 256 b0 and 256 b2 in `u`.
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
    let x = &x[..rows.cols];
    let sums = &mut sums[..rows.len()];
    let aligned = (rows.bytes.as_ptr().addr() | rows.row_len | x.as_ptr().addr()).is_multiple_of(4);
    let groups = rows.cols / GROUP;
    if rows.group != GROUP || !rows.cols.is_multiple_of(GROUP) || !(1..=MAX_GROUPS).contains(&groups) || !aligned {
        return rows.dot_generic(x, sums);
    }
    for (row, sum) in rows.bytes.chunks_exact(rows.row_len).zip(sums) {
        // SAFETY: a row holds `cols` values and their scales, and it and `x` start at a multiple of four.
        *sum = unsafe { dot(row.as_ptr(), x) };
    }
}

/// A row.
///
/// Never inlined: SAR, LBEG, LEND, LCOUNT, the accumulator and M0 to M3 belong to nobody across a call (Xtensa ABI), and
/// compilers differ in which of them `asm!` can name. xtensa-lx-rt saves all of them when an interrupt comes.
///
/// # Safety
/// `x` is 1 to [`MAX_GROUPS`] groups long, and `q` has as many values and a scale for each group of them; both start at
/// multiples of four bytes.
#[inline(never)]
unsafe fn dot(q: *const u8, x: &[i16]) -> i64 {
    let (mut low, mut high) = (0u32, 0i32);
    // SAFETY: reads as many values and scales as the caller vouches for, and the word of `x` before the first one is not
    // read, for `ldinc` counts first; writes registers that a call may change.
    unsafe {
        asm!(
            "ssai 24",
            "loop {groups}, 3f",
            "ldinc m0, {x}",
            // As in `four`, but the first product starts the sum; `mul` has no form that loads.
            "l32i {w}, {q}, 0", "slli {u}, {w}, 8", "and {w}, {w}, {mask}", "and {u}, {u}, {mask}",
            "ldinc m1, {x}",
            "mul.da.ll m0, {u}", "mula.da.hl.ldinc m0, {x}, m0, {w}",
            "mula.da.lh m1, {u}", "mula.da.hh.ldinc m1, {x}, m1, {w}",
            four!(4), four!(8), four!(12), four!(16), four!(20), four!(24),
            // The last four load no more.
            "l32i {w}, {q}, 28", "slli {u}, {w}, 8", "and {w}, {w}, {mask}", "and {u}, {u}, {mask}",
            "mula.da.ll m0, {u}", "mula.da.hl m0, {w}",
            "mula.da.lh m1, {u}", "mula.da.hh m1, {w}",
            // The accumulator is 256 times the group's sum: its bits 8 to 23, and those above them, times the scale.
            "l8ui {s}, {scale}, 0", "addi {scale}, {scale}, 1", "addi {q}, {q}, 32",
            "rsr {w}, acclo", "rsr {u}, acchi",
            "src {u}, {u}, {w}", "extui {w}, {w}, 8, 16",
            "mull {u}, {u}, {s}", "mull {w}, {w}, {s}",
            "add {high}, {high}, {u}", "add {low}, {low}, {w}",
            "3:",
            scale = inout(reg) q.wrapping_add(x.len()) => _,
            groups = in(reg) x.len() / GROUP,
            x = inout(reg) x.as_ptr().wrapping_sub(2) => _,
            q = inout(reg) q => _,
            mask = in(reg) 0xff00_ff00_u32,
            low = inout(reg) low, high = inout(reg) high,
            w = out(reg) _, u = out(reg) _, s = out(reg) _,
            options(nostack, readonly),
        );
    }
    // At most 256 lower sums of at most 65,535 · 255 are below 2^32.
    (i64::from(high) << 16) + i64::from(low)
}
