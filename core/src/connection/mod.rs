//! One libp2p connection over TCP, as a plain value: octets in, octets out.
//! Spec: libp2p `specs/connections`, `specs/noise`.

pub mod noise;
