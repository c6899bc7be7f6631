//! The chips, by where they map flash.

use std::ops::Range;

/// Bytes of a page of the flash's map.
pub const PAGE: u32 = 64 << 10;

/// Where a chip maps flash.
#[derive(Debug, PartialEq, Eq)]
pub struct Chip {
    /// Number in an application's header.
    id: u16,
    /// Name.
    pub name: &'static str,
    /// Addresses of constants.
    constants: Range<u32>,
    /// Addresses of code.
    code: Range<u32>,
    /// Whether constants and code have one page table: a page of code then takes away the page of constants at the same
    /// offset.
    shared: bool,
}

/// The addresses are those of ESP-IDF (`soc.h` of each chip).
static CHIPS: [Chip; 5] = [
    chip(0, "ESP32", 0x3f40_0000..0x3f80_0000, 0x400d_0000..0x4040_0000, false),
    chip(9, "ESP32-S3", 0x3c00_0000..0x3e00_0000, 0x4200_0000..0x4400_0000, true),
    chip(5, "ESP32-C3", 0x3c00_0000..0x3c80_0000, 0x4200_0000..0x4280_0000, true),
    chip(13, "ESP32-C6", 0x4200_0000..0x4300_0000, 0x4200_0000..0x4300_0000, true),
    chip(18, "ESP32-P4", 0x4000_0000..0x4400_0000, 0x4000_0000..0x4400_0000, true),
];

const fn chip(id: u16, name: &'static str, constants: Range<u32>, code: Range<u32>, shared: bool) -> Chip {
    Chip { id, name, constants, code, shared }
}

impl Chip {
    /// The chip with this number.
    pub fn numbered(id: u16) -> Option<&'static Self> {
        CHIPS.iter().find(|chip| chip.id == id)
    }

    /// Whether the bootloader maps a segment with this address, and does not copy it.
    pub fn maps(&self, address: u32) -> bool {
        self.constants.contains(&address) || self.code.contains(&address)
    }

    /// The first address behind those of constants, with code at `code`.
    pub fn end_of_constants(&self, code: &[u32]) -> u32 {
        let page = |address: &u32| self.constants.start + (address - self.code.start) / PAGE * PAGE;
        let first = code.iter().filter(|address| self.shared && self.code.contains(address)).map(page).min();
        first.unwrap_or(self.constants.end)
    }
}
