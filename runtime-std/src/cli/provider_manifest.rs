//! `phase-provider manifest`: manifests without serving. None is ever written without a signature.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK, SIGNATURES_PER_MANIFEST};
use phase_core::time::UnixTime;
use phase_core::wire::manifest::{self, Envelope, KeySignature, Policy};
use phase_core::wire::manifest::{encode_document, read_document};
use phase_core::wire::trust::Trust;
use serde::Serialize;

use super::common::{default_channel, own_arch};
use super::provider::{Failure, Place};
use super::text::{print_json, print_line, say};
use super::trust;
use super::verify::{Head, read};
use crate::artifacts::{self, ImageId, once};
use crate::clock;
use crate::config;
use crate::config::settings::{Flags, Settings};
use crate::fetch::{self, Image};
use crate::http::catalog::Manifest;
use crate::manifests::{self, Signer};
use crate::serve;
use crate::state::replace_public_file;
use crate::state::{key, saved::Saved};

/// Seconds of a day.
const DAY: u64 = 86_400;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Make the signed manifest of one image, as `serve` would.
    ///
    /// Waits until nobody writes the image, hashes it, and signs with the release keys of the state directory, or
    /// without any with the node's key; with --key only with those keys, and without a state directory. Refuses the
    /// state directory of a running provider: that signs itself.
    Generate(Box<Generate>),
    /// Sign a manifest with one more key, such as a release key that is kept offline.
    ///
    /// What is signed stays as it is, octet for octet, as do the signatures that are there.
    Sign(Sign),
    /// Print what a manifest says and who signed it.
    ///
    /// Exits with 7 if it is malformed or, with --trust, not acceptable.
    Show(Show),
}

#[derive(Args, Debug)]
pub(super) struct Generate {
    /// Directory with {channel}/{arch}/vmlinuz and the other files of each image.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    #[command(flatten)]
    image: super::common::Image,
    /// Days from now on that the manifest may be used.
    #[arg(long, value_name = "DAYS", default_value_t = manifests::LIFETIME / DAY,
          value_parser = clap::value_parser!(u64).range(1..=3650))]
    expires: u64,
    /// Sign with the key in this file, made by `key generate`, instead of those of the state directory; may be given
    /// more than once. The version of the manifest is the time then.
    #[arg(long = "key", value_name = "KEYFILE")]
    keys: Vec<PathBuf>,
    /// Write it to this file, whole or not at all, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Sign {
    /// The manifest, which is replaced unless --output is given.
    file: PathBuf,
    /// File with the key; may be given more than once.
    #[arg(long = "key", value_name = "KEYFILE", required = true)]
    keys: Vec<PathBuf>,
    /// Write to this file instead.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// The manifest, or - for standard input.
    #[arg(value_name = "FILE|-")]
    file: String,
    /// Whom to trust, to see whether it would be accepted: a peer id, a release key (ed25519:...), or a trust file.
    /// May be given more than once.
    #[arg(long, value_name = "FILE|PEER_ID|KEYID", value_parser = NonEmptyStringValueParser::new())]
    trust: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Generate(arguments) => generate(arguments),
        Command::Sign(arguments) => sign(arguments),
        Command::Show(arguments) => show(arguments),
    }
}

fn generate(arguments: &Generate) -> Result<Exit, Failure> {
    let file = config::load(arguments.place.config.as_deref()).map_err(Failure::usage)?;
    let flags = Flags {
        artifacts: arguments.artifacts.clone(),
        state_dir: arguments.place.state_dir.clone(),
        ..Flags::default()
    };
    let settings = Settings::new(&flags, file.as_ref()).map_err(Failure::usage)?;
    let wanted = &arguments.image;
    let id = ImageId { channel: wanted.channel.to_string(), arch: wanted.arch.to_string() };
    let waiting = || say(&format!("{id}: waiting until nobody writes it"));
    let taken = once::take(&settings.artifacts, &id, waiting);
    let (image, warnings) = taken.map_err(Failure::usage)?;
    warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    let lifetime = arguments.expires.saturating_mul(DAY);
    let manifest = match arguments.keys.split_first() {
        Some((first, others)) => sign_with(first, others, &image, lifetime)?,
        None => {
            let (manifest, single_key) = serve::sign_once(settings.state_dir, &image, lifetime)?;
            if single_key {
                say("single-key mode: signed with the node's key; there are no release keys");
            }
            manifest
        }
    };
    match &arguments.output {
        Some(path) => write(path, &manifest.document)?,
        None => io::stdout().lock().write_all(&manifest.document)?,
    }
    Ok(Exit::Success)
}

