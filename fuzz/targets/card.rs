#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rillm_fuzz::card::card(data));
