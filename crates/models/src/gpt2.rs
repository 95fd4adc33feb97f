//! GPT-2, [Radford et al. 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf).

use bedstone_nn::{
    Attention, AttentionInput, AttentionSpec, Block, Builder, Embedding, Linear, LinearSpec, Mlp, Norm, PreNormBlock,
};
use bedstone_tensor::{
    Ctx, Result as OpResult, TensorError,
    ops::{self, Layout},
};
use serde::Deserialize;

use crate::{
    Architecture, Class, Info, Inputs, ModelError, Network, Outputs,
    causal::{HiddenStates, activation, finish, mask, positions},
    head::LmHead,
    model::{config_error, layers, positive, probabilities},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "gpt2",
    classes: &[("GPT2LMHeadModel", Class::CausalLm)],
    base_prefix: "transformer",
    build: |config, _, b| Ok(Box::new(Gpt2::new(config.parse()?, b)?)),
    tiny: r#"{"vocab_size": 61, "n_positions": 24, "n_embd": 24, "n_layer": 2, "n_head": 3}"#,
};

/// The fields of `config.json`, with the defaults of the released model.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    activation_function: String,
    embd_pdrop: f32,
    attn_pdrop: f32,
    resid_pdrop: f32,
    layer_norm_epsilon: f32,
    initializer_range: f32,
    scale_attn_weights: bool,
    scale_attn_by_inverse_layer_idx: bool,
    tie_word_embeddings: bool,
    add_cross_attention: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: "gelu_new".into(),
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            tie_word_embeddings: true,
            add_cross_attention: false,
        }
    }
}

impl Config {
    fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Weights at the end of a branch start smaller, since `2 n_layer` branches add up in the residual stream.
    fn branch_std(&self) -> f32 {
        self.initializer_range / (2.0 * self.n_layer as f32).sqrt()
    }

    fn block(&self, mut b: Builder<'_>, layer: usize) -> Result<PreNormBlock, ModelError> {
        let c = self.n_embd;
        let conv = |b: Builder<'_>, n_in, n_out, std| {
            Linear::new(b, LinearSpec { n_in, n_out, bias: true, layout: Layout::InOut, std })
        };
        let norm = |b: Builder<'_>| Norm::layer(b, c, self.layer_norm_epsilon);
        let head_dim = c / self.n_head;
        let mut scale = if self.scale_attn_weights { 1.0 / (head_dim as f32).sqrt() } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f32;
        }
        let spec = AttentionSpec {
            layer,
            heads: self.n_head,
            kv_heads: self.n_head,
            head_dim,
            scale,
            causal: true,
            window: None,
            softcap: None,
            dropout: self.attn_pdrop,
            out_dropout: self.resid_pdrop,
        };
        let attn_norm = norm(b.at("ln_1"))?;
        let qkv = conv(b.at("attn.c_attn"), c, 3 * c, self.initializer_range)?;
        let out = conv(b.at("attn.c_proj"), c, c, self.branch_std())?;
        Ok(PreNormBlock {
            attn_norm,
            attn: Attention::new(spec, vec![qkv], out, None)?,
            mlp_norm: norm(b.at("ln_2"))?,
            mlp: Mlp::Plain {
                up: conv(b.at("mlp.c_fc"), c, self.inner(), self.initializer_range)?,
                down: conv(b.at("mlp.c_proj"), self.inner(), c, self.branch_std())?,
                activation: activation("activation_function", &self.activation_function)?,
            },
            dropout: self.resid_pdrop,
            drop_path: 0.0,
        })
    }
}

struct Gpt2 {
    config: Config,
    wte: Embedding,
    wpe: Embedding,
    blocks: Vec<PreNormBlock>,
    norm: Norm,
    head: LmHead,
}

impl Gpt2 {
    fn new(config: Config, mut b: Builder<'_>) -> Result<Self, ModelError> {
        let (c, std) = (config.n_embd, config.initializer_range);
        positive(&[
            ("vocab_size", config.vocab_size),
            ("n_positions", config.n_positions),
            ("n_embd", c),
            ("n_head", config.n_head),
            ("n_inner", config.inner()),
        ])?;
        layers("n_layer", config.n_layer)?;
        probabilities(&[
            ("embd_pdrop", config.embd_pdrop),
            ("attn_pdrop", config.attn_pdrop),
            ("resid_pdrop", config.resid_pdrop),
        ])?;
        if config.layer_norm_epsilon.is_nan() || config.layer_norm_epsilon <= 0.0 {
            return Err(config_error("layer_norm_epsilon", config.layer_norm_epsilon, "above 0").into());
        }
        if !c.is_multiple_of(config.n_head) {
            return Err(config_error("n_embd", c, format!("a multiple of n_head ({})", config.n_head)).into());
        }
        if config.add_cross_attention {
            return Err(config_error("add_cross_attention", true, "false").into());
        }
        let mut t = b.at("transformer");
        let wte = Embedding::new(t.at("wte"), config.vocab_size, c, std)?;
        let wpe = Embedding::new(t.at("wpe"), config.n_positions, c, std)?;
        let blocks = (0..config.n_layer).map(|i| config.block(t.at("h").at(i), i)).collect::<Result<_, _>>()?;
        let norm = Norm::layer(t.at("ln_f"), c, config.layer_norm_epsilon)?;
        let tied = config.tie_word_embeddings.then_some(wte.table);
        let head = LmHead::new(&mut b, tied, config.vocab_size, c, std)?;
        Ok(Gpt2 { config, wte, wpe, blocks, norm, head })
    }
}

impl Network for Gpt2 {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let ids = inputs.need("input_ids")?;
        let positions = positions(inputs, ids, ctx)?;
        let mask = mask(inputs)?;
        if let Some(last) =
            positions.data::<i32>("position_ids")?.iter().find(|&&p| p as usize >= self.config.n_positions)
        {
            let what = format!("position {last}, the model has n_positions = {}", self.config.n_positions);
            return Err(TensorError::Unsupported { op: "gpt2", what });
        }
        let x = ops::embedding(&[(self.wte.table, ids), (self.wpe.table, &positions)], ctx)?;
        let mut x = ops::dropout(&x, self.config.embd_pdrop, ctx)?;
        let mut states = HiddenStates::new(inputs);
        for block in &self.blocks {
            states.push(&x);
            x = block.run(&x, AttentionInput { mask: mask.as_ref(), ..AttentionInput::default() }, ctx)?;
        }
        finish(x, &self.norm, &self.head, states, inputs, ids, ctx)
    }

    fn info(&self) -> Info {
        let c = &self.config;
        Info {
            vocab_size: c.vocab_size,
            max_length: Some(c.n_positions),
            positions_end: true,
            layers: c.n_layer,
            width: c.n_embd,
            attention_width: c.n_embd,
            // Two norms' outputs, the residual stream twice, the projection, the attention's output, the inner states
            // before and after their activation.
            kept_per_layer: 8 * c.n_embd + 2 * c.inner(),
            read: None,
            masked: None,
            image: None,
        }
    }
}
