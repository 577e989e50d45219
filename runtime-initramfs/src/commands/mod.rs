//! The commands: what each does from its options to its exit status.

pub mod boot;
pub mod discover;
pub mod fetch;
pub mod kexec;
mod networked;
mod report;
mod text;
pub mod verify;
