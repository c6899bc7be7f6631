//! rillm on an emulated 32-bit RISC-V chip.
#![no_std]
#![no_main]

mod clock;
#[cfg(feature = "faults")]
mod faults;
mod flash;
mod memory;
mod options;
mod semihosting;
mod spi;
mod trap;
mod uart;

use core::fmt::Write;
use core::future::Future;
use embedded_sdmmc::{Block, BlockDevice, BlockIdx};
use rillm::{model::Model, plan::PlanOptions, sampler::Sampling, session::Session, sources::Bytes, tokenizer::Decoder};

fn block_on<F: Future>(f: F) -> F::Output {
    let mut f = core::pin::pin!(f);
    let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
    loop {
        if let core::task::Poll::Ready(v) = f.as_mut().poll(&mut cx) {
            return v;
        }
    }
}

#[riscv_rt::entry]
fn main() -> ! {
    let stack = memory::Stack::paint();
    let mut uart = uart::Uart::new();
    let mut buf = [0; semihosting::WORDS_LEN];
    let words = semihosting::words(&mut buf);
    let options = options::Options::parse(words.split_whitespace().skip(1));
    let options = match options {
        Ok(o) => o,
        Err(e) => {
            let _ = writeln!(uart, "{e}");
            semihosting::exit(1)
        }
    };
    memory::protect(options.psram);
    let (fast, fp) = memory::sram();
    let (large, lp) = memory::psram(options.psram);
    let _ = writeln!(uart, "hello {options:?} sram {} psram {} stack {}", fp.len(), lp.len(), stack.len());
    if let options::Source::Flash(len) = options.source {
        let mut source = Bytes::lent(flash::model(len));
        let model = block_on(Model::open(&mut source)).unwrap();
        let fl = fast.len();
        let mut s =
            Session::with_large(&model, source, &PlanOptions { large: large.len(), ..PlanOptions::new(fl) }, fast, large)
                .unwrap();
        s.set_clock(clock::instructions);
        block_on(s.push_text("Once upon a time")).unwrap();
        let mut d = Decoder::new(false);
        for _ in 0..20 {
            let t = block_on(s.next(&Sampling::GREEDY)).unwrap();
            for p in d.push(t.kind, t.text) {
                let _ = write!(uart, "{p}");
            }
        }
        let _ = writeln!(uart, "\n{:?} {:?}", s.stats(), s.plan());
    } else {
        let bus = spi::Spi::new();
        #[cfg(feature = "faults")]
        let bus = faults::Faulty::new(bus, options.fault);
        let dev = embedded_hal_bus::spi::ExclusiveDevice::new_no_delay(bus, spi::ChipSelect).unwrap();
        let sd = embedded_sdmmc::SdCard::new_with_options(
            dev,
            spi::NoDelay,
            embedded_sdmmc::sdcard::spi::AcquireOpts { use_crc: options.crc, acquire_retries: 50 },
        );
        let _ = writeln!(uart, "{:?} {:?}", sd.get_card_type(), sd.num_bytes());
        let mut b = [Block::new(), Block::new(), Block::new(), Block::new()];
        for i in 0..5 {
            let r = sd.read(&mut b, BlockIdx(i));
            let _ = writeln!(uart, "{r:?} {:x?}", &b[0].contents[440..512]);
        }
    }
    let _ =
        writeln!(uart, "stack {} fast {} large {}", stack.peak(), fp.touched_from_start(), lp.touched_from_start());
    semihosting::exit(0)
}
