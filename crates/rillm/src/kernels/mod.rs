//! Matrix kernels: they take most of a token's time.
//!
//! [`Rows::dot_generic`] defines the result. The kernels for specific processors give the same bits, because all
//! kernels are exact. Those for x86-64 are chosen when they run, the others when they are compiled. The kernels are public so
//! that firmware can test and time them on its own board.

#[cfg(any(
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "wasm32", target_feature = "simd128"),
    all(target_arch = "x86_64", target_feature = "sse2"),
))]
mod fours;
mod generic;
mod int4;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
mod neon;
mod outputs;
#[cfg(all(target_arch = "riscv32", target_feature = "m"))]
#[allow(unsafe_code)]
mod riscv32;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code)]
mod simd128;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod tiles;
mod vectors;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[allow(unsafe_code)]
mod x86_64;
#[cfg(all(target_arch = "xtensa", feature = "mac16"))]
#[allow(unsafe_code)]
mod xtensa;

use crate::COMPUTER;
use crate::format::{INT4_LEVELS, Quantisation};

pub use crate::attention::AttentionPart;
pub use outputs::OutputScale;
pub use vectors::Vectors;

/// A function that multiplies rows by a vector, as [`Rows::dot`] does.
pub type Dot = fn(&Rows<'_>, &[i16], &mut [i64]);
/// A function that computes the outputs of rows, as [`Multiply::outputs`] does.
type Outputs = fn(&Rows<'_>, &[i16], OutputScale, &mut [i32]);

/// What multiplies the rows of a session: a [`Kernel`], or a function or closure like [`Rows::dot`].
pub trait Multiply: Sync {
    /// `sums[row] = Σ q · scale · x`, as [`Rows::dot`].
    fn dot(&self, rows: &Rows<'_>, x: &[i16], sums: &mut [i64]);

    /// Multiplies by each vector of a batch. `sums` has the sums of all rows for the first vector, then for the next one.
    fn dot_batch(&self, rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
        for (token, sums) in sums.chunks_exact_mut(rows.len().max(1)).take(x.len()).enumerate() {
            self.dot(rows, x.get(token), sums);
        }
    }

    /// The outputs of rows: their sums, as by [`dot`](Self::dot), times the rows' powers of two, rounded to 32 bits.
    fn outputs(&self, rows: &Rows<'_>, x: &[i16], scale: OutputScale, outputs: &mut [i32]) {
        outputs::outputs(|rows, x, sums| self.dot(rows, x, sums), rows, x, scale, outputs);
    }

    /// The number of threads that [`attend`](Self::attend) uses.
    fn threads(&self) -> usize {
        1
    }

    /// Runs every part of attention once, in any order or at the same time.
    fn attend(&self, parts: &mut [AttentionPart<'_>]) {
        parts.iter_mut().for_each(AttentionPart::run);
    }
}

impl<F: Fn(&Rows<'_>, &[i16], &mut [i64]) + Sync> Multiply for F {
    fn dot(&self, rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
        self(rows, x, sums);
    }
}

/// The most rows that a session multiplies in one call: on a microcontroller few, whose sums fit its stack, and elsewhere so
/// many that threads can share them.
pub const STRIP_ROWS: usize = if COMPUTER { 4096 } else { 16 };

/// The most sums that a session computes in one call, for all vectors of a batch. With 32 vectors a vector's sums are 31 cache
/// lines apart, an odd number, so that those of a row are in different sets of the cache.
pub(crate) const STRIP_SUMS: usize = if COMPUTER { 31 * 8 * 32 } else { STRIP_ROWS };

/// A kernel that this processor can run.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// A short name, for reports: `generic`, or the instructions that the kernel is made of.
    pub name: &'static str,
    dot: Dot,
    /// Multiplies groups of 32 by a batch faster than vector by vector.
    dot_batch: Option<fn(&Rows<'_>, Vectors<'_>, &mut [i64])>,
    /// Computes the outputs with the sums, which stay in registers.
    outputs: Option<Outputs>,
}

impl Kernel {
    const GENERIC: Self = Self::new("generic", |rows, x, sums| rows.dot_generic(x, sums));

    const fn new(name: &'static str, dot: Dot) -> Self {
        Self { name, dot, dot_batch: None, outputs: None }
    }

    /// The kernels that this processor can run, the fastest one first. The last one is the generic kernel.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        let special = core::iter::once(&const { Self::new("neon", neon::dot_rows) });
        #[cfg(all(target_arch = "riscv32", target_feature = "m"))]
        let special = core::iter::once(&const { Self::new("riscv32", riscv32::dot_rows) });
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let special = core::iter::once(&const { Self::new("simd128", simd128::dot_rows) });
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        let special = x86_64::kernels();
        #[cfg(all(target_arch = "xtensa", feature = "mac16"))]
        let special = core::iter::once(&const { Self::new("mac16", xtensa::dot_rows) });
        #[cfg(not(any(
            all(target_arch = "aarch64", target_feature = "neon"),
            all(target_arch = "riscv32", target_feature = "m"),
            all(target_arch = "wasm32", target_feature = "simd128"),
            all(target_arch = "x86_64", target_feature = "sse2"),
            all(target_arch = "xtensa", feature = "mac16"),
        )))]
        let special = core::iter::empty();
        special.chain([&Self::GENERIC])
    }

    /// The fastest kernel for this processor.
    pub fn fastest() -> &'static Self {
        Self::all().next().unwrap_or(&Self::GENERIC)
    }
}

