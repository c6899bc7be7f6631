//! A custom `WeightSource`: a file read through `std::fs`. Prints the reads, bytes and seeks of a token.
//!
//! ```sh
//! cargo run --release -p rillm --example custom_source -- models/rill-tales-1m/model.rillm
//! ```
//!
//! On a microcontroller, the two lines of `read` call the driver of a card or a flash.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use rillm::{Memory, Model, PlanOptions, SECTOR_LEN, Sampling, Sector, Session, WeightSource, block_on};

struct Disk(File);

impl WeightSource for Disk {
    type Error = io::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(u64::from(first.0) * SECTOR_LEN as u64))?;
        self.0.read_exact(buf)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give a .rillm file")?;
    let mut disk = Disk(File::open(path)?);
    let model = block_on(Model::open(&mut disk))?;
    // No resident weights, so that every token reads all weights.
    let options = PlanOptions::default().context(64).resident(0);
    let mut ram = vec![0; 512 << 10];
    let mut session = Session::new(&model, disk, Memory::internal(&mut ram), &options)?;
    block_on(session.push_text("Once upon a time"))?;
    block_on(session.next(&Sampling::GREEDY))?;
    let before = session.stats().traffic;
    block_on(session.next(&Sampling::GREEDY))?;
    let token = session.stats().traffic - before;
    println!("a token: {} bytes in {} reads and {} seeks", token.bytes, token.reads, token.seeks);
    Ok(())
}
