//! A card's registers and blocks, and a clock, for simulated hosts (SD Physical Layer Simplified Specification 9.00,
//! chapter 5).

use std::cell::Cell;
use std::rc::Rc;

use super::BLOCK;

thread_local! {
    static MICROS: Cell<u32> = const { Cell::new(u32::MAX - 1000) };
}

/// The clock in microseconds. Each reading takes 20.
pub fn micros() -> u32 {
    pass(20);
    MICROS.get()
}

/// Lets time pass.
pub fn pass(micros: u32) {
    MICROS.set(MICROS.get().wrapping_add(micros));
}

/// The clock, without a look's time.
pub fn now() -> u32 {
    MICROS.get()
}

/// A card's registers and its blocks.
#[derive(Clone, Debug)]
pub struct Registers {
    pub serial: u32,
    /// Whether addresses count blocks.
    pub high_capacity: bool,
    /// Whether the card has four data lines.
    pub four_lines: bool,
    /// The answer to CMD6.
    pub high_speed: HighSpeed,
    /// ACMD41s that it answers with "busy".
    pub busy_rounds: u32,
    pub content: Rc<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HighSpeed {
    /// It switches.
    Takes,
    /// It says that it does not.
    Refuses,
    /// It knows no CMD6, as cards of version 1.0 do not.
    Unknown,
}

impl Registers {
    pub fn new(content: Vec<u8>, high_capacity: bool) -> Self {
        let mut content = content;
        content.resize(content.len().next_multiple_of(1024 * BLOCK), 0);
        let content = Rc::new(content);
        Self { serial: 7, high_capacity, four_lines: true, high_speed: HighSpeed::Takes, busy_rounds: 3, content }
    }

    pub fn blocks(&self) -> u32 {
        (self.content.len() / BLOCK) as u32
    }

    pub fn ocr(&self) -> u32 {
        0x80ff_8000 | u32::from(self.high_capacity) << 30
    }

    pub fn cid(&self) -> [u8; 16] {
        let mut cid = *b"\x03SDRILLM\x10\0\0\0\0\x01\x9a\0";
        cid[9..13].copy_from_slice(&self.serial.to_be_bytes());
        cid[15] = crc7(&cid[..15]) << 1 | 1;
        cid
    }

    pub fn csd(&self) -> [u8; 16] {
        let blocks = u128::from(self.blocks());
        // READ_BL_LEN of 512 bytes; the size in 1,024 blocks, or in 2^(7 + 2).
        let size =
            if self.high_capacity { 1 << 126 | (blocks / 1024 - 1) << 48 } else { (blocks / 512 - 1) << 62 | 7 << 47 };
        let mut csd = (0x32 << 96 | 9 << 80 | size).to_be_bytes();
        csd[15] = crc7(&csd[..15]) << 1 | 1;
        csd
    }

    pub fn scr(&self) -> [u8; 8] {
        [0x02, 0x01 | if self.four_lines { 0x04 } else { 0 }, 0x80, 0, 0, 0, 0, 0]
    }

    /// Blocks from an address on; none where the card has none there.
    pub fn at(&self, address: u32, blocks: usize) -> Option<&[u8]> {
        let start = if self.high_capacity { address as usize * BLOCK } else { address as usize };
        if start.is_multiple_of(BLOCK) { self.content.get(start..start + blocks * BLOCK) } else { None }
    }
}

/// The CRC of commands (4.5).
pub fn crc7(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).rev().fold(crc, |crc, bit| {
            let out = (crc >> 6) & 1 != (byte >> bit) & 1;
            (crc << 1 & 0x7f) ^ if out { 0x09 } else { 0 }
        })
    })
}

/// The CRC of data (4.5).
pub fn crc16(bytes: &[u8]) -> u16 {
    const OF_BYTE: [u16; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = ((byte as u16) << 8, 0);
            while bit < 8 {
                crc = crc << 1 ^ if crc >> 15 == 1 { 0x1021 } else { 0 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc: u16, &byte| crc << 8 ^ OF_BYTE[usize::from((crc >> 8) as u8 ^ byte)])
}
