//! The kernels for Xtensa with the MAC16 option (ESP32, ESP32-S3): one row at a time, through the 40-bit accumulator.
//!
//! The instructions are described in Tensilica's *Xtensa Instruction Set Architecture Reference Manual*, chapter 4.3.7;
//! the order of loads follows esp-dsp's `dsps_dotprod_s16`. SAR, LBEG, LEND, LCOUNT, the accumulator and M0 to M3 are not
//! preserved across a call (Xtensa ABI), and compilers differ in which of them `asm!` can name: so the functions with
//! `asm!` are never inlined. xtensa-lx-rt saves all of them on an interrupt.
//!
//! QEMU (7.2, `target/xtensa/translate.c`) keeps each of M0 to M3 twice, as `cpu_MR` and `cpu_SR`. If one translation
//! block loads and multiplies one of them, QEMU may use the stale copy. With one block for each instruction
//! (`-singlestep`) it does not.

mod int4;
mod int8;

use super::{Bits, Rows};

/// Weights that share a scale: this number of products and a loop fit the 256 bytes that `loop` spans.
const GROUP: usize = 32;
/// With more groups than this, a row's lower sum could exceed 32 bits.
const MAX_GROUPS: usize = 256;

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    let aligned = (rows.bytes.as_ptr().addr() | rows.row_len | x.as_ptr().addr()).is_multiple_of(4);
    let whole = rows.whole_cols(GROUP);
    if !(1..=MAX_GROUPS).contains(&(whole / GROUP)) || !aligned {
        return rows.dot_generic(x, sums);
    }
    if !sums.is_empty() {
        match rows.bits {
            // SAFETY: a row starts with the groups of `x` and goes on with another byte; `x` starts at a multiple of four.
            Bits::Four => unsafe { int4::dot(rows.bytes.as_ptr(), rows.row_len, &x[..whole], sums) },
            // SAFETY: a row holds `cols` values and, from there on, their scales; it and `x` start at a multiple of four.
            Bits::Eight => unsafe { int8::dot(rows.bytes.as_ptr(), rows.row_len, rows.cols, &x[..whole], sums) },
        }
        if whole < rows.cols {
            rows.add_last_group(whole, x, sums);
        }
    }
}
