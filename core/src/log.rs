//! Where the core's logs go: the `log` crate (feature `log`), defmt (feature `defmt`), or nowhere.
//! Never above debug: operators get events and counters.

#[cfg(feature = "log")]
macro_rules! debug {
    ($($arg:tt)*) => { ::log::debug!($($arg)*) };
}
#[cfg(all(feature = "defmt", not(feature = "log")))]
macro_rules! debug {
    ($($arg:tt)*) => { ::defmt::debug!($($arg)*) };
}
#[cfg(not(any(feature = "log", feature = "defmt")))]
macro_rules! debug {
    ($format:literal $(, $arg:expr)* $(,)?) => {{ $(let _ = &$arg;)* }};
}
pub(crate) use debug;
