//! RFC 6762 and RFC 6763, row by row: each test is named after its row, and runs with a clock that jumps.

mod announcing;
mod client;
mod conflicts;
mod dns_sd;
mod lan;
mod probing;
mod querier;
mod responding;
mod sockets;
mod timing;
mod wire;
