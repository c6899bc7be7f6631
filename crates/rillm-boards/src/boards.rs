//! The boards that rillm has firmware for: the engine's memory, and the speed of card, memory and processor.
//!
//! The firmware takes the size of its memory from here, and `rillm plan --board` all figures, so the two agree. None of
//! the figures was measured on these boards. Each [`Figure`] names its source.

use core::fmt;

use rillm::{MemoryLen, Region};

use crate::estimate::ModelPlace;
use crate::figure::Figure;
use crate::instructions::Cpu;

/// The interface of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The chip's SD host with four data lines at 40 MHz and DMA: the next chunk is read while the current one is
    /// multiplied.
    Sdmmc,
    /// SPI at 20 MHz with one data line, driven by the processor, which either reads or multiplies.
    Spi,
}

impl Bus {
    /// Transfer rate within a read, in bytes a second.
    pub const fn rate(self) -> Figure {
        match self {
            Self::Sdmmc => Figure::new(
                8_390_000,
                17_000_000,
                "8.4 MB/s: ESP32-S3, 40 MHz, 4 bits, raw blocks (github.com/atomic14/esp32-sdcard-msc); 17 MB/s: ESP32, \
                 block reads (github.com/greiman/SdFat/issues/305)",
            ),
            Self::Spi => Figure::new(
                1_260_000,
                2_030_000,
                "20 MHz: 1.67 MB/s (github.com/atomic14/esp32-sdcard-msc) at worst, 2.4 MB/s (20 Mbit/s less a block's token \
                 and checksum) at best; and 17 instructions a byte for its checksum (docs/performance.md)",
            ),
        }
    }

    /// Overhead of a read before its first byte and at its end, in microseconds.
    pub const fn command(self) -> Figure {
        Figure::new(
            100,
            600,
            "0.6 ms: a card's wait before a read's first block (cqr113.github.io/2018/07/29/TF-Card); a read that goes on \
             where the last one ended may find its block waiting, 0.1 ms is a guess",
        )
    }

    /// Whether the processor computes while a chunk is read.
    pub const fn has_dma(self) -> bool {
        matches!(self, Self::Sdmmc)
    }

    /// The interface in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Sdmmc => "SDMMC, 4 bits at 40 MHz, DMA",
            Self::Spi => "SPI at 20 MHz",
        }
    }
}

/// A chip, as the firmware uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Name of the chip.
    pub name: &'static str,
    /// Instruction and cycle counts of its processor.
    pub cpu: &'static Cpu,
    /// Processor clock in MHz.
    pub mhz: u32,
    /// Number of cores that share the rows of a matrix.
    pub cores: u32,
    /// Bytes of contiguous internal RAM for the engine. The linker rejects a value that leaves less than 32 KiB for the
    /// stack; [the performance page] lists the remaining stack.
    ///
    /// [the performance page]: https://github.com/rillm/rillm/blob/main/docs/performance.md
    pub sram: usize,
    /// Bytes of internal RAM outside that block. Without PSRAM they are the engine's external memory.
    pub spare: usize,
    /// Bytes of flash that can be memory-mapped as data.
    pub mapped: usize,
    /// Bytes of flash for bootloader, partition table, program, and a gap of up to 64 KiB before the program's code. The
    /// program starts at 64 KiB (espflash's partition table); `cargo xtask esp size` has the length of its image.
    pub firmware: usize,
    /// How the flash is read in an image that `cargo xtask esp` makes.
    pub flash_mode: FlashMode,
}

/// How a chip reads its flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashMode {
    /// Number of data lines: 4 (QIO), otherwise 2 (DIO).
    pub lines: u32,
    /// Clock in MHz.
    pub mhz: u32,
}

impl FlashMode {
    /// Bandwidth of mapped flash, in bytes a second. A cache line of 32 bytes takes 8 clocks for the command, then over
    /// two lines 12 for the address, 4 for the mode and 128 for the data; over four lines 6, 6 with the dummy clocks,
    /// and 64.
    pub const fn rate(self) -> Figure {
        let (clocks, source) = match self.lines {
            4 => (
                84,
                "at best 84 clocks for a cache line of 32 bytes over four lines (QIO); 0.6 of it at worst: a guess at what \
                 the cache adds",
            ),
            _ => (
                152,
                "at best 152 clocks for a cache line of 32 bytes over two lines (DIO); 0.6 of it at worst: a guess at what \
                 the cache adds",
            ),
        };
        let best = 32 * 1_000_000 * self.mhz as u64 / clocks;
        Figure::new(best * 6 / 10, best, source)
    }
}

