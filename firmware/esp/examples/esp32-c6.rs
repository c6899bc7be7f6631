//! Any board with an ESP32-C6, and a card over SPI. There is no PSRAM: what does not fit the chip's 512 KiB is read for each token.
//!
//! | line of the card, SPI | line of the card, SD | pin |
//! | --- | --- | --- |
//! | SCK | CLK | 6 |
//! | MISO | DATA0 | 2 |
//! | MOSI | CMD | 7 |
//! | CS | DATA3 | 3 |
//! | 3.3 V, GND | VDD, VSS | 3V3, GND |
//!
//! Others would do but 4, 5, 8, 9 and 15, which tell the chip how to start, 24 to 30, which are the flash's, and 12 and 13 (USB).
//! A breakout for 3.3 V needs no parts; 10 µF between its 3.3 V and GND help where wires are long.
//!
//! The console is in the USB port, and on pins 16 (TX) and 17 (RX) at 115,200 baud.
#![no_std]
#![no_main]

use esp_hal::main;
use rillm_esp::card::spi;
use rillm_esp::{Both, Console, Firmware, UsbConsole, boards};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    Firmware {
        board: &boards::ESP32_C6_SPI,
        console: Both(UsbConsole::new(p.USB_DEVICE), Console::new(p.UART0, p.GPIO17, p.GPIO16)),
        card: spi(p.SPI2, p.GPIO6, p.GPIO7, p.GPIO2, p.GPIO3),
    }
    .run()
}
