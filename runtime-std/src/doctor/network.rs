//! Interfaces and ports.

use std::io;
use std::net::TcpListener;

use phase_core::exit::Exit;

use super::Finding;
use super::holders::{Protocol, holders, named};
use crate::config::settings::Settings;
use crate::http::server;
use crate::net::interfaces::{Interface, judge};
use crate::net::{self, MDNS_PORT};
use crate::serve;

/// Which interfaces are used, and why the others are not.
pub(super) fn interfaces(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "interfaces";
    if !settings.mdns && !settings.dht {
        return vec![Finding::good(CHECK, "not needed: mDNS and DHT are off")];
    }
    let all = match net::list() {
        Ok(facts) => judge(facts, &settings.interfaces),
        Err(error) => {
            return vec![Finding::failure(CHECK, Exit::NoNetwork, net::Error::Interfaces(error))];
        }
    };
    let (used, others): (Vec<_>, Vec<_>) = all.iter().partition(|i| i.excluded.is_none());
    let others: Vec<_> = others.into_iter().map(unused).collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join("; ")) };
    let finding = if used.is_empty() {
        let text = format!("none can be used: connect one, or name it with --interface{others}");
        Finding::failure(CHECK, Exit::NoNetwork, text)
    } else {
        let used: Vec<_> = used.into_iter().map(usable).collect();
        Finding::good(CHECK, format!("{}{others}", used.join("; ")))
    };
    let is_there = |name: &&String| !all.iter().any(|interface| interface.name == **name);
    let missing = settings.interfaces.iter().filter(is_there).map(|name| {
        Finding::warning(CHECK, format!("there is no interface {name}; it is used when it comes"))
    });
    std::iter::once(finding).chain(missing).collect()
}

fn usable(interface: &Interface) -> String {
    let addresses: Vec<_> = interface.networks.iter().map(|n| n.address.to_string()).collect();
    format!("{} is used: {}", interface.name, addresses.join(", "))
}

fn unused(interface: &Interface) -> String {
    let why = interface.excluded.map(|why| why.to_string()).unwrap_or_default();
    format!("{} is not: {why}", interface.name)
}

/// Whether port 5353 can be had beside those who have it.
pub(super) fn mdns_port(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "UDP port 5353";
    if !settings.mdns {
        return vec![Finding::good(CHECK, "not needed: mDNS is off")];
    }
    let others = named(&holders(Protocol::Udp, MDNS_PORT));
    vec![match open_mdns_sockets() {
        Ok(true) => Finding::good(CHECK, "free"),
        Ok(false) => Finding::good(CHECK, format!("shared with {others}")),
        Err(error) => Finding::failure(CHECK, Exit::NoNetwork, format!("{error} (it is {others})")),
    }]
}

/// Opens the sockets as `serve` does and closes them again; whether nobody had the port.
fn open_mdns_sockets() -> Result<bool, net::Error> {
    let socket = |source| net::Error::Socket { port: MDNS_PORT, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(socket)?;
    runtime.block_on(async { net::open_sockets(false).map(|(_closed, first)| first) })
}

/// Whether the HTTP port can be had, or the running provider has it.
pub(super) fn http_port(settings: &Settings, is_running: bool) -> Vec<Finding> {
    const CHECK: &str = "HTTP port";
    vec![match server::listen(settings.listen) {
        Ok(listener) => {
            let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
            Finding::good(CHECK, format!("{address} is free"))
        }
        Err(server::Error::InUse(address)) => taken(CHECK, address.port(), is_running),
        Err(error @ (server::Error::Listen { .. } | server::Error::Runtime(_))) => {
            Finding::failure(CHECK, Exit::Usage, error)
        }
    }]
}

/// Whether the ports for other nodes of the DHT can be had, or the running provider has them.
pub(super) fn dht_ports(settings: &Settings, is_running: bool) -> Vec<Finding> {
    const CHECK: &str = "DHT port";
    let mut findings: Vec<Finding> = Vec::new();
    for address in serve::dht_addresses(settings) {
        let finding = match TcpListener::bind(address) {
            Ok(_closed) => Finding::good(CHECK, format!("{address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                taken(CHECK, address.port(), is_running)
            }
            Err(error) => {
                let text =
                    format!("cannot listen on {address}: {error}; choose another --dht-listen");
                Finding::failure(CHECK, Exit::Usage, text)
            }
        };
        // One port is usually listened on in both families.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

fn taken(check: &'static str, port: u16, is_running: bool) -> Finding {
    let holders = holders(Protocol::Tcp, port);
    let ours = holders.is_empty() || holders.iter().any(|holder| holder.name == "phase-provider");
    if is_running && ours {
        return Finding::good(check, format!("{port}: the running provider listens there"));
    }
    let text = format!(
        "{port} is in use by {}: stop that program, or choose another port",
        named(&holders)
    );
    Finding::failure(check, Exit::Usage, text)
}
