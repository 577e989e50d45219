//! RFC 6762 and RFC 6763, row by row: each test is named after its row, and runs with a clock that jumps.

mod lan;
mod querier;
