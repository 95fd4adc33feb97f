//! How layers get their parameters.

use bedstone_kernels::random::{Draw, key};
use bedstone_tensor::{ParamId, Params, Shape, Tensor, TensorError};

/// The result of making a layer.
pub type Result<T, E = NnError> = std::result::Result<T, E>;

/// Why a layer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// The parameters' own objections.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The source has no fitting weights.
    #[error(transparent)]
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// Sizes that do not go together.
    #[error("{what}: got {got}, wanted {wanted}")]
    Config {
        /// Which setting.
        what: String,
        /// Its value.
        got: String,
        /// What it has to be.
        wanted: String,
    },
}

/// How a parameter starts where nothing was trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normal numbers of mean zero.
    Normal {
        /// Their standard deviation.
        std: f32,
    },
    /// Sines of the places of a grid, `[.., before + rows · columns, C]`: each row `[sin x, cos x, sin y, cos y]` of a quarter
    /// of the numbers, with `10000^(-4 i / C)` as frequencies; zeros before the grid.
    ///
    /// As masked autoencoders have it, [He et al. 2021](https://arxiv.org/abs/2111.06377).
    SineGrid {
        /// Rows before the grid.
        before: usize,
        /// Columns of the grid.
        across: usize,
    },
}

/// Where weights come from.
pub trait Source {
    /// The f32 weights of the parameter `name`, of exactly `shape`.
    fn weights(&mut self, name: &str, shape: Shape, init: Init) -> Result<Tensor>;

    /// Whether there are weights for the parameter `name`, which a network may do without.
    fn has(&self, _name: &str) -> bool {
        true
    }
}

/// Fresh weights: each parameter draws from its own stream, named by the seed and its name, so neither order nor
/// neighbours change it.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// Equal seeds give equal weights.
    pub seed: u64,
}

impl Source for Random {
    fn weights(&mut self, name: &str, shape: Shape, init: Init) -> Result<Tensor> {
        let mut tensor = Tensor::zeros::<f32>(shape);
        let x = tensor.f32s_mut();
        match init {
            Init::Constant(c) => x.fill(c),
            Init::Normal { std } => {
                Draw { key: key(self.seed, fnv1a(name)), sample: 0, place: 0 }.normal(x);
                x.iter_mut().for_each(|x| *x *= std);
            }
            Init::SineGrid { before, across } => sine_grid(x, shape.width(), before, across),
        }
        Ok(tensor)
    }
}

fn sine_grid(x: &mut [f32], width: usize, before: usize, across: usize) {
    let quarter = (width / 4).max(1);
    for (r, row) in x.chunks_exact_mut(width.max(1)).enumerate().skip(before) {
        let (at_x, at_y) = ((r - before) % across.max(1), (r - before) / across.max(1));
        for (i, x) in row.iter_mut().enumerate().take(4 * quarter) {
            let frequency = 10_000f64.powf(-((i % quarter) as f64) / quarter as f64);
            let angle = if i < 2 * quarter { at_x } else { at_y } as f64 * frequency;
            *x = if (i / quarter).is_multiple_of(2) { angle.sin() } else { angle.cos() } as f32;
        }
    }
}

/// A 64-bit hash that is the same everywhere and always (FNV-1a).
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x0100_0000_01b3))
}

/// A parameter of more numbers is a mistake in a configuration: it would take 4 TiB.
const MOST_NUMBERS: usize = 1 << 40;

/// Makes parameters under a common prefix.
pub struct Builder<'a> {
    params: &'a mut Params,
    source: &'a mut dyn Source,
    prefix: String,
}

impl<'a> Builder<'a> {
    /// At the root of names.
    pub fn new(params: &'a mut Params, source: &'a mut dyn Source) -> Self {
        Builder { params, source, prefix: String::new() }
    }

    /// Below `name`, which may have several parts, or none.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        let name = name.to_string();
        let prefix = match (&self.prefix[..], &name[..]) {
            ("", _) => name,
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}.{name}"),
        };
        Builder { params: self.params, source: self.source, prefix }
    }

    /// Whether the source has weights for the parameter `name` below the prefix.
    pub fn has(&mut self, name: &str) -> bool {
        let name = self.at(name).prefix;
        self.source.has(&name)
    }

    /// Makes the parameter `name` below the prefix, which training never changes: a statistic, a table of fixed numbers.
    pub fn fixed(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<ParamId> {
        let id = self.param(name, shape, init)?;
        self.params.get_mut(id).trainable = false;
        Ok(id)
    }

    /// Makes the parameter `name` below the prefix.
    pub fn param(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<ParamId> {
        let (name, shape) = (self.at(name).prefix, shape.into());
        if shape.contains(&0) || shape.numel() > MOST_NUMBERS {
            let wanted = format!("sizes above 0, of at most {MOST_NUMBERS} numbers together");
            return Err(NnError::Config { what: format!("the shape of `{name}`"), got: shape.to_string(), wanted });
        }
        let weights = self.source.weights(&name, shape, init)?;
        Ok(self.params.add(name, weights)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_starts_the_same_wherever_it_stands() {
        let make = |names: &[&str]| {
            let mut params = Params::default();
            let mut source = Random { seed: 5 };
            let mut b = Builder::new(&mut params, &mut source);
            for name in names {
                b.at("layer").at(0).param(name, [3, 4], Init::Normal { std: 0.5 }).unwrap();
            }
            params
        };
        let (a, b) = (make(&["x", "y"]), make(&["y", "x"]));
        for name in ["layer.0.x", "layer.0.y"] {
            let value = |p: &Params| p.get(p.id(name).unwrap()).value.f32s().to_vec();
            assert_eq!(value(&a), value(&b));
        }
        let value = |name| a.get(a.id(name).unwrap()).value.f32s().to_vec();
        assert_ne!(value("layer.0.x"), value("layer.0.y"));
    }

    /// Rows as `transformers` makes them, of a grid of 2 by 3.
    #[test]
    fn sines_of_a_grid() {
        let mut source = Random { seed: 0 };
        let sines = Init::SineGrid { before: 1, across: 3 };
        let x = source.weights("positions", [1, 7, 8].into(), sines).unwrap();
        for (row, want) in [
            (0, [0.0; 8]),
            (1, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]),
            (3, [0.909297, 0.019999, -0.416147, 0.999800, 0.0, 0.0, 1.0, 1.0]),
            (6, [0.909297, 0.019999, -0.416147, 0.999800, 0.841471, 0.01, 0.540302, 0.99995]),
        ] {
            let got = &x.f32s()[8 * row..8 * row + 8];
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{row}: {got:?}");
        }
    }

    #[test]
    fn a_name_is_made_once() {
        let mut params = Params::default();
        let mut source = Random { seed: 5 };
        let mut b = Builder::new(&mut params, &mut source);
        b.param("w", [1], Init::Constant(1.0)).unwrap();
        assert_eq!(b.param("w", [1], Init::Constant(1.0)).unwrap_err().to_string(), "parameter: `w` is made twice");
    }
}
