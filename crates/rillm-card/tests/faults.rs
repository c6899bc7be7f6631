//! Cards that fail, temporarily or permanently.

use std::rc::Rc;
use std::task::{Context, Waker};

use crate::support::{BLOCK, FAT32, Failed, MemoryCard, block_on, content, open, read_all};
use rillm::{Sector, WeightSource};
use rillm_card::{Blocks, CardFile, Error, RETRIES};

const LEN: usize = 20 * 512;

fn memory() -> MemoryCard {
    MemoryCard::new(FAT32.with_model(&content(LEN, 4), 3))
}

/// Opens and reads the file.
fn read(memory: MemoryCard) -> Result<(Vec<u8>, u32, MemoryCard), Error<Failed>> {
    let mut file = open(memory, None)?;
    let bytes = read_all(&mut file, LEN, &[7])?;
    let retries = file.retries();
    Ok((bytes, retries, file.into_blocks()))
}

#[test]
fn an_error_at_each_operation() {
    let operations = read(memory()).expect("bytes").2.operations;
    assert!(operations >= 8);
    let card = memory().card;
    for failing in 0..operations {
        for count in 1..=RETRIES {
            let mut memory = MemoryCard::sharing(&card);
            memory.failing = failing..failing + count;
            let (bytes, retries, memory) = read(memory).expect("bytes");
            assert!(bytes == content(LEN, 4));
            assert_eq!((retries, memory.recoveries), (count, count));
            assert_eq!(memory.operations, operations + count);
        }
        let mut memory = MemoryCard::sharing(&card);
        memory.failing = failing..u32::MAX;
        assert_eq!(read(memory).err(), Some(Error::Device(Failed)));
    }
}

#[test]
fn a_card_that_is_gone_is_given_up() {
    let mut memory = memory();
    memory.failing = 0..u32::MAX;
    assert_eq!(open(&mut memory, None).err(), Some(Error::Device(Failed)));
    assert_eq!((memory.operations, memory.recoveries), (1 + RETRIES, RETRIES));
    // The same card, pushed in again.
    memory.failing = 0..0;
    assert!(read(memory).is_ok());
}

#[test]
fn a_file_goes_on_after_an_error() {
    let card = memory().card;
    let mut file = open(MemoryCard::sharing(&card), None).expect("a file");
    let opening = file.into_blocks().operations;
    let mut memory = MemoryCard::sharing(&card);
    memory.failing = opening..opening + 1 + RETRIES;
    file = open(memory, None).expect("a file");
    assert_eq!(read_all(&mut file, LEN, &[2]), Err(Error::Device(Failed)));
    assert_eq!(file.retries(), RETRIES);
    assert!(read_all(&mut file, LEN, &[2]).expect("bytes") == content(LEN, 4));
}

/// A card whose reinitialisation fails, too.
struct Unrecoverable(MemoryCard);

impl Blocks for Unrecoverable {
    type Error = Failed;

    async fn count(&mut self) -> Result<u32, Failed> {
        self.0.count().await
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Failed> {
        self.0.read(first, buf).await
    }

    async fn recover(&mut self) -> Result<(), Failed> {
        self.0.recover().await?;
        Err(Failed)
    }
}

#[test]
fn a_reinitialisation_that_fails_is_an_attempt() {
    let mut card = Unrecoverable(memory());
    card.0.failing = 0..1;
    assert_eq!(open(&mut card, None).err(), Some(Error::Device(Failed)));
    assert_eq!((card.0.operations, card.0.recoveries), (1, RETRIES));
}

/// A card whose every read takes a poll more.
struct Slow(Rc<Vec<u8>>);

impl Blocks for Slow {
    type Error = Failed;

    async fn count(&mut self) -> Result<u32, Failed> {
        Ok((self.0.len() / BLOCK) as u32)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Failed> {
        let mut polled = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut polled, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        buf.copy_from_slice(&self.0[first as usize * BLOCK..][..buf.len()]);
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

#[test]
fn a_read_that_is_dropped_leaves_the_file_as_it_was() {
    let mut file: CardFile<_> = block_on(CardFile::open(Slow(memory().card), None)).expect("a file");
    for polls in 0..4 {
        let mut bytes = vec![0; LEN];
        let mut read = Box::pin(file.read(Sector(0), &mut bytes));
        for _ in 0..polls {
            // Three runs, a poll more for each.
            let poll = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending());
        }
        drop(read);
        assert!(read_all(&mut file, LEN, &[7]).expect("bytes") == content(LEN, 4));
    }
}
