//! Rows of int4, four at a time, with 512-bit vectors and the instructions of AVX-512 VNNI, VBMI and VBMI2.
//!
//! A register has the values of four groups: of one row, or at the end of the rows two of one row and two of another.
//!
//! A value of the vector is 256 · h + l, both bytes with a sign. That holds for values up to [`LARGEST_OF_TWO_BYTES`]. A vector with
//! a larger one is left to [`avx2`]: few are, as the largest value of a vector lies anywhere between 2^14 and 2^15. An instruction
//! multiplies bytes without a sign, the levels plus 128, by bytes with one, and adds four products to a lane: first products by
//! `h`, and after a shift by 8 bits products by `l`. A lane starts from the sum of `−128 · x`, which is known before, and ends as
//! the sum of eight products `q · x`. Four lanes are a group.
//!
//! The sum of a group is below 2^27: 32 products of at most 127 · 32,767. That a lane may exceed 32 bits before the end does not
//! matter, because all of this is exact modulo 2^32. Times a scale the sum is added up in 64 bits, and 2^24 times as large, because
//! the scale is the upper one of four bytes: that of a part's 1,024 columns is below 2^63, 2^24 · 1,024 · 127 · 128 · 32,767.

use core::arch::x86_64::*;
use core::hint::black_box;

use super::{LARGEST_OF_TWO_BYTES, ZERO, ahead, avx2, prefetch, rounded};
use crate::kernels::fours::{GROUP, INT4_LEN, UNSIGNED_LEVELS};
use crate::kernels::{Bits, OutputScale, Rows, outputs};

/// Columns of a block: four groups.
const COLS: usize = 4 * GROUP;
/// Bytes of a block, its scales included.
const LEN: usize = 4 * INT4_LEN;
/// Blocks of a part, for which sums do not overflow.
const BLOCKS: usize = 8;
/// Bytes of a register.
const WINDOW: usize = 64;

/// See [`Rows::dot`].
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    let fit = rows_that_fit(rows, x);
    if fit == 0 {
        return avx2::dot_rows(rows, x, sums);
    }
    let (fours, rest) = sums.split_at_mut(fit);
    if !rest.is_empty() {
        avx2::dot_rows(&rows.split_at(fit).1, x, rest);
    }
    fours.fill(0);
    for (part, x) in x.chunks(BLOCKS * COLS).enumerate() {
        let add = |index: usize, more| {
            let more: [i64; 4] = bytemuck::cast(more);
            fours[4 * index..][..4].iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        // SAFETY: so many rows fit, and they have the columns of the part.
        unsafe { for_fours(rows, part * BLOCKS * LEN, x, fit / 4, add) };
    }
}

/// See [`Multiply::outputs`](crate::kernels::Multiply::outputs).
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
pub fn outputs(rows: &Rows<'_>, x: &[i16], scale: OutputScale, outputs: &mut [i32]) {
    let (x, outputs) = (&x[..rows.cols], &mut outputs[..rows.len()]);
    let fit = rows_that_fit(rows, x);
    if fit == 0 || !(GROUP..=BLOCKS * COLS).contains(&x.len()) {
        return outputs::outputs(|rows, x, sums| dot_rows(rows, x, sums), rows, x, scale, outputs);
    }
    let (fours, rest) = outputs.split_at_mut(fit);
    if !rest.is_empty() {
        let rows = rows.split_at(fit).1;
        outputs::outputs(|rows, x, sums| avx2::dot_rows(rows, x, sums), &rows, x, scale, rest);
    }
    let (fours, last_four_bytes) = (fours.as_chunks_mut::<4>().0, rows.exponent_at - 3);
    let round = |index: usize, sums| {
        let exponents: [i32; 4] = core::array::from_fn(|row| {
            let row = rows.bytes.as_ptr().wrapping_add((4 * index + row) * rows.row_len);
            // SAFETY: the exponent follows the values of a group or more.
            unsafe { row.add(last_four_bytes).cast::<i32>().read_unaligned() }
        });
        let exponents = _mm256_cvtepi32_epi64(_mm_srai_epi32::<24>(bytemuck::cast(exponents)));
        let outputs = rounded(_mm512_zextsi256_si512(sums), _mm512_zextsi256_si512(exponents), scale);
        fours[index] = bytemuck::cast(_mm256_castsi256_si128(outputs));
    };
    // SAFETY: so many rows fit, and they have the columns.
    unsafe { for_fours(rows, 0, x, fit / 4, round) };
}

/// The number of rows, in fours, that have the bytes of a register after their start. None if these are rows or a vector for
/// which this is not made.
fn rows_that_fit(rows: &Rows<'_>, x: &[i16]) -> usize {
    if (rows.group, rows.bits) != (GROUP, Bits::Four) || x.iter().copied().max() > Some(LARGEST_OF_TWO_BYTES) {
        return 0;
    }
    (rows.bytes.len() + rows.row_len).saturating_sub(WINDOW) / rows.row_len / 4 * 4
}

