//! Hostile DNS messages.
