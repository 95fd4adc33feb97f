//! A moving average of weights.

use bedstone_tensor::Params;

/// Weights that follow those of a model slowly, which often do better than they
/// ([Polyak & Juditsky 1992](https://doi.org/10.1137/0330046); [Tarvainen & Valpola 2017](https://arxiv.org/abs/1703.01780)).
pub(crate) struct Ema {
    decay: f64,
    params: Params,
    steps: u64,
}

impl Ema {
    /// That of `params` as they are.
    pub(crate) fn new(decay: f64, params: &Params) -> Self {
        Ema { decay, params: params.clone(), steps: 0 }
    }

    /// After a step: `average = d average + (1 - d) weights`, where `d = min(decay, (1 + n) / (10 + n))` after `n` steps, so that the
    /// beginning is forgotten soon.
    pub(crate) fn follow(&mut self, params: &Params) {
        self.steps += 1;
        let n = self.steps as f64;
        let d = self.decay.min((1.0 + n) / (10.0 + n)) as f32;
        for ((_, average), (_, new)) in self.params.iter_mut().zip(params.iter()) {
            if !new.trainable {
                continue;
            }
            for (a, x) in average.value.f32s_mut().iter_mut().zip(new.value.f32s()) {
                *a = d * *a + (1.0 - d) * x;
            }
        }
    }

    /// Goes on after `steps`, with the averages that there were.
    pub(crate) fn resumed(decay: f64, params: Params, steps: u64) -> Self {
        Ema { decay, params, steps }
    }

    /// The averages, for reading them.
    pub(crate) fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Exchanges the averages and a model's weights: before the model is judged or kept, and after that again.
    pub(crate) fn swap(&mut self, params: &mut Params) {
        std::mem::swap(&mut self.params, params);
    }

    /// The averages, or a model's weights while they are exchanged.
    pub(crate) fn params(&self) -> &Params {
        &self.params
    }
}

#[cfg(test)]
mod tests {
    use bedstone_tensor::Tensor;

    use super::*;

    fn params(x: f32) -> Params {
        let mut params = Params::default();
        params.add("x".into(), Tensor::from_slice(&[x], [1])).unwrap();
        params
    }

    #[test]
    fn it_follows() {
        let mut ema = Ema::new(0.9, &params(0.0));
        let mut want = 0.0;
        for n in 1..200 {
            let d = f64::min(0.9, (1.0 + n as f64) / (10.0 + n as f64));
            want = d * want + (1.0 - d) * 3.0;
            ema.follow(&params(3.0));
            let (_, p) = ema.params().iter().next().unwrap();
            assert!((p.value.f32s()[0] as f64 - want).abs() < 1e-5, "{n}");
        }
        assert!(want > 2.999);
    }
}
