//! The wire conformance suite: what RFC 6762 and RFC 6763 ask of an mDNS implementation, each row checked on
//! real sockets in network namespaces against any implementation.
//!
//! A row is named as in the project's list (`W1` … `D10`) and says what it saw when it fails. Windows of
//! minutes and hours are shortened here, and each row says by how much; the simulator holds the full ones.
//! Not here: behaviour that cannot be seen from outside.

mod announcing;
mod conflicts;
mod data;
mod format;
mod lab;
mod probing;
mod querier;
mod querier_cache;

mod report;
mod responding;
mod responding_legacy;
mod scope;
mod scripted;
mod suppression;
mod tiebreak;

pub use lab::{Facts, Lab, Reply};
pub use report::{Cell, Table, run};

use crate::Error;

/// The strength of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// MUST.
    Must,
    /// SHOULD.
    Should,
    /// MAY, or a rule in lower-case words.
    May,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The behaviour was seen.
    Pass,
    /// It was not; what was seen instead.
    Fail(String),
    /// The row does not concern this implementation; why.
    NotApplicable(String),
}

/// Which part of an implementation a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It publishes.
    Responder,
    /// It browses.
    Querier,
}

/// A check of a responder or querier that `lab` starts.
pub type Check = fn(&mut Lab<'_>) -> Result<Outcome, Error>;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in the list.
    pub id: &'static str,
    /// The part it is about.
    pub role: Role,
    /// Where it stands.
    pub section: &'static str,
    /// How strong it is.
    pub level: Level,
    /// What it asks.
    pub text: &'static str,
    /// How it is checked.
    pub check: Check,
}

/// Ends a check with [`Outcome::Fail`] unless the condition holds.
macro_rules! require {
    ($condition:expr, $($format:tt)+) => {
        if !$condition {
            return Ok($crate::conformance::Outcome::Fail(format!($($format)+)));
        }
    };
}
/// The value of an `Option`, or ends a check with [`Outcome::Fail`].
macro_rules! found {
    ($option:expr, $($format:tt)+) => {
        match $option {
            Some(value) => value,
            None => return Ok($crate::conformance::Outcome::Fail(format!($($format)+))),
        }
    };
}
/// A table of responder rows.
macro_rules! declare {
    ($role:ident: $($id:literal, $section:literal, $level:ident, $text:literal, $check:path;)+) => {
        pub(super) const ROWS: &[$crate::conformance::Row] = &[$($crate::conformance::Row {
            id: $id,
            role: $crate::conformance::Role::$role,
            section: $section,
            level: $crate::conformance::Level::$level,
            text: $text,
            check: $check,
        },)+];
    };
}
pub(crate) use {declare, found, require};

/// Every row, in the order of the list.
#[must_use]
pub fn rows() -> Vec<&'static Row> {
    let tables = [
        format::ROWS,
        scope::ROWS,
        probing::ROWS,
        tiebreak::ROWS,
        announcing::ROWS,
        responding::ROWS,
        responding_legacy::ROWS,
        suppression::ROWS,
        conflicts::ROWS,
        data::ROWS,
        querier::ROWS,
        querier_cache::ROWS,
    ];
    let mut all: Vec<_> = tables.into_iter().flatten().collect();
    all.sort_by_key(|row| (row.role != Role::Responder, order(row.id)));
    all
}

/// The chapter of a row's name in the list, and its number.
fn order(id: &str) -> (usize, u32) {
    let chapter = id.chars().next().and_then(|c| "WSPARCQD".find(c)).unwrap_or(usize::MAX);
    (chapter, id.get(1..).and_then(|n| n.parse().ok()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_name_in_its_role() {
        let all = rows();
        let mut names: Vec<_> = all.iter().map(|r| (r.role == Role::Querier, r.id)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
