//! libFuzzer's door to `laws::backup`.

#![no_main]

#[path = "../laws.rs"]
#[expect(dead_code, reason = "each target checks one of the laws")]
mod laws;

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::backup(data));
