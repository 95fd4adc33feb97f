//! Blocks: attention and feed-forward network around a residual stream.

use bedstone_tensor::{Ctx, ParamId, Result as OpResult, Tensor, ops};

use crate::{Attention, AttentionInput, Mlp, Norm};

/// One layer of a stack.
pub trait Block: Clone + Send + Sync + 'static {
    /// Whether it serves sequences of different lengths one after another, see [`Ctx::packed`].
    const PACKS: bool = false;

    /// `x: [B, T, C]` to `[B, T, C]`, or to `[B, count, C]` of the tokens that are wanted.
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor>;

    /// [`Self::forward`], computed again in the backward pass where the context says so.
    fn run(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        if !ctx.recomputes() {
            return self.forward(x, input, ctx);
        }
        let (block, rotation, mask, wanted) =
            (self.clone(), input.rotation.cloned(), input.mask.cloned(), input.wanted);
        let again = move |x: &Tensor, ctx: &mut Ctx<'_>| {
            block.forward(x, AttentionInput { rotation: rotation.as_ref(), mask: mask.as_ref(), wanted }, ctx)
        };
        ops::checkpoint(x, again, ctx)
    }
}

/// `h = x + attn(norm(x)); y = h + mlp(norm(h))`, as GPT-2, Llama and most since.
#[derive(Clone, Debug)]
pub struct PreNormBlock {
    /// Before the attention.
    pub attn_norm: Norm,
    /// The attention.
    pub attn: Attention,
    /// Before the feed-forward network.
    pub mlp_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// Dropout of the feed-forward network's output.
    pub dropout: f32,
    /// The probability that a sample goes without a branch in training.
    pub drop_path: f32,
}

impl Block for PreNormBlock {
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        if self.drop_path > 0.0 && ctx.is_training() {
            let y = self.attn.forward(&self.attn_norm.operand(x, ctx)?, input, ctx)?;
            let x = ops::add(&kept, &ops::drop_path(&y, self.drop_path, ctx)?, ctx)?;
            let y = self.mlp.forward(&self.mlp_norm.operand(&x, ctx)?, ctx)?;
            let y = ops::dropout(&y, self.dropout, ctx)?;
            return ops::add(&x, &ops::drop_path(&y, self.drop_path, ctx)?, ctx);
        }
        let x = self.attn.forward_residual(&self.attn_norm.operand(x, ctx)?, input, &kept, ctx)?;
        self.mlp.forward_residual(&self.mlp_norm.operand(&x, ctx)?, self.dropout, &x, ctx)
    }
}

/// `h = x + a ⊙ attn(norm(x)); y = h + b ⊙ mlp(norm(h))`, as CaiT, [Touvron et al. 2021](https://arxiv.org/abs/2103.17239),
/// and DINOv2; in training whole branches are dropped.
#[derive(Clone, Debug)]
pub struct ScaledBlock {
    /// Before the attention.
    pub attn_norm: Norm,
    /// The attention.
    pub attn: Attention,
    /// `a: [C]`.
    pub attn_scale: ParamId,
    /// Before the feed-forward network.
    pub mlp_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// `b: [C]`.
    pub mlp_scale: ParamId,
    /// The probability that a sample goes without a branch.
    pub drop_path: f32,
}

impl Block for ScaledBlock {
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        let y = self.attn.forward(&self.attn_norm.operand(x, ctx)?, input, ctx)?;
        let y = ops::drop_path(&y, self.drop_path, ctx)?;
        let h = ops::layer_scale(&y, self.attn_scale, &kept, ctx)?;
        let y = self.mlp.forward(&self.mlp_norm.operand(&h, ctx)?, ctx)?;
        let y = ops::drop_path(&y, self.drop_path, ctx)?;
        ops::layer_scale(&y, self.mlp_scale, &h, ctx)
    }
}

/// `h = norm(x + attn(x)); y = norm(h + mlp(h))`, as the first Transformer and BERT.
#[derive(Clone, Debug)]
pub struct PostNormBlock {
    /// The attention.
    pub attn: Attention,
    /// After the attention.
    pub attn_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// After the feed-forward network.
    pub mlp_norm: Norm,
    /// Dropout of the feed-forward network's output.
    pub dropout: f32,
}

impl Block for PostNormBlock {
    const PACKS: bool = true;

    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        let h = self.attn_norm.forward(&self.attn.forward_residual(x, input, &kept, ctx)?, ctx)?;
        self.mlp_norm.forward(&self.mlp.forward_residual(&h, self.dropout, &h, ctx)?, ctx)
    }
}

#[cfg(test)]
mod tests {
    use bedstone_tensor::{Activation, Dtype, Env, Isa, Packing, Params, Precision, Training, ops::Layout};

    use super::*;
    use crate::{AttentionSpec, Builder, Init, Linear, LinearSpec, Random, Span};

    const WIDTH: usize = 32;

    fn linear(b: &mut Builder<'_>, name: &str, n_in: usize, n_out: usize) -> Linear {
        Linear::new(b.at(name), LinearSpec { n_in, n_out, bias: true, layout: Layout::OutIn, std: 0.3 }).unwrap()
    }

    fn attention(b: &mut Builder<'_>, causal: bool) -> Attention {
        let spec = AttentionSpec { causal, ..AttentionSpec::bidirectional(0, WIDTH, 2) };
        let projections = ["q", "k", "v"].map(|name| linear(b, name, WIDTH, WIDTH)).to_vec();
        Attention::new(spec, projections, linear(b, "o", WIDTH, WIDTH), None).unwrap()
    }

