//! The tape: what was computed, in order, and how its gradients flow back.

use bedstone_kernels::{Isa, bf16, elementwise::multiply};

use crate::{
    Dtype, Env, Grads, Packing, ParamGradient, ParamId, Params, Precision, Result, Tensor, TensorError, ctx::one,
    grads::Slope,
};

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

/// An operation on the tape.
struct Node {
    backward: Box<dyn Backward>,
    /// Of its result, and so of the result's gradient.
    dtype: Dtype,
    /// Whose gradients it gives.
    params: Vec<ParamId>,
    /// Operations that used the result.
    uses: usize,
    /// Of the activation that came last, if the node is of what came before it.
    slopes: Option<Tensor>,
}

impl Node {
    fn slope(&mut self) -> Option<Slope> {
        self.slopes.take().map(|slopes| Slope { slopes, single: self.uses == 1 })
    }
}

/// The operations recorded; node `i` made the tensor of `Var(i)`.
#[derive(Default)]
pub(crate) struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// A node whose result has numbers of `dtype`, and which gives gradients to `params`.
    pub(crate) fn push(&mut self, backward: Box<dyn Backward>, dtype: Dtype, params: &[ParamId]) -> Var {
        self.nodes.push(Node { backward, dtype, params: params.to_vec(), uses: 0, slopes: None });
        Var(self.nodes.len() - 1)
    }

    /// Says that an operation has used what was made at `vars`.
    pub(crate) fn used(&mut self, vars: impl Iterator<Item = Var>) {
        let mut vars: Vec<Var> = vars.collect();
        vars.sort_unstable();
        vars.dedup();
        vars.into_iter().for_each(|var| self.nodes[var.0].uses += 1);
    }

    /// Has gradients of what was made at `var` multiplied by `slopes` before they go on.
    pub(crate) fn multiply(&mut self, var: Var, slopes: Tensor) {
        self.nodes[var.0].slopes = Some(slopes);
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Goes back from `var`, whose gradient is `seed`.
    pub(crate) fn backward(mut self, var: Var, seed: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        // Whoever asks for a gradient of the last result uses it as well.
        self.used([var].into_iter());
        grads.start(self.nodes.iter_mut().map(Node::slope));
        grads.add(Some(var), seed, env);
        for (i, node) in self.nodes.into_iter().enumerate().rev() {
            step(i, node, grads, env)?;
        }
        Ok(())
    }
}

/// Through one node.
fn step(i: usize, node: Node, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
    match grads.take(Var(i)) {
        // A gradient has the numbers of its tensor.
        Some(grad) => {
            let mut grad = grad.to_dtype(node.dtype, env.isa)?;
            if let Some(slopes) = grads.slopes_left(Var(i)) {
                multiply(env.isa, grad.data_mut::<bf16>(), slopes.data("activation")?);
            }
            node.backward.backward(grad, grads, env)
        }
        // A result that nothing used has no gradient, and its inputs get none through it.
        None => Ok(()),
    }
}

/// A recorded computation that borrows nothing: its parameters may change while gradients are computed.
pub struct Recording {
    pub(crate) tape: Tape,
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    pub(crate) packing: Packing,
}

impl Recording {
    /// Whether some operation gives a gradient to `id`.
    pub fn reaches(&self, id: ParamId) -> bool {
        self.tape.nodes.iter().any(|n| n.params.contains(&id))
    }

    /// Computes the gradients of `params` from `loss`, a number, and hands each to `whole` as soon as nothing more will
    /// be added to it and nothing more will read the parameter, which `whole` may change.
    ///
    /// Gradients so never stand in memory all together. If they `may_wait`, that of a weight which is one product, or of a table of
    /// which few rows were looked up, is handed over as such, and `whole` must compute a product: the gradient of the bias comes with it.
    pub fn backward_each(
        self,
        loss: &Tensor,
        params: &mut Params,
        may_wait: bool,
        mut whole: impl FnMut(ParamId, &mut Params, ParamGradient) -> Result<()>,
    ) -> Result<()> {
        let Recording { mut tape, isa, precision, packing } = self;
        loss.item()?;
        let Some(var) = loss.var() else { return Err(TensorError::not_recorded()) };
        let mut uses = vec![0usize; params.len()];
        tape.nodes.iter().flat_map(|n| &n.params).for_each(|id| uses[id.index()] += 1);
        let mut grads = Grads::new(params);
        tape.used([var].into_iter());
        grads.start(tape.nodes.iter_mut().map(Node::slope));
        grads.add(Some(var), one(loss), &Env { isa, precision, packing, params });
        for (i, mut node) in tape.nodes.into_iter().enumerate().rev() {
            let ids = std::mem::take(&mut node.params);
            if may_wait {
                grads.may_wait(ids.iter().copied().filter(|id| uses[id.index()] == 1).collect());
            }
            step(i, node, &mut grads, &Env { isa, precision, packing, params })?;
            for id in ids {
                uses[id.index()] -= 1;
                if uses[id.index()] == 0
                    && let Some(grad) = grads.take_param(id)
                {
                    whole(id, params, grad)?;
                }
            }
        }
        Ok(())
    }
}
