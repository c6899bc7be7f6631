//! Rows of int4, four at a time, with 512-bit vectors and the dot products of bytes of AVX-512 VNNI. Rows of int8 are multiplied
//! by [`avx2`], which is as fast.
//!
//! A value of the vector is 256 · h + l, `h` a byte with a sign and `l` one without. The instruction multiplies bytes with a sign
//! by bytes without, four products to a sum, and adds them up in 32 bits:
//!
//! - `l · q` is such a product.
//! - `h · q = h · (q + 128) − 128 · h`: `q + 128` has no sign, and the sums of `−128 · h` are known before.
//!
//! A sum of eight products is at most 8 · 255 · 127 in magnitude, times a scale of at most 128 at most 33.2 million, and that of
//! a part of eight blocks and eight lanes below 2^31. What is more is added up in 64 bits.

use core::arch::x86_64::*;

use super::{ahead, avx2, prefetch};
use crate::format::INT4_LEVELS;
use crate::kernels::fours::{Four, GROUP, INT4_LEN};
use crate::kernels::{Bits, Rows, int4_scale};

/// Columns of a block: two groups.
const COLS: usize = 2 * GROUP;
/// Bytes of a block, its scales included.
const LEN: usize = 2 * INT4_LEN;
/// Blocks of a part.
const BLOCKS: usize = 8;

/// A block of the vector, for two rows: a row's two groups in each half of a register.
#[derive(Clone, Copy)]
struct Block {
    /// The columns of lower nibbles, and of upper ones.
    l: [__m512i; 2],
    h: [__m512i; 2],
    /// The sums of `−128 · h` of eight columns each.
    offset: __m512i,
}

/// Products of two rows, of `l` and of `h`. Each row has the lanes of one half.
#[derive(Clone, Copy)]
struct Sums {
    l: __m512i,
    h: __m512i,
}

const ZERO: __m512i = {
    // SAFETY: a register is 64 bytes.
    unsafe { core::mem::transmute([0u8; 64]) }
};

/// See [`Rows::dot`].
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    if (rows.group, rows.bits) != (GROUP, Bits::Four) {
        return avx2::dot_rows(rows, x, sums);
    }
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    sums.fill(0);
    for (part, x) in x.chunks(BLOCKS * COLS).enumerate() {
        let mut blocks = [Block { l: [ZERO; 2], h: [ZERO; 2], offset: ZERO }; BLOCKS];
        for (block, x) in blocks.iter_mut().zip(x.chunks(COLS)) {
            *block = Block::new(x);
        }
        let (blocks, last) = (&blocks[..x.len().div_ceil(COLS)], LastBlock::new(x.len() % COLS));
        for (index, sums) in sums.chunks_mut(4).enumerate() {
            let four = Four::new(rows, 4 * index).starts().map(|row| row.wrapping_add(part * BLOCKS * LEN));
            // SAFETY: the rows have the columns of the part.
            let more = unsafe { part_of_four(four, blocks, last.as_ref(), ahead(rows)) };
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
}

/// The sums of four rows over some blocks, the last of which is `last`, if given.
///
/// # Safety
/// Each row has these blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn part_of_four(rows: [*const u8; 4], blocks: &[Block], last: Option<&LastBlock>, ahead: usize) -> [i64; 4] {
    let mut next = rows[0].wrapping_add(ahead);
    let mut sums = [Sums { l: ZERO, h: ZERO }; 2];
    let whole = blocks.len() - usize::from(last.is_some());
    for (number, block) in blocks[..whole].iter().enumerate() {
        for (sums, two) in sums.iter_mut().zip(rows.as_chunks::<2>().0) {
            prefetch(next);
            next = next.wrapping_add(2 * LEN);
            // SAFETY: the rows have this block.
            let (bytes, scales) = unsafe { block_of_two(two.map(|row| row.add(number * LEN))) };
            sums.add(block, bytes, scales);
        }
    }
    if let Some(last) = last {
        for (sums, two) in sums.iter_mut().zip(rows.as_chunks::<2>().0) {
            // SAFETY: the rows have this block.
            let (bytes, scales) = unsafe { last.of_two(two.map(|row| row.add(whole * LEN))) };
            sums.add(&blocks[whole], bytes, scales);
        }
    }
    sums_of_four(sums)
}

impl Block {
    /// A block of at most [`COLS`] columns, the others zero.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn new(x: &[i16]) -> Self {
        let mut padded = [0; COLS];
        padded[..x.len()].copy_from_slice(x);
        let pairs: [__m512i; 2] = bytemuck::cast(padded);
        // One byte of each pair of columns, for both rows.
        let bytes = |byte| {
            let [a, b] = pairs.map(|pair| _mm512_cvtepi32_epi8(_mm512_srl_epi32(pair, _mm_cvtsi32_si128(8 * byte))));
            _mm512_broadcast_i64x4(_mm256_setr_m128i(a, b))
        };
        let (l, h) = ([bytes(0), bytes(2)], [bytes(1), bytes(3)]);
        let factor = _mm512_set1_epi8(-128);
        let offset = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(ZERO, factor, h[0]), factor, h[1]);
        Self { l, h, offset: _mm512_sub_epi32(ZERO, offset) }
    }
}

