//! Network namespaces: real hosts with real interfaces on one Linux machine.
//!
//! A [`Namespace`] is a host without a network, a [`Segment`] is an Ethernet switch (a bridge in a
//! namespace of its own), and [`Lan`] is the usual case: some hosts on one switch, each with `eth0`,
//! an IPv4, an IPv6 and a link-local address that can be used when [`Lan::of`] returns (duplicate
//! address detection is off). Names carry this process's id, so that test programs run side by side;
//! everything is removed on drop, also when a test panics. Nothing leaves the namespaces.
//!
//! Needs root (`CAP_NET_ADMIN` and `CAP_SYS_ADMIN`) and `ip` of iproute2.
//!
//! ```no_run
//! # fn main() -> Result<(), phase_tests::Error> {
//! use phase_tests::{netns::Lan, process::Process};
//! let lan = Lan::of(2)?;
//! let _provider = Process::spawn(lan.host(0).namespace.command("phase-provider"))?;
//! let text = lan.host(1).namespace.run("avahi-browse", &["-rpt", "_phase-image._tcp"])?;
//! let socket = lan.host(1).namespace.inside(|| std::net::UdpSocket::bind("0.0.0.0:0"))?;
//! # Ok(()) }
//! ```

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{process, thread};

use nix::sched::{self, CloneFlags};

use crate::Error;
use crate::cable::Cable;
use crate::deadline::{self, GENEROUS};
use crate::process::run;

/// What every namespace name starts with; the process id and a counter follow.
const PREFIX: &str = "phase-";

/// Where `ip netns` keeps its namespaces.
const RUN_NETNS: &str = "/run/netns";

