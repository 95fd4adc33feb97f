//! The Huffman tree of hierarchical softmax.

use std::{cmp::Reverse, collections::BinaryHeap};

/// For each word the inner nodes from the root down to it, and which way it goes at each.
///
/// Frequent words have short ways, [Morin & Bengio 2005](https://proceedings.mlr.press/r5/morin05a.html),
/// [Mikolov et al. 2013](https://arxiv.org/abs/1310.4546).
pub(crate) struct Huffman {
    begins: Vec<u32>,
    nodes: Vec<u32>,
    labels: Vec<f32>,
}

impl Huffman {
    /// Of words with these counts, of which there are at least two. There are `counts.len() - 1` inner nodes.
    pub(crate) fn new(counts: &[u64]) -> Self {
        let n = counts.len();
        // Equal counts by number, so that the tree depends on nothing else.
        let mut heap: BinaryHeap<Reverse<(u64, usize)>> =
            counts.iter().enumerate().map(|(i, &c)| Reverse((c, i))).collect();
        let mut parent = vec![(0usize, false); 2 * n.max(1) - 1];
        for node in n..2 * n - 1 {
            // Both are there: each round takes two and gives one.
            let (Some(Reverse((a, left))), Some(Reverse((b, right)))) = (heap.pop(), heap.pop()) else { break };
            parent[left] = (node, false);
            parent[right] = (node, true);
            heap.push(Reverse((a.saturating_add(b), node)));
        }
        let root = 2 * n - 2;
        let (mut begins, mut nodes, mut labels) = (vec![0], Vec::new(), Vec::new());
        for word in 0..n {
            let (begin, mut at) = (nodes.len(), word);
            while at != root {
                let (up, right) = parent[at];
                nodes.push((up - n) as u32);
                // 1 for the left side: the label of a code bit of 0.
                labels.push(f32::from(u8::from(!right)));
                at = up;
            }
            nodes[begin..].reverse();
            labels[begin..].reverse();
            begins.push(nodes.len() as u32);
        }
        Self { begins, nodes, labels }
    }

    /// Inner nodes and labels of a word, from the root on.
    #[inline]
    pub(crate) fn path(&self, word: u32) -> (&[u32], &[f32]) {
        let range = self.begins[word as usize] as usize..self.begins[word as usize + 1] as usize;
        (&self.nodes[range.clone()], &self.labels[range])
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (4 * self.begins.len() + 8 * self.nodes.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_a_prefix_code_of_least_length() {
        let counts = [100, 50, 20, 20, 9, 1];
        let tree = Huffman::new(&counts);
        let code = |w: u32| tree.path(w).1.iter().map(|&l| if l == 1.0 { '0' } else { '1' }).collect::<String>();
        let codes: Vec<String> = (0..6).map(code).collect();
        for (a, x) in codes.iter().enumerate() {
            for (b, y) in codes.iter().enumerate() {
                assert!(a == b || !y.starts_with(x.as_str()), "{x} {y}");
            }
        }
        let bits: u64 = counts.iter().zip(&codes).map(|(&c, code)| c * code.len() as u64).sum();
        // Merges of 1+9, 10+20, 20+30, 50+50, 100+100: the sum of all inner nodes.
        assert_eq!(bits, 10 + 30 + 50 + 100 + 200);
        for w in 0..6 {
            let (nodes, labels) = tree.path(w);
            assert_eq!((nodes[0], nodes.len()), (4, labels.len()), "the root is the last node made");
            assert!(nodes.iter().all(|&n| n < 5));
        }
        assert_eq!(Huffman::new(&[3, 3]).path(1).0, [0]);
    }
}
