//! Gradients while they are collected.

use std::sync::{Arc, OnceLock};

use bedstone_kernels::{
    Isa, bf16, elementwise,
    gemm::{ColumnSums, Cross, Learned, Rows, adamw_half, cross_half},
    mem::Buf,
    number::Number,
    optim::{self, AdamW},
};

use crate::{Dtype, Element, Env, ParamId, Params, Result, Shape, Tensor, Var};

/// Gradients of parameters, and of intermediate results on their way.
///
/// Each is written once and then added to, in place.
#[derive(Debug, Default)]
pub struct Grads {
    vars: Vars,
    params: Vec<Option<Tensor>>,
    waiting: Waiting,
}

/// Gradients that may be handed over as what gives them.
#[derive(Debug, Default)]
struct Waiting {
    /// Parameters whose only contribution comes now.
    may_wait: Vec<ParamId>,
    /// Those that nobody has computed yet.
    list: Vec<(ParamId, WaitingGradient)>,
    /// Gradients of biases that come with products.
    biases: Vec<(ParamId, Arc<OnceLock<Tensor>>)>,
}

/// The gradient of a parameter.
#[derive(Debug)]
pub enum ParamGradient {
    /// Its numbers.
    Whole(Tensor),
    /// What gives them. The computation of a product gives the gradient of the layer's bias, too, which is handed over next: so it has to
    /// take place before.
    Waiting(WaitingGradient),
}

impl ParamGradient {
    /// Its numbers.
    pub fn tensor(self, isa: Isa) -> Tensor {
        match self {
            ParamGradient::Whole(tensor) => tensor,
            ParamGradient::Waiting(waiting) => waiting.tensor(isa),
        }
    }
}

/// A gradient whose numbers nobody has computed yet.
#[derive(Debug)]
pub enum WaitingGradient {
    /// Of a weight.
    Product(WeightProduct),
    /// Of a table.
    Rows(TableRows),
}

impl WaitingGradient {
    /// Its numbers.
    pub fn tensor(&self, isa: Isa) -> Tensor {
        match self {
            WaitingGradient::Product(product) => product.tensor(isa),
            WaitingGradient::Rows(rows) => rows.tensor(),
        }
    }

    /// A step of AdamW that computes it on the way; the bits are those of one after the other.
    pub fn adamw(&self, isa: Isa, learned: Learned<'_>, options: AdamW) {
        match self {
            WaitingGradient::Product(product) => product.adamw(isa, learned, options),
            WaitingGradient::Rows(rows) => rows.adamw(isa, learned, options),
        }
    }
}

/// The gradient of a table `[V, C]` of which only some rows were looked up: a step is bound by the speed of memory, and zeros of all others
/// would have to be written and read.
#[derive(Debug)]
pub struct TableRows {
    shape: Shape,
    /// The rows, in ascending order.
    ids: Vec<usize>,
    /// Their gradients, `[ids, C]`.
    rows: Tensor,
}

impl TableRows {
    /// Of a table of that shape, from `dy`, a row for each of `ids`, which are rows of the table.
    fn new(isa: Isa, shape: Shape, ids: &[i32], dy: &[f32]) -> Self {
        let width = shape.width();
        let mut all: Vec<usize> = ids.iter().map(|&id| id as usize).collect();
        all.sort_unstable();
        all.dedup();
        let places: Vec<i32> = ids.iter().map(|&id| all.partition_point(|&other| other < id as usize) as i32).collect();
        let mut rows = Buf::zeroed(all.len() * width);
        elementwise::scatter_add(isa, &mut rows, dy, &places, width);
        TableRows { shape, rows: Tensor::from_buf(rows, [all.len(), width]), ids: all }
    }

    fn tensor(&self) -> Tensor {
        let (width, mut grad) = (self.shape.width(), Buf::zeroed(self.shape.numel()));
        for (&id, row) in self.ids.iter().zip(self.rows.f32s().chunks_exact(width.max(1))) {
            grad[id * width..(id + 1) * width].copy_from_slice(row);
        }
        Tensor::from_buf(grad, self.shape)
    }

    fn adamw(&self, isa: Isa, learned: Learned<'_>, options: AdamW) {
        let Learned { w, m, v, forms } = learned;
        let width = self.shape.width();
        match forms.is_empty() {
            true => optim::adamw_rows(isa, options, w, m, v, width, &self.ids, self.rows.f32s()),
            false => {
                let shape = [self.shape.rows(), width];
                optim::adamw_packed(isa, options, w, self.tensor().f32s(), m, v, shape, forms);
            }
        }
    }
}

