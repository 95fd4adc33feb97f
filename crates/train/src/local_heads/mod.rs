//! Attention that begins by looking around.
//!
//! With random weights every token at first sees the mean of all others, and most of a small budget goes by until heads emerge that look
//! at neighbours. Here heads look at neighbours from the start: positions are sinusoids
//! ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)) with frequencies at even distances, so that a shift of positions is a rotation,
//! and queries and keys of a head are that rotation. What is trained is a model like any other. That attention of trained models does this
//! in its lower layers, and that fixed windows do as well there, is known ([Clark et al. 2019](https://arxiv.org/abs/1906.04341),
//! [You et al. 2020](https://arxiv.org/abs/2005.00742)), as are the gains of weights that begin with the structure of trained ones
//! ([Trockman and Kolter 2023](https://arxiv.org/abs/2305.09828)) or of convolutions (ConViT, [d'Ascoli et al.
//! 2021](https://arxiv.org/abs/2103.10697)).
//!
//! ```text
//! mod.rs       what a rotation is as weights
//! texts.rs     BERT and RoBERTa
//! pictures.rs  ViT
//! ```

mod pictures;
mod texts;

use bedstone_kernels::random::{self, Draw};
use bedstone_models::Model;
use bedstone_tensor::ParamId;

use crate::Result;

/// Gives a BERT, RoBERTa or ViT with random weights positions and heads that look around; false where the model has no such tables.
pub(crate) fn begin_local(model: &mut Model, seed: u64) -> Result<bool> {
    Ok(texts::begin(model, seed)? || pictures::begin(model, seed)?)
}

/// The logit of the token that a head looks at, above those of others.
const PEAK: f64 = 9.0;

/// The heads of a model's layers.
#[derive(Clone, Copy, Debug)]
struct Heads {
    count: usize,
    /// Of each.
    columns: usize,
    width: usize,
}

impl Heads {
    /// Those whose queries are made by `query`; `None` where these are not all columns of a state.
    fn of(model: &Model, query: ParamId, width: usize) -> Result<Option<Self>> {
        let count = model.config().get("num_attention_heads").and_then(|n| n.as_u64()).unwrap_or(1) as usize;
        let [out, inner] = model.params().get(query).value.dims("queries")?;
        let fits = inner == width && out == width && count > 0 && width.is_multiple_of(count);
        Ok(fits.then(|| Heads { count, columns: width / count, width }))
    }

    /// Lets a head look at what stands where its own position is after these turns: pairs of columns of positions, and the angle of
    /// each; those beyond its columns are left out.
    fn look(self, model: &mut Model, query_and_key: [ParamId; 2], head: usize, turns: &[(usize, f64)]) {
        let Heads { columns, width, .. } = self;
        // A pair of a normalised state, half of which is position, adds about 1 where positions agree.
        let gain = (PEAK * (columns as f64).sqrt() / (columns / 2).max(1) as f64).sqrt();
        for (id, turned) in query_and_key.into_iter().zip([true, false]) {
            let matrix = values(model, id);
            matrix[head * columns * width..(head + 1) * columns * width].fill(0.0);
            for (i, &(pair, angle)) in turns.iter().take(columns / 2).enumerate() {
                let (sin, cos) = if turned { angle.sin_cos() } else { (0.0, 1.0) };
                let row = head * columns + 2 * i;
                let mut set = |row: usize, column: usize, x: f64| matrix[row * width + column] = (gain * x) as f32;
                set(row, 2 * pair, cos);
                set(row, 2 * pair + 1, sin);
                set(row + 1, 2 * pair, -sin);
                set(row + 1, 2 * pair + 1, cos);
            }
        }
    }
}

/// Makes a row of a table of positions: sine and cosine of the angle of each pair, `length` the root of the mean of their squares.
fn sinusoids(row: &mut [f32], length: f64, angles: impl Iterator<Item = (usize, f64)>) {
    // The mean of the squares of sines is a half.
    let length = length * 2f64.sqrt();
    for (pair, angle) in angles {
        let (sin, cos) = angle.sin_cos();
        (row[2 * pair], row[2 * pair + 1]) = ((length * sin) as f32, (length * cos) as f32);
    }
}

/// The numbers below `n` in an order of the seed. Each head has frequencies of its own, spread over all: few at even distances would see a
/// token again some places further.
fn order(n: usize, seed: u64, sample: u32) -> Vec<usize> {
    let draw = Draw { key: random::key(seed, 0), sample, place: 2 };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&i| draw.bits(0, i as u32));
    order
}

fn values(model: &mut Model, id: ParamId) -> &mut [f32] {
    model.params_mut().get_mut(id).value.f32s_mut()
}
