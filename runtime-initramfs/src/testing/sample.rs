//! An image and who signs it.

use phase_core::fetch::request::Request;
use phase_core::identity::SecretKey;
use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{ArtifactDraft, Draft, Envelope, Name, encode_document};
use phase_core::wire::record::{Arch, Version};
use phase_core::wire::trust::Trust;

use super::server::{Answer, Server};
use crate::fetch::Provider;

pub(crate) const MANIFEST: &str = "/stable/arm64/manifest.json";
pub(crate) const KERNEL: &str = "/stable/arm64/vmlinuz";
pub(crate) const INITRAMFS: &str = "/stable/arm64/initramfs.img";

/// What is served.
pub(crate) struct Sample {
    pub(crate) kernel: Vec<u8>,
    pub(crate) initramfs: Vec<u8>,
    pub(crate) key: SecretKey,
    pub(crate) manifest_version: u64,
    pub(crate) expires_at: UnixTime,
    pub(crate) channel: &'static str,
    /// Where else the kernel is.
    pub(crate) kernel_urls: Vec<String>,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self {
            kernel: (0..300_000_u32).flat_map(u32::to_le_bytes).collect(),
            initramfs: vec![7; 4096],
            key: SecretKey::from_seed(&[1; 32]),
            manifest_version: 42,
            // Long after every run of these tests.
            expires_at: UnixTime(4_000_000_000),
            channel: "stable",
            kernel_urls: Vec::new(),
        }
    }

    pub(crate) fn manifest(&self) -> Vec<u8> {
        let urls: Vec<&str> = self.kernel_urls.iter().map(String::as_str).collect();
        let artifact = |name, octets: &[u8], path| ArtifactDraft {
            name,
            digest: Digest::of(octets),
            size: octets.len() as u64,
            path: Some(path),
            urls: &[],
        };
        let kernel = artifact(Name::Kernel, &self.kernel, "vmlinuz");
        let draft = Draft {
            manifest_version: self.manifest_version,
            channel: &self.channel.parse().unwrap(),
            arch: &Arch::canonical("arm64").unwrap(),
            created_at: UnixTime(1_764_158_400),
            expires_at: self.expires_at,
            image_version: Some(&"2025.11.26".parse::<Version>().unwrap()),
            artifacts: &[
                ArtifactDraft { urls: &urls, ..kernel },
                artifact(Name::Initramfs, &self.initramfs, "initramfs.img"),
                artifact(Name::Dtb("arm/board.dtb"), b"dtb", "dtbs/arm/board.dtb"),
                // The same octets under a second name.
                artifact(Name::Dtb("arm/twin.dtb"), b"dtb", "dtbs/arm/twin.dtb"),
            ],
            cmdline: Some("console=ttyAMA0 quiet"),
        };
        let (mut buffer, mut out) = (vec![0; MANIFEST_BUFFER], vec![0; MANIFEST_WORK]);
        let envelope = Envelope::encode(&draft, &mut buffer).unwrap();
        encode_document(&envelope, &[envelope.sign(&self.key)], &mut out).unwrap().to_vec()
    }

    /// A server that has everything.
    pub(crate) fn serve(&self) -> Server {
        let server = Server::start();
        server.put(MANIFEST, Answer::Whole(self.manifest()));
        server.put(KERNEL, Answer::Whole(self.kernel.clone()));
        server.put(INITRAMFS, Answer::Whole(self.initramfs.clone()));
        server.put("/stable/arm64/dtbs/arm/board.dtb", Answer::Whole(b"dtb".to_vec()));
        server.put("/stable/arm64/dtbs/arm/twin.dtb", Answer::Whole(b"dtb".to_vec()));
        server
    }

    /// Asks for the image by the key that signs it.
    pub(crate) fn request(&self) -> Request {
        let mut trust = Trust::default();
        trust.add_word(&self.key.peer_id().to_string()).unwrap();
        Request {
            channel: "stable".parse().unwrap(),
            arch: Arch::canonical("arm64").unwrap(),
            trust,
            insecure: false,
            now: UnixTime(1_764_158_400),
        }
    }
}

/// The provider that a server is.
pub(crate) fn provider(server: &Server) -> Provider {
    Provider::asked(server.url(MANIFEST))
}
