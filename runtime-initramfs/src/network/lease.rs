//! Gives what DHCP gave to the kernel, so that other programs have a network.
//!
//! The kernel makes its own IPv6 addresses when its IPv6 is turned on again. Not implemented: renewal after this, which
//! is for whoever runs next.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use super::Network;
use crate::console::{Console, Step};

/// Where programs look for name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Network {
    /// Gives address, default route and name servers of every lease to the kernel; whether everything was taken.
    ///
    /// The stacks answer for the same addresses as long as they run: end the process, or let the interfaces alone.
    pub fn apply_leases(self, console: Console) -> bool {
        let mut taken = true;
        let mut conf = String::new();
        for interface in self.configured() {
            let Some(lease) = interface.stack.config_v4() else { continue };
            let (name, address) = (&interface.name, lease.address.address());
            let given = self.give(name, address, lease.address.prefix_len(), lease.gateway);
            match given {
                Ok(()) => {
                    console.step(Step::Dhcp, format_args!("the kernel has {address} on {name}"));
                }
                Err(error) => {
                    taken = false;
                    let text = format_args!(
                        "the kernel does not take {address} on {name}: {error}; this needs CAP_NET_ADMIN"
                    );
                    console.step(Step::Dhcp, text);
                }
            }
            for server in interface.servers() {
                // Writing to a `String` does not fail.
                let _ = writeln!(conf, "nameserver {server}");
            }
        }
        if !conf.is_empty()
            && let Err(error) = fs::write(RESOLV_CONF, conf)
        {
            taken = false;
            console.step(Step::Dhcp, format_args!("{RESOLV_CONF} cannot be written: {error}"));
        }
        taken
    }

    fn give(
        self,
        name: &str,
        address: Ipv4Addr,
        prefix_len: u8,
        gateway: Option<Ipv4Addr>,
    ) -> std::io::Result<()> {
        let control = self.control();
        control.set_up(name)?;
        control.set_address(name, address, prefix_len)?;
        gateway.map_or(Ok(()), |gateway| control.add_default_route(gateway))
    }
}