/// A network namespace with its loopback interface up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace; `label` is a short word for people who look at `ip netns list`.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] or [`Error::ToolMissing`], which say what to do.
    pub fn new(label: &str) -> Result<Self, Error> {
        remove_namespaces_of_ended_processes();
        let name = format!("{PREFIX}{}-{}-{label}", process::id(), next_number());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.set_sysctl("ipv6/conf/default/disable_ipv6", "0")?;
        namespace.set_sysctl("ipv6/conf/all/disable_ipv6", "0")?;
        namespace.set_sysctl("ipv6/conf/default/accept_dad", "0")?;
        namespace.set_sysctl("ipv6/conf/default/accept_ra", "0")?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` in this namespace; its process id is the program's own.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// As [`Namespace::command`], with each directory `private` mounted over the directory `public`
    /// for this program alone; gives daemons with fixed paths (Avahi) a place of their own.
    #[must_use]
    pub fn command_with_mounts(
        &self,
        mounts: &[(&Path, &Path)],
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Command {
        // `ip netns exec` has left the mount namespace of the caller already.
        const MOUNT_THEN_RUN: &str = "n=$1; shift; \
            while [ $n -gt 0 ]; do mount --bind \"$1\" \"$2\" || exit 125; shift 2; n=$((n-1)); done; \
            exec \"$@\"";
        let mut command = self.command("sh");
        command.args(["-c", MOUNT_THEN_RUN, "sh", &mounts.len().to_string()]);
        for (private, public) in mounts {
            command.arg(private).arg(public);
        }
        command.arg(program);
        command
    }

    /// Runs `program` in this namespace to its end and returns its standard output.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what it wrote to standard error.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut command = self.command(program);
        command.args(arguments);
        run(command)
    }

    /// Runs `ip` on this namespace.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, Error> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// Runs `work` on a thread that is inside this namespace; sockets it opens stay there when it
    /// returns them.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] when the namespace cannot be entered, or what `work` gave.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> Result<T, Error> {
        let result = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                enter(&self.name)?;
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let what = || format!("work inside the network namespace {}", self.name);
        result.map_err(|e| Error::os(what(), e))
    }

    /// Sets one value under `/proc/sys/net`.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] where `/proc/sys` cannot be written.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<(), Error> {
        let path = Path::new("/proc/sys/net").join(path);
        self.inside(|| fs::write(&path, value))
    }

    /// The index of an interface, as multicast socket options and scoped addresses want it.
    ///
    /// # Errors
    /// [`Error::Os`] when there is no such interface.
    pub fn interface_index(&self, interface: &str) -> Result<u32, Error> {
        self.inside(|| Ok(nix::net::if_::if_nametoindex(interface)?))
    }

    /// Takes an interface up and waits until it has its carrier and no tentative address.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it does not come up.
    pub fn set_up(&self, interface: &str) -> Result<(), Error> {
        self.ip(&["link", "set", "dev", interface, "up"])?;
        self.wait_until_usable(interface)
    }

    /// Takes an interface down; its IPv6 addresses are gone then, as the kernel has it.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] when there is no such interface.
    pub fn set_down(&self, interface: &str) -> Result<(), Error> {
        self.ip(&["link", "set", "dev", interface, "down"]).map(drop)
    }

    /// Adds an address such as `10.0.0.1/24` or `fd00::1/64`, usable at once.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<(), Error> {
        let mut arguments = vec!["addr", "add", address, "dev", interface];
        if address.contains(':') {
            arguments.push("nodad");
        }
        self.ip(&arguments).map(drop)
    }

    /// Removes an address.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said.
    pub fn remove_address(&self, interface: &str, address: &str) -> Result<(), Error> {
        self.ip(&["addr", "del", address, "dev", interface]).map(drop)
    }

    fn wait_until_usable(&self, interface: &str) -> Result<(), Error> {
        let what = format!("carrier and addresses on {interface} of {}", self.name);
        deadline::until(&what, GENEROUS, || {
            let link = self.ip(&["-o", "link", "show", "dev", interface])?;
            let tentative =
                self.ip(&["-6", "-o", "addr", "show", "dev", interface, "tentative"])?;
            Ok((link.contains("LOWER_UP") && tentative.trim().is_empty()).then_some(()))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        end_processes_in(&self.name);
        // There is nobody to report to; a namespace that stays is removed by the next run.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// An Ethernet switch: a bridge that floods multicast, without spanning tree.
#[derive(Debug)]
pub struct Segment {
    switch: Namespace,
    ports: AtomicU32,
}

impl Segment {
    /// Makes a switch with no port in use.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn new() -> Result<Self, Error> {
        let switch = Namespace::new("switch")?;
        switch.set_sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        switch.ip(&["link", "add", "br0", "type", "bridge"])?;
        switch.ip(&["link", "set", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        switch.ip(&["link", "set", "br0", "type", "bridge", "forward_delay", "0"])?;
        switch.ip(&["link", "set", "dev", "br0", "up"])?;
        Ok(Self { switch, ports: AtomicU32::new(0) })
    }

    /// Plugs a new interface of `namespace` into this switch, gives it `addresses` and takes it up.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] when the name is taken, [`Error::TooLate`] when it does not come up.
    pub fn attach(
        &self,
        namespace: &Namespace,
        interface: &str,
        addresses: &[&str],
    ) -> Result<(), Error> {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let peer = ["type", "veth", "peer", "name", &port, "netns", self.switch.name()];
        namespace.ip(&[&["link", "add", interface], peer.as_slice()].concat())?;
        self.switch.ip(&["link", "set", "dev", &port, "master", "br0", "up"])?;
        for address in addresses {
            namespace.add_address(interface, address)?;
        }
        namespace.set_up(interface)
    }

    /// Joins a new interface of `namespace` to this switch by a cable whose length and losses can be set.
    ///
    /// # Errors
    /// As [`Cable::between`].
    pub fn attach_by_cable(&self, namespace: &Namespace, interface: &str) -> Result<Cable, Error> {
        let cable = Cable::between(&self.switch, namespace, interface)?;
        self.switch.ip(&["link", "set", "dev", interface, "master", "br0"])?;
        Ok(cable)
    }

    /// Makes a port for a virtual machine; gives the name of its interface, in the switch's own namespace.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said, for instance that there is no `/dev/net/tun`.
    pub fn attach_tap(&self) -> Result<String, Error> {
        let port = format!("tap{}", self.ports.fetch_add(1, Ordering::Relaxed));
        self.switch.ip(&["tuntap", "add", "dev", &port, "mode", "tap"])?;
        self.switch.ip(&["link", "set", "dev", &port, "master", "br0", "up"])?;
        Ok(port)
    }

    /// The switch itself, to listen on its bridge or to shape its ports with `tc`.
    #[must_use]
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }
}

/// A host of a [`Lan`].
#[derive(Debug)]
pub struct Host {
    /// Where its processes run.
    pub namespace: Namespace,
    /// The address of `eth0`, with a prefix of 24 bits.
    pub ipv4: Ipv4Addr,
    /// The unique local address of `eth0`, with a prefix of 64 bits.
    pub ipv6: Ipv6Addr,
    /// The link-local address of `eth0`.
    pub link_local: Ipv6Addr,
    /// The interface index of `eth0`, the scope of its link-local address.
    pub index: u32,
}

impl Host {
    /// The name of the interface on the LAN.
    pub const INTERFACE: &'static str = "eth0";

    /// A namespace whose `eth0` is up and has these addresses.
    ///
    /// # Errors
    /// [`Error::Os`] when it has no `eth0`, [`Error::TooLate`] when that gets no link-local address.
    pub fn of(namespace: Namespace, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> Result<Self, Error> {
        let index = namespace.interface_index(Self::INTERFACE)?;
        let link_local = link_local_of(&namespace, Self::INTERFACE)?;
        Ok(Self { namespace, ipv4, ipv6, link_local, index })
    }
}

/// Hosts on one switch, or two hosts on one cable.
#[derive(Debug)]
pub struct Lan {
    // Hosts first: their processes end before the switch goes.
    hosts: Vec<Host>,
    segment: Option<Segment>,
    cable: Option<Cable>,
}

impl Lan {
    /// `count` hosts (1 to 200) on a switch: host `i` has `10.77.0.(i+1)/24` and `fd77::(i+1)/64`.
    ///
    /// # Errors
    /// As [`Namespace::new`] and [`Segment::attach`].
    pub fn of(count: u8) -> Result<Self, Error> {
        let segment = Segment::new()?;
        let mut hosts = Vec::new();
        for number in 1..=count {
            let namespace = Namespace::new(&format!("host{}", number - 1))?;
            let (ipv4, ipv6) = addresses_of(number);
            let (text4, text6) = (format!("{ipv4}/24"), format!("{ipv6}/64"));
            segment.attach(&namespace, Host::INTERFACE, &[&text4, &text6])?;
            hosts.push(Host::of(namespace, ipv4, ipv6)?);
        }
        Ok(Self { hosts, segment: Some(segment), cable: None })
    }

    /// Two hosts joined by one veth pair, without a switch between them: what is measured is measured
    /// here.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn pair() -> Result<Self, Error> {
        let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
        let peer = ["type", "veth", "peer", "name", Host::INTERFACE, "netns", right.name()];
        left.ip(&[&["link", "add", Host::INTERFACE], peer.as_slice()].concat())?;
        Self::of_two(left, right, None)
    }

    /// Two hosts joined by a cable whose length can be set: see [`Cable`].
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn apart() -> Result<Self, Error> {
        let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
        let cable = Cable::between(&left, &right, Host::INTERFACE)?;
        let lan = Self::of_two(left, right, Some(cable))?;
        lan.introduce()?;
        Ok(lan)
    }

    /// Tells two hosts each other's Ethernet addresses: nobody waits for address resolution, and no frame is one of it.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] with what `ip` said.
    pub fn introduce(&self) -> Result<(), Error> {
        for (here, there) in [(self.host(0), self.host(1)), (self.host(1), self.host(0))] {
            let link = there.namespace.ip(&["-o", "link", "show", "dev", Host::INTERFACE])?;
            let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
            let ethernet = words.nth(1).unwrap_or_default();
            for address in [there.ipv4.to_string(), there.ipv6.to_string()] {
                let of = ["lladdr", ethernet, "nud", "permanent", "dev", Host::INTERFACE];
                here.namespace.ip(&[&["neigh", "replace", &address], of.as_slice()].concat())?;
            }
        }
        Ok(())
    }

    fn of_two(left: Namespace, right: Namespace, cable: Option<Cable>) -> Result<Self, Error> {
        for (namespace, number) in [(&left, 1), (&right, 2)] {
            let (ipv4, ipv6) = addresses_of(number);
            namespace.add_address(Host::INTERFACE, &format!("{ipv4}/24"))?;
            namespace.add_address(Host::INTERFACE, &format!("{ipv6}/64"))?;
            namespace.ip(&["link", "set", "dev", Host::INTERFACE, "up"])?;
        }
        let mut hosts = Vec::new();
        for (namespace, number) in [(left, 1), (right, 2)] {
            namespace.wait_until_usable(Host::INTERFACE)?;
            let (ipv4, ipv6) = addresses_of(number);
            hosts.push(Host::of(namespace, ipv4, ipv6)?);
        }
        Ok(Self { hosts, segment: None, cable })
    }

    /// Host number `index`, from 0.
    ///
    /// # Panics
    /// When there are not that many hosts: the test is wrong.
    #[must_use]
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// All hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The cable between hosts that are apart.
    #[must_use]
    pub const fn cable(&self) -> Option<&Cable> {
        self.cable.as_ref()
    }

    /// The switch between the hosts; none in a pair.
    #[must_use]
    pub fn segment(&self) -> Option<&Segment> {
        self.segment.as_ref()
    }
}

/// Moves the calling thread into the namespace of this name, for good.
pub(crate) fn enter(name: &str) -> std::io::Result<()> {
    let namespace = File::open(Path::new(RUN_NETNS).join(name))?;
    Ok(sched::setns(&namespace, CloneFlags::CLONE_NEWNET)?)
}

fn addresses_of(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(10, 77, 0, number), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()))
}

fn link_local_of(namespace: &Namespace, interface: &str) -> Result<Ipv6Addr, Error> {
    let what = format!("a link-local address on {interface} of {}", namespace.name());
    deadline::until(&what, GENEROUS, || {
        let text =
            namespace.ip(&["-6", "-o", "addr", "show", "dev", interface, "scope", "link"])?;
        let address = text.split_whitespace().skip_while(|word| *word != "inet6").nth(1);
        Ok(address.and_then(|a| a.split('/').next()).and_then(|a| a.parse().ok()))
    })
}

fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn ip(arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command).map_err(|error| {
        if matches!(error, Error::CommandFailed { .. }) && !nix::unistd::geteuid().is_root() {
            let what = format!("run `ip {}`", arguments.join(" "));
            return Error::NotPermitted { what, instruction: crate::error::AS_ROOT.to_owned() };
        }
        error
    })
}

/// Ends what still runs in a namespace of ours, by process id.
fn end_processes_in(name: &str) {
    let Ok(pids) = ip(&["netns", "pids", name]) else { return };
    let own = i32::try_from(process::id()).unwrap_or(0);
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
        if pid != own {
            // It may have ended meanwhile.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

/// Removes what test programs left behind that were killed before they could clean up.
fn remove_namespaces_of_ended_processes() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let Ok(entries) = fs::read_dir(RUN_NETNS) else { return };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
            if !PathBuf::from(format!("/proc/{pid}")).exists() {
                end_processes_in(&name);
                // Another test program may be removing it too.
                let _ = ip(&["netns", "delete", &name]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, SocketAddrV6, UdpSocket};

    use super::*;

    #[test]
    fn hosts_on_a_switch_reach_each_other_by_all_three_addresses() {
        let lan = Lan::of(3).unwrap();
        check_reachable(lan.host(2), lan.host(0));
    }

    #[test]
    fn a_pair_is_usable_at_once() {
        let lan = Lan::pair().unwrap();
        check_reachable(lan.host(0), lan.host(1));
    }

    #[test]
    fn multicast_crosses_the_switch() {
        let lan = Lan::of(2).unwrap();
        let group = Ipv4Addr::new(224, 0, 0, 251);
        let receiver = lan.host(0).namespace.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353))?;
            socket.join_multicast_v4(&group, &lan.host(0).ipv4)?;
            Ok(socket)
        });
        let sender = lan.host(1).namespace.inside(|| UdpSocket::bind((lan.host(1).ipv4, 0)));
        check_datagram(&sender.unwrap(), &receiver.unwrap(), (group, 5353).into());
    }

    #[test]
    fn a_namespace_and_its_processes_are_gone_after_drop() {
        let namespace = Namespace::new("gone").unwrap();
        let path = Path::new(RUN_NETNS).join(namespace.name());
        let mut sleep = namespace.command("sleep");
        let mut child = sleep.arg("600").spawn().unwrap();
        assert!(path.exists());
        drop(namespace);
        assert!(!path.exists());
        // Ends only because the namespace took its process along.
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_panicking_test_leaves_nothing_behind() {
        let name = std::sync::Mutex::new(String::new());
        let outcome = std::panic::catch_unwind(|| {
            let namespace = Namespace::new("panic").unwrap();
            namespace.name().clone_into(&mut name.lock().unwrap());
            std::panic::resume_unwind(Box::new("a failed test"));
        });
        assert!(outcome.is_err());
        let name = name.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!name.is_empty() && !Path::new(RUN_NETNS).join(name).exists());
    }

    #[test]
    fn mounts_are_seen_by_that_program_alone() {
        let namespace = Namespace::new("mount").unwrap();
        let private = tempfile::tempdir().unwrap();
        fs::write(private.path().join("marker"), "here").unwrap();
        let public = Path::new("/mnt");
        let mut command = namespace.command_with_mounts(&[(private.path(), public)], "cat");
        command.arg("/mnt/marker");
        assert_eq!(run(command).unwrap(), "here");
        assert!(!public.join("marker").exists());
    }

    #[test]
    fn a_failing_command_is_reported_with_its_words() {
        let namespace = Namespace::new("fail").unwrap();
        let error = namespace.ip(&["link", "show", "dev", "none0"]).unwrap_err();
        assert!(error.to_string().contains("none0"), "{error}");
    }

    fn check_reachable(from: &Host, to: &Host) {
        let scoped = |a, scope| SocketAddr::from(SocketAddrV6::new(a, 0, 0, scope));
        let targets = [
            (SocketAddr::from((from.ipv4, 0)), SocketAddr::from((to.ipv4, 0))),
            (SocketAddr::from((from.ipv6, 0)), SocketAddr::from((to.ipv6, 0))),
            (scoped(from.link_local, from.index), scoped(to.link_local, to.index)),
        ];
        for (source, destination) in targets {
            let receiver = to.namespace.inside(|| UdpSocket::bind(destination)).unwrap();
            let sender = from.namespace.inside(|| UdpSocket::bind(source)).unwrap();
            let mut destination = receiver.local_addr().unwrap();
            if let SocketAddr::V6(address) = &mut destination {
                address.set_scope_id(if to.link_local == *address.ip() { from.index } else { 0 });
            }
            check_datagram(&sender, &receiver, destination);
        }
    }

    fn check_datagram(sender: &UdpSocket, receiver: &UdpSocket, destination: SocketAddr) {
        receiver.set_read_timeout(Some(GENEROUS)).unwrap();
        sender.send_to(b"hello", destination).unwrap();
        let mut buffer = [0xa5; 16];
        let (length, _) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
    }
}
