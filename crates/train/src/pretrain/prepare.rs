//! What a run needs before its first step.

use std::{path::Path, time::Instant};

use bedstone_data::{
    sampler::{Cursor, Loader, MaskOptions, Masked, Options, Sampler, Vocabulary, Windows},
    shards::TokenSet,
    tokenizer::Tokenizer,
};
use bedstone_infer::Runtime;
use bedstone_models::{Model, ModelError, load};
use bedstone_nn::{Init, NnError, Random, Source};
use bedstone_run::{Checkpoint, Interrupt, Log, Progress, Recipe, RunDir, dir::model_folder, space, units};
use bedstone_tensor::{Shape, Tensor};

use super::{Request, resume::check_bits, run::Run};
use crate::{
    Result, TrainError,
    data::Text,
    embeddings::{WordVectors, begin_with},
    objective::{CausalLm, MaskedLm, Objective},
    optimizer::{AdamW, AdamWConfig},
    plan::{peak_bytes, plan},
    precision::resolve,
    recipe::PretrainRecipe,
    state::State,
};

impl Run {
    /// Opens or makes everything, and goes to where an earlier process stopped.
    pub(super) fn prepare(
        request: &Request<'_>,
        recipe: Recipe<PretrainRecipe>,
        dir: RunDir,
        saved: Option<Checkpoint>,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let r = &recipe.values;
        let precision = resolve(r.train.precision, request.isa, &recipe)?;
        let runtime = Runtime { isa: request.isa, precision };
        progress.note(&format!("run: {}", dir.path().display()));
        // Before a long text is numbered in vain.
        let vectors = match (&saved, &r.train.init_embeddings) {
            (None, Some(path)) => Some((path, open_vectors(request, r, path)?)),
            _ => None,
        };
        let text = Text::open(&r.data)?;
        let tokenizer = match (&saved, &r.train.init, &r.tokenizer.file) {
            (Some(saved), ..) => Tokenizer::load(&saved.path)?,
            (None, Some(init), None) => Tokenizer::load(&model_folder(init)?)?,
            _ => text.tokenizer(&r.tokenizer, &mut |note| progress.note(&note), interrupt)?,
        };
        let mut tokenizer = tokenizer;
        let shards = text.shards(&tokenizer, &r.data, progress, interrupt)?;
        let model = match (&saved, &r.train.init) {
            (Some(saved), _) => load(&saved.path)?.0,
            (None, Some(init)) => start_from(request, &recipe, init, progress)?,
            (None, None) => {
                let pad = tokenizer.special().pad.as_ref().map_or(0, |t| t.id as usize);
                let fields = r.model_fields(request.family, tokenizer.vocab_size(), pad);
                let fields = with_special_ids(fields, &tokenizer);
                let architecture = request.family.architecture().ok_or_else(|| TrainError::State {
                    path: dir.path().to_owned(),
                    reason: format!("no architecture `{}`", request.family.model_type()),
                })?;
                let config = Model::config_of(architecture, request.family.class(r.mask.as_ref()), &fields);
                let mut source = Limited::new(Random { seed: r.train.seed });
                Model::build(config, &mut source).map_err(|e| of_recipe(&recipe, e))?
            }
        };
        let mut model = model;
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
        let t = &r.train;
        let config = AdamWConfig { beta1: t.beta1, beta2: t.beta2, eps: t.eps, weight_decay: t.weight_decay };
        check_memory(peak_bytes(&model, r, runtime))?;
        let mut optimizer = AdamW::new(config, model.params());
        let mut sampler: Box<dyn Sampler> = match masked(r, &shards.train, &tokenizer, t.seed)? {
            Some(masked) => Box::new(masked),
            None => {
                let options = Options { length: t.context, seed: t.seed, shift: false };
                Box::new(Windows::new(shards.train.clone(), options)?)
            }
        };
        let mut state = State {
            step: 0,
            cursor: Cursor::default(),
            data: shards.manifest.key.clone(),
            isa: runtime.isa.to_string(),
            precision: runtime.precision.name().to_owned(),
            tokens: 0,
            best: None,
        };
        let log = match &saved {
            None => Log::create(&dir.log())?,
            Some(saved) => {
                let old = State::load(&saved.state())?;
                check_bits(request, saved, &old, &state)?;
                State::load_moments(&saved.state(), model.params(), &mut optimizer)?;
                optimizer.set_step(old.step);
                sampler.seek(old.cursor)?;
                progress.note(&format!("resumed after step {}", old.step));
                state = old;
                Log::resume(&dir.log(), state.step)?.0
            }
        };
        let tokenizer_bytes = 100 * tokenizer.vocab_size() as u64;
        let validation = shards.validation.as_ref().map_or(0, |set| set.len());
        let plan = plan(&model, r, runtime, state.step, tokenizer_bytes, validation);
        space::check(dir.path(), plan.disk_bytes)?;
        let loader = Loader::spawn(sampler, t.batch, 2)?;
        Ok(Run {
            recipe,
            runtime,
            dir,
            text,
            tokenizer,
            shards,
            model,
            optimizer,
            loader,
            log,
            plan,
            state,
            started: Instant::now(),
            disk: 0,
            aside: Default::default(),
        })
    }
}

