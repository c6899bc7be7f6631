//! Verifies the streamed weights against the file's checksum.
//!
//! The file has a checksum of the whole tape. A pass through the head can therefore verify its weights at its end,
//! before a token is sampled. The other passes of a prompt end earlier, at the last layer's `v_proj`; their checksum is
//! compared with that of the same part of the next pass through the head.

use crate::format::{Crc32, FormatError};
use crate::stats::{ChecksumWatch, Stage};

/// Verifies the checksums of some passes.
pub(crate) struct Verifier {
    /// The interval of checks: one in `every` passes through the head is checked, and the prompt's passes before it; 0
    /// for none.
    every: u32,
    /// Whether the bytes are the same in each pass, so that one of a prompt's passes is enough.
    lent: bool,
    /// The checksum of the tape in the file.
    expected: u32,
    /// Number of passes through the head before the next check.
    wait: u32,
    /// The checksum of the current pass, if it is checked.
    digest: Option<Crc32>,
    /// The checksum of the tape's prefix in the last pass.
    prefix: Option<u32>,
    pub watch: ChecksumWatch,
}

impl Verifier {
    pub fn new(every: u32, lent: bool, expected: u32) -> Self {
        Self { every, lent, expected, wait: 0, digest: None, prefix: None, watch: ChecksumWatch::default() }
    }

    /// Sets the interval of checks. The next pass is checked.
    pub fn set_every(&mut self, every: u32) {
        (self.every, self.wait) = (every, 0);
    }

    /// Starts a pass, through the head or not.
    pub fn begin(&mut self, head: bool) {
        let known = self.lent && self.prefix.is_some() && !head;
        self.digest = (self.every > 0 && self.wait == 0 && !known).then(Crc32::new);
    }

    /// Adds the next bytes of the tape.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            let _time = self.watch.time(Stage::Checksum);
            digest.update(bytes);
        }
    }

    /// Ends the prefix: the last layer's keys and values are computed.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if an earlier pass read other bytes.
    pub fn end_prefix(&mut self) -> Result<(), FormatError> {
        let Some(digest) = &self.digest else {
            return Ok(());
        };
        let computed = digest.value();
        match self.prefix {
            Some(stored) if stored != computed => Err(self.mismatch(stored, computed)),
            _ => {
                self.prefix = Some(computed);
                Ok(())
            }
        }
    }

    /// Ends the tape.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if the bytes differ from the file's.
    pub fn end(&mut self) -> Result<(), FormatError> {
        if let Some(digest) = self.digest.take() {
            let computed = digest.value();
            if computed != self.expected {
                return Err(self.mismatch(self.expected, computed));
            }
            self.wait = self.every;
        }
        self.wait = self.wait.saturating_sub(1);
        Ok(())
    }

    /// Schedules a check of the next pass, and discards the checksum of earlier ones.
    fn mismatch(&mut self, stored: u32, computed: u32) -> FormatError {
        (self.prefix, self.wait) = (None, 0);
        FormatError::Checksum { what: "weights", stored, computed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::crc32;

    fn pass(verifier: &mut Verifier, prefix: &[u8], rest: Option<&[u8]>) -> Result<(), FormatError> {
        verifier.begin(rest.is_some());
        verifier.update(prefix);
        verifier.end_prefix()?;
        if let Some(rest) = rest {
            verifier.update(rest);
            verifier.end()?;
        }
        Ok(())
    }

    #[test]
    fn every_nth_pass_is_checked() {
        let mut verifier = Verifier::new(3, false, crc32(b"abcdef"));
        for checked in [true, false, false, true, false, false, true] {
            let result = pass(&mut verifier, b"abc", Some(b"deF"));
            assert_eq!(result.is_err(), checked);
            if checked {
                // Checked again until it matches.
                assert!(pass(&mut verifier, b"abc", Some(b"dEf")).is_err());
                assert!(pass(&mut verifier, b"abc", Some(b"def")).is_ok());
            }
        }
        let mut never = Verifier::new(0, false, 0);
        assert!(pass(&mut never, b"abc", Some(b"def")).is_ok());
    }

    #[test]
    fn a_prompt_is_believed_once_a_whole_pass_agrees() {
        let mut verifier = Verifier::new(100, false, crc32(b"abcdef"));
        assert!(pass(&mut verifier, b"abC", None).is_ok());
        assert!(pass(&mut verifier, b"abc", None).is_err());
        assert!(pass(&mut verifier, b"abC", None).is_ok());
        assert!(pass(&mut verifier, b"abc", Some(b"def")).is_err());
        assert!(pass(&mut verifier, b"abc", None).is_ok());
        assert!(pass(&mut verifier, b"abc", Some(b"def")).is_ok());
    }

    #[test]
    fn one_pass_of_a_prompt_in_lent_memory_is_checked() {
        let mut verifier = Verifier::new(100, true, crc32(b"abcdef"));
        assert!(pass(&mut verifier, b"abc", None).is_ok());
        verifier.begin(false);
        assert!(verifier.digest.is_none());
        assert!(pass(&mut verifier, b"abC", Some(b"def")).is_err());
        verifier.begin(false);
        assert!(verifier.digest.is_some());
        assert!(pass(&mut verifier, b"abc", Some(b"def")).is_ok());
    }
}
