//! Vectors of texts, by the pipeline that users run.

use bedstone_data::tokenizer::Tokenizer;
use bedstone_infer::{
    InferError, Runtime,
    tasks::{
        Encoder,
        embed::{Module, SentenceConfig, embed, is_sentence_transformer},
    },
};
use bedstone_models::Model;
use bedstone_tensor::Tensor;

use super::{
    Case,
    fixture::{Fixture, ParityError, read_json},
    outputs,
};

/// What `sentences.json` holds the texts of.
const CASE: &str = "sentences";

/// Whether an output of a case comes from the pipeline and not from the model.
pub(super) fn is_output(fixture: &Fixture, case: &str, name: &str) -> bool {
    case == CASE && ["pooled", "embeddings"].contains(&name) && is_sentence_transformer(&fixture.dir)
}

/// Compares what the pipeline makes of the texts with the recorded `pooled` and `embeddings`.
pub(super) fn check(fixture: &Fixture, model: &Model, runtime: Runtime) -> Result<Vec<Case>, ParityError> {
    if !fixture.outputs(CASE)?.iter().any(|(name, _)| is_output(fixture, CASE, name)) {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = read_json(&fixture.dir.join("sentences.json"))?;
    let tokenizer = Tokenizer::load(&fixture.dir).map_err(InferError::from)?;
    let whole = SentenceConfig::open(&fixture.dir, model.info().width)?;
    let mut pooling = whole.clone();
    pooling.modules.retain(|module| matches!(module, Module::Pooling { .. }));
    let encoder = Encoder::new(model, &tokenizer, runtime);
    let mut cases = Vec::new();
    for (name, want) in fixture.outputs(CASE)? {
        if is_output(fixture, CASE, &name) {
            let config = if name == "pooled" { &pooling } else { &whole };
            let got = embed(encoder, config, &texts, None)?;
            let got = Tensor::from_slice(&got.data, [got.len(), got.width]);
            cases.push(outputs::compare(format!("{CASE} {name}"), &got, &want, None, runtime.precision));
        }
    }
    Ok(cases)
}