/// Signs with keys from files, without a state directory.
fn sign_with(
    first: &Path,
    others: &[PathBuf],
    image: &artifacts::Image,
    lifetime: u64,
) -> Result<Manifest, Failure> {
    let load = |path: &Path| key::load(path).map_err(Failure::usage);
    let others = others.iter().map(|path| load(path)).collect::<Result<_, _>>()?;
    let signer = Signer::of(load(first)?, others).map_err(Failure::usage)?;
    let (mut saved, now) = (Saved::default(), clock::unix_time());
    saved.check_clock(now).map_err(Failure::usage)?;
    let content = manifests::content(image);
    let (version, _) = saved.manifest_version(now, &image.id.to_string(), content);
    signer.make(image, version, now, lifetime).map_err(Failure::usage)
}

fn write(path: &Path, document: &[u8]) -> Result<(), Failure> {
    replace_public_file(path, document)
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))
}

/// A manifest taken apart: what it says, and its signatures, of which none is verified yet.
struct Parts<'b> {
    image: Box<Image>,
    envelope: Envelope<'b>,
    signatures: Vec<KeySignature>,
}

fn open<'b>(source: &str, buffer: &'b mut [u8]) -> Result<Parts<'b>, Failure> {
    let document = read(source).map_err(|error| Failure::usage(format!("{source}: {error}")))?;
    let malformed = |error: manifest::Error| {
        Failure::verification(format!("{source}: {} {error}", error.code()))
    };
    let image = judge(document, &Trust::default(), UnixTime(0), true).map_err(malformed)?;
    let (envelope, signatures) = read_document(&image.document, buffer).map_err(malformed)?;
    let signatures = signatures.iter().copied().collect();
    Ok(Parts { image, envelope, signatures })
}

/// Verifies a document for the channel and architecture that it claims to be for. Everything but trust is verified
/// also when `insecure`.
fn judge(
    document: Vec<u8>,
    store: &Trust,
    now: UnixTime,
    insecure: bool,
) -> Result<Box<Image>, manifest::Error> {
    let (channel, arch) = manifest::claim(&document);
    let channel = channel.unwrap_or_else(default_channel);
    let arch = arch.unwrap_or_else(own_arch);
    let policy = Policy::new(&channel, &arch, store, now, insecure);
    fetch::verify(document, None, &policy)
}

fn sign(arguments: &Sign) -> Result<Exit, Failure> {
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let name = arguments.file.display().to_string();
    let source = arguments.file.to_str().filter(|source| *source != "-");
    let source =
        source.ok_or_else(|| Failure::usage(format!("{name}: give the path of a file")))?;
    let Parts { image, envelope, mut signatures } = open(source, &mut buffer)?;
    if signatures.len() != signatures_in(&image.document) {
        let what = "it has a signature that is not Ed25519, which would be lost; generate it anew";
        return Err(Failure::usage(format!("{name}: {what}")));
    }
    for there in &signatures {
        if !is_valid(there, &envelope) {
            let key = there.key.key_id();
            let what = format!("the signature of {key} is wrong: it was altered; generate it anew");
            return Err(Failure::verification(format!("{name}: {what}")));
        }
    }
    for path in &arguments.keys {
        let key = key::load(path).map_err(Failure::usage)?;
        let id = key.peer_id();
        if signatures.iter().any(|there| there.key == id) {
            return Err(Failure::usage(format!("{name}: {} has signed it already", id.key_id())));
        }
        signatures.push(envelope.sign(&key));
    }
    if signatures.len() > SIGNATURES_PER_MANIFEST {
        let what = format!("a manifest has room for {SIGNATURES_PER_MANIFEST} signatures");
        return Err(Failure::usage(format!("{name}: {what}")));
    }
    let mut out = vec![0; MANIFEST_WORK];
    let document = encode_document(&envelope, &signatures, &mut out).map_err(Failure::usage)?;
    write(arguments.output.as_deref().unwrap_or(&arguments.file), document)?;
    let count = signatures.len();
    say(&format!("{} {} has {count} signatures", image.channel, image.arch));
    Ok(Exit::Success)
}

