//! The kernels for 32-bit RISC-V with multiplication: four rows at a time, entirely in registers.

/// Adds the products of four groups' sums `{a0}` to `{a3}` with their scales `{t0}` to `{t3}` to 64-bit sums, whose words are
/// `{l0}` to `{l3}` and `{h0}` to `{h3}`: both halves, and the carry between them.
macro_rules! add_scaled {
    () => {
        concat!(
            "mulh {xc}, {a0}, {t0}\nmul {a0}, {a0}, {t0}\nadd {l0}, {l0}, {a0}\nadd {h0}, {h0}, {xc}\nsltu {a0}, {l0}, {a0}\nadd {h0}, {h0}, {a0}\n",
            "mulh {xc}, {a1}, {t1}\nmul {a1}, {a1}, {t1}\nadd {l1}, {l1}, {a1}\nadd {h1}, {h1}, {xc}\nsltu {a1}, {l1}, {a1}\nadd {h1}, {h1}, {a1}\n",
            "mulh {xc}, {a2}, {t2}\nmul {a2}, {a2}, {t2}\nadd {l2}, {l2}, {a2}\nadd {h2}, {h2}, {xc}\nsltu {a2}, {l2}, {a2}\nadd {h2}, {h2}, {a2}\n",
            "mulh {xc}, {a3}, {t3}\nmul {a3}, {a3}, {t3}\nadd {l3}, {l3}, {a3}\nadd {h3}, {h3}, {xc}\nsltu {a3}, {l3}, {a3}\nadd {h3}, {h3}, {a3}",
        )
    };
}

mod attention;
mod int4;
mod int8;

use super::{Bits, HALF, PART, Rows};
pub use attention::{key_products, key_products_of_two, weighted_values, weighted_values_of_two};

/// Weights that share a scale. These kernels support only this number.
const GROUP: usize = 32;

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let x = &x[..rows.cols];
    let sums = &mut sums[..rows.len()];
    let whole = rows.whole_cols(GROUP);
    if whole == 0 {
        return rows.dot_generic(x, sums);
    }
    let in_fours = sums.len() / 4 * 4;
    let (blocks, remainder) = rows.bytes.split_at(in_fours * rows.row_len);
    let (fours, rest) = sums.split_at_mut(in_fours);
    for (block, sums) in blocks.chunks_exact(4 * rows.row_len).zip(fours.as_chunks_mut::<4>().0) {
        *sums = match rows.bits {
            // SAFETY: `block` is four rows, and each starts with the groups of `x`.
            Bits::Four => unsafe { int4::dot_four(block.as_ptr(), rows.row_len, &x[..whole]) },
            // SAFETY: `block` is four rows, and each holds `cols` values and, from there on, their scales.
            Bits::Eight => unsafe { int8::dot_four(block.as_ptr(), rows.row_len, rows.cols, &x[..whole]) },
        };
    }
    if whole < rows.cols {
        rows.add_last_group(whole, x, fours);
    }
    Rows { bytes: remainder, ..*rows }.dot_generic(x, rest);
}