/// Word vectors for the embedding; an error if the recipe's model is of another width.
fn open_vectors(request: &Request<'_>, r: &PretrainRecipe, path: &Path) -> Result<Box<dyn WordVectors>> {
    let vectors =
        (request.open_vectors)(path).map_err(|reason| TrainError::Embeddings { path: path.to_owned(), reason })?;
    // With train.init the model is not the recipe's.
    let width = ["n_embd", "hidden_size"]
        .into_iter()
        .find_map(|key| r.model.get(key)?.as_u64())
        .filter(|_| r.train.init.is_none());
    match (width, vectors.dimension()) {
        (Some(wanted), got) if wanted != got as u64 => {
            Err(TrainError::EmbeddingWidth { path: path.to_owned(), got, wanted: wanted as usize })
        }
        _ => Ok(vectors),
    }
}

/// The sequences of an encoder; `None` for a model that predicts the next token.
pub(super) fn masked(r: &PretrainRecipe, set: &TokenSet, tokenizer: &Tokenizer, seed: u64) -> Result<Option<Masked>> {
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

/// What a recipe trains for.
pub(super) fn objective(r: &PretrainRecipe) -> Box<dyn Objective> {
    let context = r.train.context;
    if r.mask.is_some() { Box::new(MaskedLm { context }) } else { Box::new(CausalLm { context }) }
}

/// The weights of another checkpoint under this run's settings.
fn start_from(
    request: &Request<'_>,
    recipe: &Recipe<PretrainRecipe>,
    init: &Path,
    progress: &mut dyn Progress,
) -> Result<Model> {
    let (model, report) = load(&model_folder(init)?)?;
    let wanted = request.family.model_type();
    if model.architecture().model_type != wanted {
        return Err(recipe.invalid("train.init", format!("a checkpoint of model_type `{wanted}`")).into());
    }
    let changed = recipe.values.model.keys().map(|k| format!("model.{k}"));
    if let Some(key) = changed.into_iter().find(|k| recipe.origin(k) != bedstone_run::recipe::Origin::BuiltIn) {
        return Err(recipe.invalid(&key, "nothing: the checkpoint of train.init decides the model").into());
    }
    if !report.unused.is_empty() {
        progress.note(&format!("{}: not used: {}", init.display(), report.unused.join(", ")));
    }
    progress.note(&format!("weights: from {}", init.display()));
    Ok(model)
}

/// Fresh weights, as long as memory lasts for training them: a slip of a size must not take the machine down.
struct Limited {
    random: Random,
    numbers: u64,
    available: Option<u64>,
}

/// Weight, gradient and two moments.
const BYTES_A_PARAMETER: u64 = 16;

impl Limited {
    fn new(random: Random) -> Self {
        Limited { random, numbers: 0, available: available_memory() }
    }
}

impl Source for Limited {
    fn weights(&mut self, name: &str, shape: Shape, init: Init) -> Result<Tensor, NnError> {
        self.numbers = self.numbers.saturating_add(shape.numel() as u64);
        if let Some(has) = self.available.filter(|has| self.numbers.saturating_mul(BYTES_A_PARAMETER) > *has) {
            let (needs, has) = (units::bytes(self.numbers * BYTES_A_PARAMETER), units::bytes(has));
            return Err(NnError::Config {
                what: "the size of the model".into(),
                got: format!("{needs} of memory to train it as far as `{name}`"),
                wanted: format!("at most {has}, which are available"),
            });
        }
        self.random.weights(name, shape, init)
    }
}

/// A size that makes no sense, under the key that the recipe has for it.
fn of_recipe(recipe: &Recipe<PretrainRecipe>, error: ModelError) -> TrainError {
    match &error {
        ModelError::Layers(NnError::Config { what, wanted, .. }) if recipe.values.model.contains_key(what) => {
            recipe.invalid(&format!("model.{what}"), wanted).into()
        }
        _ => error.into(),
    }
}

/// Ids of special tokens, for `config.json`.
pub(super) fn with_special_ids(
    mut fields: serde_json::Map<String, serde_json::Value>,
    tokenizer: &Tokenizer,
) -> serde_json::Map<String, serde_json::Value> {
    let special = tokenizer.special();
    let end = tokenizer.document_end();
    for (name, token) in
        [("bos_token_id", special.bos.as_ref()), ("eos_token_id", end), ("pad_token_id", special.pad.as_ref())]
    {
        fields.insert(name.into(), token.map(|t| t.id).into());
    }
    fields
}

/// An error if the run takes more memory than the machine has left.
fn check_memory(needs: u64) -> Result<()> {
    match available_memory() {
        // Where the system does not tell, the run shows.
        Some(has) if needs > has => Err(TrainError::Memory { needs, has }),
        _ => Ok(()),
    }
}

/// Memory that the machine has left, in bytes, where the system tells.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}
