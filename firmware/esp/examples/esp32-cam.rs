//! AI-Thinker's ESP32-CAM: an ESP32 with 4 MiB of PSRAM and an SD card slot.
//!
//! | line of the slot
//! pin
//! notes |
//! | --- | --- | --- |
//! | CLK | 14 | |
//! | CMD | 15 | |
//! | DATA0 | 2 | |
//! | DATA1
//! 4
//! also the white flash LED, which glows while the card is read with 4 bits |
//! | DATA2
//! 12
//! strapping pin: must be low at reset, or the chip assumes 1.8 V flash. Connect nothing else |
//! | DATA3 | 13 | |
//!
//! The slot is on the board and runs at 3.3 V; it needs no other parts. To read with 1 bit, leave out the lines of
//! DATA1 to DATA3 but keep the pull-up of pin 13. The LED then stays dark, and the card reads at half the speed or
//! less.
#![no_std]
#![no_main]

use esp_hal::main;
use esp_hal::sdmmc::{Config, SdHostController, SlotConfig};
use rillm_esp::card::{pull_up, sdmmc};
use rillm_esp::{Console, Firmware, boards};

#[main]
fn main() -> ! {
    let mut p = rillm_esp::init();
    pull_up(p.GPIO15.reborrow());
    pull_up(p.GPIO2.reborrow());
    pull_up(p.GPIO4.reborrow());
    pull_up(p.GPIO12.reborrow());
    pull_up(p.GPIO13.reborrow());
    let host = SdHostController::new(p.SDHOST, Config::default()).expect("the default is valid");
    let slot = host.slot::<1>(SlotConfig::default()).expect("its first use");
    let slot = slot.with_clk(p.GPIO14).with_cmd(p.GPIO15).with_data0(p.GPIO2);
    let slot = slot.with_data1(p.GPIO4).with_data2(p.GPIO12).with_data3(p.GPIO13);
    Firmware {
        board: &boards::ESP32_CAM,
        console: Console::new(p.UART0, p.GPIO3, p.GPIO1),
        card: sdmmc(slot),
        psram: Some(p.PSRAM),
        second_core: Some(p.CPU_CTRL),
    }
    .run()
}
