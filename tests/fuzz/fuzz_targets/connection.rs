//! A connection in each of its phases.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phase_tests::fuzz_bodies::connection(data));
