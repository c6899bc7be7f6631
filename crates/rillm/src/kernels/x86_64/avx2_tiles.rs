//! Batches: tiles of 8 rows, with 256-bit vectors.
//!
//! A lane's sum over a group is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::x86_64::*;

use crate::format::INT4_LEVELS;
use crate::kernels::fours::{GROUP, INT4_LEN};
use crate::kernels::tiles::{self, BLOCK, EIGHTS, Eight, Pairs, REGISTERS, Sums};
use crate::kernels::{Bits, Rows, Vectors};

/// Rows of a tile.
const ROWS: usize = 8;

/// A group of the rows, two columns of a row in each lane, and the rows' scales.
#[derive(Clone, Copy)]
pub struct Tile {
    pub weights: [__m256i; REGISTERS],
    pub scales: __m256i,
}

/// See [`Multiply::dot_batch`](crate::kernels::Multiply::dot_batch).
#[target_feature(enable = "avx2")]
pub fn dot_batch(rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
    let zero = _mm256_setzero_si256();
    let mut tiles = [Tile { weights: [zero; REGISTERS], scales: zero }; BLOCK];
    let turned = |x: &_| turned(x);
    match rows.bits {
        Bits::Four => tiles::multiply(rows, x, sums, turned, |groups, x, sums| {
            for (number, tile) in tiles[..x.len()].iter_mut().enumerate() {
                // SAFETY: the rows have this group.
                *tile = unsafe { int4_tile(&groups.starts, number) };
            }
            add_products(&tiles[..x.len()], x, sums);
        }),
        Bits::Eight => tiles::multiply(rows, x, sums, turned, |groups, x, sums| {
            let scales = scales_of(&groups.scales);
            for (number, tile) in tiles[..x.len()].iter_mut().enumerate() {
                // SAFETY: the rows have this group.
                *tile = unsafe { int8_tile(&groups.starts, &scales, number) };
            }
            add_products(&tiles[..x.len()], x, sums);
        }),
    }
}

/// A tile of int4, of group `number` from the starts on.
///
/// # Safety
/// The rows have this group.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn int4_tile(starts: &[*const u8; ROWS], number: usize) -> Tile {
    // SAFETY: as the caller promises. The scale is a group's last byte.
    unsafe {
        let group = starts.map(|row| row.add(number * INT4_LEN));
        let [.., last] = transposed(group.map(|row| row.add(1)));
        Tile { weights: int4_weights(transposed(group)), scales: _mm256_srai_epi32::<24>(last) }
    }
}

/// A tile of int8, of group `number` from the starts on.
///
/// # Safety
/// The rows have this group.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn int8_tile(starts: &[*const u8; ROWS], scales: &[__m256i; 4], number: usize) -> Tile {
    // SAFETY: as the caller promises.
    let weights = unsafe { int8_weights(starts.map(|row| row.add(number * GROUP))) };
    let scales = _mm256_srl_epi32(scales[number / 4], _mm_cvtsi32_si128(8 * (number % 4) as i32));
    Tile { weights, scales: _mm256_and_si256(scales, _mm256_set1_epi32(0xff)) }
}

/// The scales of 16 groups of int8, four of a row in each lane.
#[inline]
#[target_feature(enable = "avx2")]
pub fn scales_of(scales: &[[u8; 16]; ROWS]) -> [__m256i; 4] {
    // SAFETY: there are 16 bytes of each row.
    unsafe { transposed(scales.each_ref().map(|scales| scales.as_ptr())) }
}

/// Adds the products of tiles to the sums of each vector.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products(tiles: &[Tile], x: &[[Eight; EIGHTS]], sums: &mut [Sums<ROWS>]) {
    for (eight, sums) in sums.iter_mut().enumerate() {
        // The sums of even rows, and of odd rows.
        let mut totals = [[_mm256_setzero_si256(); 2]; 8];
        for (tile, x) in tiles.iter().zip(x) {
            let mut products = [_mm256_setzero_si256(); 8];
            for (weights, x) in tile.weights.iter().zip(&x[eight]) {
                for (product, x) in products.iter_mut().zip(x) {
                    let x = _mm256_set1_epi32(bytemuck::cast(*x));
                    *product = _mm256_add_epi32(*product, _mm256_madd_epi16(*weights, x));
                }
            }
            for ([even, odd], product) in totals.iter_mut().zip(products) {
                *even = _mm256_add_epi64(*even, _mm256_mul_epi32(product, tile.scales));
                let (product, scales) = (_mm256_srli_epi64::<32>(product), _mm256_srli_epi64::<32>(tile.scales));
                *odd = _mm256_add_epi64(*odd, _mm256_mul_epi32(product, scales));
            }
        }
        tiles::add_even_and_odd(sums, totals.map(bytemuck::cast::<_, [[i64; ROWS / 2]; 2]>));
    }
}

