//! Parameters: what training changes, by name.

use std::collections::BTreeMap;

use crate::{Result, Tensor, TensorError};

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

/// Names a parameter of a [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(usize);

impl ParamId {
    /// Its index, in the order of making.
    pub fn index(self) -> usize {
        self.0
    }
}

/// All parameters of a model, in the order in which its layers made them.
///
/// Layers hold ids, so a model is plain data that nothing changes while it runs; the optimizer gets `&mut Params`.
#[derive(Clone, Debug, Default)]
pub struct Params {
    list: Vec<Param>,
    by_name: BTreeMap<String, ParamId>,
}

impl Params {
    /// Adds a parameter; a name already taken is an error.
    pub fn add(&mut self, name: String, value: Tensor) -> Result<ParamId> {
        let id = ParamId(self.list.len());
        if self.by_name.insert(name.clone(), id).is_some() {
            return Err(TensorError::Unsupported { op: "parameter", what: format!("`{name}` is made twice") });
        }
        self.list.push(Param { name, value, trainable: true });
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
        &mut self.list[id.0]
    }

    /// The id of a name.
    pub fn id(&self, name: &str) -> Result<ParamId> {
        self.by_name.get(name).copied().ok_or_else(|| TensorError::NoParameter { name: name.to_owned() })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &Param)> {
        self.list.iter().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// All of them, in order, for the optimizer.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (ParamId, &mut Param)> {
        self.list.iter_mut().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// The count of numbers in all of them.
    pub fn numel(&self) -> usize {
        self.list.iter().map(|p| p.value.shape().numel()).sum()
    }
}
