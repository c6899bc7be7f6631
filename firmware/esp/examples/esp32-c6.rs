//! Any board with an ESP32-C6 and a card over SPI. The chip has no PSRAM: weights that do not fit into its 512 KiB are
//! read for each token.
//!
//! | line of the card, SPI | line of the card, SD | pin |
//! | --- | --- | --- |
//! | SCK | CLK | 6 |
//! | MISO | DATA0 | 2 |
//! | MOSI | CMD | 7 |
//! | CS | DATA3 | 3 |
//! | 3.3 V, GND | VDD, VSS | 3V3, GND |
//!
//! Other pins work too, except the strapping pins 4, 5, 8, 9 and 15, the flash pins 24 to 30, and the USB pins 12 and
//! 13. A 3.3 V breakout needs no other parts. With long wires, 10 µF between its 3.3 V and GND help.
//!
//! The console is on the USB port, and on pins 16 (TX) and 17 (RX) at 115,200 baud.
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
        psram: None,
        second_core: None,
    }
    .run()
}
