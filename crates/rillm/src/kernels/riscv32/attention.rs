//! Products of attention: of a part of the queries with all keys, and of all weights with a part of the values.
//!
//! 16 elements of a query, or 16 sums, stay in registers: a product takes three instructions (a load, a product and a sum), and
//! a vector five or four more. For two heads with the same keys and values, it is 8 of each: two products take five
//! instructions. Compiled code spills registers with more than 8 elements.

use core::arch::asm;

use super::{HALF, PART};

/// Elements `$i` and `$j` of a key, times those of the query.
macro_rules! two_of_key {
    ($i:literal $j:literal) => {
        concat!(
            "lb {t0}, ",
            $i,
            "({k})\nlb {t1}, ",
            $j,
            "({k})\n",
            "mul {t0}, {t0}, {q",
            $i,
            "}\nmul {t1}, {t1}, {q",
            $j,
            "}\n",
            "add {sum}, {sum}, {t0}\nadd {sum}, {sum}, {t1}",
        )
    };
}

/// Elements `$i` and `$j` of a value, times its weight.
macro_rules! two_of_value {
    ($i:literal $j:literal) => {
        concat!(
            "lb {t0}, ",
            $i,
            "({v})\nlb {t1}, ",
            $j,
            "({v})\n",
            "mul {t0}, {t0}, {w}\nmul {t1}, {t1}, {w}\n",
            "add {s",
            $i,
            "}, {s",
            $i,
            "}, {t0}\nadd {s",
            $j,
            "}, {s",
            $j,
            "}, {t1}",
        )
    };
}

/// Element `$i` of a key, times those of two queries.
macro_rules! key_of_two {
    ($i:literal) => {
        concat!(
            "lb {t0}, ",
            $i,
            "({k})\nmul {t1}, {t0}, {q",
            $i,
            "}\nmul {t0}, {t0}, {p",
            $i,
            "}\n",
            "add {a}, {a}, {t1}\nadd {b}, {b}, {t0}",
        )
    };
}

/// Element `$i` of a value, times two weights.
macro_rules! value_of_two {
    ($i:literal) => {
        concat!(
            "lb {t0}, ",
            $i,
            "({v})\nmul {t1}, {t0}, {w}\nmul {t0}, {t0}, {x}\n",
            "add {s",
            $i,
            "}, {s",
            $i,
            "}, {t1}\nadd {r",
            $i,
            "}, {r",
            $i,
            "}, {t0}",
        )
    };
}

/// Adds `q · k` to the sum of each key, of which the elements from `keys[0]` on are multiplied. Keys are `stride` bytes apart.
pub fn add_key_products(keys: &[i8], stride: usize, q: &[i16; PART], sums: &mut [i32]) {
    let Some(last) = sums.len().checked_sub(1) else { return };
    assert!(keys.len() >= PART && (keys.len() - PART) / stride >= last);
    let q = q.map(i32::from);
    // SAFETY: reads `PART` bytes of as many keys as there are sums, which was compared just now; writes the sums.
    unsafe {
        asm!(
            "2:",
            "lw {sum}, 0({sums})",
            two_of_key!(0 1), two_of_key!(2 3), two_of_key!(4 5), two_of_key!(6 7), two_of_key!(8 9),
            two_of_key!(10 11), two_of_key!(12 13), two_of_key!(14 15),
            "sw {sum}, 0({sums})",
            "addi {sums}, {sums}, 4",
            "add {k}, {k}, {stride}",
            "bltu {sums}, {end}, 2b",
            k = inout(reg) keys.as_ptr() => _,
            stride = in(reg) stride,
            sums = inout(reg) sums.as_mut_ptr() => _,
            end = in(reg) sums.as_mut_ptr_range().end,
            q0 = in(reg) q[0], q1 = in(reg) q[1], q2 = in(reg) q[2], q3 = in(reg) q[3],
            q4 = in(reg) q[4], q5 = in(reg) q[5], q6 = in(reg) q[6], q7 = in(reg) q[7],
            q8 = in(reg) q[8], q9 = in(reg) q[9], q10 = in(reg) q[10], q11 = in(reg) q[11],
            q12 = in(reg) q[12], q13 = in(reg) q[13], q14 = in(reg) q[14], q15 = in(reg) q[15],
            sum = out(reg) _, t0 = out(reg) _, t1 = out(reg) _,
            options(nostack),
        );
    }
}

