//! The runtime on real sockets, interfaces and processes, in network namespaces.

mod driver;
mod echo;
