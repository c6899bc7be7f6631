//! Xtensa with the MAC16 option (ESP32, ESP32-S3): a row at a time, through its 40-bit accumulator.
//!
//! MAC16 multiplies 16-bit halves of registers. A word of four weights becomes two words whose halves are 256 times a weight:
//! ten instructions for four products. Instructions by Tensilica's *Xtensa Instruction Set Architecture Reference Manual*,
//! chapter 4.3.7.
//!
//! Eight would do where `mula.da.*.ldinc` loads the next pair of `x` into M0 to M3 while it multiplies the last. QEMU keeps
//! each of those registers twice (`cpu_MR` and `cpu_SR` in its `target/xtensa/translate.c`, 7.2 and later) and multiplies by
//! stale values, depending on where it cuts its blocks: what runs on a chip alone is not tested at all.

use core::arch::asm;

use super::Rows;

/// Weights that share a scale: the tape's usual groups.
const GROUP: usize = 32;
/// With more groups than this, a row's lower sum could exceed 32 bits.
const MAX_GROUPS: usize = 256;

/// Four weights, at `$q`, times the values of `x` at `$x` and `$x` + 4, the first product by `$first`. The bytes become halves
/// of two words: 256 b1 and 256 b3 in `w`, 256 b0 and 256 b2 in `u`.
macro_rules! four {
    ($first:literal, $q:literal, $x:literal, $x_next:literal) => {
        concat!(
            "l32i.n {w}, {q}, ",
            $q,
            "\nl32i {a}, {x}, ",
            $x,
            "\nslli {u}, {w}, 8\nand {w}, {w}, {mask}\nand {u}, {u}, {mask}\n",
            $first,
            " {u}, {a}\nl32i {b}, {x}, ",
            $x_next,
            "\nmula.aa.lh {w}, {a}\nmula.aa.hl {u}, {b}\nmula.aa.hh {w}, {b}",
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
/// Never inlined: SAR and the accumulator belong to nobody across a call (Xtensa ABI), and compilers differ in which of them
/// `asm!` can name. xtensa-lx-rt saves both when an interrupt comes.
///
/// # Safety
/// `x` is 1 to [`MAX_GROUPS`] groups long, and `q` has as many values and a scale for each group of them; both start at
/// multiples of four bytes.
#[inline(never)]
unsafe fn dot(q: *const u8, x: &[i16]) -> i64 {
    let (mut low, mut high) = (0u32, 0i32);
    // SAFETY: reads as many values and scales as the caller vouches for; writes registers that a call may change.
    unsafe {
        asm!(
            "ssai 24",
            "2:",
            // The first product starts the sum.
            four!("mul.aa.ll", 0, 0, 4),
            four!("mula.aa.ll", 4, 8, 12),
            four!("mula.aa.ll", 8, 16, 20),
            four!("mula.aa.ll", 12, 24, 28),
            four!("mula.aa.ll", 16, 32, 36),
            four!("mula.aa.ll", 20, 40, 44),
            four!("mula.aa.ll", 24, 48, 52),
            four!("mula.aa.ll", 28, 56, 60),
            // The accumulator is 256 times the group's sum: its bits 8 to 23, and those above them, times the scale.
            "l8ui {a}, {scale}, 0", "addi {scale}, {scale}, 1", "addi {q}, {q}, 32", "addi {x}, {x}, 64",
            "rsr {w}, acclo", "rsr {u}, acchi",
            "src {u}, {u}, {w}", "extui {w}, {w}, 8, 16",
            "mull {u}, {u}, {a}", "mull {w}, {w}, {a}",
            "add {high}, {high}, {u}", "add {low}, {low}, {w}",
            "addi {groups}, {groups}, -1",
            "bnez {groups}, 2b",
            scale = inout(reg) q.wrapping_add(x.len()) => _,
            groups = inout(reg) x.len() / GROUP => _,
            x = inout(reg) x.as_ptr() => _,
            q = inout(reg) q => _,
            mask = in(reg) 0xff00_ff00_u32,
            low = inout(reg) low, high = inout(reg) high,
            w = out(reg) _, u = out(reg) _, a = out(reg) _, b = out(reg) _,
            options(nostack, readonly),
        );
    }
    // At most 256 lower sums of at most 65,535 · 255 are below 2^32.
    (i64::from(high) << 16) + i64::from(low)
}
