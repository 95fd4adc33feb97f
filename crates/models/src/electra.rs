//! ELECTRA, [Clark et al. 2020](https://arxiv.org/abs/2003.10555): the discriminator and its uses, and the generator.

use bedstone_nn::Builder;
use bedstone_tensor::Activation;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{
        BERT_BLOCK, Cls, Encoder, EncoderConfig, Head, MaskedLm, MaskedLmNames, Positions, Problem, discriminator,
        labels,
    },
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "electra",
    classes: &[
        ("ElectraModel", Class::Base),
        ("ElectraForPreTraining", Class::ReplacedTokens),
        ("ElectraForMaskedLM", Class::MaskedLm),
        ("ElectraForSequenceClassification", Class::SequenceClassification),
        ("ElectraForTokenClassification", Class::TokenClassification),
        ("ElectraForQuestionAnswering", Class::QuestionAnswering),
    ],
    base_prefix: "electra",
    build,
    tiny: r#"{"vocab_size": 61, "embedding_size": 16, "hidden_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 24}"#,
};

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let mut config: EncoderConfig = file.parse()?;
    // The released small discriminator's sizes, where the file does not say.
    for (field, to, default) in [
        ("hidden_size", &mut config.hidden_size, 256),
        ("num_attention_heads", &mut config.num_attention_heads, 4),
        ("intermediate_size", &mut config.intermediate_size, 1024),
    ] {
        if file.get(field).is_none() {
            *to = default;
        }
    }
    config.check()?;
    let (c, width) = (config.hidden_size, file.usize("embedding_size")?.unwrap_or(128));
    let mut body = if class == Class::Base { b.at("") } else { b.at("electra") };
    let embeddings = config.embeddings(body.at("embeddings"), width, Positions::All)?;
    let projection = match width == c {
        true => None,
        false => Some(config.linear(body.at("embeddings_project"), width, c)?),
    };
    let blocks = (0..config.num_hidden_layers)
        .map(|i| config.block(body.at("encoder.layer").at(i), i, &BERT_BLOCK))
        .collect::<Result<_, _>>()?;
    let head = match class {
        Class::ReplacedTokens => discriminator(&mut b, &config)?,
        Class::MaskedLm => {
            let names = MaskedLmNames {
                dense: "generator_predictions.dense",
                norm: "generator_predictions.LayerNorm",
                bias: "generator_lm_head.bias",
                decoder: Some("generator_lm_head.weight"),
            };
            let words = embeddings.words();
            Head::MaskedLm(Box::new(MaskedLm::new(&mut b, &config, &names, width, words, Activation::Gelu)?))
        }
        Class::SequenceClassification => {
            let (n, dropout) = (labels(file)?, config.head_dropout());
            let mut b = b.at("classifier");
            let cls = Cls { before: dropout, dense: config.linear(b.at("dense"), c, c)?, activation: Activation::Gelu };
            let classifier = config.linear(b.at("out_proj"), c, n)?;
            Head::Sequence { cls, dropout, classifier, problem: Problem::of(file, n)? }
        }
        _ => Head::common(class, file, &config, &mut b)?.unwrap_or(Head::Base { pooler: None }),
    };
    Ok(Box::new(Encoder { projection, ..Encoder::new(&config, embeddings, blocks, head) }))
}