impl Multiply for Kernel {
    #[inline]
    fn dot(&self, rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
        (self.dot)(rows, x, sums);
    }

    fn dot_batch(&self, rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
        match self.dot_batch {
            Some(dot_batch) if rows.whole_cols(generic::GROUP) > 0 && x.len() > 1 => dot_batch(rows, x, sums),
            _ => (self.dot).dot_batch(rows, x, sums),
        }
    }

    fn outputs(&self, rows: &Rows<'_>, x: &[i16], scale: OutputScale, outputs: &mut [i32]) {
        match self.outputs {
            Some(with_sums) => with_sums(rows, x, scale, outputs),
            None => outputs::outputs(self.dot, rows, x, scale, outputs),
        }
    }
}

/// `Σ q · x` of as many values each, at most 512.
#[inline(always)]
pub(crate) fn dot(q: &[i8], x: &[i16]) -> i32 {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    return simd128::dot(q, x);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    generic::dot(q, x)
}

/// The sums of two products each, `a` or `b` without −32,768, so that they are below 2^31.
#[inline(always)]
pub(crate) fn dot_pairs(a: [i16; 8], b: [i16; 8]) -> [i32; 4] {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    return x86_64::dot_pairs(a, b);
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    return simd128::dot_pairs(a, b);
    #[cfg(not(any(
        all(target_arch = "x86_64", target_feature = "sse2"),
        all(target_arch = "wasm32", target_feature = "simd128")
    )))]
    core::array::from_fn(|i| {
        i32::from(a[2 * i]) * i32::from(b[2 * i]) + i32::from(a[2 * i + 1]) * i32::from(b[2 * i + 1])
    })
}

/// Heads whose attention is computed at the same time: a processor with a kernel for two loads keys and values once for both.
pub(crate) const HEADS: usize = if cfg!(all(target_arch = "riscv32", target_feature = "m")) { 2 } else { 1 };

/// Elements of a key or value that are multiplied at the same time by a processor with a kernel for them.
#[cfg(all(target_arch = "riscv32", target_feature = "m"))]
const PART: usize = 16;
/// The same for each of two heads.
#[cfg(all(target_arch = "riscv32", target_feature = "m"))]
const HALF: usize = PART / 2;

