//! What happens to a block of a product before it is written.

use crate::{
    isa::Isa,
    out::Out,
    pool,
    simd::{Simd, each, each2, math, simd_fn},
};

/// `C = activation(P + bias) + residual`, or `C += P`, for a product `P`; by default `C = P`.
#[derive(Default)]
pub struct Epilogue<'a> {
    pub(super) accumulate: bool,
    bias: Option<&'a [f32]>,
    activation: Activation,
    residual: Option<(&'a [f32], usize)>,
    keep: Option<Out<'a>>,
}

/// A function of one number, cheap enough to apply while a product is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)` with the error function, [Hendrycks & Gimpel 2016](https://arxiv.org/abs/1606.08415).
    Gelu,
    /// The same by its tanh approximation, as GPT-2 has it.
    GeluTanh,
    /// `x / (1 + e^(-1.702 x))`.
    QuickGelu,
    /// `x / (1 + e^-x)`, also known as swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl<'a> Epilogue<'a> {
    /// Adds to what `C` holds instead of overwriting it. Goes with nothing else.
    pub fn accumulate(mut self, accumulate: bool) -> Self {
        self.accumulate = accumulate;
        self
    }

    /// One number a column, added first.
    pub fn bias(mut self, bias: Option<&'a [f32]>) -> Self {
        self.bias = bias;
        self
    }

    /// Applied after the bias.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Added last: a matrix stored by rows, `ld` apart.
    pub fn residual(mut self, residual: &'a [f32], ld: usize) -> Self {
        self.residual = Some((residual, ld));
        self
    }

    /// Keeps what the activation is applied to, which its gradient needs, in `kept`, rows `ld` apart.
    pub fn keep(mut self, kept: &'a mut [f32], ld: usize) -> Self {
        self.keep = Some(Out::new(kept, ld));
        self
    }

    /// Whether the product itself (added or not) is all.
    pub(super) fn is_plain(&self) -> bool {
        self.bias.is_none() && self.activation == Activation::None && self.residual.is_none() && self.keep.is_none()
    }

    /// Panics unless every part fits a result of `m × n`.
    pub(super) fn check(&self, m: usize, n: usize) {
        assert!(!self.accumulate || self.is_plain(), "an accumulating product takes no epilogue");
        if let Some(bias) = self.bias {
            assert!(bias.len() >= n, "bias: got {} numbers, wanted {n}", bias.len());
        }
        let wanted = |ld: usize| if m == 0 { 0 } else { (m - 1) * ld + n };
        if let Some((r, ld)) = self.residual {
            assert!(ld >= n && r.len() >= wanted(ld), "residual: got {} numbers, wanted {}", r.len(), wanted(ld));
        }
        if let Some(k) = &self.keep {
            assert!(
                k.ld() >= n && k.len() >= wanted(k.ld()),
                "keep: got {} numbers, wanted {}",
                k.len(),
                wanted(k.ld())
            );
        }
    }

    /// Writes a block of the product (`rows × cols`, rows `ld` apart in `acc`) to its place at `(row, col)` of `out`.
    ///
    /// # Safety
    /// The block lies within `out` and the shape that [`Self::check`] passed, and nobody else writes it.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(&self, s: S, acc: &[f32], ld: usize, block: Block, out: &Out<'_>) {
        let Block { row, col, rows, cols } = block;
        for r in 0..rows {
            let p = &acc[r * ld..r * ld + cols];
            // SAFETY: the caller proves both.
            let y = unsafe { out.row(row + r, col, cols) };
            if self.accumulate {
                each2!(s, y, p, |y, p| s.add(y, p));
            } else {
                self.finish(s, y, p, row + r, col);
            }
        }
    }

    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, y: &mut [f32], p: &[f32], row: usize, col: usize) {
        let n = y.len();
        y.copy_from_slice(p);
        if let Some(bias) = self.bias {
            each2!(s, y, &bias[col..col + n], |y, b| s.add(y, b));
        }
        if let Some(keep) = &self.keep {
            // SAFETY: `check` proved that the row is there; it belongs to the same block as `y`.
            unsafe { keep.row(row, col, n) }.copy_from_slice(y);
        }
        self.activation.apply_row(s, y);
        if let Some((residual, ld)) = self.residual {
            let residual = &residual[row * ld + col..row * ld + col + n];
            each2!(s, y, residual, |y, r| s.add(y, r));
        }
    }

    /// Applies the epilogue to a product that already stands in `out`.
    pub(super) fn apply_in_place(&self, isa: Isa, m: usize, n: usize, out: Out<'_>) {
        let rows = (pool::SMALL / n.max(1)).clamp(1, m);
        pool::for_each(m.div_ceil(rows), |task| {
            for row in task * rows..((task + 1) * rows).min(m) {
                // SAFETY: each row is one task's; the caller checked `out` and the epilogue against `m × n`.
                let y = unsafe { out.row(row, 0, n) };
                finish_row(isa, self, y, row);
            }
        });
    }
}

