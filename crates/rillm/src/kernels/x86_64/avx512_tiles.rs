//! Batches: tiles of 16 rows, with 512-bit vectors and the instructions of AVX-512 VNNI, which multiply and add at the same time.
//!
//! A lane's sum over a group is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::x86_64::*;

use super::avx2_tiles::{self, int4_tile, int8_tile, scales_of};
use crate::kernels::tiles::{self, BLOCK, EIGHTS, Eight, REGISTERS, Sums};
use crate::kernels::{Bits, Rows, Vectors};

/// Rows of a tile.
const ROWS: usize = 16;

/// A group of the rows, two columns of a row in each lane, and the rows' scales.
#[derive(Clone, Copy)]
struct Tile {
    weights: [__m512i; REGISTERS],
    scales: __m512i,
}

/// See [`Multiply::dot_batch`](crate::kernels::Multiply::dot_batch).
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
pub fn dot_batch(rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
    let zero = _mm512_setzero_si512();
    let mut tiles = [Tile { weights: [zero; REGISTERS], scales: zero }; BLOCK];
    let turned = |x: &_| avx2_tiles::turned(x);
    match rows.bits {
        Bits::Four => tiles::multiply(rows, x, sums, turned, |groups, x, sums| {
            for (number, tile) in tiles[..x.len()].iter_mut().enumerate() {
                // SAFETY: the rows have this group.
                *tile = Tile::of(halves(&groups.starts).map(|starts| unsafe { int4_tile(&starts, number) }));
            }
            add_products(&tiles[..x.len()], x, sums);
        }),
        Bits::Eight => tiles::multiply(rows, x, sums, turned, |groups, x, sums| {
            let scales = halves(&groups.scales).map(|scales| scales_of(&scales));
            for (number, tile) in tiles[..x.len()].iter_mut().enumerate() {
                let [first, second] = halves(&groups.starts);
                // SAFETY: the rows have this group.
                *tile = Tile::of(unsafe {
                    [int8_tile(&first, &scales[0], number), int8_tile(&second, &scales[1], number)]
                });
            }
            add_products(&tiles[..x.len()], x, sums);
        }),
    }
}

/// What belongs to the first eight rows, and to the others.
#[inline(always)]
fn halves<T: Copy>(of_rows: &[T; ROWS]) -> [[T; 8]; 2] {
    core::array::from_fn(|half| core::array::from_fn(|row| of_rows[8 * half + row]))
}

impl Tile {
    /// A tile of two with eight rows each.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
    fn of([first, second]: [avx2_tiles::Tile; 2]) -> Self {
        let both = |first, second| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second);
        let mut weights = [_mm512_setzero_si512(); REGISTERS];
        for (weights, (first, second)) in weights.iter_mut().zip(first.weights.into_iter().zip(second.weights)) {
            *weights = both(first, second);
        }
        Self { weights, scales: both(first.scales, second.scales) }
    }
}

/// Adds the products of tiles to the sums of each vector.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2")]
fn add_products(tiles: &[Tile], x: &[[Eight; EIGHTS]], sums: &mut [Sums<ROWS>]) {
    for (eight, sums) in sums.iter_mut().enumerate() {
        // The sums of even rows, and of odd rows.
        let mut totals = [[_mm512_setzero_si512(); 2]; 8];
        for (tile, x) in tiles.iter().zip(x) {
            let mut products = [_mm512_setzero_si512(); 8];
            for (weights, x) in tile.weights.iter().zip(&x[eight]) {
                for (product, x) in products.iter_mut().zip(x) {
                    *product = _mm512_dpwssd_epi32(*product, *weights, _mm512_set1_epi32(bytemuck::cast(*x)));
                }
            }
            for ([even, odd], product) in totals.iter_mut().zip(products) {
                *even = _mm512_add_epi64(*even, _mm512_mul_epi32(product, tile.scales));
                let (product, scales) = (_mm512_srli_epi64::<32>(product), _mm512_srli_epi64::<32>(tile.scales));
                *odd = _mm512_add_epi64(*odd, _mm512_mul_epi32(product, scales));
            }
        }
        tiles::add_even_and_odd(sums, totals.map(bytemuck::cast::<_, [[i64; ROWS / 2]; 2]>));
    }
}
