//! Publishing by command, fields separated by tabs: `publish INSTANCE PORT SUBTYPE [KEY=VALUE]...` (also to
//! change a TXT record; SUBTYPE may be empty), `withdraw INSTANCE`; goodbyes at the end of the input.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::stdin;

use mdns_sd::{ServiceDaemon, ServiceInfo};

/// Obeys standard input until its end.
pub fn serve(kind: &str) -> Result<(), Box<dyn Error>> {
    let daemon = ServiceDaemon::new()?;
    let domain = format!("{kind}.local.");
    let mut published = BTreeSet::new();
    for line in stdin().lines() {
        let line = line?;
        match line.split('\t').collect::<Vec<_>>().as_slice() {
            ["publish", instance, port, subtype, txt @ ..] => {
                let kind =
                    if subtype.is_empty() { domain.clone() } else { format!("{subtype}._sub.{domain}") };
                let properties: Vec<_> = txt.iter().filter_map(|t| t.split_once('=')).collect();
                let port = port.parse()?;
                let info =
                    ServiceInfo::new(&kind, instance, "mdns-sd.local.", "", port, &properties[..])?;
                daemon.register(info.enable_addr_auto())?;
                published.insert((*instance).to_owned());
            }
            ["withdraw", instance] => {
                daemon.unregister(&format!("{instance}.{domain}"))?.recv()?;
                published.remove(*instance);
            }
            other => return Err(format!("not a command: {other:?}").into()),
        }
    }
    for instance in published {
        daemon.unregister(&format!("{instance}.{domain}"))?.recv()?;
    }
    Ok(())
}
