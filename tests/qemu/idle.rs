//! Waiting for somebody costs nothing.

use std::fs;

use phase_tests::qemu::{Board, Machine, second};

use crate::scene::{Scene, parts};

/// Runs the boot client where nobody answers, and says what it has cost between two looks.
const SCRIPT: &str = r#"
box=/bin/busybox
$box mount -t proc proc /proc
$box mount -t sysfs sysfs /sys
$box mount -t devtmpfs dev /dev
while read -r module; do $box insmod "$module"; done < /etc/phase/modules
/bin/phase-boot discover --timeout 60 &
boot=$!
$box sleep 8
look() { $box awk '/ctxt_switches/ { n += $2 } END { print n }' /proc/$boot/status; }
ticks() { $box awk '{ print $14 + $15 }' /proc/$boot/stat; }
wakes=$(look) used=$(ticks)
$box sleep 10
echo "in ten seconds: wake-ups $(($(look) - wakes)), ticks $(($(ticks) - used)), waiting: $($box kill -0 $boot && echo yes)"
$box poweroff -f
"#;

/// Wake-ups in a second that waiting may need: the questions of mDNS and what renews a lease, with a margin.
const WAKE_UPS_MAX: u32 = 5;

#[test]
fn waiting_for_a_provider_wakes_the_processor_seldom() {
    let scene = Scene::new(1);
    let parts = parts();
    let boot_program = Board::Arm64.boot_program().unwrap();
    let image = second::image_of(Board::Arm64, &parts.kernel, &boot_program, SCRIPT).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let initramfs = directory.path().join("idle.img");
    fs::write(&initramfs, image.initramfs).unwrap();
    let machine = Machine::new(Board::Arm64, &parts.kernel.image, &initramfs).card(scene.card());
    let mut machine = machine.start().unwrap();
    let line = machine.wait_for("in ten seconds: ").unwrap();
    println!("{line}");
    let numbers: Vec<u32> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [wake_ups, ticks] = numbers[..] else { panic!("{line}") };
    assert!(line.ends_with("waiting: yes"), "{}", machine.console());
    assert!(wake_ups <= 10 * WAKE_UPS_MAX, "{line}");
    // A tick is a hundredth of a second.
    assert!(ticks <= 20, "{line}");
}
