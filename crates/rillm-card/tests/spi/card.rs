//! A simulated card over SPI, byte by byte: SD Physical Layer, chapter 7.

use std::collections::VecDeque;

use crate::support::BLOCK;
use crate::support::registers::{Registers, crc7, crc16, now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it is after its power came: with four data lines, until CMD0 with the chip select low.
    SdMode,
    Idle,
    Ready,
}

/// A fault at a command that the card receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not hear it.
    Unheard,
    /// It answers something else.
    Wrong(u8),
    /// A bit of the command is wrong when it arrives.
    Command,
    /// A bit of what it sends is wrong when that arrives.
    Data,
    /// It sends a token that says what is wrong.
    ErrorToken,
    /// It never sends the token of a block.
    NoToken,
    /// The token is 80 ms late.
    Late,
    /// It holds its line low for good, as a broken one does.
    Low,
    /// It does not send the pattern of CMD8 back.
    Pattern,
    /// It loses its power, and it has it again at once.
    PowerLoss,
}

const IDLE: u8 = 1;
const ILLEGAL: u8 = 4;
const COMMAND_CRC: u8 = 8;
const PARAMETER: u8 = 0x40;
const TOKEN: u8 = 0xfe;
const LATE: u32 = 80_000;

pub struct SimulatedCard {
    pub registers: Registers,
    pub state: State,
    /// Clocks that it has had with its chip select high, since its power came.
    clocks: u32,
    checks: bool,
    knows_voltage: bool,
    app: bool,
    rounds: u32,
    heard: Vec<u8>,
    out: VecDeque<u8>,
    /// The next block of a read of several.
    pub next: Option<u32>,
    fault_of_data: Option<Fault>,
    low: bool,
    /// Since when it has been looking for what it sends.
    late: Option<u32>,
}

impl SimulatedCard {
    pub fn new(registers: Registers) -> Self {
        Self {
            registers,
            state: State::SdMode,
            clocks: 0,
            checks: false,
            knows_voltage: false,
            app: false,
            rounds: 0,
            heard: Vec::new(),
            out: VecDeque::new(),
            next: None,
            fault_of_data: None,
            low: false,
            late: None,
        }
    }

    /// What it is in the middle of, after a board was reset while it sent.
    pub fn sends(&mut self, block: u32, several: bool) {
        self.block(block);
        if several {
            self.next = Some(block + 1);
        }
        self.out.drain(..300);
    }

    pub fn deselected(&mut self) {
        self.clocks += 8;
        self.heard.clear();
    }

    /// A byte each way. `fault` is asked for the fault of a command.
    pub fn exchange(&mut self, byte: u8, fault: &mut impl FnMut() -> Option<Fault>) -> u8 {
        let answer = if self.low { 0 } else { self.answer() };
        if !self.heard.is_empty() || byte & 0xc0 == 0x40 {
            self.heard.push(byte);
            if let Ok(command) = <[u8; 6]>::try_from(&self.heard[..]) {
                self.heard.clear();
                self.hear(command, fault());
            }
        }
        answer
    }

    /// Many bytes each way at once, where they are what [`exchange`](Self::exchange) would give for each: nothing is said to
    /// the card, and it is in the middle of a block. Returns whether they were exchanged.
    pub fn exchange_block(&mut self, bytes: &mut [u8]) -> bool {
        const NOTHING: [u8; BLOCK] = [0xff; BLOCK];
        let silent = self.heard.is_empty() && NOTHING.get(..bytes.len()) == Some(bytes);
        let sends = !self.low && self.out.len() >= bytes.len() && self.out.front() != Some(&TOKEN);
        if silent && sends {
            let (front, back) = self.out.as_slices();
            let in_front = front.len().min(bytes.len());
            let (first, second) = bytes.split_at_mut(in_front);
            first.copy_from_slice(&front[..in_front]);
            second.copy_from_slice(&back[..second.len()]);
            self.out.drain(..bytes.len());
        }
        silent && sends
    }

    fn answer(&mut self) -> u8 {
        // The answer to the command comes at once.
        if self.out.front() == Some(&TOKEN) && self.late.is_some_and(|since| now().wrapping_sub(since) < LATE) {
            return 0xff;
        }
        if self.out.is_empty()
            && let Some(block) = self.next
        {
            self.out.push_back(0xff);
            self.next = Some(block + 1);
            self.block(block);
        }
        self.out.pop_front().unwrap_or(0xff)
    }

