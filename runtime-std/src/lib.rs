//! The std runtime.
