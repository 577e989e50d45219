//! Writing a flattened device tree: the structure grows, names are added behind the strings of another tree.
//! Spec: Devicetree Specification 0.4 §5.

use super::{
    BEGIN_NODE, END, END_NODE, Error, FDT_MAX, Fdt, HEADER_LEN, LAST_COMPATIBLE, MAGIC, Node,
    PROPERTY, Property, VERSION,
};

/// A tree that grows. Lengths are checked once, at the end: the input is bounded by [`FDT_MAX`].
pub(super) struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
    /// Where the names begin that were added.
    added: usize,
}

impl Writer {
    /// Begins with the strings of `base`, whose properties can be copied by [`Writer::copy`].
    pub(super) fn with_strings_of(base: &Fdt<'_>) -> Self {
        let strings = base.strings.to_vec();
        Self { structure: Vec::new(), added: strings.len(), strings }
    }

    pub(super) fn begin(&mut self, name: &[u8]) {
        self.word(BEGIN_NODE);
        self.structure.extend_from_slice(name);
        self.structure.push(0);
        self.pad();
    }

    pub(super) fn end(&mut self) {
        self.word(END_NODE);
    }

    /// A property with a name that is looked for among those added, and added where it is not there.
    pub(super) fn property(&mut self, name: &[u8], value: &[u8]) {
        let offset = self.name(name);
        self.property_at(offset, value);
    }

    /// A property of the tree that this one began with.
    pub(super) fn copy(&mut self, property: &Property<'_>) {
        self.property_at(to_u32(property.offset as usize), property.value);
    }

    /// A node of that tree with everything in it.
    pub(super) fn copy_node(&mut self, node: &Node<'_>) {
        self.begin(node.name);
        node.properties().for_each(|property| self.copy(&property));
        // Ends: a tree that was read has at most DEPTH_MAX levels.
        node.children().for_each(|child| self.copy_node(&child));
        self.end();
    }

    /// Puts the parts together.
    pub(super) fn finish(
        mut self,
        reservations: &[(u64, u64)],
        boot_cpu: u32,
    ) -> Result<Vec<u8>, Error> {
        self.word(END);
        let structure_at = HEADER_LEN + (reservations.len() + 1) * 16;
        let strings_at = structure_at + self.structure.len();
        let total = (strings_at + self.strings.len()).next_multiple_of(8);
        if total > FDT_MAX {
            return Err(Error::TooLong);
        }
        let header = [
            MAGIC,
            to_u32(total),
            to_u32(structure_at),
            to_u32(strings_at),
            to_u32(HEADER_LEN),
            VERSION,
            LAST_COMPATIBLE,
            boot_cpu,
            to_u32(self.strings.len()),
            to_u32(self.structure.len()),
        ];
        let mut blob = Vec::with_capacity(total);
        header.iter().for_each(|word| blob.extend_from_slice(&word.to_be_bytes()));
        for (address, len) in reservations.iter().chain(&[(0, 0)]) {
            blob.extend_from_slice(&address.to_be_bytes());
            blob.extend_from_slice(&len.to_be_bytes());
        }
        blob.extend_from_slice(&self.structure);
        blob.extend_from_slice(&self.strings);
        blob.resize(total, 0);
        Ok(blob)
    }

    fn property_at(&mut self, offset: u32, value: &[u8]) {
        self.word(PROPERTY);
        self.word(to_u32(value.len()));
        self.word(offset);
        self.structure.extend_from_slice(value);
        self.pad();
    }

    fn name(&mut self, name: &[u8]) -> u32 {
        let added = self.strings.get(self.added..).unwrap_or_default();
        let mut at = self.added;
        for known in added.split(|octet| *octet == 0) {
            if known == name {
                return to_u32(at);
            }
            at += known.len() + 1;
        }
        let at = self.strings.len();
        self.strings.extend_from_slice(name);
        self.strings.push(0);
        to_u32(at)
    }

    fn word(&mut self, word: u32) {
        self.structure.extend_from_slice(&word.to_be_bytes());
    }

    fn pad(&mut self) {
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }
}

/// What does not fit is longer than [`FDT_MAX`], which the end refuses.
fn to_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