/// How many signatures of any kind the document has.
fn signatures_in(document: &[u8]) -> usize {
    let json: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    json["signatures"].as_array().map_or(0, Vec::len)
}

fn is_valid(signature: &KeySignature, envelope: &Envelope<'_>) -> bool {
    signature.key.verify(envelope.message(), &signature.signature).is_ok()
}

/// One file that a manifest names.
#[derive(Debug, Serialize)]
struct Artifact {
    name: String,
    size: u64,
    digest: String,
    path: Option<String>,
}

/// One signature.
#[derive(Debug, Serialize)]
struct Signature {
    keyid: String,
    peer_id: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted: Option<bool>,
}

/// All that is shown.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    head: Head,
    cmdline: Option<String>,
    artifacts: Vec<Artifact>,
    signatures: Vec<Signature>,
    /// Whether clients with this trust accept it; absent without `--trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<String>,
}

fn show(arguments: &Show) -> Result<Exit, Failure> {
    let store = trust::load(&arguments.trust).map_err(Failure::usage)?;
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let Parts { image, envelope, signatures } = open(&arguments.file, &mut buffer)?;
    let asked = !arguments.trust.is_empty();
    let verdict =
        asked.then(|| judge(image.document.clone(), &store, trust::earliest_now(&store), false));
    let error = verdict.as_ref().and_then(|verdict| verdict.as_ref().err());
    let signatures = signatures.iter().map(|signature| Signature {
        keyid: signature.key.key_id().to_string(),
        peer_id: signature.key.to_string(),
        valid: is_valid(signature, &envelope),
        trusted: asked.then(|| store.authority(&signature.key, &image.channel).is_some()),
    });
    let artifacts = image.items.iter().map(|item| Artifact {
        name: item.name.to_string(),
        size: item.expected.size,
        digest: item.expected.digest.to_string(),
        path: item.path.as_ref().map(ToString::to_string),
    });
    let shown = Shown {
        head: Head::of(&image),
        cmdline: image.cmdline.as_ref().map(ToString::to_string),
        artifacts: artifacts.collect(),
        signatures: signatures.collect(),
        accepted: verdict.as_ref().map(Result::is_ok),
        reason: error.map(manifest::Error::code),
        explanation: error.map(ToString::to_string),
    };
    if arguments.json {
        print_json(&shown)
    } else {
        print(&shown)
    }
    Ok(if error.is_some() { Exit::VerificationFailed } else { Exit::Success })
}

fn print(shown: &Shown) {
    let head = &shown.head;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    print_line(&format!("image      {} {}", head.channel, head.arch));
    print_line(&format!("version    {}", or_none(&head.version)));
    print_line(&format!("manifest   {} {}", head.manifest_version, head.digest));
    print_line(&format!("created    {}", or_none(&head.created_at)));
    print_line(&format!("expires    {}", or_none(&head.expires_at)));
    if let Some(cmdline) = &shown.cmdline {
        print_line(&format!("cmdline    {}", Escaped(cmdline)));
    }
    for Artifact { name, size, digest, .. } in &shown.artifacts {
        print_line(&format!("file       {name} {size} octets {digest}"));
    }
    for signature in &shown.signatures {
        let valid = if signature.valid { "valid" } else { "invalid" };
        let trusted = match signature.trusted {
            Some(true) => ", trusted",
            Some(false) => ", not trusted",
            None => "",
        };
        print_line(&format!("signature  {} {valid}{trusted}", signature.keyid));
    }
    match (shown.accepted, shown.reason, &shown.explanation) {
        (Some(true), ..) => print_line("accepted"),
        (_, Some(code), Some(text)) => print_line(&format!("refused    {code}: {text}")),
        _ => {}
    }
}
