//! `precompiled_charsmap`: rules from character sequences to others, as a double array.
//!
//! Layout: the size of the array in bytes (`u32`, little endian), the array (`u32` units), then the replacements, each
//! ended by a zero byte. A unit holds a label, the offset to its children, and whether a value hangs there
//! ([Yata et al. 2007](https://doi.org/10.1016/j.ipm.2006.04.004); the layout is darts-clone's).

/// The rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads and checks the rules, so that no lookup, not even a less careful one, can leave the array.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let (size, rest) = bytes.split_at_checked(4).ok_or("precompiled_charsmap is shorter than its header")?;
        // Four bytes are there.
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        if size == 0 || !size.is_multiple_of(4) {
            return Err(format!("precompiled_charsmap has an array of {size} bytes, want a multiple of 4"));
        }
        let (units, replacements) = rest
            .split_at_checked(size)
            .ok_or_else(|| format!("precompiled_charsmap has {} bytes, want {size} for its array alone", rest.len()))?;
        let units = units.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        let replacements = String::from_utf8(replacements.to_vec())
            .map_err(|_| "precompiled_charsmap has rules that are not UTF-8")?;
        let map = Self { units, replacements };
        map.check()?;
        Ok(map)
    }

    /// The replacement of the longest rule that `text` begins with, and how many bytes it replaces.
    pub(super) fn longest<'a>(&'a self, text: &[u8]) -> Option<(&'a str, usize)> {
        let mut found = None;
        let mut node = offset(*self.units.first()?);
        for (at, &byte) in text.iter().enumerate() {
            node ^= usize::from(byte);
            let unit = *self.units.get(node)?;
            if label(unit) != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if has_leaf(unit) {
                found = Some((node, at + 1));
            }
        }
        let (leaf, length) = found?;
        Some((self.replacement(value(*self.units.get(leaf)?)), length))
    }

    fn replacement(&self, start: usize) -> &str {
        let rest = self.replacements.get(start..).unwrap_or_default();
        rest.split('\0').next().unwrap_or_default()
    }

    fn check(&self) -> Result<(), String> {
        let broken = |what: &str| Err(format!("precompiled_charsmap is broken: {what}"));
        let mut seen = vec![false; self.units.len()];
        let mut open = vec![offset(self.units[0])];
        while let Some(node) = open.pop() {
            for byte in 1..=255u8 {
                let Some(&unit) = self.units.get(node ^ usize::from(byte)) else {
                    return broken("a node lies outside the array");
                };
                if label(unit) != u32::from(byte) || std::mem::replace(&mut seen[node ^ usize::from(byte)], true) {
                    continue;
                }
                let next = node ^ usize::from(byte) ^ offset(unit);
                if has_leaf(unit) {
                    let Some(&leaf) = self.units.get(next) else { return broken("a value lies outside the array") };
                    if !self.replacements.is_char_boundary(value(leaf)) {
                        return broken("a rule begins outside the text of rules");
                    }
                }
                open.push(next);
            }
        }
        Ok(())
    }
}

fn has_leaf(unit: u32) -> bool {
    (unit >> 8) & 1 == 1
}

fn value(unit: u32) -> usize {
    (unit & 0x7fff_ffff) as usize
}

/// Of a unit that holds a value, no byte.
fn label(unit: u32) -> u32 {
    unit & 0x8000_00ff
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6)
}