/// The pairs of columns of eight vectors, the same pair of all of them together.
#[inline]
#[target_feature(enable = "avx2")]
pub fn turned(x: &[Pairs; ROWS]) -> Eight {
    let x: [[__m256i; 2]; ROWS] = bytemuck::cast(*x);
    let [first, second] =
        [x.map(|x| x[0]), x.map(|x| x[1])].map(|x| bytemuck::cast::<_, [[[i16; 2]; ROWS]; 8]>(square(x)));
    let mut turned = [[[0; 2]; ROWS]; REGISTERS];
    turned[..8].copy_from_slice(&first);
    turned[8..].copy_from_slice(&second);
    turned
}

/// The weights of 32 columns.
///
/// # Safety
/// Each pointer points to 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn int8_weights(rows: [*const u8; ROWS]) -> [__m256i; REGISTERS] {
    // Four columns of a row in the order 0, 2, 1, 3: the even bytes are the first two columns, the odd bytes the others.
    const PAIRS: [u8; 16] = [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15];
    let pairs = _mm256_broadcastsi128_si256(bytemuck::cast(PAIRS));
    // SAFETY: as the caller promises.
    let rows = rows.map(|row| unsafe { _mm256_loadu_si256(row.cast()) });
    widened(square(rows.map(|row| _mm256_shuffle_epi8(row, pairs))))
}

/// The weights of 32 columns, from four of their bytes in each register.
#[inline]
#[target_feature(enable = "avx2")]
fn int4_weights(bytes: [__m256i; 4]) -> [__m256i; REGISTERS] {
    let levels = _mm256_broadcastsi128_si256(bytemuck::cast(INT4_LEVELS));
    let level = |bytes| _mm256_shuffle_epi8(levels, _mm256_and_si256(bytes, _mm256_set1_epi8(15)));
    let mut columns = [_mm256_setzero_si256(); REGISTERS / 2];
    for (columns, bytes) in columns.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        let (lower, upper) = (level(bytes), level(_mm256_srli_epi16::<4>(bytes)));
        // Columns 0, 2, 1, 3, then 4, 6, 5, 7.
        *columns = [
            _mm256_blend_epi16::<0b1010_1010>(lower, _mm256_slli_epi32::<16>(upper)),
            _mm256_blend_epi16::<0b1010_1010>(_mm256_srli_epi32::<16>(lower), upper),
        ];
    }
    widened(columns)
}

/// Of each register the even bytes in 16 bits each, then the odd bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn widened(bytes: [__m256i; REGISTERS / 2]) -> [__m256i; REGISTERS] {
    let mut widened = [_mm256_setzero_si256(); REGISTERS];
    for (widened, bytes) in widened.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *widened = [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)];
    }
    widened
}

/// The transposed matrix of 32-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn square([a, b, c, d, e, f, g, h]: [__m256i; 8]) -> [__m256i; 8] {
    let (first, second) = (interleaved([a, b, c, d]), interleaved([e, f, g, h]));
    let [a, b, c, d] = core::array::from_fn(|k| _mm256_permute2x128_si256::<0x20>(first[k], second[k]));
    let [e, f, g, h] = core::array::from_fn(|k| _mm256_permute2x128_si256::<0x31>(first[k], second[k]));
    [a, b, c, d, e, f, g, h]
}

/// Four bytes of each row in each register, from 16 bytes of each row.
///
/// # Safety
/// Each pointer points to 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transposed(rows: [*const u8; ROWS]) -> [__m256i; 4] {
    // SAFETY: as the caller promises.
    let two = |row: usize| unsafe { _mm256_loadu2_m128i(rows[row + 4].cast(), rows[row].cast()) };
    interleaved([two(0), two(1), two(2), two(3)])
}

/// In each half of the registers, the transposed matrix of its 32-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn interleaved([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ab_upper, cd_upper) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_upper, cd_upper),
        _mm256_unpackhi_epi64(ab_upper, cd_upper),
    ]
}
