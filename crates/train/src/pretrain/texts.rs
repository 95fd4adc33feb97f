//! Pretraining on texts: text, tokenizer, tokens, windows.

use std::{fs, path::Path, time::Duration};

use bedstone_data::{
    sampler::{Batch, Cursor, Loader, MaskOptions, Masked, Options, Sampler, Vocabulary, Windows},
    shards::{Shards, TokenSet},
    tokenizer::Tokenizer,
};
use bedstone_infer::Runtime;
use bedstone_models::{Model, load};
use bedstone_run::{Interrupt, Progress, Recipe, dir::model_folder, files::FileError, progress::LossMeaning, units};
use serde_json::{Map, Value};

use super::{
    Request,
    material::{Material, Open},
    weights::{begin_heads, of_recipe, random, start_from},
};
use crate::{
    Result, TrainError,
    data::Text,
    embeddings::{WordVectors, begin_with},
    evaluate::{Evaluated, evaluate, evaluate_masked},
    objective::{CausalLm, Job, MaskedLm, Objective, Work},
    recipe::PretrainRecipe,
};

/// Masks of validation texts are the same for every run.
const VALIDATION_SEED: u64 = 0;
/// Batches that are made ahead.
const AHEAD: usize = 2;

/// Texts as tokens.
struct Texts {
    recipe: PretrainRecipe,
    text: Text,
    tokenizer: Tokenizer,
    shards: Shards,
    vocab_size: u64,
    /// Whether the model continues texts.
    generates: bool,
    objective: Box<dyn Objective>,
    loader: Option<Loader>,
    batch: Batch,
}

impl Open for PretrainRecipe {
    fn open(
        request: &Request<'_>,
        recipe: &Recipe<Self>,
        from: Option<&Path>,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(Model, Box<dyn Material>)> {
        let r = &recipe.values;
        // Before a long text is numbered in vain.
        let vectors = match (from, &r.train.init_embeddings) {
            (None, Some(path)) => Some((path, open_vectors(request, r, path)?)),
            _ => None,
        };
        let text = Text::open(&r.data)?;
        let mut tokenizer = match (from, &r.train.init, &r.tokenizer.file) {
            (Some(from), ..) => Tokenizer::load(from)?,
            (None, Some(init), None) => Tokenizer::load(&model_folder(init)?)?,
            _ => text.tokenizer(&r.tokenizer, &mut |note| progress.note(&note), interrupt)?,
        };
        let shards = text.shards(&tokenizer, &r.data, progress, interrupt)?;
        let class = request.family.class(r.mask.as_ref());
        let mut model = match (from, &r.train.init) {
            (Some(from), _) => load(from)?.0,
            (None, Some(init)) => start_from(request, recipe, &r.model, init, progress)?,
            (None, None) => {
                let pad = tokenizer.special().pad.as_ref().map_or(0, |t| t.id as usize);
                let fields = r.model_fields(request.family, tokenizer.vocab_size(), pad);
                let fields = with_special_ids(fields, &tokenizer);
                let made = random(request, class, &fields, r.train.seed);
                let mut model = made.map_err(|e| of_recipe(recipe, &r.model, e))?;
                begin_heads(&mut model, recipe)?;
                model
            }
        };
        if let Some((path, vectors)) = vectors {
            begin_with(&mut model, &tokenizer, path, &*vectors, progress)?;
        }
        let info = model.info();
        if tokenizer.vocab_size() > info.vocab_size {
            return Err(TrainError::Vocabulary { tokens: tokenizer.vocab_size(), vocab: info.vocab_size });
        }
        if let Some(limit) = info.max_length.filter(|&limit| r.train.context > limit) {
            return Err(TrainError::Context { context: r.train.context, limit });
        }
        tokenizer.set_model_max_length(info.max_length.unwrap_or(r.train.context));
        let context = r.train.context;
        let objective: Box<dyn Objective> = match r.mask {
            Some(_) => Box::new(MaskedLm { context }),
            None => Box::new(CausalLm { context }),
        };
        let texts = Texts {
            recipe: r.clone(),
            text,
            tokenizer,
            shards,
            vocab_size: info.vocab_size as u64,
            generates: request.family.generates(),
            objective,
            loader: None,
            batch: Batch::default(),
        };
        Ok((model, Box::new(texts)))
    }
}

impl Material for Texts {
    fn start(&mut self, cursor: Cursor) -> Result<()> {
        let (r, train) = (&self.recipe, &self.shards.train);
        let mut sampler: Box<dyn Sampler> = match masked(r, train, &self.tokenizer, r.train.seed)? {
            Some(masked) => Box::new(masked),
            None => {
                let options = Options { length: r.train.context, seed: r.train.seed, shift: false };
                Box::new(Windows::new(train.clone(), options)?)
            }
        };
        sampler.seek(cursor)?;
        self.loader = Some(Loader::spawn(sampler, r.train.batch, AHEAD)?);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let loader = self.loader.as_mut().ok_or(bedstone_data::sampler::Error::LoaderEnded)?;
        self.batch = loader.next_batch()?;
        Ok(())
    }

