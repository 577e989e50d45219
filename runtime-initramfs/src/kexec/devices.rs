//! Stopping network devices before another kernel takes the machine over.
//!
//! A network device writes what it receives into memory that the second kernel takes for free. Most drivers stop their
//! device when a kernel hands over, but virtio's of Linux 6.1 does not. Taking the driver off the device stops it
//! whether it is a module or not.
//! Spec: Documentation/ABI/testing/sysfs-bus-pci, `unbind` and `bind` (every bus has them).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Network interfaces.
const NET: &str = "/sys/class/net";

/// A device that was taken off its driver.
#[derive(Debug)]
pub(super) struct Stopped {
    driver: PathBuf,
    device: OsString,
}

/// Takes every network device off its driver. One that cannot be is left to its driver's own way to stop.
pub(super) fn stop_network() -> Vec<Stopped> {
    stop(Path::new(NET))
}

fn stop(interfaces: &Path) -> Vec<Stopped> {
    let Ok(entries) = fs::read_dir(interfaces) else { return Vec::new() };
    // All are read first: interfaces vanish as their devices are stopped, and one device may have several.
    let mut devices: Vec<_> = entries.flatten().filter_map(|entry| find(&entry.path())).collect();
    devices.sort_by(|a, b| a.device.cmp(&b.device));
    devices.dedup_by(|a, b| a.device == b.device && a.driver == b.driver);
    devices.retain(|Stopped { driver, device }| {
        fs::write(driver.join("unbind"), device.as_encoded_bytes()).is_ok()
    });
    devices
}

/// Gives the devices back to their drivers, as far as these still take them.
pub(super) fn start(stopped: &[Stopped]) {
    for Stopped { driver, device } in stopped {
        // The failure to start the image is what is told; nothing more can be done here.
        let _ = fs::write(driver.join("bind"), device.as_encoded_bytes());
    }
}

/// The device of an interface and its driver; none for a loopback, a bridge or a tunnel.
fn find(interface: &Path) -> Option<Stopped> {
    let device = fs::canonicalize(interface.join("device")).ok()?;
    let driver = fs::canonicalize(device.join("driver")).ok()?;
    Some(Stopped { driver, device: device.file_name()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory as sysfs has it: two interfaces of one device, and a loopback.
    fn sysfs(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("phase-boot-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let device = root.join("devices/virtio0");
        let driver = root.join("drivers/virtio_net");
        for directory in
            [&device, &driver, &root.join("net/lo"), &root.join("net/eth0"), &root.join("net/eth1")]
        {
            fs::create_dir_all(directory).unwrap();
        }
        symlink(&driver, device.join("driver")).unwrap();
        symlink(&device, root.join("net/eth0/device")).unwrap();
        symlink(&device, root.join("net/eth1/device")).unwrap();
        root
    }

    #[test]
    fn each_device_is_taken_off_its_driver_once_and_given_back() {
        let root = sysfs("devices");
        let driver = fs::canonicalize(root.join("drivers/virtio_net")).unwrap();
        let stopped = stop(&root.join("net"));
        assert_eq!(stopped.len(), 1);
        assert_eq!(fs::read(driver.join("unbind")).unwrap(), b"virtio0");
        start(&stopped);
        assert_eq!(fs::read(driver.join("bind")).unwrap(), b"virtio0");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn without_sysfs_nothing_is_stopped() {
        assert!(stop(Path::new("/nonexistent")).is_empty());
    }
}
