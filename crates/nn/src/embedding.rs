//! Embedding tables.

use bedstone_tensor::{Ctx, ParamId, Result as OpResult, Tensor, ops};

use crate::{Builder, Init, Result};

/// A table with a row for each id.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// `[rows, width]`.
    pub table: ParamId,
}

impl Embedding {
    /// Parameter `weight`.
    pub fn new(mut b: Builder<'_>, rows: usize, width: usize, std: f32) -> Result<Self> {
        Ok(Embedding { table: b.param("weight", [rows, width], Init::Normal { std })? })
    }

    /// Ids `[.., T]` to rows `[.., T, width]`.
    pub fn forward(&self, ids: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::embedding(&[(self.table, ids)], ctx)
    }
}
