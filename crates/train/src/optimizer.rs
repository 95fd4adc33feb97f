//! AdamW over the parameters of a model.

use std::collections::BTreeMap;

use bedstone_kernels::{
    gemm::Learned,
    mem::Buf,
    optim::{self, sum_squares},
};
use bedstone_tensor::{Env, Grads, Isa, ParamId, Params, Tensor, WaitingGradient};
use serde::{Deserialize, Serialize};

use crate::lora::LowRank;

/// Settings of AdamW, [Loshchilov & Hutter 2017](https://arxiv.org/abs/1711.05101).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled decay of parameters with two axes or more; biases and norms have none.
    pub weight_decay: f32,
}

/// The optimizer and its state: two moments a parameter.
pub struct AdamW {
    config: AdamWConfig,
    moments: Vec<Option<Moments>>,
    /// What the learning rate of each parameter is multiplied by.
    rates: Vec<f32>,
    /// Weights that learn by two factors; their moments are those of the factors.
    low_rank: BTreeMap<ParamId, LowRank>,
    /// Steps done.
    step: u64,
}

/// First and second moment of a parameter's gradient.
pub(crate) struct Moments {
    pub(crate) m: Buf<f32>,
    pub(crate) v: Buf<f32>,
}

impl AdamW {
    /// With moments of zero.
    pub fn new(config: AdamWConfig, params: &Params) -> Self {
        let zeros = |n| Moments { m: Buf::zeroed(n), v: Buf::zeroed(n) };
        let moments = params.iter().map(|(_, p)| p.trainable.then(|| zeros(p.value.shape().numel()))).collect();
        AdamW { config, moments, rates: vec![1.0; params.len()], low_rank: BTreeMap::new(), step: 0 }
    }

    /// With the learning rate of some parameters multiplied.
    pub(crate) fn with_rates(mut self, rates: impl IntoIterator<Item = (ParamId, f32)>) -> Self {
        rates.into_iter().for_each(|(id, rate)| self.rates[id.index()] = rate);
        self
    }

    /// With these weights learning by their factors.
    pub(crate) fn with_low_rank(mut self, low_rank: BTreeMap<ParamId, LowRank>) -> Self {
        for (id, factors) in &low_rank {
            let zeros = || Buf::zeroed(factors.len());
            self.moments[id.index()] = Some(Moments { m: zeros(), v: zeros() });
        }
        self.low_rank = low_rank;
        self
    }

    /// The weights that learn by their factors.
    pub(crate) fn low_rank(&self) -> &BTreeMap<ParamId, LowRank> {
        &self.low_rank
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Goes on after `step` steps.
    pub(crate) fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// The state of a trainable parameter.
    pub(crate) fn moments(&self, id: ParamId) -> Option<&Moments> {
        self.moments[id.index()].as_ref()
    }

    /// The state of a trainable parameter, for loading it.
    pub(crate) fn moments_mut(&mut self, id: ParamId) -> Option<&mut Moments> {
        self.moments[id.index()].as_mut()
    }

    /// The gradient of what is learned of a parameter: its own, or that of its factors.
    pub(crate) fn learned(&self, id: ParamId, grad: Tensor, isa: Isa) -> Tensor {
        match self.low_rank.get(&id) {
            Some(factors) => factors.project(&grad, isa),
            None => grad,
        }
    }

    /// One step with learning rate `lr`; gradients, see `learned`, are multiplied by `grad_scale` first.
    ///
    /// A parameter without a gradient stays as it is, decay included, as in PyTorch.
    pub fn update(&mut self, params: &mut Params, grads: &Grads, lr: f32, grad_scale: f32, isa: Isa) {
        self.begin_step();
        for id in params.ids() {
            if let Some(grad) = grads.param(id) {
                self.update_one(id, params, grad, lr, grad_scale, isa);
            }
        }
    }

    /// From here on parameters are updated one by one, as parts of the next step.
    pub(crate) fn begin_step(&mut self) {
        self.step += 1;
    }

    /// Updates one parameter, if it is trained, by the gradient of what is learned of it.
    pub(crate) fn update_one(
        &mut self,
        id: ParamId,
        params: &mut Params,
        grad: &Tensor,
        lr: f32,
        grad_scale: f32,
        isa: Isa,
    ) {
        let options = self.options(id, params, lr, grad_scale);
        let Some(moments) = &mut self.moments[id.index()] else { return };
        let Moments { m, v } = moments;
        if let Some(low_rank) = self.low_rank.get_mut(&id) {
            optim::adamw(isa, options, low_rank.factors_mut(), grad.f32s(), m, v);
            return low_rank.write(params.get_mut(id).value.f32s_mut(), isa);
        }
        let (param, forms) = params.renew(id, isa);
        match param.matrix("adamw") {
            Ok(shape) if !forms.is_empty() => {
                optim::adamw_packed(isa, options, param.value.f32s_mut(), grad.f32s(), m, v, shape, forms);
            }
            _ => optim::adamw(isa, options, param.value.f32s_mut(), grad.f32s(), m, v),
        }
    }

    /// The same by what gives the gradient, which is not computed for itself.
    pub(crate) fn update_by(&mut self, id: ParamId, params: &mut Params, grad: &WaitingGradient, lr: f32, isa: Isa) {
        let options = self.options(id, params, lr, 1.0);
        let Some(Moments { m, v }) = &mut self.moments[id.index()] else {
            if let WaitingGradient::Product(product) = grad {
                // The gradient of the bias comes with it.
                product.tensor(isa);
            }
            return;
        };
        let (param, forms) = params.renew(id, isa);
        grad.adamw(isa, Learned { w: param.value.f32s_mut(), m, v, forms }, options);
    }

    /// Of the next step for a parameter.
    fn options(&self, id: ParamId, params: &Params, lr: f32, grad_scale: f32) -> optim::AdamW {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        let decays = params.get(id).value.shape().len() >= 2;
        optim::AdamW {
            lr: lr * self.rates[id.index()],
            beta1,
            beta2,
            eps,
            weight_decay: if decays { weight_decay } else { 0.0 },
            step: self.step,
            grad_scale,
        }
    }
}

/// The norm of all gradients together.
pub fn global_norm(grads: &Grads, env: &Env<'_>) -> f64 {
    let squares =
        env.params.iter().filter_map(|(id, _)| grads.param(id)).map(|g: &Tensor| sum_squares(env.isa, g.f32s()));
    squares.sum::<f64>().sqrt()
}

/// The factor that brings a gradient of this norm down to `limit`, as PyTorch's `clip_grad_norm_`; 1 where `limit` is 0.
pub fn clip_factor(norm: f64, limit: f64) -> f32 {
    if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_only_shrinks() {
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert_eq!(clip_factor(100.0, 0.0), 1.0);
        assert!((clip_factor(4.0, 1.0) - 0.25).abs() < 1e-6);
    }
}