impl fmt::Display for FlashMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} MHz", if self.lines == 4 { "QIO" } else { "DIO" }, self.mhz)
    }
}

/// Two lines at 80 MHz: the default of Arduino for the ESP32-CAM and for modules with these chips (boards.txt of
/// github.com/espressif/arduino-esp32), where the bootloader may switch to four lines. espflash's bootloader does not
/// (github.com/esp-rs/espflash/issues/657).
pub const DIO_80: FlashMode = FlashMode { lines: 2, mhz: 80 };

/// Two lines at 40 MHz, which every flash chip supports: espflash's default.
pub const DIO_40: FlashMode = FlashMode { lines: 2, mhz: 40 };

/// External RAM (PSRAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Psram {
    /// Bytes that the chip maps.
    pub len: usize,
    /// Sequential bandwidth through the cache, in bytes a second.
    pub rate: Figure,
}

/// The specification of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardSpec {
    /// Name on command lines, and of its file among the examples of the firmware.
    pub id: &'static str,
    /// Name by the manufacturer.
    pub name: &'static str,
    /// The chip.
    pub chip: &'static Chip,
    /// External RAM, if the board has any.
    pub psram: Option<Psram>,
    /// Length of the flash in bytes.
    pub flash: usize,
    /// The interface of the card.
    pub card: Bus,
}

impl BoardSpec {
    /// The board with this [`id`](Self::id).
    pub fn named(id: &str) -> Option<&'static Self> {
        ALL.iter().find(|board| board.id == id).copied()
    }

    /// The memory that the firmware gives to the engine.
    pub const fn memory(&self) -> MemoryLen {
        MemoryLen { internal: self.chip.sram, external: self.external_len() }
    }

    /// Length in bytes of the engine's external memory.
    pub const fn external_len(&self) -> usize {
        match self.psram {
            Some(psram) => psram.len,
            None => self.chip.spare,
        }
    }

    /// Where the weights of a model file of `len` bytes are read fastest. Without PSRAM and without an SD host, mapped
    /// flash is several times as fast as the card, if the file fits.
    pub const fn model_place(&self, len: u64) -> ModelPlace {
        let is_slow = self.psram.is_none() && !self.card.has_dma();
        if is_slow && len <= self.flash_model_len() as u64 { ModelPlace::Flash } else { ModelPlace::Card }
    }

    /// The kind of the engine's external memory, in words.
    pub const fn external_name(&self) -> &'static str {
        if self.psram.is_some() { "PSRAM" } else { "more SRAM" }
    }

    /// The name of the memory that is a region of the engine's.
    pub const fn region_name(&self, region: Region) -> &'static str {
        match region {
            Region::Internal => "SRAM",
            Region::External => self.external_name(),
        }
    }

    /// Length in bytes of the longest model file that the board can store at `place`. On a card it is that of a file in FAT32.
    pub const fn model_len(&self, place: ModelPlace) -> u64 {
        match place {
            ModelPlace::Card => u32::MAX as u64,
            ModelPlace::Flash => self.flash_model_len() as u64,
        }
    }

    /// Length in bytes of the longest model file that fits into the flash beside the firmware, and can be mapped.
    pub const fn flash_model_len(&self) -> usize {
        let flash = if self.flash < USED_FLASH { self.flash } else { USED_FLASH };
        let (held, mapped) = (flash - self.chip.firmware, self.chip.mapped - CONSTANTS_LEN);
        if held < mapped { held } else { mapped }
    }
}

/// Bytes of flash up to the end of the longest partition that espflash makes for a program, 16,000 KiB from 64 KiB on.
const USED_FLASH: usize = (16_000 + 64) << 10;
/// Bytes of constants in the mapped range of a model: 61 KB (`cargo xtask esp size`) in pages of 64 KiB.
const CONSTANTS_LEN: usize = 64 << 10;

