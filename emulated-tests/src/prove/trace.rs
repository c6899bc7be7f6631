//! The trace of QEMU: the commands that an SD card received and the blocks that it sent.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use rillm_generate::number::Grouped;

/// Length of a block in bytes.
const BLOCK_LEN: u64 = 512;
/// Numbers of the read commands: one block, and several blocks until a stop command.
const READ_BLOCK: u32 = 17;
const READ_BLOCKS: u32 = 18;

/// Traffic, from the card's trace or from the engine's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of read commands, or of calls of the engine's source.
    pub reads: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Number of reads that did not start where the previous one ended. The first read counts.
    pub seeks: u64,
}

impl Traffic {
    /// The increase since `before`.
    pub fn since(self, before: Self) -> Self {
        // Wraps, so that counters that went backwards on a faulty board are visible.
        let since = |now: u64, before: u64| now.wrapping_sub(before);
        Self {
            reads: since(self.reads, before.reads),
            bytes: since(self.bytes, before.bytes),
            seeks: since(self.seeks, before.seeks),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [reads, bytes, seeks] = [self.reads, self.bytes, self.seeks].map(Grouped);
        write!(f, "{bytes} bytes in {reads} reads and {seeks} seeks")
    }
}

/// A read command, and the blocks that the card sent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Number of the first block.
    pub first: u64,
    /// Number of blocks, at least 1.
    pub blocks: u64,
}

/// All reads in order.
///
/// The argument of a command is a block number, or on cards of up to 2 GiB a byte address. The address of the block
/// that follows shows which of the two it is.
///
/// # Errors
/// The trace is inconsistent: it has a block without a command, or one that does not follow the previous one.
pub fn reads(trace: &str) -> Result<Vec<Read>> {
    let mut reads: Vec<Read> = Vec::new();
    let mut pending: Option<Command> = None;
    for line in trace.lines() {
        let wrong = || format!("in the card's trace: `{line}`");
        if let Some((_, command)) = line.split_once("sdcard_normal_command ") {
            finish(pending.take()).with_context(wrong)?;
            let (number, argument) = command_of(command).with_context(wrong)?;
            if let READ_BLOCK | READ_BLOCKS = number {
                pending = Some(Command { number, argument, read: None });
            }
        } else if let Some((_, block)) = line.split_once("sdcard_read_block ") {
            let address = block_of(block).with_context(wrong)?;
            let command = pending.as_mut().context("nobody has asked for the block").with_context(wrong)?;
            match &mut command.read {
                None => {
                    ensure!(
                        [address, address / BLOCK_LEN].contains(&command.argument),
                        "the card was asked for {:#x} and sent {address:#x}",
                        command.argument
                    );
                    command.read = Some(reads.len());
                    reads.push(Read { first: address / BLOCK_LEN, blocks: 1 });
                }
                Some(index) => {
                    let read = &mut reads[*index];
                    let expected = (read.first + read.blocks) * BLOCK_LEN;
                    ensure!(command.number == READ_BLOCKS, "one block was asked for, and there is another one");
                    ensure!(address == expected, "the card sent {address:#x} in place of {expected:#x}");
                    read.blocks += 1;
                }
            }
        }
    }
    finish(pending)?;
    Ok(reads)
}

/// The total of some reads.
pub fn traffic(reads: &[Read]) -> Traffic {
    let mut traffic = Traffic::default();
    let mut next = None;
    for read in reads {
        traffic.reads += 1;
        traffic.bytes += read.blocks * BLOCK_LEN;
        traffic.seeks += u64::from(next != Some(read.first));
        next = Some(read.first + read.blocks);
    }
    traffic
}

/// A command whose blocks are being sent.
struct Command {
    number: u32,
    argument: u64,
    /// Index of its read, once the first block was sent.
    read: Option<usize>,
}

/// Checks that a finished read command has sent a block.
fn finish(command: Option<Command>) -> Result<()> {
    match command {
        Some(Command { number, argument, read: None }) => bail!("CMD{number} for {argument:#x} has brought no block"),
        _ => Ok(()),
    }
}

