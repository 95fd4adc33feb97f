//! The tape: what was computed, in order, and how its gradients flow back.

use crate::{Dtype, Env, Grads, Result, Tensor};

/// The place of a tensor on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Var(pub(crate) usize);

/// The gradient of one operation, holding exactly what it needs.
pub trait Backward: Send {
    /// Gives the gradients of the inputs and parameters to `grads`, from `grad`, that of the output, in its type.
    ///
    /// `grad` is owned: an operation may change it in place and pass it on.
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()>;
}

/// The operations recorded; node `i` made the tensor of `Var(i)`.
#[derive(Default)]
pub(crate) struct Tape<'p> {
    nodes: Vec<(Box<dyn Backward + 'p>, Dtype)>,
}

impl<'p> Tape<'p> {
    /// A node whose result has numbers of `dtype`.
    pub(crate) fn push(&mut self, node: Box<dyn Backward + 'p>, dtype: Dtype) -> Var {
        self.nodes.push((node, dtype));
        Var(self.nodes.len() - 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Goes back from `var`, whose gradient is `seed`.
    pub(crate) fn backward(self, var: Var, seed: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        grads.start(self.nodes.len());
        grads.add(Some(var), seed, env);
        for (i, (node, dtype)) in self.nodes.into_iter().enumerate().rev() {
            // A result that nothing used has no gradient, and its inputs get none through it.
            if let Some(grad) = grads.take(Var(i)) {
                // A gradient has the numbers of its tensor.
                node.backward(grad.to_dtype(dtype, env.isa)?, grads, env)?;
            }
        }
        Ok(())
    }
}
