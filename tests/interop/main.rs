//! Our provider and our client beside Avahi, the mdns-sd crate, python-zeroconf and bonjour-service, which really run:
//! each browses for our provider, and each publishes what our client finds. A peer that is not installed is a
//! failure that says what to do.
#![forbid(unsafe_code)]

mod coexistence;
mod discovering;
mod lab;
mod publishing;
