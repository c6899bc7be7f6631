//! Espressif's ESP32-S3-DevKitC-1 with 16 MB of flash and 8 MiB of PSRAM (N16R8), and a microSD socket on six wires.
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
//! The pins are adjacent, in the order of the socket. Other pins work too, except the PSRAM pins 35 to 37, the USB pins
//! 19 and 20, and the strapping pins 0, 3, 45 and 46. Wires may be 10 cm long at most. The chip's internal pull-ups
//! suffice; 10 kOhm from CMD and each DATA line to 3V3 are better. The card runs at 3.3 V, without level shifters. To
//! read with 1 bit on three wires, leave out the lines of DATA1 to DATA3.
//!
//! The console is on both USB ports, labelled UART and USB.
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
