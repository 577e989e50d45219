//! The commands: what each does from its options to its exit status.

pub mod discover;
mod report;
mod text;
