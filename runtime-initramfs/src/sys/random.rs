//! Random numbers of the kernel (getrandom(2)).

use std::io;

use super::check;

/// Fills `buffer` with what the kernel has, although it may not be seeded yet: for ports, sequence numbers and delays.
pub fn fill_insecurely(buffer: &mut [u8]) {
    if get(buffer, libc::GRND_INSECURE).is_err() && get(buffer, libc::GRND_NONBLOCK).is_err() {
        // A kernel before 5.6 that is not seeded yet: two of these machines differ by their clocks.
        let clock = crate::clock::monotonic_micros().to_ne_bytes();
        buffer.iter_mut().zip(clock.iter().cycle()).for_each(|(octet, tick)| *octet ^= tick);
    }
}

/// Fills `buffer` with numbers that keys may be made of. Does not wait.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] as long as the kernel is not seeded: try again later.
pub fn try_fill(buffer: &mut [u8]) -> io::Result<()> {
    get(buffer, libc::GRND_NONBLOCK)
}

/// Waits until the kernel is seeded. A kernel that has no source of randomness begins to draw it from the jitter of its
/// clocks only when somebody waits so (Linux 5.4 and later), and has enough after about a second.
pub fn wait_until_seeded() {
    // Whoever is interrupted asks again, or for something else.
    let _ = get(&mut [0], 0);
}

/// `buffer`: at most 256 octets, which the kernel gives whole.
fn get(buffer: &mut [u8], flags: libc::c_uint) -> io::Result<()> {
    for piece in buffer.chunks_mut(256) {
        // SAFETY: the pointer and the length are those of a slice that is ours alone.
        let count = unsafe { libc::getrandom(piece.as_mut_ptr().cast(), piece.len(), flags) };
        check(libc::c_int::try_from(count).unwrap_or(-1))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let mut draws = [[0; 32]; 4];
        let [a, b, c, d] = &mut draws;
        fill_insecurely(a);
        fill_insecurely(b);
        wait_until_seeded();
        try_fill(c).unwrap();
        try_fill(d).unwrap();
        draws.sort_unstable();
        assert!(draws.windows(2).all(|pair| pair[0] != pair[1]), "{draws:?}");
    }
}
