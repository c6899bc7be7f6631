//! Numbers and names, parsed and formatted for people.

use rillm::format::TensorKind;
pub use rillm_generate::number::{Count, Word, penalty, probability, q16};

/// Parses a number of bytes: `65536`, `64K`, `4M`, `1G`, in powers of 1,024.
pub fn bytes(text: &str) -> Result<usize, String> {
    bytes_of(text, "1 to 900000G")
}

/// Parses the size of a card image. `rillm_card_image` decides whether a layout of this size exists.
pub fn image_bytes(text: &str) -> Result<usize, String> {
    bytes_of(text, "37M to 1024G")
}

fn bytes_of(text: &str, range: &str) -> Result<usize, String> {
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
    if (1.0..=1e15).contains(&bytes) { Ok(bytes as usize) } else { Err(format!("it must be {range}")) }
}

/// Parses a divergence in nats, above 0.
pub fn nats(text: &str) -> Result<f64, String> {
    let nats: f64 = text.parse().map_err(|_| "it is no number; write it as 0.01".to_owned())?;
    if nats > 0.0 && nats.is_finite() { Ok(nats) } else { Err("it must be above 0, as in 0.01".to_owned()) }
}

/// Formats at least `bytes`, rounded up, so that [`bytes`] can parse it: whole K below 1M, tenths of an M below 10M,
/// whole M above.
pub fn at_least(bytes: usize) -> String {
    let tenths = bytes.div_ceil(1 << 10).saturating_mul(10).div_ceil(1 << 10);
    match bytes {
        ..=0xf_fc00 => format!("{}K", bytes.div_ceil(1 << 10)),
        ..0xa0_0000 if !tenths.is_multiple_of(10) => format!("{}.{}M", tenths / 10, tenths % 10),
        _ => format!("{}M", bytes.div_ceil(1 << 20)),
    }
}

/// Formats exactly `bytes`, so that [`bytes`] can parse it.
pub fn exactly(bytes: usize) -> String {
    match bytes.trailing_zeros() {
        20.. => format!("{}M", bytes >> 20),
        10.. => format!("{}K", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// Formats `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// The name of a tensor in Hugging Face's Llama.
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
    fn bytes_as_they_are_said() {
        for (number, least, exact) in [
            (1, "1K", "1"),
            (65_536, "64K", "64K"),
            (65_537, "65K", "65537"),
            ((1 << 20) - 1, "1M", "1048575"),
            (1 << 20, "1M", "1M"),
            ((1 << 20) + 1, "1.1M", "1048577"),
            (3 << 19, "1.5M", "1536K"),
            ((10 << 20) - 1, "10M", "10485759"),
            (97_000_000, "93M", "97000000"),
        ] {
            assert_eq!((at_least(number).as_str(), exactly(number).as_str()), (least, exact));
            assert!(bytes(least).is_ok_and(|read| read >= number) && bytes(exact) == Ok(number), "{number}");
        }
        assert!(bytes(&at_least(usize::MAX)).is_err());
    }
}
