//! A board with an ESP32-WROVER module (4 or 8 MiB of PSRAM, of which 4 MiB are used) and a card over SPI, on the pins
//! that most boards and tutorials call VSPI.
//!
//! | line of the card, SPI | line of the card, SD | pin |
//! | --- | --- | --- |
//! | SCK | CLK | 18 |
//! | MOSI | CMD | 23 |
//! | MISO | DATA0 | 19 |
//! | CS | DATA3 | 5 |
//! | 3.3 V, GND | VDD, VSS | 3V3, GND |
//!
//! A 3.3 V breakout needs no other parts. With long wires, 10 µF between its 3.3 V and GND help. Pins 16 and 17 belong
//! to the PSRAM. If the slot is wired to the chip's SD host (pins 14, 15, 2, 4, 12 and 13: ESP32-WROVER-KIT), use the
//! lines of the ESP32-CAM example: the card then reads several times as fast.
#![no_std]
#![no_main]

use esp_hal::main;
use rillm_esp::card::spi;
use rillm_esp::{Console, Firmware, boards};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    Firmware {
        board: &boards::ESP32_WROVER,
        console: Console::new(p.UART0, p.GPIO3, p.GPIO1),
        card: spi(p.SPI3, p.GPIO18, p.GPIO23, p.GPIO19, p.GPIO5),
        psram: Some(p.PSRAM),
        second_core: Some(p.CPU_CTRL),
    }
    .run()
}
