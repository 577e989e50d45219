//! Which programs of this host have a port open: from /proc on Linux; elsewhere the system does not tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Which kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    /// Sockets that listen.
    Tcp,
}

impl Protocol {
    /// Tables of sockets, and the state that counts (`TCP_LISTEN`).
    const fn tables(self) -> (&'static [&'static str], Option<&'static str>) {
        match self {
            Self::Udp => (&["/proc/net/udp", "/proc/net/udp6"], None),
            Self::Tcp => (&["/proc/net/tcp", "/proc/net/tcp6"], Some("0A")),
        }
    }
}

/// A program that has the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// Every program with a socket on `port`, as far as this user may see.
pub(super) fn holders(protocol: Protocol, port: u16) -> BTreeSet<Holder> {
    let (tables, state) = protocol.tables();
    let tables = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let sockets: BTreeSet<String> = tables
        .flat_map(|table| inodes(&table, port, state))
        .map(|i| format!("socket:[{i}]"))
        .collect();
    let mut found = BTreeSet::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|fd| fs::read_link(fd.path()).ok());
        if !sockets.is_empty()
            && targets.any(|to| to.to_str().is_some_and(|to| sockets.contains(to)))
        {
            found.insert(Holder { name: name(&process.path()), pid });
        }
    }
    found
}

/// The inodes of the sockets on a port, from a table as `proc_net`(5) describes it.
fn inodes(table: &str, port: u16, state: Option<&str>) -> Vec<u64> {
    let end = format!(":{port:04X}");
    let of = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let counts = fields.get(1)?.ends_with(&end)
            && state.is_none_or(|state| fields.get(3) == Some(&state));
        fields.get(9).filter(|_| counts)?.parse().ok()
    };
    table.lines().skip(1).filter_map(of).collect()
}

fn name(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// All of them in words.
pub(super) fn named(holders: &BTreeSet<Holder>) -> String {
    if holders.is_empty() {
        return "a program that this user may not see".to_owned();
    }
    let words: Vec<_> =
        holders.iter().map(|holder| format!("{} (pid {})", holder.name, holder.pid)).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_port_and_state() {
        // source: /proc/net/tcp of Linux 6.18
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n   \
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n   \
            2: 00000000:14E9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n";
        assert_eq!(inodes(table, 8080, Some("0A")), [4711]);
        assert_eq!(inodes(table, 8080, None), [4711, 4712]);
        assert_eq!(inodes(table, 80, None), [0; 0]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_program_holds_what_it_opened() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let all = holders(Protocol::Udp, socket.local_addr().unwrap().port());
        assert!(all.iter().any(|holder| holder.pid == std::process::id()), "{all:?}");
    }
}
