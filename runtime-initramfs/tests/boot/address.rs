//! Leases: they are renewed while a run lasts, and with `--apply-lease` the kernel has them when it is over.

use std::fs;
use std::path::Path;

use phase_tests::deadline::GENEROUS;
use phase_tests::process::Process;

use crate::lab::{HOST, LEASES, Lab, PROGRAM, discover};

#[test]
fn a_lease_is_renewed_in_time() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    // Half of the shortest lease that this server gives is a minute; option 58 asks for it sooner.
    lab.start_dhcp(&[LEASES[0], "--dhcp-option-force=58,3s", "--dhcp-option-force=59,6s"]);
    let waited = lab.run(&["--timeout", "8"]);
    assert_eq!(waited.code(), 3, "{}", waited.stderr);
    let said = lab.server_said();
    let count = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    // More than one that was asked for from the beginning.
    assert!(count("DHCPACK") > count("DHCPDISCOVER"), "{said}");
    assert_eq!(waited.stderr.matches("dhcp: eth0 has ").count(), 1, "{}", waited.stderr);
}

#[test]
fn the_kernel_has_address_route_and_name_server_of_the_lease() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(&["--dhcp-range=10.77.0.100,10.77.0.100,10m", "--dhcp-option=6,10.77.0.1"]);
    lab.start_provider();
    let conf = lab.path("resolv.conf");
    fs::write(&conf, "").unwrap();
    let mounts = [(conf.as_path(), Path::new("/etc/resolv.conf"))];
    let command = discover(lab.client.command_with_mounts(&mounts, PROGRAM), &["--apply-lease"]);
    let found = Process::spawn(command).unwrap().wait(GENEROUS).unwrap();
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert!(found.stderr.contains("dhcp: the kernel has 10.77.0.100 on eth0"), "{}", found.stderr);

    let addresses = lab.client.ip(&["-4", "addr", "show", "dev", "eth0"]).unwrap();
    assert!(addresses.contains("inet 10.77.0.100/24"), "{addresses}");
    let routes = lab.client.ip(&["route"]).unwrap();
    assert!(routes.contains("default via 10.77.0.1 dev eth0"), "{routes}");
    assert_eq!(fs::read_to_string(&conf).unwrap(), "nameserver 10.77.0.1\n");

    // The kernel's own TCP gets through.
    let connect = || std::net::TcpStream::connect((HOST, 8080)).map(drop);
    lab.client.inside(connect).unwrap();

    // From here on the interface is the kernel's.
    let refused = lab.run(&["--timeout", "1"]);
    assert_eq!(refused.code(), 5, "{}", refused.stderr);
}
