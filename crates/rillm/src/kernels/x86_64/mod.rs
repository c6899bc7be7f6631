//! The kernels for x86-64, which are chosen when they run: by the processor's features.

mod avx2;
mod avx2_tiles;
mod avx512_int4;
mod avx512_int8;
mod avx512_tiles;
mod avx_vnni;
mod sse41;

use core::arch::x86_64::*;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;

use super::{Bits, Kernel, Loops, OutputScale, Rows, Vectors};

cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_vbmi2, "avx2", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512vbmi2");
cpufeatures::new!(has_sse41, "sse4.1", "ssse3");

/// The kernels for this processor, the fastest one first.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    const AVX512: Kernel =
        Kernel { dot_batch: Some(batch_avx512), outputs: Some(outputs_avx512), ..Kernel::new("avx512", dot_avx512) };
    const AVX_VNNI: Kernel = Kernel { dot_batch: Some(batch_avx2), ..Kernel::new("avx-vnni", dot_avx_vnni) };
    const AVX2: Kernel = Kernel { dot_batch: Some(batch_avx2), ..Kernel::new("avx2", dot_avx2) };
    const SSE41: Kernel = Kernel::new("sse4.1", dot_sse41);
    let kernels =
        [(has_avx512(), &AVX512), (has_avx_vnni(), &AVX_VNNI), (has_avx2::get(), &AVX2), (has_sse41::get(), &SSE41)];
    kernels.into_iter().filter_map(|(runs, kernel)| runs.then_some(kernel))
}

/// The largest value that is 256 · h + l, both bytes with a sign: 256 · 127 + 127.
const LARGEST_OF_TWO_BYTES: i16 = 0x7f7f;

/// A register of zeros.
const ZERO: __m512i = {
    // SAFETY: a register is 64 bytes.
    unsafe { core::mem::transmute([0u8; 64]) }
};

/// Whether the processor has AVX-512 with BW, VL, VBMI, VBMI2 and VNNI (Ice Lake, Zen 4). With VNNI and without VBMI2 (Cascade Lake)
/// it takes the kernel for AVX2.
fn has_avx512() -> bool {
    static VNNI: Found = Found::unknown();
    // Intel's manual, volume 2, CPUID: leaf 7, ECX, bit 11. A processor with AVX-512 has this leaf.
    VNNI.get(|| has_vbmi2::get() && __cpuid_count(7, 0).ecx >> 11 & 1 == 1)
}

/// Whether the processor has AVX-VNNI (Alder Lake, Zen 5).
fn has_avx_vnni() -> bool {
    static VNNI: Found = Found::unknown();
    // Leaf 7, second part, EAX, bit 4. A processor with AVX2 has this leaf, and a part that it lacks reads as zero.
    VNNI.get(|| has_avx2::get() && __cpuid_count(7, 1).eax >> 4 & 1 == 1)
}

/// Whether the processor has a feature that cpufeatures 0.3 does not know.
struct Found(AtomicU8);

impl Found {
    const fn unknown() -> Self {
        Self(AtomicU8::new(2))
    }

    /// Asks for it once.
    fn get(&self, ask: impl FnOnce() -> bool) -> bool {
        match self.0.load(Relaxed) {
            0 => false,
            1 => true,
            _ => {
                let found = ask();
                self.0.store(found.into(), Relaxed);
                found
            }
        }
    }
}

/// Bytes after the start of four rows that are fetched while they are multiplied: these rows, or more if they are short. The
/// processor's own prefetching does not keep up with four rows at a time.
fn ahead(rows: &Rows<'_>) -> usize {
    (4 * rows.row_len).max(4096)
}

/// Starts to fetch the bytes from `at` on, which need not exist.
#[inline(always)]
pub fn prefetch(at: *const u8) {
    // SAFETY: nothing is read.
    unsafe { _mm_prefetch::<{ _MM_HINT_T0 }>(at.cast()) }
}

