//! Espressif's ESP32-P4-Function-EV-Board: an ESP32-P4 with 32 MiB of PSRAM and a microSD slot.
//!
//! | line of the slot | pin |
//! | --- | --- |
//! | CLK | 43 |
//! | CMD | 44 |
//! | DATA0 to DATA3 | 39 to 42 |
//!
//! The slot is on the board; the chip itself supplies these pins with 3.3 V. The console is on the USB port labelled
//! UART: pins 37 (TX) and 38 (RX). The chip's second core is not used.
#![no_std]
#![no_main]

use esp_hal::main;
use esp_hal::sdmmc::{Config, SdHostController, SlotConfig};
use rillm_esp::card::sdmmc;
use rillm_esp::{Console, Firmware, boards};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    let host = SdHostController::new(p.SDHOST, Config::default()).expect("the default is valid");
    let slot = host.slot::<0>(SlotConfig::default()).expect("its first use");
    let slot = slot.with_clk(p.GPIO43).with_cmd(p.GPIO44).with_data0(p.GPIO39);
    let slot = slot.with_data1(p.GPIO40).with_data2(p.GPIO41).with_data3(p.GPIO42);
    Firmware {
        board: &boards::ESP32_P4_EV,
        console: Console::new(p.UART0, p.GPIO38, p.GPIO37),
        card: sdmmc(slot),
        psram: Some(p.PSRAM),
        second_core: None,
    }
    .run()
}