/// A weight's gradient as the product of bf16 numbers that it is: the transpose of some columns times others.
pub struct WeightProduct {
    pub(crate) left: Columns,
    pub(crate) right: Columns,
    /// Of the weight.
    pub(crate) shape: Shape,
    /// Which columns belong to the output.
    pub(crate) output: Side,
    /// Where the gradient of the bias goes, the sums of the output's columns.
    pub(crate) bias: Option<Arc<OnceLock<Tensor>>>,
}

/// Columns `from..from + n` of rows.
pub(crate) struct Columns {
    pub(crate) rows: Tensor,
    pub(crate) from: usize,
    pub(crate) n: usize,
}

/// An operand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Columns {
    fn get(&self) -> Rows<'_> {
        Rows { data: halves(&self.rows).get(self.from..).unwrap_or(&[]), ld: self.rows.shape().width() }
    }
}

impl std::fmt::Debug for WeightProduct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeightProduct").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl WeightProduct {
    /// Has `compute` do the product, and keeps the sums that are the gradient of the bias.
    fn with(&self, compute: impl FnOnce(Cross<'_>)) {
        let n = match self.output {
            Side::Left => self.left.n,
            Side::Right => self.right.n,
        };
        let mut bias = Buf::for_overwrite(if self.bias.is_some() { n } else { 0 });
        let sums = match (&self.bias, self.output) {
            (None, _) => ColumnSums::None,
            (Some(_), Side::Left) => ColumnSums::Left(&mut bias),
            (Some(_), Side::Right) => ColumnSums::Right(&mut bias),
        };
        let (left, right) = (self.left.get(), self.right.get());
        compute(Cross { left, right, m: self.left.n, n: self.right.n, k: self.left.rows.shape().rows(), sums });
        if let Some(to) = &self.bias {
            to.get_or_init(|| Tensor::from_buf(bias, [n]));
        }
    }

    /// Writes it, or adds it to what is there.
    fn write(&self, isa: Isa, to: &mut [f32], accumulate: bool) {
        self.with(|cross| cross_half(isa, cross, to, accumulate));
    }

    /// Its numbers.
    pub fn tensor(&self, isa: Isa) -> Tensor {
        let mut grad = Buf::for_overwrite(self.shape.numel());
        self.write(isa, &mut grad, false);
        Tensor::from_buf(grad, self.shape)
    }

    /// A step of AdamW that computes it on the way; the bits are those of one after the other.
    pub fn adamw(&self, isa: Isa, learned: Learned<'_>, options: AdamW) {
        self.with(|cross| adamw_half(isa, cross, learned, options));
    }
}

/// What belongs to the places of a tape.
#[derive(Debug, Default)]
pub(crate) struct Vars {
    grads: Vec<Option<Tensor>>,
    /// Slopes of activations that gradients have yet to be multiplied with.
    slopes: Vec<Option<Slope>>,
}

/// The slopes of an activation; see [`crate::Ctx::record_activated`].
#[derive(Clone, Debug)]
pub(crate) struct Slope {
    pub(crate) slopes: Tensor,
    /// Whether a single operation has used what the activation gave.
    pub(crate) single: bool,
}

impl Grads {
    /// None yet, for all of `params`.
    pub fn new(params: &Params) -> Self {
        Grads { vars: Vars::default(), params: vec![None; params.len()], waiting: Waiting::default() }
    }

    /// Says to which parameters the next operation gives the only contribution, or the last, which is taken right after it: it may be
    /// handed over as what gives it.
    pub(crate) fn may_wait(&mut self, ids: Vec<ParamId>) {
        self.waiting.may_wait = ids;
    }

    /// Begins with a tape, from the slopes at each of its places.
    pub(crate) fn start(&mut self, slopes: impl Iterator<Item = Option<Slope>>) {
        self.vars.slopes = slopes.collect();
        self.vars.grads.clear();
        self.vars.grads.resize(self.vars.slopes.len(), None);
    }

    /// The slopes of the activation that made the input at `var`, for an operation that multiplies the input's gradient with them
    /// itself: only if it is the whole of that gradient.
    pub(crate) fn take_slopes(&mut self, var: Option<Var>) -> Option<Tensor> {
        let at = var?.0;
        let whole = self.vars.grads[at].is_none();
        Some(self.vars.slopes[at].take_if(|s| s.single && whole)?.slopes)
    }

    /// The slopes that nobody has multiplied the gradient with.
    pub(crate) fn slopes_left(&mut self, var: Var) -> Option<Tensor> {
        Some(self.vars.slopes[var.0].take()?.slopes)
    }