    /// Sends a block, or why there is none.
    fn block(&mut self, block: u32) {
        let address = if self.registers.high_capacity { block } else { block * BLOCK as u32 };
        match self.registers.at(address, 1).map(<[u8]>::to_vec) {
            Some(data) => self.send(&data),
            // Out of range.
            None => {
                self.out.push_back(0x08);
                self.next = None;
            }
        }
    }

    fn send(&mut self, data: &[u8]) {
        let at = self.out.len();
        match self.fault_of_data.take() {
            Some(Fault::ErrorToken) => {
                self.out.push_back(0x04);
                self.next = None;
                return;
            }
            Some(Fault::NoToken) => {
                self.next = None;
                return;
            }
            Some(Fault::Late) => self.late = Some(now()),
            fault => self.fault_of_data = fault,
        }
        self.out.extend([0xff, TOKEN]);
        self.out.extend(data);
        self.out.extend(crc16(data).to_be_bytes());
        if self.fault_of_data.take() == Some(Fault::Data) {
            self.out[at + 5] ^= 0x10;
        }
    }

    fn hear(&mut self, command: [u8; 6], fault: Option<Fault>) {
        let (index, argument) =
            (command[0] & 0x3f, u32::from_be_bytes([command[1], command[2], command[3], command[4]]));
        match fault {
            Some(Fault::Unheard) => return,
            Some(Fault::PowerLoss) => {
                *self = Self::new(self.registers.clone());
                return;
            }
            Some(Fault::Low) => {
                self.low = true;
                return;
            }
            _ => {}
        }
        self.low = false;
        // Without its first clocks, and in its other mode, it hears none but one.
        if self.clocks < 74 || (self.state == State::SdMode && index != 0) {
            return;
        }
        let mut is_whole = crc7(&command[..5]) << 1 | 1 == command[5];
        is_whole &= fault != Some(Fault::Command);
        if !is_whole && (self.checks || matches!(index, 0 | 8)) {
            self.say(COMMAND_CRC);
            return;
        }
        if matches!(fault, Some(Fault::Data | Fault::ErrorToken | Fault::NoToken | Fault::Late)) {
            self.fault_of_data = fault;
        }
        let before = self.out.len();
        self.obey(index, argument);
        if let Some(Fault::Wrong(bits)) = fault
            && let Some(answer) = self.out.iter_mut().skip(before).find(|byte| **byte & 0x80 == 0)
        {
            *answer ^= bits;
        }
        if fault == Some(Fault::Pattern)
            && index == 8
            && let Some(pattern) = self.out.back_mut()
        {
            *pattern ^= 0xff;
        }
        self.fault_of_data = self.fault_of_data.filter(|_| self.next.is_some());
    }

    fn say(&mut self, r1: u8) {
        let idle = if self.state == State::Idle { IDLE } else { 0 };
        self.out.extend([0xff, r1 | idle]);
    }

    fn obey(&mut self, index: u8, argument: u32) {
        let app = std::mem::take(&mut self.app);
        let ready = self.state == State::Ready;
        match (index, app) {
            // It sends single blocks to their end.
            (12, _) if self.next.is_some() => {
                self.next = None;
                self.out.clear();
                // A byte of nothing, the answer, and being busy.
                self.out.extend([0x7f, 0xff]);
                self.say(0);
                self.out.extend([0; 4]);
            }
            _ if !self.out.is_empty() => {}
            (0, _) => {
                *self = Self { clocks: self.clocks, state: State::Idle, ..Self::new(self.registers.clone()) };
                self.say(0);
            }
            (8, false) if self.state == State::Idle => {
                self.knows_voltage = true;
                self.say(0);
                self.out.extend((argument & 0xfff).to_be_bytes());
            }
            (59, false) => {
                self.checks = argument & 1 == 1;
                self.say(0);
            }
            (55, false) => {
                self.app = true;
                self.say(0);
            }
            (41, true) => {
                self.rounds += 1;
                let stays = self.registers.high_capacity && !(argument >> 30 & 1 == 1 && self.knows_voltage);
                if !stays && self.rounds > self.registers.busy_rounds {
                    self.state = State::Ready;
                }
                self.say(0);
            }
            (58, false) => {
                self.say(0);
                self.out.extend(self.registers.ocr().to_be_bytes());
            }
            (9, false) if ready => {
                self.say(0);
                self.send(&self.registers.csd());
            }
            (17 | 18, false) if ready => {
                let block = if self.registers.high_capacity { argument } else { argument / BLOCK as u32 };
                if self.registers.at(argument, 1).is_none() {
                    return self.say(PARAMETER);
                }
                self.say(0);
                self.next = (index == 18).then_some(block);
                if index == 17 {
                    self.block(block);
                }
            }
            _ => self.say(ILLEGAL),
        }
    }
}
