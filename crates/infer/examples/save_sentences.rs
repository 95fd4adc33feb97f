//! Writes a sentence encoder again in the layout of sentence-transformers: `save_sentences FROM TO [POOLING]`.
//!
//! `bench/sentence_transformers_opens.py` opens what it writes in Python.

use std::{error::Error, path::Path};

use bedstone_infer::{
    Runtime,
    tasks::embed::{Module, Pooling, SentenceConfig, SentenceEncoder, save_sentence_transformer},
};
use bedstone_tensor::{Activation, Isa, Precision, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, pooling @ ..] = &args[..] else { return Err("wanted FROM TO [POOLING]".into()) };
    let runtime = Runtime { isa: Isa::detect(), precision: Precision::F32 };
    let (encoder, _) = SentenceEncoder::load(Path::new(from), runtime)?;
    let mut config = encoder.config.clone();
    if let [name] = pooling {
        // Another pooling, a projection to eight numbers, and a prompt.
        let width = encoder.model.model.info().width;
        let weight: Vec<f32> = (0..8 * width).map(|i| (i as f32).sin() / (width as f32).sqrt()).collect();
        let dense = Module::Dense {
            weight: Tensor::from_slice(&weight, [8, width]),
            bias: Some(Tensor::from_slice(&[0.1f32; 8], [8])),
            activation: Activation::Tanh,
        };
        config = SentenceConfig::plain(Pooling::by_name(name).ok_or("no such pooling")?);
        config.modules.extend([dense, Module::Normalize]);
        config.max_seq_length = encoder.config.max_seq_length;
        config.prompts = vec![("query".into(), "query: ".into())];
    }
    let model = &encoder.model;
    Ok(save_sentence_transformer(Path::new(to), &model.model, &model.tokenizer, &config)?)
}
