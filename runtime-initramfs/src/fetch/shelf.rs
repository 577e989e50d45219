//! Where artifacts are while an image is brought together: in memory, or in the output directory. What is there stays when
//! a provider fails, so that the next one goes on from it.

use phase_core::fetch::image::Item;
use phase_core::fetch::part::Expected;

use super::Image;
use super::error::Error;
use super::output::Output;
use super::part::Part;

/// Where the artifacts go.
#[derive(Debug)]
enum Place {
    Memory,
    Directory(Output),
}

/// The artifacts of an image, complete or on their way.
#[derive(Debug)]
pub struct Shelf {
    place: Place,
    parts: Vec<Part>,
}

impl Shelf {
    /// Keeps artifacts in memory, for [`Shelf::take`].
    #[must_use]
    pub const fn in_memory() -> Self {
        Self { place: Place::Memory, parts: Vec::new() }
    }

    /// Makes a directory the image, by [`Shelf::commit`].
    #[must_use]
    pub const fn in_directory(output: Output) -> Self {
        Self { place: Place::Directory(output), parts: Vec::new() }
    }

    /// Takes the verified octets of an artifact that was fetched into memory.
    ///
    /// # Errors
    /// `Missing`: it was not fetched, or was taken before.
    pub fn take(&mut self, item: &Item) -> Result<Vec<u8>, Box<Error>> {
        let Some(part) = self.find(item.expected) else {
            return Err(Box::new(Error::Missing { name: item.name.as_str().to_owned() }));
        };
        part.into_octets().map_err(|source| Error::part(item, source))
    }

    /// Makes the output directory the image of these items, all of which were fetched; in memory it does nothing.
    ///
    /// # Errors
    /// `Output`, `Missing`.
    pub fn commit(&mut self, image: &Image, items: &[&Item]) -> Result<(), Box<Error>> {
        let mut fetched: Vec<(Vec<String>, Part)> = Vec::new();
        let mut kept = Vec::new();
        for item in items {
            let twin =
                fetched.iter_mut().find(|(_, part)| part.tally().expected() == item.expected);
            if let Some((names, _)) = twin {
                names.push(item.name.as_str().to_owned());
            } else if let Some(part) = self.find(item.expected) {
                fetched.push((vec![item.name.as_str().to_owned()], part));
            } else {
                kept.push(item.name.as_str().to_owned());
            }
        }
        match &self.place {
            Place::Memory => Ok(()),
            Place::Directory(output) => Ok(output.commit(image, fetched, kept)?),
        }
    }

    /// Whether an artifact is in the output directory already, verified octet by octet.
    pub(super) fn has(&self, item: &Item) -> Result<bool, Box<Error>> {
        match &self.place {
            Place::Memory => Ok(false),
            Place::Directory(output) => Ok(output.has(&item.name, item.expected)?),
        }
    }

    /// Lets go of what none of `items` needs, and checks that there is room for what is missing of them.
    pub(super) fn make_room(&mut self, items: &[&Item]) -> Result<(), Box<Error>> {
        self.parts.retain(|part| items.iter().any(|item| item.expected == part.tally().expected()));
        let mut missing = 0_u64;
        for (index, item) in items.iter().enumerate() {
            let twin = items.iter().take(index).any(|other| other.expected == item.expected);
            if twin {
                continue;
            }
            missing = missing.saturating_add(match &self.place {
                // What is kept in memory has its room.
                Place::Memory
                    if self.parts.iter().any(|part| part.tally().expected() == item.expected) =>
                {
                    0
                }
                Place::Memory => item.expected.size,
                Place::Directory(_) => {
                    let part = self.part(item)?;
                    let missing = part.tally().missing();
                    self.put(part);
                    missing
                }
            });
        }
        match &self.place {
            Place::Memory => match available_memory() {
                Some(have) if missing > have => {
                    Err(Box::new(Error::Memory { want: missing, have }))
                }
                Some(_) | None => Ok(()),
            },
            Place::Directory(output) => Ok(output.require_room(missing)?),
        }
    }

    /// The part of an artifact with what is here of it; to be [`Shelf::put`] back.
    pub(super) fn part(&mut self, item: &Item) -> Result<Part, Box<Error>> {
        if let Some(part) = self.find(item.expected) {
            return Ok(part);
        }
        let part = match &self.place {
            Place::Memory => Part::in_memory(item.expected),
            Place::Directory(output) => Part::in_directory(output.directory(), item.expected),
        };
        part.map_err(|source| Error::part(item, source))
    }

    /// Puts a part back.
    pub(super) fn put(&mut self, part: Part) {
        self.parts.push(part);
    }

    fn find(&mut self, expected: Expected) -> Option<Part> {
        let index = self.parts.iter().position(|part| part.tally().expected() == expected)?;
        Some(self.parts.swap_remove(index))
    }
}

/// Octets that can be had without swapping, where the kernel tells: it promises more memory than it has, and the first
/// process that believes it is killed when it writes there.
fn available_memory() -> Option<u64> {
    available_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// Spec: `proc_meminfo(5)`.
fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_as_the_kernel_tells_it() {
        let text = "MemTotal:       65536 kB\nMemFree:        1 kB\nMemAvailable:   40960 kB\n";
        assert_eq!(available_of(text), Some(40 << 20));
        assert_eq!(available_of("MemTotal:       65536 kB\n"), None);
        assert!(available_memory().is_some_and(|octets| octets > 1 << 20));
    }
}
