//! The mdns-sd crate as a program: `publish TYPE INSTANCE PORT [KEY=VALUE]...` until SIGTERM, then
//! goodbye; `browse TYPE` prints one line per event until killed; `serve TYPE` publishes and withdraws as
//! the lines of its standard input say (see `serve.rs`).
//!
//! Lines: `published INSTANCE`, `found INSTANCE HOST PORT ADDRESS,... [KEY=VALUE]...`,
//! `lost INSTANCE`; fields are separated by tabs.

mod serve;

use std::env;
use std::error::Error;
use std::io::{self, Write};

use mdns_sd::{DaemonEvent, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use nix::sys::signal::{SigSet, Signal};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["publish", kind, instance, port, txt @ ..] => publish(kind, instance, port.parse()?, txt),
        ["browse", kind] => browse(kind),
        ["serve", kind] => serve::serve(kind),
        _ => Err("usage: publish TYPE INSTANCE PORT [KEY=VALUE]... | browse TYPE | serve TYPE".into()),
    }
}

fn publish(kind: &str, instance: &str, port: u16, txt: &[&str]) -> Result<(), Box<dyn Error>> {
    // Blocked before the daemon's thread exists, so that only `wait` below receives it.
    let mut ending = SigSet::empty();
    ending.add(Signal::SIGTERM);
    ending.thread_block()?;
    let daemon = ServiceDaemon::new()?;
    let events = daemon.monitor()?;
    let properties: Vec<(&str, &str)> = txt.iter().filter_map(|t| t.split_once('=')).collect();
    let domain = format!("{kind}.local.");
    let service = ServiceInfo::new(&domain, instance, "mdns-sd.local.", "", port, &properties[..])?
        .enable_addr_auto();
    let name = service.get_fullname().to_owned();
    daemon.register(service)?;
    std::thread::spawn(move || {
        while let Ok(event) = events.recv() {
            if matches!(event, DaemonEvent::Announce(..)) {
                print_line(&["published", &name]);
                return;
            }
        }
    });
    ending.wait()?;
    let gone = daemon.unregister(&format!("{instance}.{domain}"))?;
    gone.recv()?;
    Ok(())
}

fn browse(kind: &str) -> Result<(), Box<dyn Error>> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(&format!("{kind}.local."))?;
    loop {
        match events.recv()? {
            ServiceEvent::ServiceResolved(service) => print_found(&service),
            ServiceEvent::ServiceRemoved(_, name) => print_line(&["lost", instance_of(&name)]),
            _ => {}
        }
    }
}

fn print_found(service: &ResolvedService) {
    let mut addresses: Vec<String> =
        service.get_addresses().iter().map(|a| a.to_ip_addr().to_string()).collect();
    addresses.sort();
    let mut fields = vec![
        "found".to_owned(),
        instance_of(service.get_fullname()).to_owned(),
        service.get_hostname().to_owned(),
        service.get_port().to_string(),
        addresses.join(","),
    ];
    fields.extend(service.get_properties().iter().map(|p| format!("{}={}", p.key(), p.val_str())));
    print_line(&fields.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The first label; instance names of ours hold no dot.
fn instance_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn print_line(fields: &[&str]) {
    // A reader that is gone needs no line.
    let _ = writeln!(io::stdout(), "{}", fields.join("\t"));
}