    /// The gradients of intermediate results, while another tape uses their place; [`Self::restore`] brings them back. That tape's
    /// gradients are computed at once: they would wait for all of it.
    pub(crate) fn set_aside(&mut self) -> Vars {
        self.waiting.may_wait.clear();
        std::mem::take(&mut self.vars)
    }

    pub(crate) fn restore(&mut self, vars: Vars) {
        self.vars = vars;
    }

    pub(crate) fn take_param(&mut self, id: ParamId) -> Option<ParamGradient> {
        match self.waits(id) {
            Some(waiting) => return Some(ParamGradient::Waiting(waiting)),
            None => self.settle_bias(id),
        }
        self.params[id.index()].take().map(ParamGradient::Whole)
    }

    /// Takes out what waits.
    fn waits(&mut self, id: ParamId) -> Option<WaitingGradient> {
        let i = self.waiting.list.iter().position(|(of, _)| *of == id)?;
        Some(self.waiting.list.swap_remove(i).1)
    }

    /// Computes what waits, or the product with which the gradient of a bias comes: something is added to it.
    fn settle(&mut self, id: ParamId, isa: Isa) {
        let comes = self.waiting.biases.iter().find(|(bias, _)| *bias == id).map(|(_, sums)| sums);
        let with = |waiting: &WaitingGradient| match (waiting, comes) {
            (WaitingGradient::Product(product), Some(comes)) => {
                product.bias.as_ref().is_some_and(|sums| Arc::ptr_eq(sums, comes))
            }
            _ => false,
        };
        let weight = self.waiting.list.iter().find(|(_, waiting)| with(waiting)).map_or(id, |(weight, _)| *weight);
        if let Some(waiting) = self.waits(weight) {
            self.params[weight.index()] = Some(waiting.tensor(isa));
        }
        self.settle_bias(id);
    }

    /// Takes over the gradient of a bias that has come with a product, which is the first contribution to it.
    fn settle_bias(&mut self, id: ParamId) {
        let biases = &mut self.waiting.biases;
        let found = biases.iter().position(|(of, _)| *of == id).map(|i| biases.swap_remove(i).1);
        if let Some(sums) = found {
            self.params[id.index()] = sums.get().cloned();
        }
    }

    /// Adds the gradient of a weight, and that of its bias, both of which learn, as numbers or, while nothing else is added and that may
    /// wait, as the product: then the bias comes when that is computed.
    pub(crate) fn add_product(
        &mut self,
        id: ParamId,
        bias: Option<ParamId>,
        env: &Env<'_>,
        mut product: WeightProduct,
    ) {
        self.settle(id, env.isa);
        let sums = bias.map(|id| (id, Arc::new(OnceLock::new())));
        product.bias = sums.as_ref().map(|(_, sums)| sums.clone());
        match self.alone(id) && bias.is_none_or(|bias| self.alone(bias)) {
            true => {
                self.waiting.list.push((id, WaitingGradient::Product(product)));
                self.waiting.biases.extend(sums);
            }
            false => {
                self.write_param(id, env, |to, accumulate| product.write(env.isa, to, accumulate));
                if let Some((bias, sums)) = sums
                    && let Some(sums) = sums.get()
                {
                    self.put_param(bias, sums.clone(), env);
                }
            }
        }
    }

    /// Whether a contribution to a gradient is the only one, and may wait.
    fn alone(&self, id: ParamId) -> bool {
        self.params[id.index()].is_none() && self.waiting.may_wait.contains(&id)
    }

    /// Adds `dy`, a row for each of `ids`, to these rows of the gradient of a table.
    pub(crate) fn add_rows(&mut self, id: ParamId, env: &Env<'_>, ids: &[i32], dy: &[f32]) {
        let (shape, trainable) = (env.params.get(id).value.shape(), env.params.get(id).trainable);
        self.settle(id, env.isa);
        // Of more rows hardly a zero would be saved.
        if trainable && self.alone(id) && 2 * ids.len() <= shape.rows() {
            let rows = TableRows::new(env.isa, shape, ids, dy);
            self.waiting.list.push((id, WaitingGradient::Rows(rows)));
        } else {
            self.add_param(id, env, |dw| elementwise::scatter_add(env.isa, dw, dy, ids, shape.width()));
        }
    }

    pub(crate) fn take(&mut self, var: Var) -> Option<Tensor> {
        self.vars.grads[var.0].take()
    }

