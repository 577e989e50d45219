//! The smallest firmware that finds an image: the client, its crypto and a driver that reads and writes a device.
//! It is linked, and measured, but never run: the device is a place in memory.
//!
//! Nothing here allocates: there is no allocator to be linked. Whatever the client can do is reachable from here,
//! so that the linker keeps it.
#![no_std]
#![no_main]

#[cfg(not(feature = "dht"))]
mod client_lan;
#[cfg(feature = "dht")]
mod client_wide;
mod device;
#[cfg(not(target_os = "none"))]
mod memory;

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use phase_core::client::Config;
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{Input, Machine as _, Output};
use phase_core::rng::Seed;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::Trust;

#[cfg(not(feature = "dht"))]
use client_lan as client;
#[cfg(feature = "dht")]
use client_wide as client;
use device::Device;

/// A place for one value that is made once.
struct Place<T>(UnsafeCell<T>);

// SAFETY: there is one thread.
unsafe impl<T> Sync for Place<T> {}

/// The whole state of the client.
static CLIENT: Place<MaybeUninit<client::Wanted>> = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// What a driver needs: the datagram that arrived last, and the one that leaves next.
static RECEIVED: Place<[u8; 1500]> = Place(UnsafeCell::new([0; 1500]));
static SENDING: Place<[u8; TRANSMIT_MAX]> = Place(UnsafeCell::new([0; TRANSMIT_MAX]));

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Where the processor begins.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    let device = Device;
    loop {
        if let Some(config) = config(&device) {
            run(&device, config);
        }
    }
}

fn config(device: &Device) -> Option<Config> {
    let mut seed = [0; 32];
    device.read(&mut seed);
    let mut text = [0; 64];
    let mut word = || {
        let len = device.read(&mut text).min(text.len());
        core::str::from_utf8(text.get(..len)?).ok().map(heapless_text)
    };
    let channel = Channel::new(&word()?).ok()?;
    let arch = Arch::new(&word()?).ok()?;
    let mut trust = Trust::default();
    trust.add_word(&word()?).ok()?;
    Some(Config { trust, ..Config::new(Seed(seed), channel, arch) })
}

/// A copy of a short text.
fn heapless_text(text: &str) -> Text {
    let mut copy = Text { octets: [0; 64], len: 0 };
    for (place, octet) in copy.octets.iter_mut().zip(text.bytes()) {
        *place = octet;
        copy.len += 1;
    }
    copy
}

struct Text {
    octets: [u8; 64],
    len: usize,
}

impl core::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.octets.get(..self.len).and_then(|o| core::str::from_utf8(o).ok()).unwrap_or_default()
    }
}

fn run(device: &Device, config: Config) {
    // SAFETY: `run` is called by the one thread, and not by itself.
    let (client, received, sending) = unsafe {
        let client = client::make(&mut *CLIENT.0.get(), device, config);
        (client, &mut *RECEIVED.0.get(), &mut *SENDING.0.get())
    };
    loop {
        loop {
            match client.poll_output(sending) {
                Output::Transmit(transmit) => {
                    device.send(
                        transmit.destination,
                        sending.get(..transmit.len).unwrap_or_default(),
                    );
                }
                Output::Connection(_, what) => device.tell(what),
                Output::Event(event) => {
                    device.tell(event);
                    if let Some(best) = client.best() {
                        if let Some(advert) = best.advert() {
                            device.write(advert.url.as_str().as_bytes());
                        }
                    }
                }
                Output::Timeout(wake) => {
                    device.tell(wake);
                    break;
                }
            }
        }
        match device.next_input(received) {
            Some(input) => client.handle_input(device.now(), input),
            None => client.handle_input(device.now(), Input::Timeout),
        }
        if device.is_off() {
            device.tell(client.stats());
            return;
        }
    }
}
