//! ALBERT, [Lan et al. 2019](https://arxiv.org/abs/1909.11942): layers that share their parameters.

use bedstone_nn::{Builder, PostNormBlock};
use bedstone_tensor::Activation;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{
        BlockNames, Cls, Encoder, EncoderConfig, Head, MaskedLm, MaskedLmNames, Pooler, Positions, Problem,
        RelationNames, labels,
    },
    model::{config_error, positive},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "albert",
    classes: &[
        ("AlbertModel", Class::Base),
        ("AlbertForPreTraining", Class::PreTraining),
        ("AlbertForMaskedLM", Class::MaskedLm),
        ("AlbertForSequenceClassification", Class::SequenceClassification),
        ("AlbertForTokenClassification", Class::TokenClassification),
        ("AlbertForQuestionAnswering", Class::QuestionAnswering),
    ],
    base_prefix: "albert",
    build,
    tiny: r#"{"vocab_size": 61, "embedding_size": 16, "hidden_size": 24, "num_hidden_layers": 3,
              "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 24}"#,
};

const BLOCK: BlockNames = BlockNames {
    query: "attention.query",
    key: "attention.key",
    value: "attention.value",
    out: "attention.dense",
    attn_norm: "attention.LayerNorm",
    up: "ffn",
    down: "ffn_output",
    mlp_norm: "full_layer_layer_norm",
};

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let mut config: EncoderConfig = file.parse()?;
    let number = |field: &str, default: f64| Ok::<_, ModelError>(file.f64(field)?.unwrap_or(default) as f32);
    // ALBERT's own defaults, where the file does not say.
    config.hidden_act = file.str("hidden_act")?.unwrap_or("gelu_new").to_owned();
    config.hidden_dropout_prob = number("hidden_dropout_prob", 0.0)?;
    config.attention_probs_dropout_prob = number("attention_probs_dropout_prob", 0.0)?;
    config.classifier_dropout = Some(number("classifier_dropout_prob", 0.1)?);
    for (field, to, default) in [
        ("vocab_size", &mut config.vocab_size, 30000),
        ("hidden_size", &mut config.hidden_size, 4096),
        ("num_attention_heads", &mut config.num_attention_heads, 64),
        ("intermediate_size", &mut config.intermediate_size, 16384),
    ] {
        if file.get(field).is_none() {
            *to = default;
        }
    }
    config.check()?;
    let (c, width) = (config.hidden_size, file.usize("embedding_size")?.unwrap_or(128));
    let (groups, inner) = (file.usize("num_hidden_groups")?.unwrap_or(1), file.usize("inner_group_num")?.unwrap_or(1));
    positive(&[("embedding_size", width), ("num_hidden_groups", groups), ("inner_group_num", inner)])?;
    if groups > config.num_hidden_layers {
        let wanted = format!("at most num_hidden_layers ({})", config.num_hidden_layers);
        return Err(config_error("num_hidden_groups", groups, wanted).into());
    }
    let mut body = if class == Class::Base { b.at("") } else { b.at("albert") };
    let embeddings = config.embeddings(body.at("embeddings"), width, Positions::All)?;
    let projection = Some(config.linear(body.at("encoder.embedding_hidden_mapping_in"), width, c)?);
    let mut blocks: Vec<PostNormBlock> = Vec::with_capacity(groups * inner);
    for i in 0..groups * inner {
        let name = format!("encoder.albert_layer_groups.{}.albert_layers.{}", i / inner, i % inner);
        let block = config.block(body.at(name), i, &BLOCK)?;
        blocks.push(PostNormBlock { dropout: 0.0, ..block });
    }
    let layers = config.num_hidden_layers;
    let order = (0..layers).flat_map(|layer| (0..inner).map(move |i| layer * groups / layers * inner + i)).collect();
    let pooler = |mut b: Builder<'_>| {
        let dense = config.linear(b.at("pooler"), c, c)?;
        Ok::<_, ModelError>(Pooler { before: 0.0, dense, activation: Activation::Tanh })
    };
    let lm = |b: &mut Builder<'_>| {
        let names = MaskedLmNames { dense: "dense", norm: "LayerNorm", bias: "bias", decoder: Some("decoder.weight") };
        let words = embeddings.words();
        MaskedLm::new(&mut b.at("predictions"), &config, &names, width, words, config.activation()?)
    };
    let head = match class {
        Class::PreTraining => Head::PreTraining {
            pooler: pooler(body)?,
            lm: Box::new(lm(&mut b)?),
            relation: config.linear(b.at("sop_classifier.classifier"), c, 2)?,
            names: RelationNames { logits: "sop_logits", label: "sentence_order_label" },
        },
        Class::MaskedLm => Head::MaskedLm(Box::new(lm(&mut b)?)),
        Class::SequenceClassification => {
            let n = labels(file)?;
            let cls: Cls = pooler(body)?;
            let classifier = config.linear(b.at("classifier"), c, n)?;
            Head::Sequence { cls, dropout: config.head_dropout(), classifier, problem: Problem::of(file, n)? }
        }
        _ => match Head::common(class, file, &config, &mut b)? {
            Some(head) => head,
            None => {
                let mut body = b.at("");
                let has = body.has("pooler.weight");
                Head::Base { pooler: has.then(|| pooler(body)).transpose()? }
            }
        },
    };
    Ok(Box::new(Encoder { projection, order, ..Encoder::new(&config, embeddings, blocks, head) }))
}
