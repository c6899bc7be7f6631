//! Espressif's ESP32-S3-DevKitC-1 with 16 MB of flash and 8 MiB of PSRAM (N16R8), and a socket for a microSD card on six wires.
//!
//! | pin of the socket | line | pin of the board |
//! | --- | --- | --- |
//! | 1 | DATA2 | 9 |
//! | 2 | DATA3 | 10 |
//! | 3 | CMD | 11 |
//! | 4 | VDD | 3V3 |
//! | 5 | CLK | 12 |
//! | 6 | VSS | G |
//! | 7 | DATA0 | 13 |
//! | 8 | DATA1 | 14 |
//!
//! The pins lie side by side, in the socket's order; any others would do but 35 to 37, which are the PSRAM's, 19 and 20 (USB), and 0,
//! 3, 45 and 46, which tell the chip how to start. Wires of 10 cm at most. The chip's own resistors pull the lines up; 10 kOhm
//! from CMD and each DATA line to 3V3 do it better. The card runs on 3.3 V, without level shifters. Leave out the lines of DATA1 to
//! DATA3 to read with 1 bit, on three wires.
//!
//! The console is in both USB ports: the one called UART, and the one called USB.
#![no_std]
#![no_main]

use esp_hal::main;
use esp_hal::sdmmc::{Config, SdHostController, SlotConfig};
use rillm_esp::card::sdmmc;
use rillm_esp::{Both, Console, Firmware, UsbConsole, boards};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    let host = SdHostController::new(p.SDHOST, Config::default()).expect("the default is valid");
    let slot = host.slot::<1>(SlotConfig::default()).expect("its first use");
    let slot = slot.with_clk(p.GPIO12).with_cmd(p.GPIO11).with_data0(p.GPIO13);
    let slot = slot.with_data1(p.GPIO14).with_data2(p.GPIO9).with_data3(p.GPIO10);
    Firmware {
        board: &boards::ESP32_S3_DEVKITC,
        console: Both(UsbConsole::new(p.USB_DEVICE), Console::new(p.UART0, p.GPIO44, p.GPIO43)),
        card: sdmmc(slot),
        psram: Some(p.PSRAM),
        second_core: Some(p.CPU_CTRL),
    }
    .run()
}
