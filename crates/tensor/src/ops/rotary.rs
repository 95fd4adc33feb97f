//! Rotary position embeddings.

use bedstone_kernels::{
    norm::Rows,
    rotary::{Angles, rotate},
};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError, Var};

/// Cosines and sines by position, `[positions, half]` each.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    /// Cosines.
    pub cos: Tensor,
    /// Sines.
    pub sin: Tensor,
}

impl RotaryTable {
    fn angles(&self) -> Result<Angles<'_>> {
        Ok(Angles { cos: self.cos.data("rotary")?, sin: self.sin.data("rotary")?, half: self.cos.shape().width() })
    }
}

/// Rotates the `heads` heads of width `head_dim` that start at column 0 of `x: [B, T, C]`, by `positions: [B, T]` of i32.
///
/// Works in place where nobody else holds `x`. [Su et al. 2021](https://arxiv.org/abs/2104.09864).
pub fn rotary(
    mut x: Tensor,
    heads: usize,
    head_dim: usize,
    table: &RotaryTable,
    positions: &Tensor,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let [b, t, width] = x.dims("rotary")?;
    let [limit, half] = table.cos.dims("rotary: table")?;
    let ids = positions.data::<i32>("rotary: positions")?;
    if ids.len() != b * t || heads * head_dim > width || 2 * half > head_dim {
        let wanted = format!("[{b}, {t}] positions and rows of at least {}", heads * head_dim);
        return Err(TensorError::Shape { op: "rotary", got: x.shape(), wanted });
    }
    if let Some(place) = ids.iter().position(|&p| usize::try_from(p).map_or(true, |p| p >= limit)) {
        return Err(TensorError::Id { op: "rotary", id: ids[place] as i64, place, limit });
    }
    let rows = Rows { outer: b * t, ld: width, first: 0, inner: heads, width: head_dim };
    let var = x.var();
    with_number!(x.dtype(), T => rotate(ctx.isa, x.data_mut::<T>(), rows, table.angles()?, ids, false));
    let input = x.clone().with_var(var);
    Ok(ctx.record(x, &[&input], &[], || RotaryBackward {
        x: var,
        rows,
        table: table.clone(),
        positions: positions.clone(),
    }))
}

struct RotaryBackward {
    x: Option<Var>,
    rows: Rows,
    table: RotaryTable,
    positions: Tensor,
}

impl Backward for RotaryBackward {
    fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let positions = self.positions.data("rotary")?;
        let (rows, angles) = (self.rows, self.table.angles()?);
        with_number!(grad.dtype(), T => rotate(env.isa, grad.data_mut::<T>(), rows, angles, positions, true));
        grads.add(self.x, grad, env);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for half in [1, 4, 17] {
            let table = |f: fn(f32) -> f32| {
                let x: Vec<f32> = (0..9 * half).map(|i| f((i / half) as f32 / (1 + i % half) as f32)).collect();
                Tensor::from_slice(&x, [9, half])
            };
            let table = RotaryTable { cos: table(f32::cos), sin: table(f32::sin) };
            let positions = Tensor::from_slice(&[0i32, 8, 3, 1, 1, 2], [2, 3]);
            let d = 2 * half + 1;
            check("rotary", &[[2, 3, 2 * d + 3].into()], |p, ctx| {
                rotary(ctx.leaf(p[0]), 2, d, &table, &positions, ctx)
            });
        }
    }
}
