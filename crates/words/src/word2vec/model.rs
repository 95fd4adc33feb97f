//! What is learned, and what it is drawn with.

use bedstone_kernels::{
    Isa,
    random::{Draw, key},
    words::{SharedRows, gather_sum},
};

use super::{
    huffman::Huffman,
    noise::{Noise, keep},
    recipe::Word2VecRecipe,
    subwords::{NGrams, Subwords},
};
use crate::text::Vocab;

/// The matrices of a run and the tables of its vocabulary.
pub(crate) struct Model {
    /// A row a word, then a row a bucket of n-grams: what becomes the vectors.
    pub(crate) input: SharedRows,
    /// A row a word: the outputs of negative sampling.
    pub(crate) output: Option<SharedRows>,
    /// A row an inner node: the outputs of hierarchical softmax.
    pub(crate) nodes: Option<SharedRows>,
    pub(crate) noise: Option<Noise>,
    pub(crate) tree: Option<Huffman>,
    pub(crate) subwords: Option<Subwords>,
    /// The chance of each word to stay.
    pub(crate) keep: Option<Vec<u32>>,
    pub(crate) isa: Isa,
}

impl Model {
    /// Inputs at random, outputs zero, as word2vec begins.
    pub(crate) fn new(vocab: &Vocab, recipe: &Word2VecRecipe, isa: Isa) -> Self {
        let (m, n) = (&recipe.model, vocab.len());
        let ngrams = ngrams(recipe);
        let rows = n + ngrams.map_or(0, |g| g.bucket);
        let mut input = SharedRows::zeroed(rows, m.vector_size);
        // As gensim and fastText begin; word2vec.c begins half as wide, from where CBOW needs longer.
        randomize(&mut input, recipe.train.seed, 2.0 / m.vector_size as f32);
        let negative = m.negative > 0;
        Self {
            input,
            output: negative.then(|| SharedRows::zeroed(n, m.vector_size)),
            nodes: m.hs.then(|| SharedRows::zeroed(n - 1, m.vector_size)),
            noise: negative.then(|| Noise::new(vocab.counts(), m.ns_exponent)),
            tree: m.hs.then(|| Huffman::new(vocab.counts())),
            subwords: ngrams.map(|g| Subwords::new(vocab.words(), n, g)),
            keep: keep(vocab.counts(), recipe.train.sample),
            isa,
        }
    }

    /// The vector of a word, a mean with those of its n-grams if there are any. `x` has a number a column.
    pub(crate) fn vector(&self, word: u32, x: &mut [f32]) {
        match &self.subwords {
            None => self.input.get(word as usize, x),
            Some(subwords) => {
                let (rows, mut sum) = (subwords.of(word), vec![0.0; self.input.stride()]);
                gather_sum(self.isa, &mut sum, &self.input, rows, 1.0 / rows.len() as f32);
                x.copy_from_slice(&sum[..x.len()]);
            }
        }
    }

    /// Numbers that are trained.
    pub(crate) fn parameters(&self) -> u64 {
        let numbers = |m: &SharedRows| (m.rows() * m.cols()) as u64;
        [Some(&self.input), self.output.as_ref(), self.nodes.as_ref()].into_iter().flatten().map(numbers).sum()
    }
}

/// The n-grams that the recipe asks for.
pub(crate) fn ngrams(recipe: &Word2VecRecipe) -> Option<NGrams> {
    let s = recipe.subwords;
    s.on().then_some(NGrams { minn: s.minn, maxn: s.maxn, bucket: s.bucket })
}

/// Uniform in ±`width / 2`, by row and column.
fn randomize(rows: &mut SharedRows, seed: u64, width: f32) {
    let (stride, cols) = (rows.stride(), rows.cols());
    let draw = Draw { key: key(seed, 0), sample: 0, place: 0 };
    const ROWS: usize = 256;
    bedstone_kernels::pool::for_chunks(rows.numbers_mut(), ROWS * stride, |part, numbers| {
        for (i, row) in numbers.chunks_mut(stride).enumerate() {
            // Two numbers a draw.
            for (c, two) in row[..cols].chunks_mut(2).enumerate() {
                let bits = draw.bits((part * ROWS + i) as u32, c as u32);
                for (x, bits) in two.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
                    *x = ((bits >> 8) as f32 / 16_777_216.0 - 0.5) * width;
                }
            }
        }
    });
}
