//! The kernels for x86-64, which are chosen when they run: by the processor's features.

mod avx2;
mod sse41;

use super::{Kernel, Loops, Rows};

cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_sse41, "sse4.1", "ssse3");

/// The kernels for this processor, the fastest one first.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    let avx2 = has_avx2::get().then_some(Kernel { name: "avx2", dot: dot_avx2 });
    let sse41 = has_sse41::get().then_some(Kernel { name: "sse4.1", dot: dot_sse41 });
    avx2.into_iter().chain(sse41)
}

/// Bytes after the start of four rows that are fetched while they are multiplied: these rows, or more if they are short. The
/// processor's own prefetching does not keep up with four rows at a time.
fn ahead(rows: &Rows<'_>) -> usize {
    (4 * rows.row_len).max(4096)
}

/// Starts to fetch the bytes from `at` on, which need not exist.
#[inline(always)]
fn prefetch(at: *const u8) {
    // SAFETY: nothing is read.
    unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast()) }
}

/// See [`super::dot_pairs`].
#[inline(always)]
pub fn dot_pairs(a: [i16; 8], b: [i16; 8]) -> [i32; 4] {
    // SAFETY: this file is compiled for processors with SSE2 only.
    bytemuck::cast(unsafe { core::arch::x86_64::_mm_madd_epi16(bytemuck::cast(a), bytemuck::cast(b)) })
}

/// Runs loops, compiled for AVX2 if the processor has it.
#[inline(always)]
pub fn widely<L: Loops>(loops: L) -> L::Output {
    if has_avx2::get() {
        // SAFETY: the processor has AVX2.
        unsafe { with_avx2(loops) }
    } else {
        loops.run()
    }
}

#[target_feature(enable = "avx2")]
fn with_avx2<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

fn dot_avx2(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    assert!(has_avx2::get());
    // SAFETY: the processor has AVX2.
    unsafe { avx2::dot_rows(rows, x, sums) }
}

fn dot_sse41(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    assert!(has_sse41::get());
    // SAFETY: the processor has SSE4.1 and SSSE3.
    unsafe { sse41::dot_rows(rows, x, sums) }
}
