//! Ties `embassy_time` to this crate's clock and executor: it finds its driver by the name of a symbol.

use std::task::Waker;

use crate::{clock, executor};

#[derive(Debug)]
struct Time;

impl embassy_time_driver::Driver for Time {
    fn now(&self) -> u64 {
        clock::monotonic_micros()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        executor::wake_at(at, waker);
    }
}

embassy_time_driver::time_driver_impl!(static TIME: Time = Time);
