//! Stopping network devices before another kernel takes the machine over.
//!
//! A network device writes what it receives into memory that the second kernel takes for free. Most drivers stop their
//! device when a kernel hands over, but virtio's of Linux 6.1 does not. Taking the driver off the device stops it
//! whether it is a module or not.
//! Spec: Documentation/ABI/testing/sysfs-bus-pci, `unbind` and `bind` (every bus has them).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Network interfaces.
const NET: &str = "/sys/class/net";

/// A device that was taken off its driver.
#[derive(Debug)]
pub(super) struct Stopped {
    device: OsString,
    /// The driver's file that takes it back.
    bind: File,
}

/// Takes every network device off its driver. One that cannot be is left to its driver's own way to stop.
pub(super) fn stop_network() -> Vec<Stopped> {
    stop(Path::new(NET))
}

fn stop(interfaces: &Path) -> Vec<Stopped> {
    let Ok(entries) = fs::read_dir(interfaces) else { return Vec::new() };
    // All are read first, because interfaces vanish as their devices are stopped.
    let interfaces: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    interfaces.iter().filter_map(|interface| stop_one(interface).ok()).collect()
}

/// Stops the device of an interface. A loopback, a bridge or a tunnel has none; a device that was stopped for another of
/// its interfaces has no driver.
fn stop_one(interface: &Path) -> io::Result<Stopped> {
    let device = interface.join("device");
    let write = |name| OpenOptions::new().write(true).open(device.join("driver").join(name));
    let (mut unbind, bind) = (write("unbind")?, write("bind")?);
    let target = fs::read_link(&device)?;
    let device = target.file_name().ok_or(io::ErrorKind::NotFound)?.to_owned();
    unbind.write_all(device.as_bytes())?;
    Ok(Stopped { device, bind })
}

/// Gives the devices back to their drivers, as far as these still take them.
pub(super) fn start(stopped: Vec<Stopped>) {
    for Stopped { device, mut bind } in stopped {
        // The failure to start the image is what is told; nothing more can be done here.
        let _ = bind.write_all(device.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory as sysfs has it: an interface of a device, one of a device without a driver, and a loopback.
    fn sysfs(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("phase-boot-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let devices = ["virtio0", "virtio1"].map(|device| root.join("devices").join(device));
        let driver = root.join("drivers/virtio_net");
        let interfaces = ["lo", "eth0", "eth1"].map(|name| root.join("net").join(name));
        for directory in devices.iter().chain(&interfaces).chain([&driver]) {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(driver.join("unbind"), "").unwrap();
        fs::write(driver.join("bind"), "").unwrap();
        symlink(&driver, devices[0].join("driver")).unwrap();
        symlink("../../devices/virtio0", interfaces[1].join("device")).unwrap();
        symlink("../../devices/virtio1", interfaces[2].join("device")).unwrap();
        root
    }

    #[test]
    fn each_device_is_taken_off_its_driver_and_given_back() {
        let root = sysfs("devices");
        let driver = root.join("drivers/virtio_net");
        let stopped = stop(&root.join("net"));
        assert_eq!(stopped.len(), 1);
        assert_eq!(fs::read(driver.join("unbind")).unwrap(), b"virtio0");
        assert_eq!(fs::read(driver.join("bind")).unwrap(), b"");
        start(stopped);
        assert_eq!(fs::read(driver.join("bind")).unwrap(), b"virtio0");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn without_sysfs_nothing_is_stopped() {
        assert!(stop(Path::new("/nonexistent")).is_empty());
    }
}
