//! `phase-boot` as its user sees it, in network namespaces: with a real provider, a real DHCP server and real routers.

#![cfg(target_os = "linux")]

mod address;
mod faults;
mod fetch;
mod idle;
mod lab;
mod lan;
mod wan;
