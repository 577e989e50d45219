//! `--apply-lease`: the kernel has a network when the run is over.

use std::fs;
use std::path::Path;

use phase_tests::deadline::GENEROUS;
use phase_tests::process::Process;

use crate::lab::{HOST, Lab, PROGRAM, discover};

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