simd_fn! {
    /// The epilogue on one row that holds its product.
    fn finish_row(s, epilogue: &Epilogue<'_>, y: &mut [f32], row: usize) {
        // In pieces that stay in the first cache between the product's copy and its use.
        let mut piece = [0.0; 256];
        let mut col = 0;
        for part in y.chunks_mut(256) {
            let p = &mut piece[..part.len()];
            p.copy_from_slice(part);
            epilogue.finish(s, part, p, row, col);
            col += part.len();
        }
    }
}

impl Activation {
    #[inline(always)]
    fn apply_row<S: Simd>(self, s: S, y: &mut [f32]) {
        // The match is outside the loops, so that each becomes straight code.
        match self {
            Activation::None => {}
            Activation::Relu => each!(s, y, |x| s.max(x, s.zero())),
            Activation::Gelu => each!(s, y, |x| gelu(s, x)),
            Activation::GeluTanh => each!(s, y, |x| gelu_tanh(s, x)),
            Activation::QuickGelu => each!(s, y, |x| s.mul(x, math::sigmoid(s, s.mul(x, s.splat(1.702))))),
            Activation::Silu => each!(s, y, |x| s.mul(x, math::sigmoid(s, x))),
            Activation::Tanh => each!(s, y, |x| math::tanh(s, x)),
        }
    }

    /// The derivative at `x` times `dy`, in place in `dy`.
    #[inline(always)]
    fn backward_row<S: Simd>(self, s: S, dy: &mut [f32], x: &[f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => each2!(s, dy, x, |d, x| s.select_lt(s.zero(), x, d, s.zero())),
            Activation::Gelu => each2!(s, dy, x, |d, x| {
                // Φ(x) + x φ(x)
                let cdf = s.mul(s.splat(0.5), s.add(s.splat(1.0), math::erf(s, s.mul(x, s.splat(INV_SQRT_2)))));
                let pdf = s.mul(math::exp(s, s.mul(s.mul(x, x), s.splat(-0.5))), s.splat(INV_SQRT_2PI));
                s.mul(d, s.fma(x, pdf, cdf))
            }),
            Activation::GeluTanh => each2!(s, dy, x, |d, x| {
                let x2 = s.mul(x, x);
                let t = math::tanh(s, gelu_inner(s, x));
                // (1 + t)/2 + x (1 - t²)/2 · √(2/π) (1 + 3·0.044715 x²)
                let inner = s.mul(s.splat(SQRT_2_PI), s.fma(s.splat(3.0 * 0.044_715), x2, s.splat(1.0)));
                let sech2 = s.sub(s.splat(1.0), s.mul(t, t));
                let slope = s.fma(s.mul(x, sech2), inner, s.add(s.splat(1.0), t));
                s.mul(d, s.mul(s.splat(0.5), slope))
            }),
            Activation::QuickGelu => each2!(s, dy, x, |d, x| {
                let z = s.mul(x, s.splat(1.702));
                let g = math::sigmoid(s, z);
                s.mul(d, s.mul(g, s.fma(z, s.sub(s.splat(1.0), g), s.splat(1.0))))
            }),
            Activation::Silu => each2!(s, dy, x, |d, x| {
                let g = math::sigmoid(s, x);
                s.mul(d, s.mul(g, s.fma(x, s.sub(s.splat(1.0), g), s.splat(1.0))))
            }),
            Activation::Tanh => each2!(s, dy, x, |d, x| {
                let t = math::tanh(s, x);
                s.mul(d, s.sub(s.splat(1.0), s.mul(t, t)))
            }),
        }
    }
}

simd_fn! {
    fn activate_part(s, activation: Activation, y: &mut [f32]) {
        activation.apply_row(s, y);
    }
}

simd_fn! {
    fn activate_backward_part(s, activation: Activation, dy: &mut [f32], x: &[f32]) {
        activation.backward_row(s, dy, x);
    }
}

/// `y = activation(y)`, element by element.
pub fn activate(isa: Isa, activation: Activation, y: &mut [f32]) {
    pool::for_chunks(y, pool::SMALL, |_, part| activate_part(isa, activation, part));
}

/// `dy *= activation'(x)`, element by element, where `x` is what the activation was applied to.
pub fn activate_backward(isa: Isa, activation: Activation, dy: &mut [f32], x: &[f32]) {
    assert_eq!(dy.len(), x.len());
    pool::for_chunks(dy, pool::SMALL, |i, part| {
        let start = i * pool::SMALL;
        activate_backward_part(isa, activation, part, &x[start..start + part.len()]);
    });
}

const SQRT_2_PI: f32 = 0.797_884_6;
const INV_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
const INV_SQRT_2PI: f32 = 0.398_942_3;

#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, math::erf(s, s.mul(x, s.splat(INV_SQRT_2))), half)
}

/// `√(2/π) (x + 0.044715 x³)`.
#[inline(always)]
fn gelu_inner<S: Simd>(s: S, x: S::V) -> S::V {
    let x2 = s.mul(x, x);
    s.mul(s.mul(x, s.splat(SQRT_2_PI)), s.fma(s.splat(0.044_715), x2, s.splat(1.0)))
}

#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, math::tanh(s, gelu_inner(s, x)), half)
}

/// Where a block stands in the result.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) row: usize,
    pub(super) col: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
}