/// Calls `take` with the sums of four rows over a part of the columns, whose bytes start at `first`.
///
/// # Safety
/// The rows have these columns. There are four times `fours` rows, and each has 64 bytes after its start.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
unsafe fn for_fours(rows: &Rows<'_>, first: usize, x: &[i16], fours: usize, mut take: impl FnMut(usize, __m256i)) {
    let (whole, rest) = x.as_chunks();
    let mut blocks = [Block { l: [ZERO; 2], h: [ZERO; 2], offset: [ZERO; 2] }; BLOCKS];
    blocks.iter_mut().zip(whole).for_each(|(block, x)| *block = Block::new(x));
    let blocks = &blocks[..whole.len()];
    let (places, masks) = black_box((Places::new(COLS, isize::MAX), MASKS));
    // The last window ends with the row, or is at its start.
    let first_of_last = first + whole.len() * LEN;
    let window = rows.row_len.saturating_sub(WINDOW) as isize - first_of_last as isize;
    let last = (!rest.is_empty()).then(|| LastBlock::new(rest, window));
    for index in 0..fours {
        let four = core::array::from_fn(|row| rows.bytes.as_ptr().wrapping_add((4 * index + row) * rows.row_len));
        let mut totals = Totals { ab: ZERO, cd: ZERO, abcd: ZERO };
        let mut next = four[0].wrapping_add(ahead(rows));
        let mut prefetch_rows = |rows| {
            for _ in 0..rows {
                prefetch(next);
                next = next.wrapping_add(LEN);
            }
        };
        for (number, block) in blocks.iter().enumerate() {
            prefetch_rows(4);
            // SAFETY: the rows have this block.
            unsafe { totals.add_block(block, four.map(|row| row.add(first + number * LEN)), &places, &masks) };
        }
        if let Some(LastBlock { block, places, half }) = &last {
            // SAFETY: the rows have this block.
            let four = four.map(|row| unsafe { row.add(first_of_last) });
            if *half {
                prefetch_rows(2);
                // SAFETY: the rows have the window.
                unsafe { totals.add_half_block(block, four, places, &masks) };
            } else {
                prefetch_rows(4);
                // SAFETY: the rows have the window and a whole group.
                unsafe { totals.add_block(block, four, places, &masks) };
            }
        }
        take(index, totals.sums());
    }
}

/// A block of the vector. Each quarter of a register is for the group in that quarter.
#[derive(Clone, Copy)]
struct Block {
    /// The columns of lower nibbles, and of upper ones.
    l: [__m512i; 2],
    h: [__m512i; 2],
    /// The sums of `−128 · x` of eight columns each: the upper 24 bits as a number, and the other 8 bits at the upper end.
    offset: [__m512i; 2],
}

impl Block {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn new(x: &[i16; COLS]) -> Self {
        let pairs: [[i16; 2]; COLS / 2] = bytemuck::cast(*x);
        let l = [0, 1].map(|nibble| bytemuck::cast(pairs.map(|pair| pair[nibble] as i8)));
        let h = [0, 1].map(|nibble| bytemuck::cast(pairs.map(|pair| ((pair[nibble] + 128) >> 8) as i8)));
        let factor = _mm512_set1_epi8(-128);
        let sums = |[a, b]: [__m512i; 2]| _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(ZERO, factor, a), factor, b);
        let offset = _mm512_add_epi32(_mm512_slli_epi32::<8>(sums(h)), sums(l));
        let offset = _mm512_sub_epi32(ZERO, offset);
        Self { l, h, offset: [_mm512_srai_epi32::<8>(offset), _mm512_slli_epi32::<24>(offset)] }
    }

    /// The sums of eight products each.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn sums(&self, bytes: __m512i) -> __m512i {
        // The table is there four times, so that the upper bits of an index do not matter.
        let levels = _mm512_broadcast_i32x4(bytemuck::cast(UNSIGNED_LEVELS));
        let lower = _mm512_permutexvar_epi8(bytes, levels);
        let upper = _mm512_permutexvar_epi8(_mm512_srli_epi16::<4>(bytes), levels);
        let h = _mm512_dpbusd_epi32(self.offset[0], lower, self.h[0]);
        let h = _mm512_dpbusd_epi32(h, upper, self.h[1]);
        let l = _mm512_shldi_epi32::<8>(h, self.offset[1]);
        let l = _mm512_dpbusd_epi32(l, lower, self.l[0]);
        _mm512_dpbusd_epi32(l, upper, self.l[1])
    }
}

/// The columns after the last whole block.
struct LastBlock {
    block: Block,
    places: Places,
    /// Whether there are at most two groups. The block has them twice, for two rows.
    half: bool,
}

impl LastBlock {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn new(x: &[i16], last_window: isize) -> Self {
        let half = x.len() <= COLS / 2;
        let mut padded = [0; COLS];
        padded[..x.len()].copy_from_slice(x);
        if half {
            padded.copy_within(..COLS / 2, COLS / 2);
        }
        Self { block: Block::new(&padded), places: Places::new(x.len(), last_window), half }
    }
}

/// Where in a row the values and the scales of a block are.
struct Places {
    /// The start of the register's bytes in which they are, counted from that of the block. Of more than two groups it has all but
    /// the first one's values.
    window: isize,
    /// The places in the window: of the values, and of each quarter's scale.
    values: __m512i,
    scales: __m512i,
}

