//! Keys and values of tokens already seen.

use bedstone_kernels::Isa;

use crate::{Result, Tensor, TensorError};

/// Keys and values of each layer, `[B, T, Hkv · D]`, kept so that decoding computes each token once.
///
/// A layer's tensors grow up to `capacity` tokens; the first `len` hold something.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    layers: Vec<Option<Layer>>,
    len: usize,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct Layer {
    keys: Tensor,
    values: Tensor,
}

impl Cache {
    /// Room for `capacity` tokens a sequence.
    pub fn new(capacity: usize) -> Self {
        Cache { layers: Vec::new(), len: 0, capacity }
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Says that a forward pass over `tokens` tokens is done: every layer has stored them.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Stores the keys and values of new tokens of `layer` behind those held; `kv` gives, for each token, the numbers
    /// of a row. Returns keys and values, `[B, room, width]`, of which the first `len + t` tokens are valid.
    pub fn store(
        &mut self,
        layer: usize,
        x: &Tensor,
        k_first: usize,
        v_first: usize,
        width: usize,
        isa: Isa,
    ) -> Result<(Tensor, Tensor)> {
        let [b, t, w] = x.dims("cache")?;
        if self.len + t > self.capacity {
            let what = format!("{} tokens held and {t} more, room for {}", self.len, self.capacity);
            return Err(TensorError::Unsupported { op: "cache", what });
        }
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let slot = self.layers[layer].get_or_insert_with(|| {
            let none = Tensor::zeros::<f32>([b, 0, width]);
            Layer { keys: none.clone(), values: none }
        });
        let [held, room, _] = slot.keys.dims("cache")?;
        if held != b || slot.keys.shape().width() != width {
            let wanted = format!("[{b}, {room}, {width}]");
            return Err(TensorError::Shape { op: "cache", got: slot.keys.shape(), wanted });
        }
        let room = if self.len + t <= room { room } else { (2 * room).max(self.len + t).min(self.capacity) };
        let x = x.to_f32(isa)?;
        for (to, first) in [(&mut slot.keys, k_first), (&mut slot.values, v_first)] {
            grow(to, room, self.len)?;
            let (to, x) = (to.f32s_mut(), x.data::<f32>("cache")?);
            for r in 0..b * t {
                let at = (r / t * room + self.len + r % t) * width;
                to[at..at + width].copy_from_slice(&x[r * w + first..r * w + first + width]);
            }
        }
        Ok((slot.keys.clone(), slot.values.clone()))
    }

    /// Keys and values of a layer, `[B, room, Hkv · D]`, if it has stored any.
    pub fn layer(&self, layer: usize) -> Option<(&Tensor, &Tensor)> {
        let layer = self.layers.get(layer)?.as_ref()?;
        Some((&layer.keys, &layer.values))
    }

    /// Makes sequence `i` a copy of the present sequence `order[i]`: the survivors of a step of beam search.
    pub fn reorder(&mut self, order: &[usize]) -> Result<()> {
        for layer in self.layers.iter_mut().flatten() {
            for x in [&mut layer.keys, &mut layer.values] {
                let [b, t, w] = x.dims("cache")?;
                if let Some(&bad) = order.iter().find(|&&i| i >= b) {
                    return Err(TensorError::Id { op: "cache", id: bad as i64, place: bad, limit: b });
                }
                let (old, mut new) = (x.f32s(), Tensor::zeros::<f32>([order.len(), t, w]));
                let used = self.len * w;
                for (to, &from) in new.f32s_mut().chunks_mut(t * w).zip(order) {
                    to[..used].copy_from_slice(&old[from * t * w..from * t * w + used]);
                }
                *x = new;
            }
        }
        Ok(())
    }
}

/// Makes room for `room` tokens a sequence, of which the first `len` are kept.
fn grow(x: &mut Tensor, room: usize, len: usize) -> Result<()> {
    let [b, old, w] = x.dims("cache")?;
    if old == room {
        return Ok(());
    }
    let mut new = Tensor::zeros::<f32>([b, room, w]);
    for (to, from) in new.f32s_mut().chunks_mut(room * w).zip(x.f32s().chunks(old.max(1) * w)) {
        to[..len * w].copy_from_slice(&from[..len * w]);
    }
    *x = new;
    Ok(())
}