    fn work(&self) -> Box<dyn Work + '_> {
        Box::new(Job { objective: &*self.objective, batch: &self.batch })
    }

    fn guessed(&self) -> u64 {
        self.objective.weight(&self.batch)
    }

    fn tokens(&self) -> u64 {
        self.batch.labels.len() as u64
    }

    fn describe(&self) -> String {
        describe(&self.shards.train, &self.batch, self.recipe.train.context)
    }

    fn cursor(&self) -> Cursor {
        self.loader.as_ref().map_or_else(Cursor::default, Loader::cursor)
    }

    fn waited(&self) -> Duration {
        self.loader.as_ref().map_or(Duration::ZERO, Loader::waited)
    }

    fn evaluate(&self, model: &Model, runtime: Runtime, limit: u64) -> Result<Option<Evaluated>> {
        let Some(set) = self.shards.validation.as_ref().filter(|s| s.len() > 1) else { return Ok(None) };
        let r = &self.recipe;
        let (context, batch) = (r.train.context, r.train.micro_batch());
        Ok(Some(match masked(r, set, &self.tokenizer, VALIDATION_SEED)? {
            Some(m) => Evaluated::Masked(evaluate_masked(model, runtime, m, context, batch, limit)?),
            None => Evaluated::Causal(evaluate(model, runtime, set, context, batch, limit)?),
        }))
    }

    fn held_out(&self) -> u64 {
        self.shards.validation.as_ref().map_or(0, TokenSet::len)
    }

    fn save(&self, dir: &Path) -> Result<()> {
        self.tokenizer.save(dir)?;
        if self.generates {
            let fields = with_special_ids(Map::default(), &self.tokenizer);
            let text = serde_json::to_string_pretty(&fields).unwrap_or_default() + "\n";
            let path = dir.join("generation_config.json");
            fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        100 * self.tokenizer.vocab_size() as u64
    }

    fn key(&self) -> &str {
        &self.shards.manifest.key
    }

    fn name(&self) -> String {
        self.text.describe()
    }

    fn meaning(&self) -> LossMeaning {
        let vocab_size = self.vocab_size;
        match &self.recipe.mask {
            Some(mask) => LossMeaning::Masked { vocab_size, next_sentence: mask.next_sentence },
            None => LossMeaning::Tokens { vocab_size },
        }
    }

    fn axis(&self) -> &'static str {
        "loss (nats per token)"
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("vocabulary", units::count(self.vocab_size)), ("context", self.recipe.train.context.to_string())]
    }
}

/// Word vectors for the embedding; an error if the recipe's model is of another width.
fn open_vectors(request: &Request<'_>, r: &PretrainRecipe, path: &Path) -> Result<Box<dyn WordVectors>> {
    let vectors =
        (request.open_vectors)(path).map_err(|reason| TrainError::Embeddings { path: path.to_owned(), reason })?;
    // With train.init the model is not the recipe's.
    let width = ["n_embd", "hidden_size"].into_iter().find_map(|key| r.model.get(key)?.as_u64());
    match (width.filter(|_| r.train.init.is_none()), vectors.dimension()) {
        (Some(wanted), got) if wanted != got as u64 => {
            Err(TrainError::EmbeddingWidth { path: path.to_owned(), got, wanted: wanted as usize })
        }
        _ => Ok(vectors),
    }
}

/// The sequences of an encoder; `None` for a model that predicts the next token.
fn masked(r: &PretrainRecipe, set: &TokenSet, tokenizer: &Tokenizer, seed: u64) -> Result<Option<Masked>> {
    let Some(mask) = r.mask else { return Ok(None) };
    let vocabulary = Vocabulary::of(tokenizer)?;
    let options = MaskOptions {
        length: r.train.context,
        seed,
        probability: mask.probability,
        whole_words: mask.whole_words,
        next_sentence: mask.next_sentence,
        short: mask.short,
    };
    Ok(Some(Masked::new(set.clone(), vocabulary, options)?))
}

/// Ids of special tokens, for `config.json`.
fn with_special_ids(mut fields: Map<String, Value>, tokenizer: &Tokenizer) -> Map<String, Value> {
    let special = tokenizer.special();
    let end = tokenizer.document_end();
    for (name, token) in
        [("bos_token_id", special.bos.as_ref()), ("eos_token_id", end), ("pad_token_id", special.pad.as_ref())]
    {
        fields.insert(name.into(), token.map(|t| t.id).into());
    }
    fields
}

/// Which data a batch was, for people: tokens and documents of the training split.
fn describe(set: &TokenSet, batch: &Batch, context: usize) -> String {
    let ends: Vec<u64> = set.document_ends().collect();
    let document = |token: u64| ends.partition_point(|&end| end <= token);
    let mut parts: Vec<String> = batch
        .begins
        .iter()
        .take(4)
        .map(|&b| {
            let (first, last) = (document(b), document(b + context as u64));
            format!("tokens {b} to {} (documents {first} to {last})", b + context as u64)
        })
        .collect();
    if batch.begins.len() > parts.len() {
        parts.push(format!("and {} more windows", batch.begins.len() - parts.len()));
    }
    parts.join(", ")
}
