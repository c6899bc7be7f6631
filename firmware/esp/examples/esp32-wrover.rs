//! A board with an ESP32-WROVER module (8 MiB of PSRAM or 4, of which 4 are used) and a card over SPI, on the pins that most
//! boards and tutorials call VSPI.
//!
//! | line of the card, SPI | line of the card, SD | pin |
//! | --- | --- | --- |
//! | SCK | CLK | 18 |
//! | MOSI | CMD | 23 |
//! | MISO | DATA0 | 19 |
//! | CS | DATA3 | 5 |
//! | 3.3 V, GND | VDD, VSS | 3V3, GND |
//!
//! A breakout for 3.3 V needs no parts; 10 µF between its 3.3 V and GND help where wires are long. Pins 16 and 17 are the PSRAM's.
//! A board whose slot is wired to the chip's SD host (pins 14, 15, 2, 4, 12 and 13: ESP32-WROVER-KIT) has its lines like the
//! ESP32-CAM: the card is then read several times as fast.
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