/// `Σ weight · v` of the elements from `values[0]` on. Values are `stride` bytes apart.
pub fn weighted_values(values: &[i8], stride: usize, weights: &[i32]) -> [i32; PART] {
    let mut s = [0; PART];
    let Some(last) = weights.len().checked_sub(1) else { return s };
    assert!(values.len() >= PART && (values.len() - PART) / stride >= last);
    // SAFETY: reads `PART` bytes of as many values as there are weights, which was compared just now; writes registers.
    unsafe {
        asm!(
            "2:",
            "lw {w}, 0({weights})",
            two_of_value!(0 1), two_of_value!(2 3), two_of_value!(4 5), two_of_value!(6 7), two_of_value!(8 9),
            two_of_value!(10 11), two_of_value!(12 13), two_of_value!(14 15),
            "addi {weights}, {weights}, 4",
            "add {v}, {v}, {stride}",
            "bltu {weights}, {end}, 2b",
            v = inout(reg) values.as_ptr() => _,
            stride = in(reg) stride,
            weights = inout(reg) weights.as_ptr() => _,
            end = in(reg) weights.as_ptr_range().end,
            s0 = inout(reg) s[0], s1 = inout(reg) s[1], s2 = inout(reg) s[2], s3 = inout(reg) s[3],
            s4 = inout(reg) s[4], s5 = inout(reg) s[5], s6 = inout(reg) s[6], s7 = inout(reg) s[7],
            s8 = inout(reg) s[8], s9 = inout(reg) s[9], s10 = inout(reg) s[10], s11 = inout(reg) s[11],
            s12 = inout(reg) s[12], s13 = inout(reg) s[13], s14 = inout(reg) s[14], s15 = inout(reg) s[15],
            w = out(reg) _, t0 = out(reg) _, t1 = out(reg) _,
            options(nostack, readonly),
        );
    }
    s
}

/// Like [`add_key_products`], for two queries.
pub fn add_key_products_of_two(keys: &[i8], stride: usize, [q, p]: [&[i16; HALF]; 2], [a, b]: [&mut [i32]; 2]) {
    let Some(last) = a.len().checked_sub(1) else { return };
    assert!(keys.len() >= HALF && (keys.len() - HALF) / stride >= last && a.len() == b.len());
    let [q, p] = [q, p].map(|q| q.map(i32::from));
    // SAFETY: reads `HALF` bytes of as many keys as there are sums, which was compared just now; writes the sums.
    unsafe {
        asm!(
            "2:",
            "lw {a}, 0({a_sums})", "lw {b}, 0({b_sums})",
            key_of_two!(0), key_of_two!(1), key_of_two!(2), key_of_two!(3),
            key_of_two!(4), key_of_two!(5), key_of_two!(6), key_of_two!(7),
            "sw {a}, 0({a_sums})", "sw {b}, 0({b_sums})",
            "addi {a_sums}, {a_sums}, 4", "addi {b_sums}, {b_sums}, 4",
            "add {k}, {k}, {stride}",
            "bltu {a_sums}, {end}, 2b",
            k = inout(reg) keys.as_ptr() => _,
            stride = in(reg) stride,
            a_sums = inout(reg) a.as_mut_ptr() => _,
            b_sums = inout(reg) b.as_mut_ptr() => _,
            end = in(reg) a.as_mut_ptr_range().end,
            q0 = in(reg) q[0], q1 = in(reg) q[1], q2 = in(reg) q[2], q3 = in(reg) q[3],
            q4 = in(reg) q[4], q5 = in(reg) q[5], q6 = in(reg) q[6], q7 = in(reg) q[7],
            p0 = in(reg) p[0], p1 = in(reg) p[1], p2 = in(reg) p[2], p3 = in(reg) p[3],
            p4 = in(reg) p[4], p5 = in(reg) p[5], p6 = in(reg) p[6], p7 = in(reg) p[7],
            a = out(reg) _, b = out(reg) _, t0 = out(reg) _, t1 = out(reg) _,
            options(nostack),
        );
    }
}

/// Like [`weighted_values`], for two heads' weights.
pub fn weighted_values_of_two(values: &[i8], stride: usize, [weights, others]: [&[i32]; 2]) -> [[i32; HALF]; 2] {
    let [mut s, mut r] = [[0; HALF]; 2];
    let Some(last) = weights.len().checked_sub(1) else { return [s, r] };
    assert!(values.len() >= HALF && (values.len() - HALF) / stride >= last && weights.len() == others.len());
    // SAFETY: reads `HALF` bytes of as many values as there are weights, which was compared just now; writes registers.
    unsafe {
        asm!(
            "2:",
            "lw {w}, 0({weights})", "lw {x}, 0({others})",
            value_of_two!(0), value_of_two!(1), value_of_two!(2), value_of_two!(3),
            value_of_two!(4), value_of_two!(5), value_of_two!(6), value_of_two!(7),
            "addi {weights}, {weights}, 4", "addi {others}, {others}, 4",
            "add {v}, {v}, {stride}",
            "bltu {weights}, {end}, 2b",
            v = inout(reg) values.as_ptr() => _,
            stride = in(reg) stride,
            weights = inout(reg) weights.as_ptr() => _,
            others = inout(reg) others.as_ptr() => _,
            end = in(reg) weights.as_ptr_range().end,
            s0 = inout(reg) s[0], s1 = inout(reg) s[1], s2 = inout(reg) s[2], s3 = inout(reg) s[3],
            s4 = inout(reg) s[4], s5 = inout(reg) s[5], s6 = inout(reg) s[6], s7 = inout(reg) s[7],
            r0 = inout(reg) r[0], r1 = inout(reg) r[1], r2 = inout(reg) r[2], r3 = inout(reg) r[3],
            r4 = inout(reg) r[4], r5 = inout(reg) r[5], r6 = inout(reg) r[6], r7 = inout(reg) r[7],
            w = out(reg) _, x = out(reg) _, t0 = out(reg) _, t1 = out(reg) _,
            options(nostack, readonly),
        );
    }
    [s, r]
}
