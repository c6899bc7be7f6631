//! The kernels for x86-64, which are chosen when they run: by the processor's features.

mod avx2;
mod sse41;

use super::{Kernel, Rows};

cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_sse41, "sse4.1", "ssse3");

/// The kernels for this processor, the fastest one first.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    let avx2 = has_avx2::get().then_some(Kernel { name: "avx2", dot: dot_avx2 });
    let sse41 = has_sse41::get().then_some(Kernel { name: "sse4.1", dot: dot_sse41 });
    avx2.into_iter().chain(sse41)
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
