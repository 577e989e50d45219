//! The daemon's loop: one event at a time, from the network, the artifacts, the clock, signals and questions.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use phase_core::machine::Family;
use phase_core::provider::{self, Event, Name};
use phase_core::time::Instant;
use phase_core::wire::digest::Digest;
use phase_core::wire::record::{Arch, Channel, Version};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::Ask;
use super::dht::Entrance;
use super::manager::Manager;
use super::node::Node;
use crate::artifacts::keeper::{Change, Gone, Keeper};
use crate::artifacts::warning::Warning;
use crate::artifacts::{Image, ImageId};
use crate::clock::{self, Clock};
use crate::config;
use crate::config::settings::{Flags, Settings};
use crate::driver::Driver;
use crate::http::Shared;
use crate::http::catalog::{Entry, Manifest};
use crate::manifests::{self, RENEW_AFTER, Signer};
use crate::state::StateDir;
use crate::state::saved::Saved;

/// How long goodbyes may take.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);

/// How often manifests are checked for renewal; a suspended machine may wake up late.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);

/// How often the peers of the DHT are written to the disk, if they changed.
const KEEP_PEERS: Duration = Duration::from_secs(600);

/// Everything the daemon holds.
pub(super) struct Daemon {
    pub(super) settings: Settings,
    pub(super) flags: Flags,
    pub(super) config: Option<PathBuf>,
    pub(super) state: StateDir,
    pub(super) saved: Saved,
    pub(super) signer: Signer,
    pub(super) shared: Shared,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) driver: Option<Driver>,
    pub(super) node: Node,
    pub(super) entrance: Entrance,
    pub(super) keeper: Keeper,
    pub(super) manager: Manager,
    /// Whether the artifacts were looked at once.
    pub(super) ready: bool,
    pub(super) warnings: Vec<Warning>,
    pub(super) unreadable: Option<String>,
    /// Images that are whole and could not be published; tried again at every look, at most a minute later.
    pub(super) unpublished: BTreeMap<ImageId, (Image, String)>,
    /// Images of which a file could not be read at the last look.
    pub(super) unhashed: BTreeMap<ImageId, String>,
    pub(super) unhashed_now: BTreeMap<ImageId, String>,
    pub(super) not_saved: Option<String>,
    pub(super) bad_clock: Option<String>,
}

/// Why the loop ended.
pub(super) enum Turn {
    GoOn,
    Stop,
}

/// Signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Daemon {
    /// Runs until it is told to stop, and takes its leave of the network.
    pub(super) async fn run(
        &mut self,
        mut changes: mpsc::UnboundedReceiver<Change>,
        mut questions: mpsc::Receiver<Ask>,
    ) -> std::io::Result<()> {
        let mut signals = Signals::new()?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut renewal = tokio::time::interval(RENEWAL_CHECK);
        let mut keeping = self.node.dht().map(|_| tokio::time::interval(KEEP_PEERS));
        let mut watchdog = self.manager.watchdog().map(tokio::time::interval);
        loop {
            let turn = tokio::select! {
                event = next_event(&mut self.driver, &mut self.node) => self.on_event(event),
                Some(change) = changes.recv() => self.on_change(change),
                Some(ask) = questions.recv() => self.on_question(ask),
                () = signals.stop() => Turn::Stop,
                _ = hangup.recv() => self.on_hangup(),
                _ = renewal.tick() => self.renew(),
                resolved = self.entrance.resolver.next() => self.on_resolved(resolved),
                () = tick(keeping.as_mut()) => self.remember_peers(),
                () = tick(watchdog.as_mut()) => self.alive(),
            };
            if matches!(turn, Turn::Stop) {
                break;
            }
        }
        self.manager.stopping();
        self.keep_peers();
        tracing::info!("stopping: withdrawing the adverts");
        tokio::select! {
            () = self.say_goodbye() => {}
            () = signals.stop() => tracing::warn!("stopped before the adverts were withdrawn"),
        }
        Ok(())
    }

    async fn say_goodbye(&mut self) {
        if self.driver.is_none() {
            return;
        }
        let now = self.machine_now();
        self.node.stop(now);
        let goodbye =
            async { while next_event(&mut self.driver, &mut self.node).await != Event::Stopped {} };
        if tokio::time::timeout(GOODBYE_PATIENCE, goodbye).await.is_err() {
            tracing::warn!("the adverts could not be withdrawn in time");
        }
    }

    fn remember_peers(&mut self) -> Turn {
        self.keep_peers();
        Turn::GoOn
    }

    /// The time by the machine's clock, which is the driver's.
    pub(super) fn machine_now(&self) -> Instant {
        self.driver.as_ref().map_or_else(|| self.clock.now(), Driver::now)
    }

    fn alive(&self) -> Turn {
        self.manager.alive();
        Turn::GoOn
    }

    fn on_question(&mut self, ask: Ask) -> Turn {
        match ask {
            // Who asked may have gone meanwhile.
            Ask::Status(answer) => drop(answer.send(self.status())),
            Ask::Reload(answer) => drop(answer.send(self.reload())),
        }
        Turn::GoOn
    }

    fn on_hangup(&mut self) -> Turn {
        match self.reload() {
            Ok(restart) if restart.is_empty() => {}
            Ok(restart) => tracing::warn!("changed, and needs a restart: {}", restart.join(", ")),
            Err(error) => tracing::error!("the configuration is kept as it was: {error}"),
        }
        Turn::GoOn
    }

    /// Reads the configuration again. Everything stays as it was if there is an error in it. Gives the settings that
    /// changed and are in use until a restart.
    fn reload(&mut self) -> Result<Vec<String>, String> {
        let file = config::load(self.config.as_deref()).map_err(|error| error.to_string())?;
        let new = Settings::new(&self.flags, file.as_ref()).map_err(|error| error.to_string())?;
        let old = &self.settings;
        let fixed = [
            ("artifacts", new.artifacts != old.artifacts),
            ("name", new.name != old.name),
            ("listen", new.listen != old.listen),
            ("advertise-url", new.advertise_url != old.advertise_url),
            ("no-mdns", new.mdns != old.mdns),
            ("no-dht", new.dht != old.dht),
            ("dht-listen", new.dht_listen != old.dht_listen),
            ("dht-announce", new.dht_announce != old.dht_announce),
            ("bootstrap", new.bootstraps != old.bootstraps),
            ("record-ttl", new.record_ttl != old.record_ttl),
            ("state-dir", new.state_dir != old.state_dir),
            ("log", new.log != old.log),
        ];
        let restart =
            fixed.iter().filter(|(_, changed)| *changed).map(|(key, _)| (*key).to_owned());
        if new.interfaces != old.interfaces
            && let Some(driver) = &mut self.driver
        {
            driver.set_interfaces(new.interfaces.clone());
        }
        let own = self.node.peer_id();
        if let Some(dht) = self.node.dht_mut() {
            dht.set_trusted(super::dht::trusted(&new, own));
        }
        self.keeper.rescan(Some(new.channels.clone()));
        self.settings.trust = new.trust;
        self.settings.interfaces = new.interfaces;
        self.settings.channels = new.channels;
        tracing::info!("configuration read again");
        Ok(restart.collect())
    }

    fn on_event(&mut self, event: Event) -> Turn {
        match event {
            Event::SignatureDue { count } => self.sign(count),
            Event::Announced { channel, arch, label, link } => {
                let name = self.interface_name(link.interface);
                let family = if link.family == Family::V4 { "IPv4" } else { "IPv6" };
                tracing::info!("announced {channel}/{arch} on {name} ({family}) as {label:?}");
            }
            Event::Conflict(name) => {
                tracing::warn!("{} is used by another host; probing again", describe(&name));
            }
            Event::Renamed(name) => self.remember_name(&name),
            Event::NoName(name) => tracing::error!(
                "{} and every name like it is claimed by another host; trying on",
                describe(&name)
            ),
            Event::Dht(event) => self.on_dht(event),
            Event::Stopped => return Turn::Stop,
        }
        Turn::GoOn
    }

    fn interface_name(&self, index: u32) -> String {
        let interfaces = self.driver.as_ref().map(Driver::interfaces).unwrap_or_default();
        let found = interfaces.iter().find(|interface| interface.index == index);
        found.map_or_else(|| index.to_string(), |interface| interface.name.clone())
    }

    /// Signs with sequence numbers that are on the disk before they are used; not at all while the clock or the disk
    /// is in disorder: the machine asks again.
    fn sign(&mut self, count: u32) {
        let now = clock::unix_time();
        self.bad_clock = self.saved.check_clock(now).err().map(|error| error.to_string());
        if let Some(error) = &self.bad_clock {
            return tracing::error!("nothing is signed: {error}");
        }
        let first = self.saved.take_seq(now, count);
        if self.save() {
            let machine_now = self.machine_now();
            self.node.sign(machine_now, now, first);
        }
    }

    pub(super) fn save(&mut self) -> bool {
        let path = self.state.saved_file();
        let failed = self.saved.store(&self.state).err();
        self.not_saved = failed.map(|error| {
            format!(
                "cannot write {}: {error}; nothing new is signed until it can be",
                path.display()
            )
        });
        if let Some(error) = &self.not_saved {
            tracing::error!("{error}");
        }
        self.not_saved.is_none()
    }

    fn remember_name(&mut self, name: &Name) {
        tracing::warn!("renamed after a conflict: now {}", describe(name));
        match name {
            Name::Host { label } => self.saved.host = Some(label.as_str().to_owned()),
            Name::Instance { channel, arch, number, .. } => {
                let id = format!("{channel}/{arch}");
                self.saved.images.entry(id).or_default().name_number = *number;
            }
        }
        self.save();
    }

    fn on_change(&mut self, change: Change) -> Turn {
        match change {
            Change::Ready(image) => self.publish(image),
            Change::Gone(id, why) => self.withdraw(&id, why),
            Change::Warnings { fresh, all } => {
                fresh.iter().for_each(|warning| tracing::warn!("{warning}"));
                self.warnings = all;
            }
            Change::Unreadable(error) => {
                tracing::error!("{error}; nothing is served until it can be read");
                self.unreadable = Some(error.to_string());
            }
            Change::NotHashed(id, error) => self.not_hashed(id, error.to_string()),
            Change::NotWatched(error) => {
                tracing::warn!("changes are noticed within a minute only: {error}");
            }
            Change::Looked { images, .. } => {
                self.unreadable = None;
                self.looked(images);
            }
        }
        Turn::GoOn
    }

    fn not_hashed(&mut self, id: ImageId, error: String) {
        if self.unhashed.get(&id) != Some(&error) {
            tracing::error!("{id}: not served: {error}");
        }
        self.unhashed_now.insert(id, error);
    }

    fn looked(&mut self, images: usize) {
        self.unhashed = std::mem::take(&mut self.unhashed_now);
        let waiting: Vec<_> = self.unpublished.values().map(|(image, _)| image.clone()).collect();
        waiting.into_iter().for_each(|image| self.publish(image));
        if self.ready {
            return;
        }
        self.ready = true;
        if images == 0 {
            let directory = self.settings.artifacts.display();
            tracing::warn!(
                "nothing to serve in {directory} yet: put a kernel there as {directory}/stable/arm64/vmlinuz, and beside it \
                 initramfs.img, rootfs.sqfs, dtbs/, cmdline, version; it is served as soon as it is whole"
            );
        }
        self.manager.ready();
    }

    /// How long replaced manifests stay reachable by digest: formats 2.
    fn keep(&self) -> Duration {
        Duration::from_secs(2 * u64::from(self.settings.record_ttl))
    }

    fn publish(&mut self, image: Image) {
        let current = self.shared.catalog.get(&image.id);
        if let Some(entry) = current.filter(|entry| entry.image.same_content(&image)) {
            // The same octets in other files.
            let entry = Entry { image, manifest: entry.manifest.clone() };
            return self.shared.catalog.put(self.clock.now(), entry, self.keep());
        }
        let id = image.id.clone();
        match self.make(&image) {
            Ok(manifest) => {
                self.unpublished.remove(&id);
                self.offer(image, manifest);
            }
            Err(error) => {
                if self.unpublished.get(&id).is_none_or(|(_, before)| *before != error) {
                    tracing::error!("{id}: not served: {error}");
                }
                self.unpublished.insert(id, (image, error));
            }
        }
    }

    fn make(&mut self, image: &Image) -> Result<Manifest, String> {
        let now = clock::unix_time();
        self.saved.check_clock(now).map_err(|error| error.to_string())?;
        let id = image.id.to_string();
        let before = self.saved.images.get(&id).cloned().unwrap_or_default();
        let (version, is_new) = self.saved.manifest_version(now, &id, manifests::content(image));
        if is_new && !self.save() {
            // A version that is not on the disk was not given out.
            self.saved.images.insert(id, before);
            return Err("its manifest version cannot be saved".into());
        }
        self.signer
            .make(image, version, now, manifests::LIFETIME)
            .map_err(|error| error.to_string())
    }

    fn offer(&mut self, image: Image, manifest: Manifest) {
        let id = image.id.clone();
        let published = (|| {
            Some(provider::Image {
                channel: Channel::new(&id.channel).ok()?,
                arch: Arch::canonical(&id.arch).ok()?,
                version: Version::new(&image.version).ok()?,
                digest: Digest::from_octets(manifest.sha256),
            })
        })();
        let files: Vec<_> = image.artifacts.iter().map(|a| a.name.as_str()).collect();
        tracing::info!(
            "serving {id} {}: manifest {}, {}",
            image.version,
            manifest.version,
            files.join(", ")
        );
        let machine_now = self.machine_now();
        self.shared.catalog.put(self.clock.now(), Entry { image, manifest }, self.keep());
        let (Some(published), Some(_)) = (published, &self.driver) else { return };
        let saved = self.saved.images.get(&id.to_string());
        let number = saved.map_or(1, |image| image.name_number.max(1));
        if let Err(error) = self.node.publish_numbered(machine_now, published, number) {
            tracing::error!("{id}: not announced: {error}");
        }
    }

    fn withdraw(&mut self, id: &ImageId, why: Gone) {
        match why {
            Gone::Removed => tracing::info!("withdrawing {id}: it was removed"),
            Gone::Rewritten => {
                tracing::info!("withdrawing {id} until it is whole: a file is being rewritten")
            }
        }
        self.unpublished.remove(id);
        let now = self.clock.now();
        self.shared.catalog.remove(now, id, self.keep());
        if let (Ok(channel), Ok(arch)) = (Channel::new(&id.channel), Arch::canonical(&id.arch)) {
            let now = self.machine_now();
            self.node.withdraw(now, &channel, &arch);
        }
    }

    /// Signs manifests anew that are half way to their expiry.
    fn renew(&mut self) -> Turn {
        let now = clock::unix_time();
        for entry in self.shared.catalog.entries() {
            if entry.manifest.expires_at < now.plus(RENEW_AFTER).0 {
                match self.make(&entry.image) {
                    Ok(manifest) => self.offer(entry.image.clone(), manifest),
                    Err(error) => {
                        tracing::error!("{}: manifest not renewed: {error}", entry.image.id)
                    }
                }
            }
        }
        Turn::GoOn
    }
}

async fn next_event(driver: &mut Option<Driver>, node: &mut Node) -> Event {
    match driver {
        Some(driver) => driver.next_event(node).await,
        None => pending().await,
    }
}

async fn tick(interval: Option<&mut tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => pending().await,
    }
}

fn describe(name: &Name) -> String {
    match name {
        Name::Host { label } => format!("the host name {label}.local"),
        Name::Instance { channel, arch, label, .. } => {
            format!("the instance name {label:?} ({channel}/{arch})")
        }
    }
}
