//! The boot client as a tool in somebody else's first file system.

use phase_tests::qemu::lab::Provider;
use phase_tests::qemu::{Machine, second};

use crate::scene::{Scene, parts};

#[test]
fn a_script_as_first_process_discovers_by_mdns() {
    let scene = Scene::new(1);
    let mut provider =
        Provider::start(scene.host(0), "lab", &parts().image, &["--no-dht"]).unwrap();
    provider.wait_until_announced().unwrap();
    let mut machine = Machine::new(parts().board, &parts().kernel.image, &parts().image_initramfs)
        .words(&format!("phase.trust={}", provider.peer_id()))
        .card(scene.card())
        .start()
        .unwrap();
    let result = machine.wait_for("\"accepted\":true").unwrap();
    assert!(result.contains(provider.peer_id()), "{result}");
    assert!(result.contains(&format!("\"url\":\"{}\"", provider.manifest_url())), "{result}");
    let end = machine.wait_for(second::DISCOVERED).unwrap();
    assert!(end.ends_with(": 0"), "{end}");
    assert_eq!(machine.wait_for_end().unwrap().code(), 0);
}
