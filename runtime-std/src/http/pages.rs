//! The pages about the provider itself: `/`, `/health`, `/metrics`.

use std::fmt::{self, Write as _};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Shared;
use crate::status::{BootstrapStatus, DhtStatus, Status};

/// How long the daemon may take to say how it is. It answers in microseconds unless it hangs.
const PATIENCE: Duration = Duration::from_secs(1);

const FRESH: (axum::http::HeaderName, &str) = (CACHE_CONTROL, "no-store");

async fn ask(shared: &Shared) -> Option<Status> {
    tokio::time::timeout(PATIENCE, (shared.status)()).await.ok().flatten()
}

/// `/`: for people, or for programs that ask for JSON.
pub(super) async fn index(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let Some(status) = ask(&shared).await else { return silent() };
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if prefers_json(accept) {
        let text = json!(status).to_string() + "\n";
        return ([(CONTENT_TYPE, "application/json"), FRESH], text).into_response();
    }
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        FRESH,
    ];
    (headers, page(&status)).into_response()
}

fn silent() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [FRESH], "the daemon does not answer\n").into_response()
}

/// Whether JSON is named before HTML or instead of it.
fn prefers_json(accept: &str) -> bool {
    let at = |kind| accept.find(kind);
    at("application/json").is_some_and(|json| at("text/html").is_none_or(|html| json < html))
}

/// `/health`: 200 when every check passes, 503 otherwise.
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    let status = ask(&shared).await;
    let problems =
        status.map_or_else(|| vec!["the daemon does not answer".to_owned()], |s| s.problems);
    let (code, word) = match problems.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    let text = json!({ "status": word, "problems": problems }).to_string() + "\n";
    (code, [(CONTENT_TYPE, "application/json"), FRESH], text).into_response()
}

/// `/metrics`: the Prometheus text exposition format, version 0.0.4.
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    let mut metric = |kind: &str, name: &str, help: &str, value: u64| {
        let _infallible = write!(
            text,
            "# HELP phase_{name} {help}\n# TYPE phase_{name} {kind}\nphase_{name} {value}\n"
        );
    };
    for (name, help, value) in shared.counters.iter() {
        metric("counter", &format!("http_{name}_total"), help, value);
    }
    if let Some(status) = ask(&shared).await {
        for (name, (help, value)) in &status.counters {
            metric("counter", &format!("mdns_{name}_total"), help, *value);
        }
        metric("gauge", "images", "Images served.", status.images.len() as u64);
        for (name, (help, value)) in &status.dht_counters {
            metric("counter", &format!("dht_{name}_total"), help, *value);
        }
        if let Some(dht) = &status.dht {
            let published = status.adverts.iter().filter(|a| a.state == "published").count();
            metric("gauge", "adverts_published", "Adverts published in the DHT.", published as u64);
            let gauges = [
                ("peers", "Peers in the routing table.", dht.peers),
                ("peers_live", "Peers in the routing table that were there last.", dht.live_peers),
                ("connections", "Peers there is a connection to.", dht.connections),
                ("records", "Records stored for others.", dht.records),
                ("provider_records", "Provider records stored for others.", dht.provider_records),
            ];
            for (name, help, value) in gauges {
                metric("gauge", &format!("dht_{name}"), help, value as u64);
            }
        }
        let announced = status.adverts.iter().filter(|a| a.state == "announced").count();
        metric("gauge", "adverts_announced", "Adverts announced by mDNS.", announced as u64);
        metric("gauge", "links", "Links that mDNS is served on.", status.links.len() as u64);
        metric("gauge", "problems", "Checks of /health that fail.", status.problems.len() as u64);
        metric("gauge", "uptime_seconds", "Seconds since the start.", status.uptime_seconds);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind), FRESH], text).into_response()
}

/// Text inside HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;\
    color-scheme:light dark}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem \
    .25rem 0;border-bottom:1px solid #8884;vertical-align:top}code{font-size:13px;overflow-wrap:anywhere}";

fn page(status: &Status) -> String {
    let mut html = String::new();
    // Writing to a string cannot fail.
    let _infallible = write_page(&mut html, status);
    html
}

fn write_page(html: &mut String, status: &Status) -> fmt::Result {
    let name = Escaped(&status.provider_name);
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{name} · boot images</title><style>{STYLE}</style><h1>{name}</h1>\
         <p>Peer id <code>{}</code></p><p>{} · up {} s · {}</p>",
        Escaped(&status.peer_id),
        Escaped(&status.software),
        status.uptime_seconds,
        Escaped(&status.signing),
    )?;
    list(html, "Problems", &status.problems)?;
    html.push_str("<h2>Images</h2>");
    if status.images.is_empty() {
        html.push_str("<p>None yet.</p>");
    } else {
        html.push_str("<table><tr><th>Image<th>Version<th>Manifest<th>Files");
    }
    for image in &status.images {
        write!(
            html,
            "<tr><td>{}/{}<td>{}<td><a href=\"{}\">{}</a><br>expires {}<td>",
            Escaped(&image.channel),
            Escaped(&image.arch),
            Escaped(&image.version),
            Escaped(&image.manifest),
            image.manifest_version,
            Escaped(&image.expires_at),
        )?;
        for artifact in &image.artifacts {
            write!(html, "{} ({} octets)<br>", Escaped(&artifact.name), artifact.size)?;
        }
    }
    html.push_str(if status.images.is_empty() { "" } else { "</table>" });
    html.push_str("<h2>Adverts</h2>");
    if status.adverts.is_empty() {
        html.push_str("<p>Nothing.</p>");
    } else {
        html.push_str("<table><tr><th>Instance<th>Where<th>URL<th>State");
    }
    for advert in &status.adverts {
        let link = status.links.iter().find(|link| link.interface == advert.interface);
        write!(
            html,
            "<tr><td>{}<td>{}<td><code>{}</code><td>{}",
            Escaped(&advert.instance),
            if advert.carrier == "dht" {
                Escaped("DHT")
            } else {
                Escaped(link.map_or("", |link| &link.name))
            },
            Escaped(&advert.url),
            Escaped(&advert.state),
        )?;
    }
    html.push_str(if status.adverts.is_empty() { "" } else { "</table>" });
    if let Some(dht) = &status.dht {
        write_dht(html, dht)?;
    }
    list(html, "Artifacts directory", &status.warnings)
}

fn write_dht(html: &mut String, dht: &DhtStatus) -> fmt::Result {
    write!(
        html,
        "<h2>DHT</h2><p>{} peers known, {} of them there, {} connected · stores {} records and {} provider records \
         for others</p>",
        dht.peers, dht.live_peers, dht.connections, dht.records, dht.provider_records
    )?;
    list(html, "Others are told", &dht.announced)?;
    let shown = |one: &BootstrapStatus| {
        let error = one.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        format!("{} {}{error}", one.address, one.state)
    };
    list(html, "Bootstraps", &dht.bootstraps.iter().map(shown).collect::<Vec<_>>())
}

fn list(html: &mut String, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    write!(html, "<h2>{title}</h2><ul>")?;
    for line in lines {
        write!(html, "<li>{}", Escaped(line))?;
    }
    html.write_str("</ul>")
}
