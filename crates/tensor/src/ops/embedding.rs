//! Rows of tables.

use bedstone_kernels::{elementwise as kernel, mem::Buf};

use crate::{Backward, Ctx, Env, Grads, ParamId, Result, Shape, Tensor, TensorError};

/// The sum over tables of `table[ids]`: ids `[.., T]` of i32, tables `[V, C]`, to `[.., T, C]`.
///
/// Tables and ids come in pairs: words, positions, segments.
pub fn embedding(tables: &[(ParamId, &Tensor)], ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let op = "embedding";
    let Some(&(first, ids)) = tables.first() else {
        return Err(TensorError::Unsupported { op, what: "no table".into() });
    };
    let [_, width] = ctx.param(first).dims(op)?;
    let mut sizes = ids.shape().to_vec();
    sizes.push(width);
    let shape = Shape::from(&sizes[..]);
    let mut out = Buf::for_overwrite(shape.numel());
    for (i, &(table, x)) in tables.iter().enumerate() {
        let [rows, columns] = ctx.param(table).dims(op)?;
        if x.shape() != ids.shape() || columns != width {
            let wanted = format!("ids {} and a table of rows of {width}", ids.shape());
            return Err(TensorError::Shape { op, got: x.shape(), wanted });
        }
        let x = x.data::<i32>(op)?;
        if let Some(place) = x.iter().position(|&id| usize::try_from(id).map_or(true, |id| id >= rows)) {
            return Err(TensorError::Id { op, id: x[place] as i64, place, limit: rows });
        }
        kernel::gather(ctx.isa, &mut out, ctx.param(table).f32s(), x, width, i > 0);
    }
    let params: Vec<ParamId> = tables.iter().map(|t| t.0).collect();
    let out = Tensor::from_buf(out, shape);
    Ok(ctx.record(out, &[], &params, || EmbeddingBackward {
        tables: tables.iter().map(|&(table, ids)| (table, ids.clone())).collect(),
    }))
}

struct EmbeddingBackward {
    tables: Vec<(ParamId, Tensor)>,
}

impl Backward for EmbeddingBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        for (table, ids) in &self.tables {
            grads.add_rows(*table, env, ids.data::<i32>("embedding")?, grad.f32s());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        let ids = Tensor::from_slice(&[3i32, 0, 3, 3, 1, 4], [2, 3]);
        let places = Tensor::from_slice(&[0i32, 1, 2, 0, 1, 2], [2, 3]);
        for width in [1, 9, 300] {
            check("embedding", &[[5, width].into(), [3, width].into()], |p, ctx| {
                embedding(&[(p[0], &ids), (p[1], &places)], ctx)
            });
        }
    }

    #[test]
    fn gradients_of_few_rows_may_wait() {
        use crate::{ParamGradient, Params, WaitingGradient};
        let (ids, places) = (Tensor::from_slice(&[30i32, 0, 30, 99], [4]), Tensor::from_slice(&[0i32, 1, 2, 3], [4]));
        // With the table looked up once or twice, or frozen.
        for (twice, learns, waits) in [(false, true, true), (true, true, false), (false, false, false)] {
            for isa in crate::Isa::available() {
                let mut params = Params::default();
                let numbers: Vec<f32> = (0..100 * 9).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
                let words = params.add("words".into(), Tensor::from_slice(&numbers, [100, 9])).unwrap();
                let order = params.add("order".into(), Tensor::from_slice(&numbers[..4 * 9], [4, 9])).unwrap();
                params.get_mut(words).trainable = learns;
                let mut run = |may_wait| {
                    let env = Env { isa, precision: Default::default(), packing: Default::default(), params: &params };
                    let mut ctx = Ctx::gradients(env);
                    let mut x = embedding(&[(words, &ids), (order, &places)], &mut ctx).unwrap();
                    if twice {
                        let more = embedding(&[(words, &places)], &mut ctx).unwrap();
                        x = crate::ops::add(&x, &more, &mut ctx).unwrap();
                    }
                    let labels = Tensor::from_slice(&[1i32, 2, 3, 8], [4]);
                    let loss = crate::ops::cross_entropy(&x, &labels, Default::default(), &mut ctx).unwrap();
                    let (mut grads, mut waited) = (vec![None; params.len()], false);
                    let recording = ctx.into_recording().unwrap();
                    let take = |id: ParamId, _: &mut Params, grad: ParamGradient| {
                        waited |= matches!(grad, ParamGradient::Waiting(WaitingGradient::Rows(_)));
                        grads[id.index()] = Some(grad.tensor(isa).f32s().to_vec());
                        Ok(())
                    };
                    recording.backward_each(&loss, &mut params, may_wait, take).unwrap();
                    (grads, waited)
                };
                let (whole, waiting) = (run(false), run(true));
                assert!(whole.0 == waiting.0 && whole.0[0].is_some() == learns, "{isa} {twice}");
                assert_eq!((whole.1, waiting.1), (false, waits), "{isa} {twice}");
            }
        }
    }

    #[test]
    fn an_id_beyond_the_table_is_named() {
        let mut params = crate::Params::default();
        let table = params.add("t".into(), Tensor::zeros::<f32>([5, 2])).unwrap();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        for id in [5, -1] {
            let ids = Tensor::from_slice(&[0i32, id], [1, 2]);
            let error = embedding(&[(table, &ids)], &mut Ctx::inference(env)).unwrap_err();
            assert_eq!(error, TensorError::Id { op: "embedding", id: id as i64, place: 1, limit: 5 });
        }
    }
}
