//! Numbers, parsed and formatted for people, in integers.

use core::fmt::{self, Write as _};

use heapless::String;
use rillm::Q16;

/// Number of fraction digits that are parsed. Later ones are far below the last bit of a [`Q16`].
const FRACTION_DIGITS: usize = 14;
const HIGHEST: Q16 = Q16(100 << 16);

/// Parses a decimal number from 0 to 100, rounded to 1/65,536.
///
/// # Errors
/// The expected form.
pub fn q16(text: &str) -> Result<Q16, &'static str> {
    within(text, Q16::ZERO, HIGHEST, "it must be 0 to 100")
}

/// Parses a decimal number from `lowest` to `highest`, at most 100. `range` is the message for a number outside.
fn within(text: &str, lowest: Q16, highest: Q16, range: &'static str) -> Result<Q16, &'static str> {
    const NO_NUMBER: &str = "it is no number; write it as 1 or 0.8";
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return Err(NO_NUMBER);
    }
    let value = |digits: &str, len: usize| {
        let digits = digits.bytes().chain(core::iter::repeat(b'0')).take(len);
        digits.fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'))
    };
    let whole = whole.trim_start_matches('0');
    if whole.len() > 3 {
        return Err(range);
    }
    // 10^14 · 2^16 is below 2^63.
    let unit = 10u64.pow(FRACTION_DIGITS as u32);
    let fraction = ((value(fraction, FRACTION_DIGITS) << 16) + unit / 2) / unit;
    // Fits: it is below 1,000 · 2^16 + 2^16.
    let number = Q16((value(whole, whole.len()) << 16) as u32 + fraction as u32);
    let negative = negative && number > Q16::ZERO;
    if negative || !(lowest..=highest).contains(&number) { Err(range) } else { Ok(number) }
}

/// Parses a probability, rounded to 1/65,536.
///
/// # Errors
/// The expected form.
pub fn probability(text: &str) -> Result<Q16, &'static str> {
    within(text, Q16::ZERO, Q16::ONE, "it must be 0 to 1")
}

/// Parses a repetition penalty, 1 to 100, rounded to 1/65,536.
///
/// # Errors
/// The expected form.
pub fn penalty(text: &str) -> Result<Q16, &'static str> {
    within(text, Q16::ONE, HIGHEST, "it must be 1 to 100; 1 is no penalty")
}

/// Shows a [`Q16`] in the fewest digits that [`q16`] parses as the same number.
#[derive(Clone, Copy, Debug)]
pub struct Decimal(pub Q16);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u64::from(self.0.0);
        // The number rounded to `digits`, and the fraction that these digits parse as.
        let rounded = |digits: u32| (bits * 10u64.pow(digits) + 32_768) >> 16;
        let read_back = |digits: u32| ((rounded(digits) << 16) + 10u64.pow(digits) / 2) / 10u64.pow(digits);
        // Five digits distinguish all fractions: 1/65,536 is more than 0.00001.
        let digits = (0..5).find(|&digits| read_back(digits) == bits).unwrap_or(5);
        let (number, unit, digits) = (rounded(digits), 10u64.pow(digits), digits as usize);
        write!(f, "{}", number / unit)?;
        if digits > 0 { write!(f, ".{:0digits$}", number % unit) } else { Ok(()) }
    }
}

/// Shows bytes in units of 1,024: `512 B`, `1.50 KiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let unit = bytes.checked_ilog2().unwrap_or(0) / 10;
        let Some(prefix) = (unit as usize).checked_sub(1).and_then(|unit| b"KMGTPE".get(unit)) else {
            return padded(f, format_args!("{bytes} B"));
        };
        // Rounds halves to even, like the formatting of floating-point numbers.
        let (scaled, shift) = (u128::from(bytes) * 100, 10 * unit);
        let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1));
        // `whole` is below 102,400: hundredths of a number below 1,024.
        let hundredths = whole as u32 + u32::from(rest > half || (rest == half && whole % 2 == 1));
        padded(f, format_args!("{}.{:02} {}iB", hundredths / 100, hundredths % 100, char::from(*prefix)))
    }
}

/// Shows `1234567` as `1,234,567`.
#[derive(Clone, Copy, Debug)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        let mut unit = 1000u64.pow(number.checked_ilog(1000).unwrap_or(0));
        let mut text = String::<WIDEST>::new();
        write!(text, "{}", number / unit)?;
        while unit > 1 {
            let rest = number % unit;
            unit /= 1000;
            write!(text, ",{:03}", rest / unit)?;
        }
        f.pad(&text)
    }
}

/// Shows a count with its noun: `1 token`, `2,000 tokens`, `1 pass`, `2 passes`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, thing) = *self;
        write!(f, "{} {}", Grouped(number), Word(number, thing))
    }
}

/// Shows the noun for a count: `token`, `tokens`.
#[derive(Clone, Copy, Debug)]
pub struct Word(pub u64, pub &'static str);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, thing) = *self;
        let ending = match number {
            1 => "",
            _ if thing.ends_with('s') => "es",
            _ => "s",
        };
        write!(f, "{thing}{ending}")
    }
}

/// Shows a quotient rounded to one fraction digit, or 0.0 for a divisor of zero. Both numbers must be below 2^59, which
/// avoids 128-bit division: it is long on a small chip, and not every compiler for one has it right.
#[derive(Clone, Copy, Debug)]
pub struct Tenths {
    /// The dividend.
    pub of: u64,
    /// The divisor.
    pub by: u64,
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubled = self.of.saturating_mul(20).saturating_add(self.by);
        let tenths = doubled.checked_div(self.by.saturating_mul(2)).unwrap_or(0);
        padded(f, format_args!("{}.{}", tenths / 10, tenths % 10))
    }
}