/// Sets the sum of each key to `Σ q · k` of its first elements, for each head's query; keys are `stride` elements apart. Returns the
/// number of elements; if it is zero, as it is without a kernel for them, the sums are as before.
#[inline(always)]
#[cfg_attr(not(all(target_arch = "riscv32", target_feature = "m")), allow(unused_variables))]
pub(crate) fn key_products<const N: usize>(
    keys: &[i8],
    stride: usize,
    q: [&[i16]; N],
    sums: &mut [&mut [i32]; N],
) -> usize {
    #[cfg(all(target_arch = "riscv32", target_feature = "m"))]
    match (&q[..], &mut sums[..]) {
        ([q], [sums]) => {
            let parts = q.as_chunks::<PART>().0;
            for (index, part) in parts.iter().enumerate() {
                riscv32::key_products(&keys[index * PART..], stride, part, index == 0, sums);
            }
            return parts.len() * PART;
        }
        ([q, p], [a, b]) => {
            let parts = q.as_chunks::<HALF>().0;
            for (index, (q, p)) in parts.iter().zip(p.as_chunks::<HALF>().0).enumerate() {
                riscv32::key_products_of_two(&keys[index * HALF..], stride, [q, p], index == 0, [a, b]);
            }
            return parts.len() * HALF;
        }
        _ => (),
    }
    0
}

/// Sets the first elements of each head's `out` to `Σ weight · v`; values are `stride` elements apart. Returns the number of
/// elements, which is zero without a kernel for them.
#[inline(always)]
#[cfg_attr(
    not(any(
        all(target_arch = "riscv32", target_feature = "m"),
        all(target_arch = "wasm32", target_feature = "simd128"),
        all(target_arch = "x86_64", target_feature = "sse2")
    )),
    allow(unused_variables)
)]
pub(crate) fn weighted_values<const N: usize>(
    values: &[i8],
    stride: usize,
    weights: [&[i32]; N],
    out: &mut [&mut [i32]; N],
) -> usize {
    #[cfg(all(target_arch = "riscv32", target_feature = "m"))]
    match (&weights[..], &mut out[..]) {
        ([weights], [out]) => {
            let parts = out.as_chunks_mut::<PART>().0;
            for (index, part) in parts.iter_mut().enumerate() {
                *part = riscv32::weighted_values(&values[index * PART..], stride, weights);
            }
            return parts.len() * PART;
        }
        (&[weights, others], [a, b]) => {
            let parts = a.as_chunks_mut::<HALF>().0;
            for (index, (a, b)) in parts.iter_mut().zip(b.as_chunks_mut::<HALF>().0).enumerate() {
                [*a, *b] = riscv32::weighted_values_of_two(&values[index * HALF..], stride, [weights, others]);
            }
            return parts.len() * HALF;
        }
        _ => (),
    }
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if let ([weights], [out]) = (&weights[..], &mut out[..]) {
        return x86_64::weighted_values(values, stride, weights, out);
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    if let ([weights], [out]) = (&weights[..], &mut out[..]) {
        return simd128::weighted_values(values, stride, weights, out);
    }
    0
}

/// Loops that the compiler vectorises, with what they work on.
pub(crate) trait Loops {
    type Output;

    /// Runs the loops. Implementations are always inlined, and so is what they call in a loop: what is not inlined is not
    /// compiled for wider vectors.
    fn run(self) -> Self::Output;
}

/// Runs loops, compiled for the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn with_wide_vectors<L: Loops>(loops: L) -> L::Output {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    return x86_64::with_wide_vectors(loops);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    loops.run()
}

/// Consecutive rows of a quantised matrix, each as [the file format] has it.
///
/// A weight is `q · s`, `q` within ±127 and `s` the 8-bit scale of its group, times a power of two for the row. In int8 a
/// row is its `q`, then its scales, which are unsigned. In int4 each group is its 4-bit numbers, for which [`INT4_LEVELS`]
/// has `q`, and its scale, which has a sign. The row's exponent and padding follow.
///
/// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    row_len: usize,
    cols: usize,
    group: usize,
    bits: Bits,
    /// The place of the exponent in a row.
    exponent_at: usize,
}

/// The width of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    Four,
    Eight,
}

/// The scale of a group of int4, which has a sign, from its byte.
fn int4_scale(byte: u8) -> i32 {
    (byte as i8).into()
}

