//! Multicast DNS and DNS-SD behaviour (RFC 6762, RFC 6763).
