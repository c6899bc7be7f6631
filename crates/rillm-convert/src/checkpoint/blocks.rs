//! ggml's blocks as float32: every product and sum is rounded by itself, in the order that `gguf.quants.dequantize` has,
//! so that the values are the same to the last bit.

/// A half-precision number at the start of `bytes`.
fn half(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Scale; 32 signed bytes.
pub fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (out, &q) in out.iter_mut().zip(&block[2..]) {
        *out = scale * f32::from(q as i8);
    }
}

/// Scale; 32 numbers of 4 bits, less 8.
pub fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half(block, 0);
    halves(&block[2..], 0, out, |q| scale * (q - 8.0));
}

/// Scale, least value; 32 numbers of 4 bits.
pub fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    halves(&block[4..], 0, out, |q| scale * q + least);
}

/// Scale; the fifth bits of 32 numbers, their lower four, less 16.
pub fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half(block, 0);
    halves(&block[6..], fifth_bits(block, 2), out, |q| scale * (q - 16.0));
}

/// Scale, least value; the fifth bits of 32 numbers, their lower four.
pub fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    halves(&block[8..], fifth_bits(block, 4), out, |q| scale * q + least);
}

fn fifth_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// 16 bytes with the numbers of the first half in their lower four bits and those of the second in the upper ones; bit
/// *i* of `fifth` is the fifth of number *i*.
fn halves(bytes: &[u8], fifth: u32, out: &mut [f32; 32], value: impl Fn(f32) -> f32) {
    let (first, second) = out.split_at_mut(16);
    for (i, (&byte, (first, second))) in bytes.iter().zip(first.iter_mut().zip(second)).enumerate() {
        let number = |four: u8, i: usize| value(f32::from(four | ((fifth >> i & 1) << 4) as u8));
        *first = number(byte & 15, i);
        *second = number(byte >> 4, 16 + i);
    }
}

/// Scale of the scales, scale of the least values; 8 of both; 256 numbers of 4 bits.
pub fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    groups_of_32(&block[..16], &[0; 32], &block[16..], out);
}

/// As [`q4_k`], with the numbers' fifth bits before their lower four.
pub fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    groups_of_32(&block[..16], &block[16..48], &block[48..], out);
}

/// Groups of 32 numbers, each with a scale and a least value that is subtracted. Two neighbours share 32 bytes of `low`,
/// and bit *g* of byte *i* of `fifth` is the fifth of number *i* of group *g*.
fn groups_of_32(scales: &[u8], fifth: &[u8], low: &[u8], out: &mut [f32; 256]) {
    let (scale, least) = (half(scales, 0), half(scales, 2));
    let packed = &scales[4..];
    for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        // 6 bits each: of the first four groups they lie in one byte, of the others in two.
        let (s, m) = match group {
            0..4 => (packed[group] & 63, packed[group + 4] & 63),
            _ => {
                (packed[group + 4] & 15 | packed[group - 4] >> 6 << 4, packed[group + 4] >> 4 | packed[group] >> 6 << 4)
            }
        };
        let (scale, least) = (scale * f32::from(s), least * f32::from(m));
        let low = &low[group / 2 * 32..][..32];
        for ((out, &low), &fifth) in out.iter_mut().zip(low).zip(fifth) {
            let four = if group % 2 == 0 { low & 15 } else { low >> 4 };
            *out = scale * f32::from(four | (fifth >> group & 1) << 4) - least;
        }
    }
}

/// The lower four bits of 256 numbers, their upper two; 16 signed scales; scale of the scales. 32 is subtracted.
pub fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let scale = half(block, 208);
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    for (i, out) in out.iter_mut().enumerate() {
        // In each half of the block: two runs of 32 in the lower bits of 64 bytes, two in the upper.
        let (half, run, at) = (i / 128, i / 32 % 4, i % 32);
        let four = low[64 * half + run % 2 * 32 + at] >> (run / 2 * 4) & 15;
        let two = high[32 * half + at] >> (2 * run) & 3;
        let q = f32::from(four | two << 4) - 32.0;
        *out = scale * f32::from(scales[i / 16] as i8) * q;
    }
}
