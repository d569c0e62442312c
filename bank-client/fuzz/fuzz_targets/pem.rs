#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bank_client::fuzzing::pem(data));
