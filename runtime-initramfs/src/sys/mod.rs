//! Calls of the kernel that nothing safe wraps. Everything that is public here is safe to call.

pub mod time;