impl Places {
    /// A block of `cols` columns. The window starts at `last_window` at most.
    #[inline(always)]
    fn new(cols: usize, last_window: isize) -> Self {
        let half = cols <= COLS / 2;
        let window = if half { 0 } else { (LEN - WINDOW) as isize }.min(last_window);
        let groups = if half { [0, 1, 0, 1] } else { [0, 1, 2, 3] };
        let place = |group: usize, byte: usize| ((group * INT4_LEN + byte) as u8).wrapping_sub(window as u8);
        let values = groups.map(|group| core::array::from_fn::<_, 16, _>(|byte| place(group, byte)));
        // The scale follows the values. Where there is no group, it is some byte.
        let scales = groups.map(|group| {
            let values = cols.saturating_sub(group * GROUP).min(GROUP).div_ceil(2);
            [place(group, values); 16]
        });
        Self { window, values: bytemuck::cast(values), scales: bytemuck::cast(scales) }
    }

    /// The window of a row's block.
    ///
    /// # Safety
    /// There are these bytes.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    unsafe fn window_of(&self, block: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_loadu_si512(block.offset(self.window).cast()) }
    }
}

/// Masks of permutations.
struct Masks {
    /// All quarters but the first one.
    later: __mmask64,
    /// The upper half.
    upper: __mmask64,
    /// The fourth of the first eight bytes of each quarter, and of the others: where a scale is for [`add_scaled`].
    scales: [__mmask64; 2],
}

/// Hidden from the compiler, which would make two instructions of a permutation whose mask it knows.
const MASKS: Masks =
    Masks { later: !0xffff, upper: !0xffff_ffff, scales: [0x0008_0008_0008_0008, 0x0800_0800_0800_0800] };

/// Sums of rows a, b, c and d, 2^24 times as large.
struct Totals {
    /// In each quarter of rows a and b.
    ab: __m512i,
    /// In each quarter of rows c and d.
    cd: __m512i,
    /// In the first two quarters of rows a and b, in the others of rows c and d.
    abcd: __m512i,
}

impl Totals {
    /// Adds the sums over a block.
    ///
    /// # Safety
    /// The rows, from this block on, have the window and the first group.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    unsafe fn add_block(&mut self, x: &Block, rows: [*const u8; 4], places: &Places, masks: &Masks) {
        let [a, b, c, d] = rows.map(|row| {
            // SAFETY: as the caller promises.
            let (first, window) = unsafe { (_mm_loadu_si128(row.cast()), places.window_of(row)) };
            let first = _mm512_broadcast_i32x4(first);
            (x.sums(_mm512_mask_permutexvar_epi8(first, masks.later, places.values, window)), window)
        });
        let scales = |a, b| {
            let scales = _mm512_maskz_permutexvar_epi8(masks.scales[0], places.scales, a);
            _mm512_mask_permutexvar_epi8(scales, masks.scales[1], places.scales, b)
        };
        self.ab = add_scaled(self.ab, a.0, b.0, scales(a.1, b.1));
        self.cd = add_scaled(self.cd, c.0, d.0, scales(c.1, d.1));
    }

    /// Adds the sums over a block of at most two groups.
    ///
    /// # Safety
    /// The rows, from this block on, have the window.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    unsafe fn add_half_block(&mut self, x: &Block, rows: [*const u8; 4], places: &Places, masks: &Masks) {
        // SAFETY: as the caller promises.
        let [a, b, c, d] = rows.map(|row| unsafe { places.window_of(row) });
        let sums = |a, c| {
            let values = _mm512_permutexvar_epi8(places.values, a);
            x.sums(_mm512_mask_permutexvar_epi8(values, masks.upper, places.values, c))
        };
        let [first, second] = masks.scales;
        let scales = _mm512_maskz_permutexvar_epi8(first, places.scales, a);
        let scales = _mm512_mask_permutexvar_epi8(scales, second, places.scales, b);
        let scales = _mm512_mask_permutexvar_epi8(scales, first & masks.upper, places.scales, c);
        let scales = _mm512_mask_permutexvar_epi8(scales, second & masks.upper, places.scales, d);
        self.abcd = add_scaled(self.abcd, sums(a, c), sums(b, d), scales);
    }

    /// The sums of the rows.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn sums(self) -> __m256i {
        // In the first half those of `a`, in the other one those of `b`.
        let halves = |a, b| {
            let even = _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
            _mm512_add_epi64(even, _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b))
        };
        let sums = _mm512_add_epi64(halves(self.ab, self.cd), self.abcd);
        _mm256_srai_epi64::<24>(_mm512_castsi512_si256(halves(sums, sums)))
    }
}

/// Adds, in each quarter, the group of `a` times its scale, then that of `b`. The scale is the fourth of eight bytes.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
fn add_scaled(total: __m512i, a: __m512i, b: __m512i, scales: __m512i) -> __m512i {
    let sums = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let sums = _mm512_add_epi32(sums, _mm512_srli_epi64::<32>(sums));
    _mm512_add_epi64(total, _mm512_mul_epi32(sums, scales))
}
