//! The image that a provider of the tests offers: the same kernel, and an initramfs that says that it runs.
//!
//! Its `/init` is a script for busybox, as the first file system of a distribution often is.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::lab::Image;
use super::{Board, Kernel};
use crate::Error;
use crate::initramfs::{Contents, USUAL_MODULES, build, gzip};

/// What the second kernel's `/init` says first; the release of the kernel follows.
pub const MARKER: &str = "the second kernel runs: ";

/// What it says when it has discovered as a client; the exit code follows.
pub const DISCOVERED: &str = "the second kernel has discovered: ";

/// The script without its first line. `phase.trust=` is taken over from the kernel's command line.
const SCRIPT: &str = r#"
box=/bin/busybox
$box mount -t proc proc /proc
$box mount -t sysfs sysfs /sys
$box mount -t devtmpfs dev /dev
echo "MARKER$($box uname -r)"
while read -r module; do $box insmod "$module"; done < /etc/phase/modules
trust=$($box sed -n 's/.*phase\.trust=\([^ ]*\).*/\1/p' /proc/cmdline)
/bin/phase-boot discover --trust "$trust" --json
echo "DISCOVERED$?"
$box poweroff -f
"#;

/// The image for `board`, with its boot client: it prints [`MARKER`], discovers, prints [`DISCOVERED`] and switches the machine off.
///
/// # Errors
/// What is missing of the kernel, the boot client or busybox.
pub fn image(board: Board, kernel: &Kernel, boot_program: &Path) -> Result<Image, Error> {
    let script = SCRIPT.replace("MARKER", MARKER).replace("DISCOVERED", DISCOVERED);
    image_of(board, kernel, boot_program, &script)
}

/// An image whose `/init` is this script, with the boot client and busybox in `/bin`.
///
/// # Errors
/// As [`image`].
pub fn image_of(
    board: Board,
    kernel: &Kernel,
    boot_program: &Path,
    script: &str,
) -> Result<Image, Error> {
    let directory = TempDir::new().map_err(|e| Error::os("make a directory for an image", e))?;
    let init = directory.path().join("init");
    fs::write(&init, format!("#!/bin/busybox sh{script}"))
        .map_err(|e| Error::os("write /init", e))?;
    let contents = Contents {
        init,
        modules: Some((kernel.modules.clone(), USUAL_MODULES.map(str::to_owned).to_vec())),
        trust: None,
        files: vec![
            (boot_program.to_path_buf(), "/bin/phase-boot".to_owned()),
            (board.busybox()?, "/bin/busybox".to_owned()),
        ],
    };
    Ok(Image {
        board,
        kernel: kernel.image.clone(),
        initramfs: gzip(&build(&contents)?.encode())?,
        command_line: format!("{} phase.trust=PEER_ID", board.words()),
        version: "2026.01.01".to_owned(),
    })
}
