//! libFuzzer's door to `laws::runtime_data`.

#![no_main]

#[path = "../laws.rs"]
#[expect(dead_code, reason = "each target checks one of the laws")]
mod laws;

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::runtime_data(data));
