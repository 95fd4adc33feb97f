//! Parameters: what training changes, by name.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use bedstone_kernels::{
    Isa,
    gemm::{Int8Panels, Mat, PackedForms, Panels, can_renew},
};

use crate::{Packing, Result, Tensor, TensorError};

/// A parameter of a model, under the name it has in checkpoints.
#[derive(Clone, Debug)]
pub struct Param {
    /// As in the checkpoint.
    pub name: String,
    /// The weights, f32.
    pub value: Tensor,
    /// Whether training changes it.
    pub trainable: bool,
}

impl Param {
    /// The sizes of the weights as a matrix: of a convolution's `[out, in, ..]` all axes but the first are one.
    pub fn matrix(&self, op: &'static str) -> Result<[usize; 2]> {
        match self.value.shape()[..] {
            [rows, ref rest @ ..] if !rest.is_empty() => Ok([rows, rest.iter().product()]),
            _ => Err(TensorError::Shape { op, got: self.value.shape(), wanted: "2 axes or more".into() }),
        }
    }
}

/// Names a parameter of a [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(usize);

impl ParamId {
    /// Its index, in the order of making.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Which operand a weight `[a, b]` is, as it stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// `[a, b]`.
    Stored,
    /// Its transpose.
    Transposed,
}

/// Packed forms of a weight by orientation, made when a product first needs them.
#[derive(Default)]
struct Packed {
    half: [OnceLock<Arc<Panels>>; 2],
    int8: [OnceLock<Arc<Int8Panels>>; 2],
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = self.half.each_ref().map(|p| p.get().is_some());
        let int8 = self.int8.each_ref().map(|p| p.get().is_some());
        f.debug_struct("Packed").field("half", &half).field("int8", &int8).finish()
    }
}

/// All parameters of a model, in the order in which its layers made them.
///
/// Layers hold ids, so a model is plain data that nothing changes while it runs; the optimizer gets `&mut Params`.
#[derive(Debug, Default)]
pub struct Params {
    list: Vec<Param>,
    /// Of each, valid as long as nobody could write to it.
    packed: Vec<Packed>,
    by_name: BTreeMap<String, ParamId>,
}

impl Clone for Params {
    fn clone(&self) -> Self {
        let packed = self.list.iter().map(|_| Packed::default()).collect();
        Params { list: self.list.clone(), packed, by_name: self.by_name.clone() }
    }
}

impl Params {
    /// Adds a parameter; a name already taken is an error.
    pub fn add(&mut self, name: String, value: Tensor) -> Result<ParamId> {
        let id = ParamId(self.list.len());
        if self.by_name.insert(name.clone(), id).is_some() {
            return Err(TensorError::Unsupported { op: "parameter", what: format!("`{name}` is made twice") });
        }
        self.list.push(Param { name, value, trainable: true });
        self.packed.push(Packed::default());
        Ok(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The parameter `id`.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.list[id.0]
    }

    /// The parameter `id`, for the optimizer.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Param {
        self.packed[id.0] = Packed::default();
        &mut self.list[id.0]
    }

    /// The parameter `id` for an optimizer that writes its packed forms as well. There are none where `isa` cannot
    /// ([`gemm::can_renew`]), or nobody has asked for them. Forms that are handed out and not written are wrong from then on.
    ///
    /// [`gemm::can_renew`]: bedstone_kernels::gemm::can_renew
    pub fn renew(&mut self, id: ParamId, isa: Isa) -> (&mut Param, PackedForms<'_>) {
        if !can_renew(isa) {
            return (self.get_mut(id), PackedForms::default());
        }
        let packed = &mut self.packed[id.0];
        packed.int8 = Default::default();
        let [stored, transposed] = packed.half.each_mut().map(|slot| {
            let panels = slot.get_mut()?;
            if Arc::get_mut(panels).is_none() {
                *panels = Arc::new(Panels::for_overwrite(panels.k(), panels.n()));
            }
            Arc::get_mut(panels)
        });
        (&mut self.list[id.0], PackedForms { stored, transposed })
    }