impl<'a> Rows<'a> {
    /// Creates a view of `bytes`. Returns `None` unless `quantisation` is that of a matrix with groups of 1 to 512, even
    /// in int4, and `bytes` is a whole number of rows.
    pub fn new(bytes: &'a [u8], quantisation: Quantisation, cols: usize) -> Option<Self> {
        let (bits, group) = match quantisation {
            Quantisation::Fixed32 => return None,
            Quantisation::Int8 { group } => (Bits::Eight, group as usize),
            Quantisation::Int4 { group } => (Bits::Four, group as usize),
        };
        let fits = (1..=512).contains(&group) && (bits == Bits::Eight || group.is_multiple_of(2));
        if !fits {
            return None;
        }
        let row_len = quantisation.row_len(cols.try_into().ok()?);
        let values = match bits {
            Bits::Four => cols.div_ceil(2),
            Bits::Eight => cols,
        };
        let exponent_at = values + cols.div_ceil(group);
        bytes.len().is_multiple_of(row_len).then_some(Self { bytes, row_len, cols, group, bits, exponent_at })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of all rows.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first `rows` rows, at most all of them, and the remaining rows.
    pub fn split_at(&self, rows: usize) -> (Self, Self) {
        let (first, second) = self.bytes.split_at(rows.min(self.len()) * self.row_len);
        (Self { bytes: first, ..*self }, Self { bytes: second, ..*self })
    }

    /// The bytes of a row.
    pub(crate) fn row(&self, index: usize) -> &'a [u8] {
        &self.bytes[index * self.row_len..][..self.row_len]
    }

    /// The power of two by which a row's weights are multiplied.
    pub(crate) fn exponent(&self, index: usize) -> i32 {
        i32::from(self.row(index)[self.exponent_at] as i8)
    }

    /// The exponents of all rows.
    pub(crate) fn exponents(&self) -> impl Iterator<Item = i8> + use<'a> {
        let at = self.exponent_at;
        self.bytes.chunks_exact(self.row_len).map(move |row| row[at] as i8)
    }

    /// The values and the scale of a row's group. Values of int4 are two in a byte.
    fn group(&self, index: usize, number: usize) -> (&'a [u8], i32) {
        let (row, first) = (self.row(index), number * self.group);
        let len = self.group.min(self.cols - first);
        match self.bits {
            Bits::Four => {
                let (nibbles, rest) = row[first / 2 + number..].split_at(len.div_ceil(2));
                (nibbles, int4_scale(rest[0]))
            }
            Bits::Eight => (&row[first..first + len], row[self.cols + number].into()),
        }
    }

    /// The weights of a row, `q · s`.
    pub(crate) fn products(&self, index: usize) -> impl Iterator<Item = i32> {
        let rows = *self;
        (0..rows.cols).step_by(rows.group).enumerate().flat_map(move |(number, first)| {
            let (values, scale) = rows.group(index, number);
            (0..rows.group.min(rows.cols - first)).map(move |at| {
                let q = match rows.bits {
                    Bits::Four => INT4_LEVELS[usize::from(values[at / 2] >> (at % 2 * 4) & 15)],
                    Bits::Eight => values[at] as i8,
                };
                i32::from(q) * scale
            })
        })
    }

    /// Number of columns in whole groups of `group`; 0 if the rows have another group length.
    fn whole_cols(&self, group: usize) -> usize {
        if self.group == group { self.cols / group * group } else { 0 }
    }

    /// Adds the contribution of each row's last group, which starts at column `first`, to `sums`.
    #[inline(never)]
    fn add_last_group(&self, first: usize, x: &[i16], sums: &mut [i64]) {
        let x = &x[first..self.cols];
        for (row, sum) in sums.iter_mut().enumerate() {
            let (values, scale) = self.group(row, first / self.group);
            let product = match self.bits {
                Bits::Four => int4::dot_group(values, x),
                Bits::Eight => dot(bytemuck::cast_slice(values), x),
            };
            *sum += i64::from(product) * i64::from(scale);
        }
    }

    /// `sums[row] = Σ q · scale · x`, exactly, with the fastest kernel for this processor. `x` must hold at least
    /// `cols` values, none of them −32,768, and `sums` one sum for each row.
    pub fn dot(&self, x: &[i16], sums: &mut [i64]) {
        Kernel::fastest().dot(self, x, sums);
    }

    /// Like [`dot`](Self::dot), with the generic kernel.
    pub fn dot_generic(&self, x: &[i16], sums: &mut [i64]) {
        match self.bits {
            Bits::Four => int4::dot_rows(self, x, sums),
            Bits::Eight => generic::dot_rows(self, x, sums),
        }
    }
}
