//! The routes of manifests and artifacts, and what is common to all responses.

use std::ops::Range;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;

use super::body::FileBody;
use super::condition::{Outcome, judge};
use super::range::{Selection, select};
use super::rejection::Rejection;
use super::{Shared, pages};
use crate::artifacts::{Artifact, ImageId, Role, canonical_arch};

/// Clients ask again each time, and are answered 304.
const REVALIDATE: &str = "no-cache";
/// What a digest names never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The whole server.
pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/health", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/by-digest/{file}", get(by_digest))
        .route("/{channel}/{arch}/{*file}", get(image_file))
        .fallback(async || Rejection::NotFound)
        .method_not_allowed_fallback(async || Rejection::Method)
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared)
}

async fn count(
    State(shared): State<Shared>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let counters = &shared.counters;
    counters.requests.count();
    match response.status().as_u16() {
        304 => counters.not_modified.count(),
        400..=499 => counters.refused.count(),
        500..=599 => counters.failed.count(),
        _ => {}
    }
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// `etag` of a body with this digest: a strong one.
fn etag(sha256: &[u8; 32]) -> String {
    format!("\"{}\"", hex(sha256))
}

/// Lower-case hexadecimal.
pub(super) fn hex(octets: &[u8; 32]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

async fn by_digest(
    State(shared): State<Shared>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let digest = file.strip_suffix(".json").and_then(parse_hex).ok_or(Rejection::NoManifest)?;
    let document =
        shared.catalog.manifest(shared.clock.now(), &digest).ok_or(Rejection::NoManifest)?;
    manifest(&shared, &digest, document, FOR_EVER, &headers)
}

/// 64 lower-case hexadecimal digits: one text for each digest.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 64 || !lower {
        return None;
    }
    let mut octets = [0; 32];
    for (octet, at) in octets.iter_mut().zip((0..64).step_by(2)) {
        *octet = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(octets)
}

async fn image_file(
    State(shared): State<Shared>,
    Path((channel, arch, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let arch = canonical_arch(&arch).ok_or(Rejection::NoImage)?.to_owned();
    let entry = shared.catalog.get(&ImageId { channel, arch }).ok_or(Rejection::NoImage)?;
    if file == "manifest.json" {
        let current = &entry.manifest;
        let document = current.document.clone();
        return manifest(&shared, &current.sha256, document, REVALIDATE, &headers);
    }
    let artifact = entry.image.artifacts.iter().find(|artifact| artifact.name == file);
    self::artifact(&shared, artifact.ok_or(Rejection::NoArtifact)?, &method, &headers)
}

fn manifest(
    shared: &Shared,
    sha256: &[u8; 32],
    document: Bytes,
    cache: &'static str,
    headers: &HeaderMap,
) -> Result<Response, Rejection> {
    let etag = etag(sha256);
    let mut response = match judge(headers, &etag) {
        Outcome::Failed => return Err(Rejection::OtherVersion),
        Outcome::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Outcome::Proceed { .. } => {
            shared.counters.manifests.count();
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], document).into_response()
        }
    };
    describe(&mut response, &etag, cache);
    Ok(response)
}

fn describe(response: &mut Response, etag: &str, cache: &'static str) {
    let headers = response.headers_mut();
    set(headers, ETAG, etag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
}

/// Sets a header whose text is our own: digits, hexadecimal and punctuation.
fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn artifact(
    shared: &Shared,
    artifact: &Artifact,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Rejection> {
    if !artifact.is_unchanged() {
        shared.counters.changed_files.count();
        return Err(Rejection::Changed);
    }
    let etag = etag(&artifact.sha256);
    let ranges = match judge(headers, &etag) {
        Outcome::Failed => return Err(Rejection::OtherVersion),
        Outcome::NotModified => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            describe(&mut response, &etag, REVALIDATE);
            return Ok(response);
        }
        Outcome::Proceed { ranges } => ranges,
    };
    // RFC 9110 §14.2: Range means something in GET only.
    let range = headers.get(RANGE).filter(|_| ranges && method == Method::GET);
    let selection = range.and_then(|value| value.to_str().ok());
    let selection = selection.map_or(Selection::Whole, |header| select(header, artifact.size));
    let (status, part) = match selection {
        Selection::Whole => (StatusCode::OK, 0..artifact.size),
        Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Selection::Unsatisfiable => return Err(Rejection::Range(artifact.size)),
    };
    let body = if method == Method::HEAD { Body::empty() } else { body(shared, artifact, &part)? };
    let mut response = (status, body).into_response();
    describe(&mut response, &etag, REVALIDATE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(artifact.role)));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (part.start, part.end - 1);
        set(headers, CONTENT_RANGE, &format!("bytes {first}-{last}/{}", artifact.size));
    }
    Ok(response)
}

fn body(shared: &Shared, artifact: &Artifact, part: &Range<u64>) -> Result<Body, Rejection> {
    shared.counters.artifacts.count();
    if !FileBody::is_small(part) {
        let counters = std::sync::Arc::clone(&shared.counters);
        return Ok(Body::new(FileBody::new(artifact, part.clone(), counters)));
    }
    let octets = FileBody::read_small(artifact, part.clone()).map_err(|error| {
        tracing::warn!(file = %artifact.name, %error, "cannot read an artifact");
        Rejection::Unreadable
    })?;
    shared.counters.artifact_octets.add(octets.len() as u64);
    Ok(Body::from(octets))
}

const fn content_type(role: Role) -> &'static str {
    match role {
        Role::Cmdline => "text/plain; charset=utf-8",
        Role::Kernel | Role::Initramfs | Role::Rootfs | Role::DeviceTree => {
            "application/octet-stream"
        }
    }
}
