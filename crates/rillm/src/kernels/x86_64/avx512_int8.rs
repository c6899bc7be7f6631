//! Rows of int8, eight at a time, with 512-bit vectors and the instructions of AVX-512 VNNI and VBMI.
//!
//! A register has the values of two groups of a row, and a value of the vector is 256 · h + l, h a byte with a sign and l one
//! without. An instruction multiplies bytes with a sign by bytes without one, and adds four products to a lane: first h by the
//! weights plus 128, which have no sign, and after a shift by 8 bits the weights by l. A lane starts from the sum of `−128 · h`.
//!
//! Before the shift a lane is within ±2^16: four products of at most 128 · 128. The sum of a group is within ±2^27: 32 products of
//! at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::x86_64::*;

use super::{ZERO, ahead, avx2, prefetch, rounded};
use crate::kernels::fours::GROUP;
use crate::kernels::{OutputScale, Rows, outputs};

/// Columns of a block: two groups.
const COLS: usize = 2 * GROUP;
/// Rows that are multiplied at the same time.
const ROWS: usize = 8;
/// Blocks of a span, whose scales and the byte after them are at most eight bytes.
const SPAN: usize = 3;
/// Blocks of a part.
const BLOCKS: usize = 16;

/// See [`Rows::dot`].
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    let (eights, rest) = sums.as_chunks_mut::<ROWS>();
    if rows.group != GROUP || x.len() < GROUP || eights.is_empty() {
        return avx2::dot_rows(rows, x, sums);
    }
    if !rest.is_empty() {
        avx2::dot_rows(&rows.split_at(ROWS * eights.len()).1, x, rest);
    }
    eights.fill([0; ROWS]);
    for (part, x) in x.chunks(BLOCKS * COLS).enumerate() {
        let add = |index: usize, sums, _| {
            let more: [i64; ROWS] = bytemuck::cast(sums);
            eights[index].iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        // SAFETY: the rows have the columns of the part, a group or more, and so many rows are there.
        unsafe { for_eights(rows, part * BLOCKS * COLS, x, rows.len() / ROWS, add) };
    }
}

/// See [`Multiply::outputs`](crate::kernels::Multiply::outputs).
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
pub fn outputs(rows: &Rows<'_>, x: &[i16], scale: OutputScale, outputs: &mut [i32]) {
    let (x, outputs) = (&x[..rows.cols], &mut outputs[..rows.len()]);
    let (eights, rest) = outputs.as_chunks_mut::<ROWS>();
    if rows.group != GROUP || !(GROUP..=BLOCKS * COLS).contains(&x.len()) || eights.is_empty() {
        return outputs::outputs(|rows, x, sums| dot_rows(rows, x, sums), rows, x, scale, outputs);
    }
    if !rest.is_empty() {
        let rows = rows.split_at(ROWS * eights.len()).1;
        outputs::outputs(|rows, x, sums| avx2::dot_rows(rows, x, sums), &rows, x, scale, rest);
    }
    let round = |index: usize, sums, exponents| eights[index] = bytemuck::cast(rounded(sums, exponents, scale));
    // SAFETY: the rows have the columns, a group or more, and so many rows are there.
    unsafe { for_eights(rows, 0, x, rows.len() / ROWS, round) };
}

/// Calls `take` with the sums of eight rows over a part of the columns, from column `first` on, and, if that is the last part, the
/// rows' exponents.
///
/// # Safety
/// The rows have these columns, and a group or more. There are eight times `eights` rows.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
unsafe fn for_eights(
    rows: &Rows<'_>,
    first: usize,
    x: &[i16],
    eights: usize,
    mut take: impl FnMut(usize, __m512i, __m512i),
) {
    let (whole, rest) = x.as_chunks::<COLS>();
    let mut blocks = [Block::ZERO; BLOCKS];
    for (number, (block, x)) in blocks.iter_mut().zip(whole).enumerate() {
        let (span, place) = (number / SPAN, number % SPAN);
        let groups = 2 * (whole.len() - span * SPAN).min(SPAN);
        *block = Block::new(x, 2 * place + 7 - groups);
    }
    let blocks = &blocks[..whole.len()];
    let last = (!rest.is_empty()).then(|| {
        let mut padded = [0; COLS];
        padded[..rest.len()].copy_from_slice(rest);
        (Block::new(&padded, 7 - rest.len().div_ceil(GROUP)), u64::MAX >> (COLS - rest.len()))
    });
    for index in 0..eights {
        let start = rows.bytes.as_ptr().wrapping_add(ROWS * index * rows.row_len);
        let row = |row: usize, at: usize| start.wrapping_add(row * rows.row_len + at);
        let mut totals = Totals { even: ZERO, odd: ZERO };
        let mut next = start.wrapping_add(ahead(rows));
        let (mut values, mut scales, mut words) = (first, rows.cols + first / GROUP, ZERO);
        // The eight bytes of each row that end after the byte behind the scales.
        // SAFETY: a row has the values of a group or more before its scales, and behind them its exponent.
        let words_at = |end: usize| unsafe {
            bytemuck::cast(core::array::from_fn::<_, ROWS, _>(|number| {
                row(number, end - 7).cast::<i64>().read_unaligned()
            }))
        };
        for blocks in blocks.chunks(SPAN) {
            scales += 2 * blocks.len();
            words = words_at(scales);
            for block in blocks {
                for line in 0..ROWS {
                    prefetch(next.wrapping_add(line * COLS));
                }
                next = next.wrapping_add(ROWS * COLS);
                // SAFETY: the rows have the block.
                totals.add(block, ORDER.map(|a| unsafe { _mm512_loadu_si512(row(a, values).cast()) }), words);
                values += COLS;
            }
        }
        if let Some((block, mask)) = &last {
            words = words_at(scales + rest.len().div_ceil(GROUP));
            // SAFETY: the rows have the values of the mask.
            totals.add(block, ORDER.map(|a| unsafe { _mm512_maskz_loadu_epi8(*mask, row(a, values).cast()) }), words);
        }
        take(index, totals.sums(), _mm512_srai_epi64::<56>(words));
    }
}

