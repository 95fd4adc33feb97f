//! RoBERTa, [Liu et al. 2019](https://arxiv.org/abs/1907.11692), and XLM-RoBERTa.

use bedstone_nn::Builder;
use bedstone_tensor::Activation;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{
        BERT_BLOCK, Cls, Encoder, EncoderConfig, Head, MaskedLm, MaskedLmNames, Pooler, Positions, Problem, labels,
    },
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "roberta",
    classes: &[
        ("RobertaModel", Class::Base),
        ("RobertaForMaskedLM", Class::MaskedLm),
        ("RobertaForSequenceClassification", Class::SequenceClassification),
        ("RobertaForTokenClassification", Class::TokenClassification),
        ("RobertaForQuestionAnswering", Class::QuestionAnswering),
    ],
    base_prefix: "roberta",
    build,
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
              "intermediate_size": 40, "max_position_embeddings": 26, "type_vocab_size": 1, "pad_token_id": 1}"#,
};

pub(crate) const XLM: Architecture = Architecture {
    model_type: "xlm-roberta",
    classes: &[
        ("XLMRobertaModel", Class::Base),
        ("XLMRobertaForMaskedLM", Class::MaskedLm),
        ("XLMRobertaForSequenceClassification", Class::SequenceClassification),
        ("XLMRobertaForTokenClassification", Class::TokenClassification),
        ("XLMRobertaForQuestionAnswering", Class::QuestionAnswering),
    ],
    ..ARCHITECTURE
};

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let mut config: EncoderConfig = file.parse()?;
    // RoBERTa's own default, where the file does not say.
    if file.get("pad_token_id").is_none() {
        config.pad_token_id = Some(1);
    }
    config.check()?;
    let c = config.hidden_size;
    let mut body = if class == Class::Base { b.at("") } else { b.at("roberta") };
    let positions = Positions::Tokens { pad: config.pad_token_id.unwrap_or(1) };
    let embeddings = config.embeddings(body.at("embeddings"), c, positions)?;
    let blocks = (0..config.num_hidden_layers)
        .map(|i| config.block(body.at("encoder.layer").at(i), i, &BERT_BLOCK))
        .collect::<Result<_, _>>()?;
    let head = match class {
        Class::MaskedLm => {
            let names =
                MaskedLmNames { dense: "dense", norm: "layer_norm", bias: "bias", decoder: Some("decoder.weight") };
            let words = embeddings.words();
            let lm = MaskedLm::new(&mut b.at("lm_head"), &config, &names, c, words, Activation::Gelu)?;
            Head::MaskedLm(Box::new(lm))
        }
        Class::SequenceClassification => {
            let (n, dropout) = (labels(file)?, config.head_dropout());
            let mut b = b.at("classifier");
            let cls = Cls { before: dropout, dense: config.linear(b.at("dense"), c, c)?, activation: Activation::Tanh };
            let classifier = config.linear(b.at("out_proj"), c, n)?;
            Head::Sequence { cls, dropout, classifier, problem: Problem::of(file, n)? }
        }
        _ => match Head::common(class, file, &config, &mut b)? {
            Some(head) => head,
            None if b.has("pooler.dense.weight") => {
                let dense = config.linear(b.at("pooler.dense"), c, c)?;
                Head::Base { pooler: Some(Pooler { before: 0.0, dense, activation: Activation::Tanh }) }
            }
            None => Head::Base { pooler: None },
        },
    };
    Ok(Box::new(Encoder::new(&config, embeddings, blocks, head)))
}