/// Shows a quotient rounded to two fraction digits, or 0.00 for a divisor of zero. Both numbers must be below 2^56.
#[derive(Clone, Copy, Debug)]
pub struct Hundredths {
    /// The dividend.
    pub of: u64,
    /// The divisor.
    pub by: u64,
}

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.of * 200 + self.by).checked_div(self.by * 2).unwrap_or(0);
        padded(f, format_args!("{}.{:02}", hundredths / 100, hundredths % 100))
    }
}

/// Length of the longest number: 2^64 − 1 in groups of three.
const WIDEST: usize = 26;

/// Writes a number with the width of the formatter.
fn padded(f: &mut fmt::Formatter<'_>, number: fmt::Arguments<'_>) -> fmt::Result {
    let mut text = String::<WIDEST>::new();
    text.write_fmt(number)?;
    f.pad(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{BinaryBytes, HumanCount};
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    #[test]
    fn fractions_are_rounded_and_bounded() {
        assert_eq!(q16("0.8"), Ok(Q16(52_429)));
        assert_eq!(q16(".5"), Ok(Q16(32_768)));
        assert_eq!(q16("007."), Ok(Q16(7 << 16)));
        assert_eq!(q16("99.9999999999999999999"), Ok(Q16(100 << 16)));
        assert_eq!(q16("-0"), Ok(Q16::ZERO));
        assert_eq!(probability("1"), Ok(Q16::ONE));
        for wrong in ["", ".", "x", "NaN", "1e3", "0,8", "1.2.3", "--1", "²"] {
            assert!(q16(wrong).unwrap_err().contains("no number"), "{wrong}");
        }
        // Numbers below and above a range give the same message.
        for (parse, range, inside) in [
            (q16 as fn(&str) -> _, "it must be 0 to 100", ["0", "100"]),
            (probability, "it must be 0 to 1", ["0", "1"]),
            (penalty, "it must be 1 to 100; 1 is no penalty", ["1", "100"]),
        ] {
            for wrong in ["-1", "-0.1", "100.1", "101", "99999999999999999999999"] {
                assert_eq!(parse(wrong), Err(range), "{wrong}");
            }
            assert!(inside.iter().all(|number| parse(number).is_ok()), "{range}");
        }
        assert_eq!(probability("1.1"), Err("it must be 0 to 1"));
        assert_eq!(penalty("0.9"), Err("it must be 1 to 100; 1 is no penalty"));
    }

    #[test]
    fn what_was_typed_is_shown() {
        for hundredths in 0..=200u32 {
            let typed = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let typed = typed.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(Decimal(q16(typed).unwrap()).to_string(), typed);
        }
        for bits in 0..=1 << 17 {
            assert_eq!(q16(&Decimal(Q16(bits)).to_string()), Ok(Q16(bits)));
        }
    }

    #[test]
    fn bytes_at_the_edges() {
        for shift in 0..53 {
            for bytes in [(1 << shift) - 1, 1 << shift, (1 << shift) + 1, 5 << shift >> 3, 1029 << shift >> 11] {
                assert_eq!(Bytes(bytes).to_string(), BinaryBytes(bytes).to_string(), "{bytes}");
            }
        }
    }

    #[test]
    fn one_thing_and_several() {
        let said = [0, 1, 2, 1000].map(|number| Count(number, "token").to_string());
        assert_eq!(said, ["0 tokens", "1 token", "2 tokens", "1,000 tokens"]);
        assert_eq!([1, 2].map(|number| Count(number, "pass").to_string()), ["1 pass", "2 passes"]);
    }

    #[test]
    fn quotients() {
        assert_eq!(Tenths { of: 1, by: 0 }.to_string(), "0.0");
        assert_eq!(Tenths { of: 2, by: 3 }.to_string(), "0.7");
        assert_eq!(Tenths { of: 199, by: 20 }.to_string(), "10.0");
        assert_eq!(
            std::format!("{:>6}|{:<6}|{:>8}", Tenths { of: 1, by: 1 }, Grouped(1), Bytes(1)),
            "   1.0|1     |     1 B"
        );
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_command(bytes in 0u64..1 << 53) {
            prop_assert_eq!(Bytes(bytes).to_string(), BinaryBytes(bytes).to_string());
            let bytes = bytes % (1 << 22);
            prop_assert_eq!(Bytes(bytes).to_string(), BinaryBytes(bytes).to_string());
        }

        #[test]
        fn counts_are_those_of_the_command(number: u64, shift in 0..64) {
            let number = number >> shift;
            prop_assert_eq!(Grouped(number).to_string(), HumanCount(number).to_string());
        }

        #[test]
        fn fractions_are_those_of_floating_point(number in 0.0..100.0f64, digits in 0..8usize) {
            let text = std::format!("{number:.digits$}");
            let expected = (text.parse::<f64>().unwrap() * 65_536.0).round() as u32;
            prop_assert_eq!(q16(&text), Ok(Q16(expected)));
        }

        #[test]
        fn what_is_shown_reads_back(bits in 0..=100u32 << 16) {
            prop_assert_eq!(q16(&Decimal(Q16(bits)).to_string()), Ok(Q16(bits)));
        }

        #[test]
        fn any_text_is_a_number_or_an_error(text: std::string::String) {
            let _ = q16(&text);
        }
    }
}
