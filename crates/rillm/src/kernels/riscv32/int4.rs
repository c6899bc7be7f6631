//! Int4 rows.
//!
//! A byte is the index of a table with the levels of its lower and its upper four bits. For a byte of four rows, two
//! columns, there are 34 instructions: two loads of `x`; and for each row three loads, the table's start, and two
//! products and sums. With a group's scales that is 4.5 instructions a weight.

use core::arch::asm;

use super::GROUP;
use crate::format::INT4_LEVELS;

/// For each byte of weights the level of its lower four bits; in the second half, of its upper four bits. In data, which
/// a linker script keeps in RAM, for a load from a cached flash would wait for the weights that pass through the cache.
#[unsafe(link_section = ".data.rillm_int4_levels")]
static LEVELS: [i8; 512] = {
    let mut levels = [0; 512];
    let mut byte = 0;
    while byte < 256 {
        levels[byte] = INT4_LEVELS[byte & 15];
        levels[256 + byte] = INT4_LEVELS[byte >> 4];
        byte += 1;
    }
    levels
};

/// Byte `$byte` of four rows, for all bytes except the first: its offset in the rows, and those of its columns in `x`.
macro_rules! byte {
    ($byte:literal $x0:literal $x1:literal) => {
        concat!(
            "lh {xc}, ",
            $x0,
            "({x})\nlh {xd}, ",
            $x1,
            "({x})\nlbu {t0}, ",
            $byte,
            "({q0})\nlbu {t1}, ",
            $byte,
            "({q1})\nadd {t0}, {t0}, {levels}\nadd {t1}, {t1}, {levels}\n",
            "lb {t2}, 0({t0})\nlb {t3}, 0({t1})\nlb {t0}, 256({t0})\nlb {t1}, 256({t1})\n",
            "mul {t2}, {t2}, {xc}\nmul {t3}, {t3}, {xc}\nmul {t0}, {t0}, {xd}\nmul {t1}, {t1}, {xd}\n",
            "add {a0}, {a0}, {t2}\nadd {a1}, {a1}, {t3}\nadd {a0}, {a0}, {t0}\nadd {a1}, {a1}, {t1}\n",
            "lbu {t0}, ",
            $byte,
            "({q2})\nlbu {t1}, ",
            $byte,
            "({q3})\nadd {t0}, {t0}, {levels}\nadd {t1}, {t1}, {levels}\n",
            "lb {t2}, 0({t0})\nlb {t3}, 0({t1})\nlb {t0}, 256({t0})\nlb {t1}, 256({t1})\n",
            "mul {t2}, {t2}, {xc}\nmul {t3}, {t3}, {xc}\nmul {t0}, {t0}, {xd}\nmul {t1}, {t1}, {xd}\n",
            "add {a2}, {a2}, {t2}\nadd {a3}, {a3}, {t3}\nadd {a2}, {a2}, {t0}\nadd {a3}, {a3}, {t1}",
        )
    };
}

/// Multiplies four rows from `q` on, `stride` bytes apart.
///
/// # Safety
/// `x` is a positive number of groups long, and each row starts with as many groups.
#[inline(always)]
pub unsafe fn dot_four(q: *const u8, stride: usize, x: &[i16]) -> [i64; 4] {
    /// Bytes of a group, its scale included.
    const GROUP_LEN: usize = GROUP / 2 + 1;
    let (mut low, mut high) = ([0u32; 4], [0i32; 4]);
    // SAFETY: reads as many values of `x` and as many groups of the rows as the caller vouches for, and `LEVELS` at any
    // byte; writes registers.
    unsafe {
        asm!(
            "2:",
            // The first products start the sums.
            "lh {xc}, 0({x})", "lh {xd}, 2({x})",
            "lbu {t0}, 0({q0})", "lbu {t1}, 0({q1})", "add {t0}, {t0}, {levels}", "add {t1}, {t1}, {levels}",
            "lb {a0}, 0({t0})", "lb {a1}, 0({t1})", "lb {t0}, 256({t0})", "lb {t1}, 256({t1})",
            "mul {a0}, {a0}, {xc}", "mul {a1}, {a1}, {xc}", "mul {t0}, {t0}, {xd}", "mul {t1}, {t1}, {xd}",
            "add {a0}, {a0}, {t0}", "add {a1}, {a1}, {t1}",
            "lbu {t0}, 0({q2})", "lbu {t1}, 0({q3})", "add {t0}, {t0}, {levels}", "add {t1}, {t1}, {levels}",
            "lb {a2}, 0({t0})", "lb {a3}, 0({t1})", "lb {t0}, 256({t0})", "lb {t1}, 256({t1})",
            "mul {a2}, {a2}, {xc}", "mul {a3}, {a3}, {xc}", "mul {t0}, {t0}, {xd}", "mul {t1}, {t1}, {xd}",
            "add {a2}, {a2}, {t0}", "add {a3}, {a3}, {t1}",
            byte!(1 4 6), byte!(2 8 10), byte!(3 12 14), byte!(4 16 18), byte!(5 20 22), byte!(6 24 26),
            byte!(7 28 30), byte!(8 32 34), byte!(9 36 38), byte!(10 40 42), byte!(11 44 46), byte!(12 48 50),
            byte!(13 52 54), byte!(14 56 58), byte!(15 60 62),
            "lb {t0}, 16({q0})", "lb {t1}, 16({q1})", "lb {t2}, 16({q2})", "lb {t3}, 16({q3})",
            add_scaled!(),
            "addi {x}, {x}, 64",
            "addi {q0}, {q0}, 17", "addi {q1}, {q1}, 17", "addi {q2}, {q2}, 17", "addi {q3}, {q3}, 17",
            "bltu {q0}, {end}, 2b",
            q0 = inout(reg) q => _,
            q1 = inout(reg) q.wrapping_add(stride) => _,
            q2 = inout(reg) q.wrapping_add(2 * stride) => _,
            q3 = inout(reg) q.wrapping_add(3 * stride) => _,
            end = in(reg) q.wrapping_add(x.len() / GROUP * GROUP_LEN),
            x = inout(reg) x.as_ptr() => _,
            levels = in(reg) LEVELS.as_ptr(),
            l0 = inout(reg) low[0], l1 = inout(reg) low[1], l2 = inout(reg) low[2], l3 = inout(reg) low[3],
            h0 = inout(reg) high[0], h1 = inout(reg) high[1], h2 = inout(reg) high[2], h3 = inout(reg) high[3],
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _,
            t0 = out(reg) _, t1 = out(reg) _, t2 = out(reg) _, t3 = out(reg) _,
            xc = out(reg) _, xd = out(reg) _,
            options(nostack, readonly),
        );
    }
    core::array::from_fn(|row| i64::from(high[row]) << 32 | i64::from(low[row]))
}
