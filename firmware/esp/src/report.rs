//! The board's report of itself.

use core::fmt::{Result, Write};

use esp_hal::clock::cpu_clock;
use esp_hal::efuse::chip_revision;
use rillm_boards::FlashMode;
use rillm_console::StackUse;
use rillm_generate::number::Bytes;
use rillm_watermark::Stack;

use crate::{clock, psram};

/// Results of the start.
pub struct StartReport {
    /// Bytes of PSRAM, if the board has any, or why it is not used.
    pub psram: core::result::Result<Option<usize>, psram::Error>,
    /// Whether the second core multiplies.
    pub two_cores: bool,
    /// How the flash is read, if that is known for the chip.
    pub flash: Option<FlashMode>,
    /// The stack.
    pub stack: Stack,
}

impl StartReport {
    /// Writes chip and memory.
    pub fn start(&self, out: &mut dyn Write) -> Result {
        let (revision, cores) = (chip_revision(), if self.two_cores { "two cores" } else { "one core" });
        let (chip, mhz) = (esp_hal::chip!(), cpu_clock().as_mhz());
        write!(out, "{chip} revision {}.{}, {cores} at {mhz} MHz", revision.major, revision.minor)?;
        if let Some(mode) = self.flash {
            write!(out, ", flash {mode}")?;
        }
        match self.psram {
            Ok(None) => writeln!(out),
            Ok(Some(len)) => {
                let alone = if psram::for_weights_alone() {
                    ", for weights alone: this chip is older than revision 3"
                } else {
                    ""
                };
                writeln!(out, "\nPSRAM: {}{alone}", Bytes(len as u64))
            }
            Err(error) => writeln!(out, "\nPSRAM: {error}"),
        }
    }

    /// Writes the time since the start.
    pub fn ready(&self, out: &mut dyn Write) -> Result {
        let cycles = clock::cycles();
        writeln!(out, "ready {} ms after the start", cycles / u64::from(cpu_clock().as_hz() / 1000))
    }

    /// The stack usage.
    pub fn stack(&self) -> StackUse {
        StackUse { peak: self.stack.peak(), len: self.stack.len() }
    }
}
