//! Trust files.

use phase_core::wire::record::Channel;
use phase_core::wire::trust::{Mode, Trust};

/// Holds the laws of trust files for any octets.
///
/// # Panics
/// When a law is broken.
pub fn trust(data: &[u8]) {
    match Trust::decode(data) {
        Ok(trust) => {
            assert_ne!(trust.mode(), Mode::Unpinned, "a file without keys is refused");
            assert!(data.split(|octet| *octet == b'\n').count() <= 65);
            assert!(trust.keys().all(|known| known.key.check()));
            let channel = Channel::new("stable").expect("a channel");
            let authorities = trust.keys().filter(|key| trust.is_authority(key, &channel)).count();
            let needed = usize::from(trust.threshold(&channel));
            assert!(needed == 1 || needed <= authorities);
        }
        Err(error) => assert!(error.to_string().chars().all(|c| !c.is_control())),
    }
}