impl Sums {
    /// Adds the products of a block, times the scale of each group.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn add(&mut self, x: &Block, bytes: __m512i, scales: __m512i) {
        let levels = _mm512_broadcast_i32x4(bytemuck::cast(INT4_LEVELS));
        let (nibble, factor) = (_mm512_set1_epi8(15), _mm512_set1_epi8(-128));
        let lower = _mm512_shuffle_epi8(levels, _mm512_and_si512(bytes, nibble));
        let upper = _mm512_shuffle_epi8(levels, _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble));
        let l = _mm512_dpbusd_epi32(ZERO, x.l[0], lower);
        let h = _mm512_dpbusd_epi32(x.offset, _mm512_xor_si512(lower, factor), x.h[0]);
        let l = _mm512_dpbusd_epi32(l, x.l[1], upper);
        let h = _mm512_dpbusd_epi32(h, _mm512_xor_si512(upper, factor), x.h[1]);
        self.l = _mm512_add_epi32(self.l, _mm512_mullo_epi32(l, scales));
        self.h = _mm512_add_epi32(self.h, _mm512_mullo_epi32(h, scales));
    }
}

/// The bytes of a block of two rows, and the scales of its groups in the lanes of each.
///
/// # Safety
/// The rows have a whole block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block_of_two(rows: [*const u8; 2]) -> (__m512i, __m512i) {
    // From the second byte on, the first half ends with a group's scale, the second one is the other group.
    // SAFETY: these bytes are the block's.
    let bytes = rows.map(|row| unsafe {
        let (first, second) = (_mm256_loadu_si256(row.cast()), row.add(1).cast());
        _mm256_mask_loadu_epi32(first, 0b1111_0000, second)
    });
    // The last two bytes of 32 are the end of the second group and its scale, those of the first half a scale and another byte.
    // SAFETY: as above.
    let scales = rows.map(|row| unsafe { _mm256_loadu_si256(row.add(LEN - 32).cast()) });
    let [bytes, scales] = [bytes, scales].map(|[a, b]| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b));
    let place = _mm512_broadcast_i64x4(bytemuck::cast([[14u8; 16], [15; 16]]));
    (bytes, _mm512_srai_epi32::<24>(_mm512_shuffle_epi8(scales, place)))
}

/// Where the groups of a block with fewer than [`COLS`] columns are.
struct LastBlock {
    /// The bytes of each group.
    bytes: [__mmask16; 2],
    /// The place of each group's scale in the block; where there is no group, that of another byte of the block.
    scales: [usize; 2],
}

impl LastBlock {
    /// Returns `None` if there are no columns.
    fn new(cols: usize) -> Option<Self> {
        let mut last = Self { bytes: [0; 2], scales: [0; 2] };
        for (group, first) in (0..cols).step_by(GROUP).enumerate() {
            let bytes = (cols - first).min(GROUP).div_ceil(2);
            last.bytes[group] = ((1u32 << bytes) - 1) as __mmask16;
            last.scales[group] = group * INT4_LEN + bytes;
        }
        (cols > 0).then_some(last)
    }

    /// The bytes of the block of two rows, and the scales of its groups in the lanes of each.
    ///
    /// # Safety
    /// The rows have this block.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn of_two(&self, rows: [*const u8; 2]) -> (__m512i, __m512i) {
        let halves = rows.map(|row| {
            // SAFETY: nothing but these bytes is read.
            let [a, b] = core::array::from_fn(|group| unsafe {
                _mm_maskz_loadu_epi8(self.bytes[group], row.wrapping_add(group * INT4_LEN).cast())
            });
            // SAFETY: the scales are the block's bytes.
            let [s, t] = self.scales.map(|place| _mm_set1_epi32(int4_scale(unsafe { *row.add(place) })));
            [_mm256_setr_m128i(a, b), _mm256_setr_m128i(s, t)]
        });
        let [[a, s], [b, t]] = halves;
        let both = |a, b| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
        (both(a, b), both(s, t))
    }
}

/// The sums of four rows, `256 · h + l` of all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sums_of_four([ab, cd]: [Sums; 2]) -> [i64; 4] {
    let pairs = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (l, h) = (pairs(ab.l, cd.l), pairs(ab.h, cd.h));
    // In each quarter of the first half `l` of a and of c, then `h`; in the second half of b and d.
    let sums = _mm512_add_epi32(_mm512_unpacklo_epi64(l, h), _mm512_unpackhi_epi64(l, h));
    let sums = _mm512_add_epi32(sums, _mm512_shuffle_i32x4::<0b10_11_00_01>(sums, sums));
    let sums: [i32; 16] = bytemuck::cast(sums);
    [0, 8, 1, 9].map(|row| i64::from(sums[row]) + 256 * i64::from(sums[row + 2]))
}
