//! What the daemon reports of itself.

use std::collections::BTreeMap;

use phase_core::machine::Family;
use phase_core::provider::DHT;
use phase_core::stats::Stats;
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::unix_time;

use super::daemon::Daemon;
use crate::http::catalog::Entry;
use crate::status::{
    AdvertStatus, ArtifactStatus, ImageStatus, LinkStatus, PublicationStatus, Status,
};

fn hex(octets: [u8; 32]) -> String {
    // `sha256:` goes in front in manifests, not here.
    let text = Digest::from_octets(octets).to_string();
    text.strip_prefix("sha256:").map(str::to_owned).unwrap_or(text)
}

fn image(entry: &Entry) -> ImageStatus {
    let artifacts = entry.image.artifacts.iter().map(|artifact| ArtifactStatus {
        name: artifact.name.clone(),
        size: artifact.size,
        sha256: hex(artifact.sha256),
    });
    let id = &entry.image.id;
    let expires_at = unix_time::encode(UnixTime(entry.manifest.expires_at));
    ImageStatus {
        channel: id.channel.clone(),
        arch: id.arch.clone(),
        version: entry.image.version.clone(),
        manifest: format!("/{id}/manifest.json"),
        digest: hex(entry.manifest.sha256),
        manifest_version: entry.manifest.version,
        expires_at: expires_at.map(|text| text.as_str().to_owned()).unwrap_or_default(),
        artifacts: artifacts.collect(),
    }
}

impl Daemon {
    /// The daemon as it is.
    pub(super) fn status(&self) -> Status {
        let counters = self.node.stats().iter();
        let mut counters: BTreeMap<_, _> = counters
            .map(|(name, help, value)| (name.to_owned(), (help.to_owned(), value)))
            .collect();
        if let Some(driver) = &self.driver {
            let sent = driver.counters();
            for (name, help, value) in [
                ("datagrams_refused", "Datagrams that the system did not send.", sent.refused),
                ("datagrams_unroutable", "Datagrams for a family without socket.", sent.no_socket),
            ] {
                counters.insert(name.to_owned(), (help.to_owned(), value));
            }
        }
        let mut dht_counters = BTreeMap::new();
        let mut add = |name: &str, help: &str, value| {
            dht_counters.insert(name.to_owned(), (help.to_owned(), value));
        };
        if let (Some(driver), Some(dht)) = (&self.driver, self.node.dht()) {
            let tcp = driver.connection_counters();
            let refused = tcp.refused_total + tcp.refused_per_address;
            add("accepted", "Connections accepted.", tcp.accepted);
            add("refused", "Connections refused: too many.", refused);
            add("dialed", "Connections asked for.", tcp.dialed);
            add("octets_sent", "Octets sent.", tcp.octets_sent);
            add("octets_received", "Octets received.", tcp.octets_received);
            dht.stats().iter().for_each(|(name, help, value)| add(name, help, value));
        }
        let connections = self.node.connection_stats();
        for (name, help, value) in connections.iter().flat_map(Stats::iter) {
            // The counters of mDNS are of the same type.
            if value > 0 {
                add(name, help, value);
            }
        }
        let name = self.settings.name.as_ref().map(|name| name.as_str().to_owned());
        Status {
            peer_id: self.node.peer_id().to_string(),
            provider_name: name.unwrap_or_else(|| self.node.host_label().as_str().to_owned()),
            software: concat!("phase-provider ", env!("CARGO_PKG_VERSION")).to_owned(),
            uptime_seconds: self.clock.now().since(self.started).as_secs(),
            signing: if self.signer.is_single_key() { "single-key" } else { "release" }.to_owned(),
            images: self.shared.catalog.entries().iter().map(|entry| image(entry)).collect(),
            adverts: self.adverts(),
            links: self.links(),
            mdns: self.settings.mdns,
            dht: self.dht_status(),
            problems: self.problems(),
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
            counters,
            dht_counters,
        }
    }

    fn adverts(&self) -> Vec<AdvertStatus> {
        let now = self.machine_now();
        let adverts = self.node.adverts().map(|advert| {
            let is_dht = advert.interface == DHT;
            let announced = advert.announced_v4 || advert.announced_v6;
            let publication = advert.publication.map(|publication| PublicationStatus {
                published_seconds_ago: publication.published_at.map(|at| now.since(at).as_secs()),
                next_in_seconds: publication
                    .publish_at
                    .or(advert.sign_at)
                    .map(|at| at.since(now).as_secs()),
                holders: publication.holders,
                failures: publication.failures,
            });
            let published = publication.is_some_and(|p| p.published_seconds_ago.is_some());
            let state = match (advert.signed, is_dht) {
                (None, _) => "unsigned",
                (Some(_), false) => {
                    if announced {
                        "announced"
                    } else {
                        "probing"
                    }
                }
                (Some(_), true) => {
                    if published {
                        "published"
                    } else {
                        "unpublished"
                    }
                }
            };
            let instance = if is_dht { "" } else { advert.label.as_str() };
            AdvertStatus {
                carrier: if is_dht { "dht" } else { "lan" }.to_owned(),
                channel: advert.image.channel.as_str().to_owned(),
                arch: advert.image.arch.as_str().to_owned(),
                interface: advert.interface,
                instance: instance.to_owned(),
                url: advert.url.map(|url| url.as_str().to_owned()).unwrap_or_default(),
                seq: advert.signed.map_or(0, |(seq, _)| seq),
                state: state.to_owned(),
                publication,
            }
        });
        adverts.collect()
    }

    fn links(&self) -> Vec<LinkStatus> {
        let Some(driver) = &self.driver else { return Vec::new() };
        let mut links = Vec::new();
        for link in self.node.links() {
            let interface = driver.interfaces().iter().find(|i| i.index == link.interface);
            let v4 = link.family == Family::V4;
            let addresses = interface.map(|i| i.networks.iter().map(|network| network.address));
            links.push(LinkStatus {
                name: interface.map(|i| i.name.clone()).unwrap_or_default(),
                interface: link.interface,
                family: if v4 { "IPv4" } else { "IPv6" }.to_owned(),
                addresses: addresses.into_iter().flatten().filter(|a| a.is_ipv4() == v4).collect(),
            });
        }
        links
    }

    /// What keeps the provider from its work, with what to do.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.unreadable.clone());
        problems.extend(self.not_saved.clone());
        problems.extend(self.bad_clock.clone());
        let unpublished = self.unpublished.iter().map(|(id, (_, error))| (id, error));
        for (id, error) in self.unhashed.iter().chain(unpublished) {
            problems.push(format!("{id} is not served: {error}"));
        }
        if self.settings.mdns && self.node.links().is_empty() {
            problems.push(
                "no interface to announce on: connect one, or name it with --interface".into(),
            );
        }
        problems
    }
}
