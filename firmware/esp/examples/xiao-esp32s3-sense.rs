//! Seeed's XIAO ESP32S3 Sense: an ESP32-S3 with 8 MiB of PSRAM, and a microSD slot on its camera board.
//!
//! | line of the slot | pin |
//! | --- | --- |
//! | CS
//! 21, also the orange LED, which glows while the card is read |
//! | SCK | 7 (D8) |
//! | MISO | 8 (D9) |
//! | MOSI | 9 (D10) |
//!
//! The slot is wired at 3.3 V and needs no other parts, as long as the pads J3 under the camera board are not cut. The
//! console is on the USB port, and on pins 43 (D6, TX) and 44 (D7, RX) at 115,200 baud.
#![no_std]
#![no_main]

use esp_hal::main;
use rillm_esp::card::spi;
use rillm_esp::{Both, Console, Firmware, UsbConsole, boards};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    Firmware {
        board: &boards::XIAO_ESP32S3_SENSE,
        console: Both(UsbConsole::new(p.USB_DEVICE), Console::new(p.UART0, p.GPIO44, p.GPIO43)),
        card: spi(p.SPI2, p.GPIO7, p.GPIO9, p.GPIO8, p.GPIO21),
        psram: Some(p.PSRAM),
        second_core: Some(p.CPU_CTRL),
    }
    .run()
}
