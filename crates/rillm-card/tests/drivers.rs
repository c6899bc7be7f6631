//! The drivers' traits, through their adapters.

use std::cell::{Cell, RefCell};

use crate::support::{BLOCK, FAT16, Failed, block_on, content, read_all};
use aligned::{A1, A4, A64, Aligned, Alignment};
use embedded_hal::spi::{ErrorType, Operation, SpiDevice};
use embedded_sdmmc::{Block, BlockCount, BlockDevice, BlockIdx};
use rillm::{Sector, WeightSource};
use rillm_card::{AsyncDevice, BlockingDevice, CardFile, Error, stop_sending};

const LEN: usize = 30 * 512;

/// A card with either trait. It forgets that it was initialised with every error.
struct Driver {
    card: Vec<u8>,
    initialised: Cell<bool>,
    /// Blocks of every read.
    reads: RefCell<Vec<usize>>,
}

impl Driver {
    fn new() -> Self {
        let card = FAT16.with_model(&content(LEN, 6), 2);
        Self { card, initialised: Cell::new(false), reads: RefCell::default() }
    }

    fn read<'b>(&self, blocks: impl ExactSizeIterator<Item = &'b mut [u8; BLOCK]>, first: u32) -> Result<(), Failed> {
        self.reads.borrow_mut().push(blocks.len());
        if !self.initialised.get() {
            return Err(Failed);
        }
        for (block, bytes) in blocks.zip(self.card[first as usize * BLOCK..].chunks_exact(BLOCK)) {
            block.copy_from_slice(bytes);
        }
        Ok(())
    }
}

impl BlockDevice for Driver {
    type Error = Failed;

    fn read(&self, blocks: &mut [Block], first: BlockIdx) -> Result<(), Failed> {
        self.read(blocks.iter_mut().map(|block| &mut block.contents), first.0)
    }

    fn write(&self, _: &[Block], _: BlockIdx) -> Result<(), Failed> {
        panic!("a card is read only")
    }

    fn num_blocks(&self) -> Result<BlockCount, Failed> {
        Ok(BlockCount((self.card.len() / BLOCK) as u32))
    }
}

struct Waiting<A>(Driver, std::marker::PhantomData<A>);

impl<A: Alignment> block_device_driver::BlockDevice<BLOCK> for Waiting<A> {
    type Error = Failed;
    type Align = A;

    async fn read(&mut self, first: u32, blocks: &mut [Aligned<A, [u8; BLOCK]>]) -> Result<(), Failed> {
        assert!(blocks.as_ptr().addr().is_multiple_of(A::ALIGN) && !blocks.is_empty());
        self.0.read(blocks.iter_mut().map(|block| &mut **block), first)
    }

    async fn write(&mut self, _: u32, _: &[Aligned<A, [u8; BLOCK]>]) -> Result<(), Failed> {
        panic!("a card is read only")
    }

    async fn size(&mut self) -> Result<u64, Failed> {
        Ok(self.0.card.len() as u64)
    }
}

#[test]
fn a_blocking_driver_reads_into_any_buffer() {
    let card = BlockingDevice::new(Driver::new(), |driver: &Driver| driver.initialised.set(true));
    let mut file: CardFile<_> = block_on(CardFile::open(card, None)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((file.extents(), file.retries()), (2, 1));
    let mut bytes = vec![0; LEN + 1];
    for start in 0..2 {
        block_on(file.read(Sector(0), &mut bytes[start..start + LEN])).expect("bytes");
        assert!(bytes[start..start + LEN] == content(LEN, 6));
    }
    assert!(read_all(&mut file, LEN, &[3, 1]).expect("bytes") == content(LEN, 6));
}

#[test]
fn a_driver_without_a_card() {
    let card = BlockingDevice::new(Driver::new(), |_: &Driver| ());
    let error = block_on(CardFile::<_, 1>::open(card, None)).err();
    assert_eq!(error, Some(Error::Device(Failed)));
}

fn waiting<A: Alignment>() {
    let driver = Waiting(Driver::new(), std::marker::PhantomData::<A>);
    let card = AsyncDevice::new(driver, async |driver: &mut Waiting<A>| {
        driver.0.initialised.set(true);
        Ok(())
    });
    let mut file: CardFile<_> = block_on(CardFile::open(card, None)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((file.extents(), file.retries()), (2, 1));
    let mut bytes = vec![0; LEN + 128];
    let aligned = bytes.as_ptr().align_offset(64);
    for start in aligned..=aligned + 64 {
        for (first, len) in [(0, LEN), (3, BLOCK), (14, 2 * BLOCK), (29, BLOCK)] {
            bytes.fill(0xee);
            block_on(file.read(Sector(first), &mut bytes[start..start + len])).expect("bytes");
            assert!(bytes[start..start + len] == content(LEN, 6)[first as usize * BLOCK..][..len], "{start} {first}");
            // Nothing beside the buffer is touched.
            assert!(bytes[..start].iter().chain(&bytes[start + len..]).all(|&byte| byte == 0xee));
        }
    }
}

#[test]
fn an_asynchronous_driver_reads_into_any_buffer() {
    waiting::<A1>();
    waiting::<A4>();
    waiting::<A64>();
}

#[test]
fn an_aligned_buffer_is_read_straight() {
    let driver = Waiting(Driver::new(), std::marker::PhantomData::<A4>);
    driver.0.initialised.set(true);
    let mut card = AsyncDevice::new(driver, async |_: &mut Waiting<A4>| Ok(()));
    let mut file: CardFile<_> = block_on(CardFile::open(&mut card, None)).unwrap_or_else(|error| panic!("{error}"));
    let mut buffer = Aligned::<A64, _>([0; 15 * BLOCK]);
    block_on(file.read(Sector(0), &mut buffer[..])).expect("bytes");
    let reads = |card: &mut AsyncDevice<Waiting<A4>, _>| card.device().0.reads.borrow().last().copied();
    assert_eq!(reads(&mut card), Some(15));
}

/// A card on a bus that sends until it is told to stop, as one does in a read of several blocks.
struct Sending {
    heard: Vec<u8>,
}

impl ErrorType for Sending {
    type Error = std::convert::Infallible;
}

impl SpiDevice for Sending {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Self::Error> {
        for operation in operations {
            match operation {
                Operation::Write(bytes) => self.heard.extend_from_slice(bytes),
                Operation::TransferInPlace(bytes) => {
                    self.heard.extend_from_slice(bytes);
                    bytes.fill(0x01);
                }
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }
}

#[test]
fn a_card_is_told_to_stop_and_gets_the_time_for_it() {
    let mut card = Sending { heard: Vec::new() };
    stop_sending(&mut card);
    // Command 12, no argument, its CRC-7 and the end bit (SD Physical Layer, 7.3.1).
    let (command, time) = card.heard.split_at(6);
    let crc = command[..5].iter().fold(0_u8, |crc, &byte| {
        (0..8).rev().fold(crc, |crc, bit| {
            let out = (crc >> 6) & 1 != (byte >> bit) & 1;
            (crc << 1 & 0x7f) ^ if out { 0x09 } else { 0 }
        })
    });
    assert_eq!(command, [0x40 | 12, 0, 0, 0, 0, crc << 1 | 1]);
    assert!(time.len() >= 10 && time.iter().all(|&byte| byte == 0xff), "{time:x?}");
}
