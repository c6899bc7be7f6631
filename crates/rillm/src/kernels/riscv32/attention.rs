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

/// Sets the sums of a key to the products of its first element.
macro_rules! set_sums {
    () => {
        "lb {t0}, 0({k})\nmul {a}, {t0}, {q0}\nmul {b}, {t0}, {p0}"
    };
}

/// Loads the sums of a key, `$at` bytes from their addresses, and adds the products of its first element.
macro_rules! load_sums {
    ($at:literal) => {
        concat!("lw {a}, ", $at, "({a_sums})\nlw {b}, ", $at, "({b_sums})\n", key_of_two!(0))
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

/// Adds `q · k` to the sum of each key, or sets the sum to it if these products are the `first`. The elements from `keys[0]` on are
/// multiplied. Keys are `stride` bytes apart.
pub fn key_products(keys: &[i8], stride: usize, q: &[i16; PART], first: bool, sums: &mut [i32]) {
    if first {
        sums.fill(0);
    }
    let Some(last) = sums.len().checked_sub(1) else { return };
    assert!(keys.len() >= PART && (keys.len() - PART) / stride >= last);
    // SAFETY: reads `PART` bytes of as many keys as there are sums, which was compared just now, and `q`; writes the sums.
    unsafe {
        asm!(
            "lh {q0}, 0({q15})", "lh {q1}, 2({q15})", "lh {q2}, 4({q15})", "lh {q3}, 6({q15})",
            "lh {q4}, 8({q15})", "lh {q5}, 10({q15})", "lh {q6}, 12({q15})", "lh {q7}, 14({q15})",
            "lh {q8}, 16({q15})", "lh {q9}, 18({q15})", "lh {q10}, 20({q15})", "lh {q11}, 22({q15})",
            "lh {q12}, 24({q15})", "lh {q13}, 26({q15})", "lh {q14}, 28({q15})", "lh {q15}, 30({q15})",
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
            q0 = out(reg) _, q1 = out(reg) _, q2 = out(reg) _, q3 = out(reg) _, q4 = out(reg) _, q5 = out(reg) _,
            q6 = out(reg) _, q7 = out(reg) _, q8 = out(reg) _, q9 = out(reg) _, q10 = out(reg) _, q11 = out(reg) _,
            q12 = out(reg) _, q13 = out(reg) _, q14 = out(reg) _, q15 = inout(reg) q.as_ptr() => _,
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

/// Like [`key_products`], for two queries. Two keys a turn: an odd number of keys starts with the second one of a turn.
pub fn key_products_of_two(
    keys: &[i8],
    stride: usize,
    [q, p]: [&[i16; HALF]; 2],
    first: bool,
    [a, b]: [&mut [i32]; 2],
) {
    let Some(last) = a.len().checked_sub(1) else { return };
    assert!(keys.len() >= HALF && (keys.len() - HALF) / stride >= last && a.len() == b.len());
    let odd = a.len() % 2;
    /// The products of all keys, with what starts the sums of the two keys of a turn.
    macro_rules! products {
        ($start:expr, $second_start:expr) => {
            asm!(
                "lh {q0}, 0({q7})", "lh {q1}, 2({q7})", "lh {q2}, 4({q7})", "lh {q3}, 6({q7})",
                "lh {q4}, 8({q7})", "lh {q5}, 10({q7})", "lh {q6}, 12({q7})", "lh {q7}, 14({q7})",
                "lh {p0}, 0({p7})", "lh {p1}, 2({p7})", "lh {p2}, 4({p7})", "lh {p3}, 6({p7})",
                "lh {p4}, 8({p7})", "lh {p5}, 10({p7})", "lh {p6}, 12({p7})", "lh {p7}, 14({p7})",
                "bnez {t0}, 3f",
                "2:",
                $start,
                key_of_two!(1), key_of_two!(2), key_of_two!(3), key_of_two!(4), key_of_two!(5), key_of_two!(6), key_of_two!(7),
                "sw {a}, 0({a_sums})", "sw {b}, 0({b_sums})",
                "add {k}, {k}, {stride}",
                "3:",
                $second_start,
                key_of_two!(1), key_of_two!(2), key_of_two!(3), key_of_two!(4), key_of_two!(5), key_of_two!(6), key_of_two!(7),
                "sw {a}, 4({a_sums})", "sw {b}, 4({b_sums})",
                "add {k}, {k}, {stride}",
                "addi {a_sums}, {a_sums}, 8", "addi {b_sums}, {b_sums}, 8",
                "bltu {a_sums}, {end}, 2b",
                k = inout(reg) keys.as_ptr() => _,
                stride = in(reg) stride,
                a_sums = inout(reg) a.as_mut_ptr().wrapping_sub(odd) => _,
                b_sums = inout(reg) b.as_mut_ptr().wrapping_sub(odd) => _,
                end = in(reg) a.as_mut_ptr_range().end,
                q0 = out(reg) _, q1 = out(reg) _, q2 = out(reg) _, q3 = out(reg) _,
                q4 = out(reg) _, q5 = out(reg) _, q6 = out(reg) _, q7 = inout(reg) q.as_ptr() => _,
                p0 = out(reg) _, p1 = out(reg) _, p2 = out(reg) _, p3 = out(reg) _,
                p4 = out(reg) _, p5 = out(reg) _, p6 = out(reg) _, p7 = inout(reg) p.as_ptr() => _,
                a = out(reg) _, b = out(reg) _, t0 = inout(reg) odd => _, t1 = out(reg) _,
                options(nostack),
            )
        };
    }
    // SAFETY: reads `HALF` bytes of as many keys as there are sums, which was compared just now, and the queries; writes the sums.
    unsafe {
        if first {
            products!(set_sums!(), set_sums!());
        } else {
            products!(load_sums!(0), load_sums!(4));
        }
    }
}

/// Like [`weighted_values`], for two heads' weights. Two values a turn: an odd number of values starts with the second one of a
/// turn.
pub fn weighted_values_of_two(values: &[i8], stride: usize, [weights, others]: [&[i32]; 2]) -> [[i32; HALF]; 2] {
    let [mut s, mut r] = [[0; HALF]; 2];
    let Some(last) = weights.len().checked_sub(1) else { return [s, r] };
    assert!(values.len() >= HALF && (values.len() - HALF) / stride >= last && weights.len() == others.len());
    let odd = weights.len() % 2;
    // SAFETY: reads `HALF` bytes of as many values as there are weights, which was compared just now; writes registers.
    unsafe {
        asm!(
            "bnez {w}, 3f",
            "2:",
            "lw {w}, 0({weights})", "lw {x}, 0({others})",
            value_of_two!(0), value_of_two!(1), value_of_two!(2), value_of_two!(3),
            value_of_two!(4), value_of_two!(5), value_of_two!(6), value_of_two!(7),
            "add {v}, {v}, {stride}",
            "3:",
            "lw {w}, 4({weights})", "lw {x}, 4({others})",
            value_of_two!(0), value_of_two!(1), value_of_two!(2), value_of_two!(3),
            value_of_two!(4), value_of_two!(5), value_of_two!(6), value_of_two!(7),
            "add {v}, {v}, {stride}",
            "addi {weights}, {weights}, 8", "addi {others}, {others}, 8",
            "bltu {weights}, {end}, 2b",
            v = inout(reg) values.as_ptr() => _,
            stride = in(reg) stride,
            weights = inout(reg) weights.as_ptr().wrapping_sub(odd) => _,
            others = inout(reg) others.as_ptr().wrapping_sub(odd) => _,
            end = in(reg) weights.as_ptr_range().end,
            s0 = inout(reg) s[0], s1 = inout(reg) s[1], s2 = inout(reg) s[2], s3 = inout(reg) s[3],
            s4 = inout(reg) s[4], s5 = inout(reg) s[5], s6 = inout(reg) s[6], s7 = inout(reg) s[7],
            r0 = inout(reg) r[0], r1 = inout(reg) r[1], r2 = inout(reg) r[2], r3 = inout(reg) r[3],
            r4 = inout(reg) r[4], r5 = inout(reg) r[5], r6 = inout(reg) r[6], r7 = inout(reg) r[7],
            w = inout(reg) odd => _, x = out(reg) _, t0 = out(reg) _, t1 = out(reg) _,
            options(nostack, readonly),
        );
    }
    [s, r]
}
