//! The boot client.
