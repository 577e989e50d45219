//! Kademlia requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phase_tests::fuzz_bodies::kad_request(data));