    /// Adds `grad` to the gradient of an input; nothing happens where it is not wanted.
    pub fn add(&mut self, var: Option<Var>, grad: Tensor, env: &Env<'_>) {
        let Some(var) = var else { return };
        match &mut self.vars.grads[var.0] {
            Some(sum) => add_to(env.isa, sum, &grad),
            // Whatever is shared is copied when someone writes to it.
            empty => *empty = Some(grad.with_var(None)),
        }
    }

    /// Takes out the gradient of an input for writing, or memory for it; [`Self::finish`] puts it back.
    pub fn begin<T: Element + Number>(&mut self, var: Option<Var>, shape: Shape, isa: Isa) -> Result<Partial> {
        let held = var.and_then(|var| self.vars.grads[var.0].take());
        Ok(match held {
            Some(held) => Partial { tensor: held.to_dtype(T::DTYPE, isa)?, accumulate: true },
            None => {
                Partial { tensor: Tensor::from_buf(Buf::<T>::for_overwrite(shape.numel()), shape), accumulate: false }
            }
        })
    }

    /// Puts a gradient back; it is dropped where it is not wanted.
    pub fn finish(&mut self, var: Option<Var>, partial: Partial) {
        if let Some(var) = var {
            self.vars.grads[var.0] = Some(partial.tensor);
        }
    }

    /// Lets `write(slice, accumulate)` write the gradient of a parameter, or add to it; nothing where it is frozen.
    pub fn write_param(&mut self, id: ParamId, env: &Env<'_>, write: impl FnOnce(&mut [f32], bool)) {
        let param = env.params.get(id);
        if param.trainable {
            self.settle(id, env.isa);
            write_or_add(&mut self.params[id.index()], param.value.shape(), write);
        }
    }

    /// Adds a whole gradient of a parameter; it is moved where there is none yet.
    pub fn put_param(&mut self, id: ParamId, grad: Tensor, env: &Env<'_>) {
        if !env.params.get(id).trainable {
            return;
        }
        self.settle(id, env.isa);
        match &mut self.params[id.index()] {
            Some(sum) => add_to(env.isa, sum, &grad),
            empty => *empty = Some(grad),
        }
    }

    /// The same for those that only add: the gradient starts as zeros.
    pub fn add_param(&mut self, id: ParamId, env: &Env<'_>, add: impl FnOnce(&mut [f32])) {
        self.write_param(id, env, |g, accumulate| {
            if !accumulate {
                elementwise::zero(g);
            }
            add(g);
        });
    }

    /// The gradient of a parameter, if it has one.
    pub fn param(&self, id: ParamId) -> Option<&Tensor> {
        self.params[id.index()].as_ref()
    }

    /// The gradient of a parameter, for changing it.
    pub fn param_mut(&mut self, id: ParamId) -> Option<&mut Tensor> {
        self.params[id.index()].as_mut()
    }

    /// Adds the gradients of another part of the same step.
    pub fn merge(&mut self, other: Grads, env: &Env<'_>) {
        for (to, from) in self.params.iter_mut().zip(other.params) {
            match (to, from) {
                (Some(to), Some(from)) => add_to(env.isa, to, &from),
                (to @ None, from) => *to = from,
                (Some(_), None) => {}
            }
        }
    }
}

/// A gradient taken out of [`Grads`] for writing.
pub struct Partial {
    /// What is there so far, or memory for it.
    pub tensor: Tensor,
    /// Whether there is something to add to.
    pub accumulate: bool,
}

/// `sum += x`, whatever numbers they have.
fn add_to(isa: Isa, sum: &mut Tensor, x: &Tensor) {
    match (sum.dtype(), x.dtype()) {
        (Dtype::Bf16, Dtype::Bf16) => elementwise::add(isa, sum.data_mut::<bf16>(), halves(x)),
        (Dtype::Bf16, _) => elementwise::add(isa, sum.data_mut::<bf16>(), x.f32s()),
        (_, Dtype::Bf16) => elementwise::add(isa, sum.f32s_mut(), halves(x)),
        _ => elementwise::add(isa, sum.f32s_mut(), x.f32s()),
    }
}

fn halves(x: &Tensor) -> &[bf16] {
    x.data("gradient").expect("a tensor of bf16")
}

fn write_or_add(slot: &mut Option<Tensor>, shape: Shape, write: impl FnOnce(&mut [f32], bool)) {
    match slot {
        Some(grad) => write(grad.f32s_mut(), true),
        None => {
            let mut grad = Buf::for_overwrite(shape.numel());
            write(&mut grad, false);
            *slot = Some(Tensor::from_buf(grad, shape));
        }
    }
}