/// Quad SPI at 40 MHz, the default of esp-hal on the ESP32.
const QUAD_40: Figure = Figure::new(
    10_000_000,
    16_400_000,
    "10 MB/s: half of what 80 MHz gave (esp32.com viewtopic.php?p=61383); 16.4 MB/s: 78 clocks for a cache line of 32 \
     bytes at 40 MHz, esp-hal's default",
);

/// Octal SPI at 80 MHz, double data rate.
const OCTAL_80: Figure = Figure::new(
    37_000_000,
    84_000_000,
    "37 to 84 MB/s with cache lines of 16 to 64 bytes (github.com/project-x51/esp32-s3-memorycopy/issues/2)",
);

/// Sixteen data lines.
const HEX: Figure = Figure::new(
    80_000_000,
    400_000_000,
    "400 MB/s: in theory (esp32.com viewtopic.php?t=47015); 80 MB/s: a guess, no less than the ESP32-S3's",
);

/// Two LX6 cores with MAC16.
///
/// esp-hal's `dram_seg` has 192 KiB, of which stack and variables take the rest. `dram2_seg`, the spare block, has
/// 98,768 bytes, of which the second core's stack takes 8 KiB.
pub const ESP32: Chip = Chip {
    name: "ESP32",
    cpu: &Cpu::LX6,
    mhz: 240,
    cores: 2,
    sram: 144 << 10,
    spare: 86 << 10,
    // The length of esp-hal's `drom_seg`.
    mapped: 4 << 20,
    firmware: 768 << 10,
    flash_mode: DIO_80,
};

/// Two LX7 cores with MAC16.
///
/// esp-hal's `dram_seg` has 341,760 bytes; code in RAM, stack and variables take the rest. Its `dram2_seg` has 73,744.
pub const ESP32_S3: Chip = Chip { name: "ESP32-S3", sram: 224 << 10, spare: 63 << 10, mapped: 32 << 20, ..ESP32 };

/// One RISC-V core. esp-hal's `DRAM` has 320,512 bytes, code in RAM included, and its `dram2_seg` 66,320.
pub const ESP32_C3: Chip = Chip {
    name: "ESP32-C3",
    cpu: &Cpu::RV32,
    mhz: 160,
    cores: 1,
    sram: 248 << 10,
    spare: 63 << 10,
    // The length of esp-hal's `DROM`.
    mapped: 4 << 20,
    firmware: 640 << 10,
    flash_mode: DIO_80,
};

/// One RISC-V core. esp-hal's `RAM` has 452,112 bytes, code in RAM included. Its `ROM` is mapped for code and constants together.
///
/// Its flash keeps espflash's clock: for 80 MHz its ROM wants the code of 40 MHz (esptool, targets/esp32c6.py), which
/// espflash does not know.
pub const ESP32_C6: Chip =
    Chip { name: "ESP32-C6", sram: 376 << 10, mapped: (4 << 20) - (576 << 10), flash_mode: DIO_40, ..ESP32_C3 };

/// Two RISC-V cores, of which one is used. esp-hal's `RAM` has 450,496 bytes beside 256 KiB of cache.
pub const ESP32_P4: Chip = Chip { name: "ESP32-P4", mhz: 400, sram: 288 << 10, flash_mode: DIO_80, ..ESP32_C6 };

/// A camera board with a card slot and PSRAM. Many have 8 MB of PSRAM, of which the chip maps 4 MiB.
pub const ESP32_CAM: BoardSpec = BoardSpec {
    id: "esp32-cam",
    name: "AI-Thinker ESP32-CAM",
    chip: &ESP32,
    psram: Some(Psram { len: 4 << 20, rate: QUAD_40 }),
    flash: 4 << 20,
    card: Bus::Sdmmc,
};

/// A module with PSRAM. The card slot is wired for SPI.
pub const ESP32_WROVER: BoardSpec =
    BoardSpec { id: "esp32-wrover", name: "ESP32-WROVER with a card slot", card: Bus::Spi, ..ESP32_CAM };

/// The variant N16R8 with a card slot wired to it.
pub const ESP32_S3_DEVKITC: BoardSpec = BoardSpec {
    id: "esp32-s3-devkitc",
    name: "ESP32-S3-DevKitC-1 N16R8 with a card slot",
    chip: &ESP32_S3,
    psram: Some(Psram { len: 8 << 20, rate: OCTAL_80 }),
    flash: 16 << 20,
    card: Bus::Sdmmc,
};

