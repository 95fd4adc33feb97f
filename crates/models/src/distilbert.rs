//! DistilBERT, [Sanh et al. 2019](https://arxiv.org/abs/1910.01108).

use bedstone_nn::Builder;
use bedstone_tensor::Activation;
use serde::Deserialize;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{BlockNames, Cls, Encoder, EncoderConfig, Head, MaskedLm, MaskedLmNames, Positions, Problem, labels},
    model::probabilities,
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "distilbert",
    classes: &[
        ("DistilBertModel", Class::Base),
        ("DistilBertForMaskedLM", Class::MaskedLm),
        ("DistilBertForSequenceClassification", Class::SequenceClassification),
        ("DistilBertForTokenClassification", Class::TokenClassification),
        ("DistilBertForQuestionAnswering", Class::QuestionAnswering),
    ],
    base_prefix: "distilbert",
    build,
    tiny: r#"{"vocab_size": 61, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "max_position_embeddings": 24}"#,
};

/// The fields of `config.json`, with the defaults of the released model.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: usize,
    max_position_embeddings: usize,
    n_layers: usize,
    n_heads: usize,
    dim: usize,
    hidden_dim: usize,
    dropout: f32,
    attention_dropout: f32,
    activation: String,
    initializer_range: f32,
    qa_dropout: f32,
    seq_classif_dropout: f32,
    pad_token_id: Option<usize>,
    tie_word_embeddings: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            vocab_size: 30522,
            max_position_embeddings: 512,
            n_layers: 6,
            n_heads: 12,
            dim: 768,
            hidden_dim: 3072,
            dropout: 0.1,
            attention_dropout: 0.1,
            activation: "gelu".into(),
            initializer_range: 0.02,
            qa_dropout: 0.1,
            seq_classif_dropout: 0.2,
            pad_token_id: Some(0),
            tie_word_embeddings: true,
        }
    }
}

impl Config {
    /// Under the names of the other encoders.
    fn common(&self) -> EncoderConfig {
        EncoderConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.dim,
            num_hidden_layers: self.n_layers,
            num_attention_heads: self.n_heads,
            intermediate_size: self.hidden_dim,
            hidden_act: self.activation.clone(),
            hidden_dropout_prob: self.dropout,
            attention_probs_dropout_prob: self.attention_dropout,
            max_position_embeddings: self.max_position_embeddings,
            type_vocab_size: 0,
            initializer_range: self.initializer_range,
            pad_token_id: self.pad_token_id,
            tie_word_embeddings: self.tie_word_embeddings,
            ..EncoderConfig::default()
        }
    }
}

const BLOCK: BlockNames = BlockNames {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    out: "attention.out_lin",
    attn_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    mlp_norm: "output_layer_norm",
};

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let own: Config = file.parse()?;
    probabilities(&[("qa_dropout", own.qa_dropout), ("seq_classif_dropout", own.seq_classif_dropout)])?;
    let config = own.common();
    config.check()?;
    let c = config.hidden_size;
    let mut body = if class == Class::Base { b.at("") } else { b.at("distilbert") };
    let embeddings = config.embeddings(body.at("embeddings"), c, Positions::All)?;
    let blocks = (0..config.num_hidden_layers)
        .map(|i| config.block(body.at("transformer.layer").at(i), i, &BLOCK))
        .collect::<Result<_, _>>()?;
    let head = match class {
        Class::MaskedLm => {
            let names = MaskedLmNames {
                dense: "vocab_transform",
                norm: "vocab_layer_norm",
                bias: "vocab_projector.bias",
                decoder: Some("vocab_projector.weight"),
            };
            let words = embeddings.words();
            let lm = MaskedLm::new(&mut b, &config, &names, c, words, config.activation()?)?;
            Head::MaskedLm(Box::new(lm))
        }
        Class::SequenceClassification => {
            let n = labels(file)?;
            let dense = config.linear(b.at("pre_classifier"), c, c)?;
            let cls = Cls { before: 0.0, dense, activation: Activation::Relu };
            let classifier = config.linear(b.at("classifier"), c, n)?;
            Head::Sequence { cls, dropout: own.seq_classif_dropout, classifier, problem: Problem::of(file, n)? }
        }
        Class::QuestionAnswering => {
            Head::Question { dropout: own.qa_dropout, outputs: config.linear(b.at("qa_outputs"), c, 2)? }
        }
        _ => Head::common(class, file, &config, &mut b)?.unwrap_or(Head::Base { pooler: None }),
    };
    Ok(Box::new(Encoder::new(&config, embeddings, blocks, head)))
}
