//! AI-Thinker's ESP32-CAM: an ESP32 with 4 MiB of PSRAM and a slot for an SD card.
#![no_std]
#![no_main]

use esp_hal::main;
use rillm_esp::{Console, Firmware};

#[main]
fn main() -> ! {
    let p = rillm_esp::init();
    Firmware {
        name: "ESP32-CAM",
        console: Console::new(p.UART0, p.GPIO3, p.GPIO1),
        psram: Some(p.PSRAM),
        second_core: Some(p.CPU_CTRL),
    }
    .run()
}
