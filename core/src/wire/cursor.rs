//! Reading and writing octets in order. Bounds are checked here, once; nothing panics.
