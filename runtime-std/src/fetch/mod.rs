//! Fetching what was found: manifest, then artifacts, verified before they get their names.

pub mod download;
pub mod http;
pub mod output;
pub mod part;