/// Number and argument of a command: `SPI    READ_SINGLE_BLOCK/ CMD17 arg 0x00400000 (state transfer)`.
fn command_of(line: &str) -> Option<(u32, u64)> {
    let (_, rest) = line.split_once("/ CMD")?;
    let (number, rest) = rest.split_once(" arg 0x")?;
    let argument = rest.split(' ').next()?;
    Some((number.parse().ok()?, u64::from_str_radix(argument, 16).ok()?))
}

/// The address of a whole block: `addr 0x4ed800 size 0x200`.
fn block_of(line: &str) -> Option<u64> {
    let address = line.strip_prefix("addr 0x")?.strip_suffix(" size 0x200")?;
    u64::from_str_radix(address, 16).ok().filter(|address| address.is_multiple_of(BLOCK_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL_CARD: &str = "\
sdcard_normal_command SPI        GO_IDLE_STATE/ CMD00 arg 0x00000000 (state idle)
sdcard_normal_command SPI    READ_SINGLE_BLOCK/ CMD17 arg 0x00000000 (state transfer)
sdcard_read_block addr 0x0 size 0x200
sdcard_normal_command SPI             SEND_CSD/ CMD09 arg 0x00000000 (state transfer)
sdcard_normal_command SPI    READ_SINGLE_BLOCK/ CMD17 arg 0x00400000 (state transfer)
sdcard_read_block addr 0x400000 size 0x200
sdcard_normal_command SPI  READ_MULTIPLE_BLOCK/ CMD18 arg 0x00400200 (state transfer)
sdcard_read_block addr 0x400200 size 0x200
sdcard_read_block addr 0x400400 size 0x200
sdcard_normal_command SPI    STOP_TRANSMISSION/ CMD12 arg 0x00000000 (state sendingdata)
";

    fn read(first: u64, blocks: u64) -> Read {
        Read { first, blocks }
    }

    fn error(trace: &str) -> String {
        format!("{:#}", reads(trace).expect_err("it makes no sense"))
    }

    #[test]
    fn a_small_card_counts_bytes_and_a_large_one_blocks() {
        let expected = [read(0, 1), read(0x2000, 1), read(0x2001, 2)];
        assert_eq!(reads(SMALL_CARD).expect("a trace"), expected);
        let large = SMALL_CARD.replace("arg 0x00400000", "arg 0x00002000").replace("arg 0x00400200", "arg 0x00002001");
        assert_eq!(reads(&large).expect("a trace"), expected);
    }

    #[test]
    fn a_time_before_a_line_and_more_words_after_it_do_no_harm() {
        let trace = "7@1.5:sdcard_normal_command SPI READ_SINGLE_BLOCK/ CMD17 arg 0x00000200 (mode transfer, state x)\n\
                     7@1.6:sdcard_read_block addr 0x200 size 0x200\n7@1.7:sdcard_response RESP#1 (sz:4)\n";
        assert_eq!(reads(trace).expect("a trace"), [read(1, 1)]);
    }

    #[test]
    fn what_follows_is_no_seek() {
        let reads = [read(7, 1), read(8, 3), read(11, 1), read(11, 1), read(2, 2)];
        assert_eq!(traffic(&reads), Traffic { reads: 5, bytes: 8 * 512, seeks: 3 });
        assert_eq!(traffic(&[]), Traffic::default());
    }

    #[test]
    fn lines_that_make_no_sense() {
        assert!(error("sdcard_read_block addr 0x0 size 0x200").contains("nobody has asked"));
        assert!(error("sdcard_read_block addr 0x10 size 0x200").contains("0x10"));
        assert!(error("sdcard_normal_command SPI X/ CMD17 arg 0x00000000 (state transfer)").contains("no block"));
        assert!(error("sdcard_normal_command garbage").contains("garbage"));
        assert!(error(&SMALL_CARD.replace("addr 0x400400", "addr 0x400600")).contains("0x400600"));
        assert!(error(&SMALL_CARD.replace("addr 0x400000", "addr 0x500000")).contains("0x500000"));
        assert!(error(&SMALL_CARD.replace("CMD18", "CMD17")).contains("another one"));
    }
}