/// A block of the vector. Each half of a register is for a group.
#[derive(Clone, Copy)]
struct Block {
    h: __m512i,
    l: __m512i,
    /// The sums of `−128 · h` of four columns each.
    offset: __m512i,
    /// Where in eight bytes of each row the groups' scales are, for the lanes of [`Totals::add`].
    scales: __m512i,
}

impl Block {
    const ZERO: Self = Self { h: ZERO, l: ZERO, offset: ZERO, scales: ZERO };

    /// A block whose first group's scale is byte `scale` of a row's eight bytes.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn new(x: &[i16; COLS], scale: usize) -> Self {
        let [h, l]: [__m512i; 2] = [x.map(|x| (x >> 8) as u8), x.map(|x| x as u8)].map(bytemuck::cast);
        let offset = _mm512_sub_epi32(ZERO, _mm512_dpbusd_epi32(ZERO, _mm512_set1_epi8(-128), h));
        // Of each 128 bits: a group of four rows.
        let scales: [[u8; 4]; 16] = core::array::from_fn(|lane| {
            let (row, group) = (ORDER[lane % 4 + lane / 8 * 4], lane / 4 % 2);
            [(8 * row + scale + group) as u8; 4]
        });
        Self { h, l, offset, scales: bytemuck::cast(scales) }
    }

    /// The sums of four products each.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn sums(&self, weights: __m512i) -> __m512i {
        let unsigned = _mm512_xor_si512(weights, _mm512_set1_epi8(-128));
        let h = _mm512_dpbusd_epi32(self.offset, unsigned, self.h);
        _mm512_dpbusd_epi32(_mm512_slli_epi32::<8>(h), self.l, weights)
    }
}

/// The rows a to h, in an order in which their sums end up in ascending order.
const ORDER: [usize; ROWS] = [0, 1, 4, 5, 2, 3, 6, 7];

/// Sums of rows a to h, in each 128 bits those of a group: of a to d in the lower half, of e to h in the upper one.
struct Totals {
    /// Of rows a, c, e and g.
    even: __m512i,
    /// Of rows b, d, f and h.
    odd: __m512i,
}

impl Totals {
    /// Adds the sums over a block. `scales` has eight bytes of each row.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn add(&mut self, x: &Block, values: [__m512i; ROWS], scales: __m512i) {
        let pair = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let four = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        let [a, b, c, d, e, f, g, h] = values.map(|values| x.sums(values));
        let (abcd, efgh) = (four(pair(a, b), pair(c, d)), four(pair(e, f), pair(g, h)));
        let sums = _mm512_shuffle_i64x2::<0b10_00_10_00>(abcd, efgh);
        let sums = _mm512_add_epi32(sums, _mm512_shuffle_i64x2::<0b11_01_11_01>(abcd, efgh));
        let scales = _mm512_maskz_permutexvar_epi8(0x1111_1111_1111_1111, x.scales, scales);
        self.even = _mm512_add_epi64(self.even, _mm512_mul_epi32(sums, scales));
        let (sums, scales) = (_mm512_srli_epi64::<32>(sums), _mm512_srli_epi64::<32>(scales));
        self.odd = _mm512_add_epi64(self.odd, _mm512_mul_epi32(sums, scales));
    }

    /// The sums of the rows, in ascending order.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn sums(self) -> __m512i {
        let (ab, cd) = (_mm512_unpacklo_epi64(self.even, self.odd), _mm512_unpackhi_epi64(self.even, self.odd));
        let sums = _mm512_shuffle_i64x2::<0b10_00_10_00>(ab, cd);
        _mm512_add_epi64(sums, _mm512_shuffle_i64x2::<0b11_01_11_01>(ab, cd))
    }
}