    fn mlp(b: &mut Builder<'_>) -> Mlp {
        let (up, down) = (linear(b, "up", WIDTH, 48), linear(b, "down", 48, WIDTH));
        Mlp::Plain { up, down, activation: Activation::Gelu }
    }

    fn norm(b: &mut Builder<'_>, name: &str) -> Norm {
        Norm::layer(b.at(name), WIDTH, 1e-5).unwrap()
    }

    /// `make` a block beside an input `x: [2, 7, C]`.
    fn with<B>(make: impl FnOnce(&mut Builder<'_>) -> B) -> (Params, ParamId, B) {
        let mut params = Params::default();
        let mut source = Random { seed: 3 };
        let mut b = Builder::new(&mut params, &mut source);
        let x = b.param("x", [2, 7, WIDTH], Init::Normal { std: 1.0 }).unwrap();
        let block = make(&mut b);
        (params, x, block)
    }

    fn pre_norm(b: &mut Builder<'_>, drop_path: f32) -> PreNormBlock {
        let (attn_norm, mlp_norm) = (norm(b, "before"), norm(b, "after"));
        PreNormBlock { attn_norm, attn: attention(b, false), mlp_norm, mlp: mlp(b), dropout: 0.0, drop_path }
    }

    /// The states of some tokens, computed alone, are those of all tokens, and so are all gradients.
    fn check<B: Block>(what: &str, make: impl FnOnce(&mut Builder<'_>) -> B) {
        let (params, x, block) = with(make);
        let mask = Tensor::from_slice(&[1u8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [2, 7]);
        let span = Span { first: 2, count: 3 };
        for isa in Isa::available() {
            for (precision, near) in [(Precision::F32, 1e-4), (Precision::Bf16, 4e-2)] {
                if precision == Precision::Bf16 && !isa.has_bf16() {
                    continue;
                }
                let run = |alone: bool, again: bool| {
                    let env = Env { isa, precision, packing: Packing::Passing, params: &params };
                    let ctx = Ctx::training(env, Training { key: 5, first_sample: 0 });
                    let mut ctx = if again { ctx.recomputing() } else { ctx };
                    let x = ctx.leaf(x);
                    let input = AttentionInput { mask: Some(&mask), wanted: alone.then_some(span), rotation: None };
                    let y = block.run(&x, input, &mut ctx).unwrap();
                    let y = if alone { y } else { span.of(&y, &mut ctx).unwrap() };
                    let weights: Vec<f32> = (0..y.shape().numel()).map(|i| (i * 7 % 11) as f32 / 11.0 - 0.4).collect();
                    let weights = Tensor::from_slice(&weights, y.shape()).to_dtype(Dtype::F32, isa).unwrap();
                    let mut all = vec![("the result".to_owned(), y.to_f32(isa).unwrap())];
                    let grads = ctx.backward_from(&y, weights).unwrap();
                    all.extend(params.iter().map(|(id, p)| (p.name.clone(), grads.param(id).unwrap().clone())));
                    all
                };
                let want = run(false, false);
                for again in [false, true] {
                    for ((name, got), (_, want)) in run(true, again).iter().zip(&want) {
                        let largest = want.f32s().iter().fold(0.0f32, |m, x| m.max(x.abs()));
                        for (a, b) in got.f32s().iter().zip(want.f32s()) {
                            let allowed = near * (0.05 + largest);
                            assert!((a - b).abs() <= allowed, "{what} {isa} {precision:?} {name}: {a}, want {b}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn some_tokens_alone_are_those_of_all() {
        check("pre norm", |b| pre_norm(b, 0.0));
        check("pre norm, dropped", |b| pre_norm(b, 0.4));
        check("post norm", |b| {
            let (attn_norm, mlp_norm) = (norm(b, "one"), norm(b, "two"));
            PostNormBlock { attn: attention(b, false), attn_norm, mlp: mlp(b), mlp_norm, dropout: 0.0 }
        });
        check("scaled", |b| ScaledBlock {
            attn_norm: norm(b, "before"),
            attn: attention(b, false),
            attn_scale: b.param("a", [WIDTH], Init::Constant(0.7)).unwrap(),
            mlp_norm: norm(b, "after"),
            mlp: mlp(b),
            mlp_scale: b.param("b", [WIDTH], Init::Constant(0.4)).unwrap(),
            drop_path: 0.0,
        });
    }

    #[test]
    fn some_tokens_where_places_matter_are_an_error() {
        let (params, x, attn) = with(|b| attention(b, true));
        let run = |attn: &Attention, first: usize| {
            let env = Env { isa: Isa::detect(), precision: Precision::F32, packing: Packing::Passing, params: &params };
            let mut ctx = Ctx::inference(env);
            let x = ctx.leaf(x);
            let input = AttentionInput { wanted: Some(Span { first, count: 2 }), ..AttentionInput::default() };
            attn.forward(&x, input, &mut ctx).unwrap_err().to_string()
        };
        assert!(run(&attn, 0).contains("states of some tokens"), "{}", run(&attn, 0));
        let (_, _, attn) = with(|b| attention(b, false));
        assert!(run(&attn, 6).contains("2 tokens from 6 on"), "{}", run(&attn, 6));
    }
}
