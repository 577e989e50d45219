//! Every way a request can fail: name, status and text in one table.

use axum::http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Why a request is not answered with what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// No such path.
    NotFound,
    /// No image of this channel and architecture.
    NoImage,
    /// The image has no such file.
    NoArtifact,
    /// No manifest with this digest, or it was forgotten.
    NoManifest,
    /// Neither GET nor HEAD.
    Method,
    /// `If-Match` names another version.
    OtherVersion,
    /// The range lies behind the end of a body of so many octets.
    Range(u64),
    /// The file is no longer what was hashed.
    Changed,
    /// The file cannot be read.
    Unreadable,
}

impl Rejection {
    const fn describe(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found: / lists what is served here"),
            Self::NoImage => {
                (StatusCode::NOT_FOUND, "no-image: no such channel and architecture; / lists them")
            }
            Self::NoArtifact => {
                (StatusCode::NOT_FOUND, "no-artifact: manifest.json lists the files of this image")
            }
            Self::NoManifest => {
                (StatusCode::NOT_FOUND, "no-manifest: unknown digest, or kept no longer")
            }
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method: only GET and HEAD"),
            Self::OtherVersion => {
                (StatusCode::PRECONDITION_FAILED, "other-version: the file here has another digest")
            }
            Self::Range(_) => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "range: it lies behind the end of the file")
            }
            Self::Changed => (
                StatusCode::SERVICE_UNAVAILABLE,
                "changed: the file is being replaced; fetch the manifest again in a few seconds",
            ),
            Self::Unreadable => {
                (StatusCode::INTERNAL_SERVER_ERROR, "unreadable: the file cannot be read")
            }
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, text) = self.describe();
        let mut response = (status, format!("{text}\n")).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Range(len) => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{len}")) {
                    headers.insert(CONTENT_RANGE, value);
                }
            }
            Self::Changed => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            Self::NotFound
            | Self::NoImage
            | Self::NoArtifact
            | Self::NoManifest
            | Self::OtherVersion
            | Self::Unreadable => {}
        }
        response
    }
}
