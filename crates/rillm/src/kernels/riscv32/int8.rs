//! Int8 rows.
//!
//! A column of four rows takes 13 instructions (a load of `x`; loads, products and sums of four weights), 3.25 a
//! weight. The generic kernel, as compiled, spills registers and takes over 4; [the performance page] has the figures.
//!
//! [the performance page]: https://github.com/rillm/rillm/blob/main/docs/performance.md

use core::arch::asm;

/// Column `c` of four rows, for all columns except the first: offsets in bytes into the rows and into `x`.
macro_rules! column {
    ($c:literal $x:literal) => {
        concat!(
            "lh {xc}, ",
            $x,
            "({x})\n",
            "lb {t0}, ",
            $c,
            "({q0})\nlb {t1}, ",
            $c,
            "({q1})\nlb {t2}, ",
            $c,
            "({q2})\nlb {t3}, ",
            $c,
            "({q3})\n",
            "mul {t0}, {t0}, {xc}\nmul {t1}, {t1}, {xc}\nmul {t2}, {t2}, {xc}\nmul {t3}, {t3}, {xc}\n",
            "add {a0}, {a0}, {t0}\nadd {a1}, {a1}, {t1}\nadd {a2}, {a2}, {t2}\nadd {a3}, {a3}, {t3}",
        )
    };
}

/// Multiplies four rows from `q` on, `stride` bytes apart, with their scales at byte `scales`.
///
/// # Safety
/// `x` is a positive number of groups long, and each row has as many values and a scale for each group of them.
#[inline(always)]
pub unsafe fn dot_four(q: *const u8, stride: usize, scales: usize, x: &[i16]) -> [i64; 4] {
    let (mut low, mut high) = ([0u32; 4], [0i32; 4]);
    // SAFETY: reads as many values of `x` and of the rows as the caller vouches for, and their scales; writes
    // registers.
    unsafe {
        asm!(
            "2:",
            // The first products start the sums.
            "lh {xc}, 0({x})",
            "lb {a0}, 0({q0})", "lb {a1}, 0({q1})", "lb {a2}, 0({q2})", "lb {a3}, 0({q3})",
            "mul {a0}, {a0}, {xc}", "mul {a1}, {a1}, {xc}", "mul {a2}, {a2}, {xc}", "mul {a3}, {a3}, {xc}",
            column!(1 2), column!(2 4), column!(3 6), column!(4 8), column!(5 10), column!(6 12), column!(7 14),
            column!(8 16), column!(9 18), column!(10 20), column!(11 22), column!(12 24), column!(13 26), column!(14 28),
            column!(15 30), column!(16 32), column!(17 34), column!(18 36), column!(19 38), column!(20 40),
            column!(21 42), column!(22 44), column!(23 46), column!(24 48), column!(25 50), column!(26 52),
            column!(27 54), column!(28 56), column!(29 58), column!(30 60), column!(31 62),
            "lbu {t0}, 0({scale})", "add {scale}, {scale}, {stride}",
            "lbu {t1}, 0({scale})", "add {scale}, {scale}, {stride}",
            "lbu {t2}, 0({scale})", "add {scale}, {scale}, {stride}",
            "lbu {t3}, 0({scale})", "add {scale}, {scale}, {back}",
            add_scaled!(),
            "addi {x}, {x}, 64",
            "addi {q0}, {q0}, 32", "addi {q1}, {q1}, 32", "addi {q2}, {q2}, 32", "addi {q3}, {q3}, 32",
            "bltu {q0}, {end}, 2b",
            q0 = inout(reg) q => _,
            q1 = inout(reg) q.wrapping_add(stride) => _,
            q2 = inout(reg) q.wrapping_add(2 * stride) => _,
            q3 = inout(reg) q.wrapping_add(3 * stride) => _,
            end = in(reg) q.wrapping_add(x.len()),
            x = inout(reg) x.as_ptr() => _,
            scale = inout(reg) q.wrapping_add(scales) => _,
            stride = in(reg) stride,
            back = in(reg) 1usize.wrapping_sub(3 * stride),
            l0 = inout(reg) low[0], l1 = inout(reg) low[1], l2 = inout(reg) low[2], l3 = inout(reg) low[3],
            h0 = inout(reg) high[0], h1 = inout(reg) high[1], h2 = inout(reg) high[2], h3 = inout(reg) high[3],
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _,
            t0 = out(reg) _, t1 = out(reg) _, t2 = out(reg) _, t3 = out(reg) _,
            xc = out(reg) _,
            options(nostack, readonly),
        );
    }
    core::array::from_fn(|row| i64::from(high[row]) << 32 | i64::from(low[row]))
}
