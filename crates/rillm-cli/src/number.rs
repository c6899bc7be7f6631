//! Numbers and names as people type and read them.

use rillm::format::TensorKind;
pub use rillm_console::number::{penalty, probability, q16};

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
}