    /// A weight, as [`Param::matrix`] sees it, as the right operand of products of bf16.
    pub fn panels(&self, id: ParamId, orientation: Orientation, isa: Isa, packing: Packing) -> Result<Arc<Panels>> {
        let [rows, cols] = self.list[id.0].matrix("panels")?;
        let pack = || {
            let w = self.list[id.0].value.f32s();
            Arc::new(match orientation {
                Orientation::Stored => Panels::pack(isa, Mat::new(w, cols), rows, cols),
                Orientation::Transposed => Panels::pack(isa, Mat::t(w, cols), cols, rows),
            })
        };
        Ok(kept(&self.packed[id.0].half[orientation as usize], packing, pack))
    }

    /// A weight, as [`Param::matrix`] sees it, rounded to eight bits by output, as the right operand of products of int8.
    pub fn int8_panels(&self, id: ParamId, orientation: Orientation, packing: Packing) -> Result<Arc<Int8Panels>> {
        let [rows, cols] = self.list[id.0].matrix("int8_panels")?;
        let pack = || {
            let w = self.list[id.0].value.f32s();
            Arc::new(match orientation {
                Orientation::Stored => Int8Panels::pack(Mat::new(w, cols), rows, cols),
                Orientation::Transposed => Int8Panels::pack(Mat::t(w, cols), cols, rows),
            })
        };
        Ok(kept(&self.packed[id.0].int8[orientation as usize], packing, pack))
    }

    /// The id of a name.
    pub fn id(&self, name: &str) -> Result<ParamId> {
        self.by_name.get(name).copied().ok_or_else(|| TensorError::NoParameter { name: name.to_owned() })
    }

    /// The ids of all of them, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> + use<> {
        (0..self.list.len()).map(ParamId)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &Param)> {
        self.list.iter().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// The first one whose name ends so: models of different kinds have the same parts below names of their own.
    pub fn ending(&self, end: &str) -> Option<ParamId> {
        self.iter().find(|(_, p)| p.name.ends_with(end)).map(|(id, _)| id)
    }

    /// All of them, in order, for the optimizer.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (ParamId, &mut Param)> {
        self.packed.iter_mut().for_each(|p| *p = Packed::default());
        self.list.iter_mut().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// An error that names the first trainable parameter that has no gradient, unless `unused` says that the objective
    /// leaves it out.
    pub fn check_gradients(&self, has: impl Fn(ParamId) -> bool, unused: impl Fn(&str) -> bool) -> Result<()> {
        let hint = "the loss does not depend on it: freeze it, or let the objective declare it unused";
        let mut trainable = self.iter().filter(|(_, p)| p.trainable);
        match trainable.find(|(id, p)| !has(*id) && !unused(&p.name)) {
            Some((_, p)) => Err(TensorError::NoGradient { name: p.name.clone(), hint }),
            None => Ok(()),
        }
    }

    /// The count of numbers in all of them.
    pub fn numel(&self) -> usize {
        self.list.iter().map(|p| p.value.shape().numel()).sum()
    }
}

/// What is in the slot, or is made now and kept there if it is to be.
fn kept<T>(slot: &OnceLock<Arc<T>>, packing: Packing, pack: impl FnOnce() -> Arc<T>) -> Arc<T> {
    match (slot.get(), packing) {
        (Some(panels), _) => panels.clone(),
        (None, Packing::Kept) => {
            // Not while others wait for the slot: a thread that waits for its part of the packing may take up a pass that does.
            let made = pack();
            slot.get_or_init(|| made).clone()
        }
        (None, Packing::Passing) => pack(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_somebody_holds_are_not_written() {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            return;
        }
        let mut params = Params::default();
        let id = params.add("w".into(), Tensor::from_slice(&[0.5f32; 40 * 33], [40, 33])).unwrap();
        let held = params.panels(id, Orientation::Stored, isa, Packing::Kept).unwrap();
        let (_, forms) = params.renew(id, isa);
        assert!(forms.transposed.is_none(), "nobody has asked for it");
        let new = forms.stored.map(|panels| std::ptr::from_ref(panels));
        assert_eq!(new.is_some(), can_renew(isa));
        assert!(new.is_none_or(|new| new != Arc::as_ptr(&held)));
        // Who may write the weights alone leaves no forms behind.
        params.get_mut(id);
        assert!(params.renew(id, isa).1.is_empty());
    }
}