/// See [`super::dot_pairs`].
#[inline(always)]
pub fn dot_pairs(a: [i16; 8], b: [i16; 8]) -> [i32; 4] {
    // SAFETY: this file is compiled for processors with SSE2 only.
    bytemuck::cast(unsafe { _mm_madd_epi16(bytemuck::cast(a), bytemuck::cast(b)) })
}

/// Runs loops, compiled for AVX-512 or AVX2 if the processor has it.
#[inline(always)]
pub fn with_wide_vectors<L: Loops>(loops: L) -> L::Output {
    if has_avx512() {
        // SAFETY: the processor has these instructions.
        unsafe { with_avx512(loops) }
    } else if has_avx2::get() {
        // SAFETY: the processor has AVX2.
        unsafe { with_avx2(loops) }
    } else {
        loops.run()
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512vnni")]
fn with_avx512<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

#[target_feature(enable = "avx2")]
fn with_avx2<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

/// See [`super::weighted_values`]. Of values whose length is a multiple of 32, the compiler makes as good a loop.
pub fn weighted_values(values: &[i8], stride: usize, weights: &[i32], out: &mut [i32]) -> usize {
    if has_avx2::get() && !out.len().is_multiple_of(32) {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::weighted_values(values, stride, weights, out) }
    } else {
        0
    }
}

fn dot_avx2(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    assert!(has_avx2::get());
    // SAFETY: the processor has AVX2.
    unsafe { avx2::dot_rows(rows, x, sums) }
}

fn batch_avx2(rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
    assert!(has_avx2::get());
    // SAFETY: the processor has AVX2.
    unsafe { avx2_tiles::dot_batch(rows, x, sums) }
}

fn dot_avx_vnni(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    assert!(has_avx_vnni());
    // SAFETY: the processor has AVX2 and AVX-VNNI.
    unsafe { avx_vnni::dot_rows(rows, x, sums) }
}

fn dot_sse41(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    assert!(has_sse41::get());
    // SAFETY: the processor has SSE4.1 and SSSE3.
    unsafe { sse41::dot_rows(rows, x, sums) }
}

fn dot_avx512(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    assert!(has_avx512());
    // SAFETY: the processor has these instructions.
    unsafe {
        match rows.bits {
            Bits::Four => avx512_int4::dot_rows(rows, x, sums),
            Bits::Eight => avx512_int8::dot_rows(rows, x, sums),
        }
    }
}

fn batch_avx512(rows: &Rows<'_>, x: Vectors<'_>, sums: &mut [i64]) {
    assert!(has_avx512());
    // SAFETY: the processor has these instructions.
    unsafe { avx512_tiles::dot_batch(rows, x, sums) }
}

fn outputs_avx512(rows: &Rows<'_>, x: &[i16], scale: OutputScale, outputs: &mut [i32]) {
    assert!(has_avx512());
    // SAFETY: the processor has these instructions.
    unsafe {
        match rows.bits {
            Bits::Four => avx512_int4::outputs(rows, x, scale, outputs),
            Bits::Eight => avx512_int8::outputs(rows, x, scale, outputs),
        }
    }
}

/// The outputs of eight rows with these sums and exponents.
#[target_feature(enable = "avx512f")]
fn rounded(sums: __m512i, exponents: __m512i, scale: OutputScale) -> __m256i {
    let lower = _mm512_sub_epi64(_mm512_set1_epi64(scale.largest.into()), exponents);
    let shift =
        _mm512_add_epi64(_mm512_max_epi64(lower, _mm512_setzero_si512()), _mm512_set1_epi64(scale.excess.into()));
    // Twice the output, rounded down. A sum is within ±2^47.
    let twice = _mm512_cvtepi64_epi32(_mm512_srav_epi64(_mm512_slli_epi64::<1>(sums), shift));
    _mm256_add_epi32(_mm256_srai_epi32::<1>(twice), _mm256_and_si256(twice, _mm256_set1_epi32(1)))
}
