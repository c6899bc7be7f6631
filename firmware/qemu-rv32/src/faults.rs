//! Fault injection on the bus to the card: changes the transferred bytes as a failing card would.

use core::str::FromStr;

use embedded_hal::spi::{ErrorType, SpiBus};

/// Commands to a card, of six bytes each or their first byte.
const GO_IDLE: [u8; 6] = [0x40, 0, 0, 0, 0, 0x95];
const STOP: [u8; 6] = [0x40 | 12, 0, 0, 0, 0, 0x61];
const READ_BLOCK: u8 = 0x40 | 17;
const READ_BLOCKS: u8 = 0x40 | 18;
const READ_OCR: u8 = 0x40 | 58;

/// Tokens before a block's bytes, or in their place: a block follows, or the card could not correct what it read.
const BLOCK: u8 = 0xfe;
const ERROR: u8 = 0x04;
/// The value of an idle line.
const NOTHING: u8 = 0xff;

const BLOCK_LEN: usize = 512;
const CRC_LEN: usize = 2;
/// More bytes than a card needs to answer a command.
const ANSWER_LEN: usize = 16;
/// The byte of a block to flip, and its bit.
const FLIPPED: (usize, u8) = (100, 1 << 3);

/// A fault at one of the blocks that the card sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Index of the block, counted from 1.
    block: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An error token replaces the block.
    Error,
    /// The block comes after this many additional idle bytes.
    Late(u32),
    /// The card is missing for this many transfers, then returns after power-on.
    Gone(u32),
    /// One bit of the block is flipped once.
    Flip,
    /// One bit of the block is flipped at every read.
    FlipAlways,
}

impl FromStr for Fault {
    type Err = ();

    /// Parses `error@N`, `late@N:POLLS`, `gone@N:TRANSFERS`, `flip@N` or `flip@N:always`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, place) = text.split_once('@').ok_or(())?;
        let (block, more) = place.split_once(':').map_or((place, None), |(block, more)| (block, Some(more)));
        let count = || more.and_then(|more| more.parse().ok()).ok_or(());
        let kind = match (kind, more) {
            ("error", None) => Kind::Error,
            ("late", _) => Kind::Late(count()?),
            ("gone", _) => Kind::Gone(count()?),
            ("flip", None) => Kind::Flip,
            ("flip", Some("always")) => Kind::FlipAlways,
            _ => return Err(()),
        };
        let block = block.parse().ok().filter(|&block| block > 0).ok_or(())?;
        Ok(Self { block, kind })
    }
}

/// A bus with a card that may have a fault.
pub struct Faulty<B> {
    bus: B,
    fault: Option<Fault>,
    /// The last command and its argument.
    command: (u8, u32),
    /// Number of blocks sent for this command, and for all commands.
    of_command: u32,
    blocks: u32,
    /// The unit of the card's addresses: 1 for blocks, otherwise the length of a block.
    step: u32,
    /// Remaining polls before a late block begins.
    late: u32,
    /// Remaining transfers until the card returns.
    gone: u32,
    /// Whether a bit of the current block is flipped.
    flips: bool,
    /// Address of the block that is flipped at every read.
    bad_block: Option<u32>,
    initialised: u32,
}

impl<B: SpiBus> Faulty<B> {
    /// The card on `bus`, with a fault or without.
    pub fn new(bus: B, fault: Option<Fault>) -> Self {
        Self {
            bus,
            fault,
            command: (0, 0),
            of_command: 0,
            blocks: 0,
            step: BLOCK_LEN as u32,
            late: 0,
            gone: 0,
            flips: false,
            bad_block: None,
            initialised: 0,
        }
    }

    /// Number of blocks that the card has sent, and of its initialisations.
    pub fn traffic(&self) -> (u32, u32) {
        (self.blocks, self.initialised)
    }

    /// Whether the fault has occurred. None without a fault.
    pub fn has_struck(&self) -> Option<bool> {
        self.fault.map(|fault| fault.block <= self.blocks)
    }

    fn is_reading(&self) -> bool {
        [READ_BLOCK, READ_BLOCKS].contains(&self.command.0)
    }

    /// Whether the card is missing in this transfer.
    fn is_gone(&mut self) -> bool {
        let gone = self.gone > 0;
        self.gone = self.gone.saturating_sub(1);
        gone
    }

    /// Handles the start of a block. Returns the token to send in its place.
    fn begin_block(&mut self) -> Result<u8, B::Error> {
        let address = self.command.1 / self.step + self.of_command;
        self.of_command += 1;
        self.blocks += 1;
        self.flips = self.bad_block == Some(address);
        match self.fault.filter(|fault| fault.block == self.blocks).map(|fault| fault.kind) {
            None => return Ok(BLOCK),
            Some(Kind::Error) => {
                self.stop_card()?;
                return Ok(ERROR);
            }
            Some(Kind::Late(polls)) => self.late = polls,
            Some(Kind::Gone(transfers)) => {
                self.stop_card()?;
                self.command_card(&GO_IDLE)?;
                self.gone = transfers;
            }
            Some(kind @ (Kind::Flip | Kind::FlipAlways)) => {
                self.flips = true;
                self.bad_block = (kind == Kind::FlipAlways).then_some(address);
                return Ok(BLOCK);
            }
        }
        Ok(NOTHING)
    }

    /// Discards the block that the card is sending, and stops the transfer.
    fn stop_card(&mut self) -> Result<(), B::Error> {
        for _ in 0..BLOCK_LEN + CRC_LEN {
            self.bus.read(&mut [0])?;
        }
        if self.command.0 == READ_BLOCKS {
            self.command_card(&STOP)?;
        }
        self.command.0 = 0;
        Ok(())
    }

    fn command_card(&mut self, command: &[u8; 6]) -> Result<(), B::Error> {
        self.bus.write(command)?;
        self.bus.read(&mut [0; ANSWER_LEN])
    }
}

impl<B: SpiBus> ErrorType for Faulty<B> {
    type Error = B::Error;
}

impl<B: SpiBus> SpiBus for Faulty<B> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), B::Error> {
        bytes.fill(NOTHING);
        self.transfer_in_place(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), B::Error> {
        if self.is_gone() {
            return Ok(());
        }
        // A new command ends the wait for a late block, which the card still has to send.
        self.late = 0;
        if let &[command, a, b, c, d, _] = bytes {
            self.command = (command, u32::from_be_bytes([a, b, c, d]));
            self.of_command = 0;
            self.initialised += u32::from(command == GO_IDLE[0]);
        }
        self.bus.write(bytes)
    }

    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), B::Error> {
        if self.is_gone() {
            read.fill(NOTHING);
            return Ok(());
        }
        if self.late > 0 {
            self.late -= 1;
            read.fill(if self.late == 0 { BLOCK } else { NOTHING });
            return Ok(());
        }
        self.bus.transfer(read, write)?;
        if self.is_reading() && read == [BLOCK] {
            read[0] = self.begin_block()?;
        }
        Ok(())
    }

    fn transfer_in_place(&mut self, bytes: &mut [u8]) -> Result<(), B::Error> {
        if self.is_gone() {
            bytes.fill(NOTHING);
            return Ok(());
        }
        self.bus.transfer_in_place(bytes)?;
        if self.command.0 == READ_OCR && bytes.len() == 4 {
            // The register shows the unit of addresses.
            self.step = if bytes[0] & 0x40 != 0 { 1 } else { BLOCK_LEN as u32 };
        }
        if self.flips && bytes.len() == BLOCK_LEN {
            self.flips = false;
            bytes[FLIPPED.0] ^= FLIPPED.1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), B::Error> {
        self.bus.flush()
    }
}
