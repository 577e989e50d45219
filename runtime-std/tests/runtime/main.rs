//! The runtime on real sockets, interfaces and processes, in network namespaces.

mod connections;
mod discover;
mod doctor;
mod driver;
mod echo;
mod manifest;
mod node;
mod promote;
mod publisher;
mod serve;
mod serve_dht;
mod wan;
