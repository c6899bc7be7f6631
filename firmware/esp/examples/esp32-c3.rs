//! Any board with an ESP32-C3 and a card over SPI. The chip has no PSRAM: weights that do not fit into its 400 KiB are
//! read for each token.
//!
//! | line of the card, SPI | line of the card, SD | pin |
//! | --- | --- | --- |
//! | SCK | CLK | 4 |
//! | MISO | DATA0 | 5 |
//! | MOSI | CMD | 6 |
//! | CS | DATA3 | 7 |
//! | 3.3 V, GND | VDD, VSS | 3V3, GND |
//!
//! These four pins are adjacent on most boards. Other pins work too, except the strapping pins 2, 8 and 9, the flash
//! pins 11 to 17, and the USB pins 18 and 19. A 3.3 V breakout needs no other parts. With long wires, 10 µF between its
//! 3.3 V and GND help.
//!
//! The console is on the USB port, and on pins 21 (TX) and 20 (RX) at 115,200 baud.
#![no_std]
#![no_main]

use esp_hal::main;
use rillm_esp::card::spi;
use rillm_esp::{Both, Console, Firmware, UsbConsole, boards};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    Firmware {
        board: &boards::ESP32_C3_SPI,
        console: Both(UsbConsole::new(p.USB_DEVICE), Console::new(p.UART0, p.GPIO20, p.GPIO21)),
        card: spi(p.SPI2, p.GPIO4, p.GPIO6, p.GPIO5, p.GPIO7),
        psram: None,
        second_core: None,
    }
    .run()
}