/// The card slot is wired for SPI.
pub const XIAO_ESP32S3_SENSE: BoardSpec = BoardSpec {
    id: "xiao-esp32s3-sense",
    name: "Seeed XIAO ESP32S3 Sense",
    flash: 8 << 20,
    card: Bus::Spi,
    ..ESP32_S3_DEVKITC
};

/// A board without PSRAM and without an SD host.
pub const ESP32_C3_SPI: BoardSpec = BoardSpec {
    id: "esp32-c3",
    name: "ESP32-C3 with a card slot",
    chip: &ESP32_C3,
    psram: None,
    flash: 4 << 20,
    card: Bus::Spi,
};

/// A board without PSRAM and without an SD host.
pub const ESP32_C6_SPI: BoardSpec =
    BoardSpec { id: "esp32-c6", name: "ESP32-C6 with a card slot", chip: &ESP32_C6, ..ESP32_C3_SPI };

/// Espressif's evaluation board.
pub const ESP32_P4_EV: BoardSpec = BoardSpec {
    id: "esp32-p4",
    name: "ESP32-P4-Function-EV-BoardSpec",
    chip: &ESP32_P4,
    psram: Some(Psram { len: 32 << 20, rate: HEX }),
    flash: 16 << 20,
    card: Bus::Sdmmc,
};

/// All boards.
pub static ALL: [&BoardSpec; 7] =
    [&ESP32_CAM, &ESP32_WROVER, &ESP32_S3_DEVKITC, &XIAO_ESP32S3_SENSE, &ESP32_C3_SPI, &ESP32_C6_SPI, &ESP32_P4_EV];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_found_by_name_and_make_sense() {
        for (index, board) in ALL.iter().enumerate() {
            assert_eq!(BoardSpec::named(board.id).map(|found| found.name), Some(board.name));
            assert!(ALL[..index].iter().all(|other| other.id != board.id), "{}", board.id);
            let chip = board.chip;
            assert!(chip.sram < 1 << 20 && chip.sram.is_multiple_of(1 << 10), "{}", board.id);
            assert!(board.flash_model_len() > 3 << 20 && board.flash_model_len() < board.flash, "{}", board.id);
            let figures = [board.card.rate(), board.card.command(), chip.flash_mode.rate()];
            let cpu = chip.cpu.figures().map(|(_, figure, _)| figure);
            for figure in figures.iter().chain(&cpu).chain(board.psram.as_ref().map(|psram| &psram.rate)) {
                assert!(figure.range.low > 0 && figure.range.low <= figure.range.high, "{figure:?}");
                assert!(!figure.source.is_empty());
            }
        }
        assert_eq!(BoardSpec::named("esp8266"), None);
    }

    #[test]
    fn a_model_belongs_into_flash_where_the_card_is_slow_and_it_fits() {
        let places = |board: &BoardSpec, len| board.model_place(len);
        for board in [&ESP32_C3_SPI, &ESP32_C6_SPI] {
            let most = board.flash_model_len() as u64;
            assert_eq!(
                [most, most + 1].map(|len| places(board, len)),
                [ModelPlace::Flash, ModelPlace::Card],
                "{}",
                board.id
            );
        }
        for board in [&ESP32_CAM, &ESP32_WROVER, &ESP32_S3_DEVKITC, &XIAO_ESP32S3_SENSE, &ESP32_P4_EV] {
            assert_eq!(places(board, 1 << 20), ModelPlace::Card, "{}", board.id);
        }
    }

    #[test]
    fn more_lines_and_a_faster_clock_read_flash_faster() {
        let rates = [DIO_40, DIO_80, FlashMode { lines: 4, mhz: 80 }].map(|mode| mode.rate().range);
        // 8.4 MB/s, twice as much, and 152 / 84 times that.
        assert_eq!(rates.map(|range| range.high), [8_421_052, 16_842_105, 30_476_190]);
        assert!(rates.is_sorted_by(|slow, fast| slow.low < fast.low));
        assert_eq!(std::format!("{DIO_80}"), "DIO at 80 MHz");
    }
}
