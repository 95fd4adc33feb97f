//! Pieces by their beginnings.

/// A set of byte strings, each with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    /// For each node: its children's place in `edges`, and the number of the string that ends here.
    nodes: Vec<(u32, u32, Option<u32>)>,
    /// Byte and node, sorted by byte within a node.
    edges: Vec<(u8, u32)>,
}

impl Trie {
    pub(super) fn new<'a>(strings: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut sorted: Vec<(&[u8], u32)> = strings.map(|(text, id)| (text.as_bytes(), id)).collect();
        sorted.sort_unstable();
        let mut trie = Self { nodes: vec![(0, 0, None)], edges: Vec::new() };
        // Nodes to fill: the strings below them, and how many bytes lead there.
        let mut open = vec![(0, &sorted[..], 0)];
        while let Some((node, mut below, depth)) = open.pop() {
            if let Some(((_, id), rest)) = below.split_first().filter(|((text, _), _)| text.len() == depth) {
                trie.nodes[node].2 = Some(*id);
                below = rest;
            }
            trie.nodes[node].0 = trie.edges.len() as u32;
            for group in below.chunk_by(|(a, _), (b, _)| a.get(depth) == b.get(depth)) {
                // Equal strings: the first one counts.
                let Some(&byte) = group[0].0.get(depth) else { continue };
                trie.edges.push((byte, trie.nodes.len() as u32));
                open.push((trie.nodes.len(), group, depth + 1));
                trie.nodes.push((0, 0, None));
            }
            trie.nodes[node].1 = trie.edges.len() as u32;
        }
        trie
    }

    /// Every string that `text` begins with, shorter ones first: its length and its number.
    pub(super) fn prefixes<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let mut node = self.nodes.first();
        text.iter()
            .enumerate()
            .map_while(move |(at, byte)| {
                let &(from, to, _) = node?;
                let edges = &self.edges[from as usize..to as usize];
                let edge = edges.binary_search_by_key(byte, |(byte, _)| *byte).ok()?;
                node = self.nodes.get(edges[edge].1 as usize);
                Some((at + 1, node?.2))
            })
            .filter_map(|(length, id)| Some((length, id?)))
    }

    /// The length of the longest string that `text` begins with.
    pub(super) fn longest(&self, text: &[u8]) -> Option<usize> {
        self.prefixes(text).last().map(|(length, _)| length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_a_list_of_strings() {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(words in prop::collection::vec("[abé]{0,4}", 0..20), text in "[abé]{0,8}")| {
            let trie = Trie::new(words.iter().zip(0..).map(|(word, id)| (word.as_str(), id)));
            let mut want: Vec<usize> =
                words.iter().filter(|w| !w.is_empty() && text.starts_with(w.as_str())).map(String::len).collect();
            want.sort_unstable();
            want.dedup();
            let got: Vec<usize> = trie.prefixes(text.as_bytes()).map(|(length, _)| length).collect();
            prop_assert_eq!(got, want);
        });
    }
}
