//! Whether the weights that stream by are those of the file.
//!
//! The file has a checksum of its whole tape, so a pass through the head can tell at its end, before a token is chosen,
//! whether what it multiplied was right. A prompt's other passes end earlier, at the last layer's `v_proj`; their
//! checksum is compared with that of the same part of the next pass through the head.

use crate::format::{Checksum, FormatError, checksum};
use crate::stats::{Stage, Stopwatch};

/// Compares checksums in some of the passes.
pub(crate) struct Verifier {
    /// A pass through the head in so many is checked, and the prompt's passes before it; 0 for none.
    every: u32,
    /// The tape's checksum.
    expected: u32,
    /// Passes through the head until the next one that is checked.
    wait: u32,
    /// Of the pass at hand, if it is checked.
    digest: Option<Checksum>,
    /// Of the tape's prefix, as the last pass found it.
    prefix: Option<u32>,
    pub watch: Stopwatch,
}

impl Verifier {
    pub fn new(every: u32, expected: u32) -> Self {
        Self { every, expected, wait: 0, digest: None, prefix: None, watch: Stopwatch::default() }
    }

    /// One pass in `every` is checked from now on, the next one first.
    pub fn set_every(&mut self, every: u32) {
        (self.every, self.wait) = (every, 0);
    }

    /// A pass begins.
    pub fn begin(&mut self) {
        self.digest = (self.every > 0 && self.wait == 0).then(checksum);
    }

    /// The next bytes of the tape.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            let _time = self.watch.time(Stage::Checksum);
            digest.update(bytes);
        }
    }

    /// The last layer's keys and values are computed: the tape's prefix is through.
    ///
    /// # Errors
    /// [`FormatError::Checksum`]: an earlier pass read something else.
    pub fn end_prefix(&mut self) -> Result<(), FormatError> {
        let Some(digest) = &self.digest else {
            return Ok(());
        };
        let computed = digest.clone().finalize();
        match self.prefix {
            Some(stored) if stored != computed => Err(self.mismatch(stored, computed)),
            _ => {
                self.prefix = Some(computed);
                Ok(())
            }
        }
    }

    /// The whole tape is through.
    ///
    /// # Errors
    /// [`FormatError::Checksum`]: it wasn't the file's.
    pub fn end(&mut self) -> Result<(), FormatError> {
        if let Some(digest) = self.digest.take() {
            let computed = digest.finalize();
            if computed != self.expected {
                return Err(self.mismatch(self.expected, computed));
            }
            self.wait = self.every;
        }
        self.wait = self.wait.saturating_sub(1);
        Ok(())
    }

    /// The next pass is checked, and believes none before it.
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
        verifier.begin();
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
        let mut verifier = Verifier::new(3, crc32(b"abcdef"));
        for checked in [true, false, false, true, false, false, true] {
            let result = pass(&mut verifier, b"abc", Some(b"deF"));
            assert_eq!(result.is_err(), checked);
            if checked {
                // Once more, until it is right.
                assert!(pass(&mut verifier, b"abc", Some(b"dEf")).is_err());
                assert!(pass(&mut verifier, b"abc", Some(b"def")).is_ok());
            }
        }
        let mut never = Verifier::new(0, 0);
        assert!(pass(&mut never, b"abc", Some(b"def")).is_ok());
    }

    #[test]
    fn a_prompt_is_believed_once_a_whole_pass_agrees() {
        let mut verifier = Verifier::new(100, crc32(b"abcdef"));
        assert!(pass(&mut verifier, b"abC", None).is_ok());
        assert!(pass(&mut verifier, b"abc", None).is_err());
        assert!(pass(&mut verifier, b"abC", None).is_ok());
        assert!(pass(&mut verifier, b"abc", Some(b"def")).is_err());
        assert!(pass(&mut verifier, b"abc", None).is_ok());
        assert!(pass(&mut verifier, b"abc", Some(b"def")).is_ok());
    }
}
