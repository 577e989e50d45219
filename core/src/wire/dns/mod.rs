//! Multicast DNS messages.
//! Spec: RFC 1035 §4.1 (format), RFC 6762 §18 (what multicast changes).
