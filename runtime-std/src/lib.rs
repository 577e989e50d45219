//! The std runtime.
pub mod fetch;
