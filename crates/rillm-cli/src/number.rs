//! Numbers and names as people type and read them.

use rillm::format::TensorKind;
use rillm::sampler::Q16;

/// Bytes: `65536`, `64K`, `4M`, `1G`, in powers of 1,024.
pub fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| "it is no number of bytes; write it as 262144 or 256K".to_owned())?;
    let unit = &text[digits.len()..];
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err(format!("`{unit}` is no unit; use K, M or G, as in 256K")),
    };
    let bytes = number * factor as f64;
    if (1.0..=1e15).contains(&bytes) { Ok(bytes as usize) } else { Err("it must be 1 to 900000G".to_owned()) }
}

/// A number from 0 on, rounded to 1/65,536.
pub fn q16(text: &str) -> Result<Q16, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(Q16((number * 65_536.0).round() as u32))
    } else {
        Err("it must be 0 to 100".to_owned())
    }
}

/// A probability, rounded to 1/65,536.
pub fn probability(text: &str) -> Result<Q16, String> {
    q16(text).and_then(|p| if p <= Q16::ONE { Ok(p) } else { Err("it must be 0 to 1".to_owned()) })
}

/// A repetition penalty, rounded to 1/65,536.
pub fn penalty(text: &str) -> Result<Q16, String> {
    q16(text).and_then(|p| if p >= Q16::ONE { Ok(p) } else { Err("it must be 1 or more; 1 is none".to_owned()) })
}

/// A number of bytes as [`bytes`] reads it, rounded up to whole KiB.
pub fn kibibytes(bytes: usize) -> String {
    format!("{}K", bytes.div_ceil(1024))
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A tensor's name, as in Hugging Face's Llama.
pub fn tensor_name(kind: TensorKind, layer: u32) -> String {
    match kind {
        TensorKind::Embedding | TensorKind::FinalNorm | TensorKind::Head => kind.to_string(),
        _ => format!("layers.{layer}.{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_units() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("64K"), Ok(65_536));
        assert_eq!(bytes("0.5MiB"), Ok(524_288));
        for wrong in ["", "K", "12Q", "-5", "NaN", "1e30", "0"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fractions_are_rounded_and_bounded() {
        assert_eq!(q16("0.8"), Ok(Q16(52_429)));
        assert_eq!(probability("1"), Ok(Q16::ONE));
        for wrong in ["-0.1", "1.1", "x", "NaN"] {
            assert!(probability(wrong).is_err(), "{wrong}");
        }
        assert!(penalty("0.9").is_err());
    }
}
