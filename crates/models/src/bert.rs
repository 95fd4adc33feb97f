//! BERT, [Devlin et al. 2018](https://arxiv.org/abs/1810.04805).

use bedstone_nn::Builder;
use bedstone_tensor::Activation;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{
        BERT_BLOCK, Cls, Encoder, EncoderConfig, Head, MaskedLm, MaskedLmNames, Pooler, Positions, Problem,
        RelationNames, labels,
    },
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "bert",
    classes: &[
        ("BertModel", Class::Base),
        ("BertForPreTraining", Class::PreTraining),
        ("BertForMaskedLM", Class::MaskedLm),
        ("BertForNextSentencePrediction", Class::NextSentence),
        ("BertForSequenceClassification", Class::SequenceClassification),
        ("BertForTokenClassification", Class::TokenClassification),
        ("BertForQuestionAnswering", Class::QuestionAnswering),
    ],
    base_prefix: "bert",
    build,
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
              "intermediate_size": 40, "max_position_embeddings": 24}"#,
};

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let config: EncoderConfig = file.parse()?;
    config.check()?;
    let mut body = if class == Class::Base { b.at("") } else { b.at("bert") };
    let embeddings = config.embeddings(body.at("embeddings"), config.hidden_size, Positions::All)?;
    let blocks = (0..config.num_hidden_layers)
        .map(|i| config.block(body.at("encoder.layer").at(i), i, &BERT_BLOCK))
        .collect::<Result<_, _>>()?;
    let pooler = |mut b: Builder<'_>| {
        let dense = config.linear(b.at("pooler.dense"), config.hidden_size, config.hidden_size)?;
        Ok::<_, ModelError>(Pooler { before: 0.0, dense, activation: Activation::Tanh })
    };
    let lm = |b: &mut Builder<'_>| {
        let names = MaskedLmNames {
            dense: "transform.dense",
            norm: "transform.LayerNorm",
            bias: "bias",
            decoder: Some("decoder.weight"),
        };
        let (width, words) = (config.hidden_size, embeddings.words());
        MaskedLm::new(&mut b.at("cls.predictions"), &config, &names, width, words, config.activation()?)
    };
    let head = match class {
        Class::PreTraining => Head::PreTraining {
            pooler: pooler(body)?,
            lm: Box::new(lm(&mut b)?),
            relation: config.linear(b.at("cls.seq_relationship"), config.hidden_size, 2)?,
            names: RelationNames { logits: "seq_relationship_logits", label: "next_sentence_label" },
        },
        Class::MaskedLm => Head::MaskedLm(Box::new(lm(&mut b)?)),
        Class::NextSentence => Head::NextSentence {
            pooler: pooler(body)?,
            relation: config.linear(b.at("cls.seq_relationship"), config.hidden_size, 2)?,
        },
        Class::SequenceClassification => {
            let n = labels(file)?;
            let cls: Cls = pooler(body)?;
            let classifier = config.linear(b.at("classifier"), config.hidden_size, n)?;
            Head::Sequence { cls, dropout: config.head_dropout(), classifier, problem: Problem::of(file, n)? }
        }
        _ => match Head::common(class, file, &config, &mut b)? {
            Some(head) => head,
            None => {
                let mut body = b.at("");
                let has = body.has("pooler.dense.weight");
                Head::Base { pooler: has.then(|| pooler(body)).transpose()? }
            }
        },
    };
    Ok(Box::new(Encoder::new(&config, embeddings, blocks, head)))
}
