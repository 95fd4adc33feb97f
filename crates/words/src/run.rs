//! A run, from recipe to checkpoint: what Word2Vec and GloVe have in common.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use bedstone_data::corpus::{Corpus, Format, Options};
use bedstone_kernels::Isa;
use bedstone_run::{
    Checkpoint, Comparison, Ending, Event, Interrupt, Keep, Layers, Log, Outcome as Measured, Plan, Progress, Recipe,
    Resume, RunDir, Setting, Start, Verify,
    begin::{RECIPE, changed},
    files::FileError,
    plan as run_plan,
    plan::Memory,
    progress, space,
    units::{self, Unit},
};
use serde::{Deserialize, Serialize};

use crate::{
    Result, Text, WordsError,
    recipe::{DataConfig, Rules, resolve},
    text::{Prepare, Prepared},
    vectors::Stored,
};

/// Stories by their number, where no text is given.
pub type Stories<'a> = &'a (dyn Fn(u64) -> Box<dyn Iterator<Item = String> + Send> + Sync);

/// What to run.
pub struct Request<'a> {
    /// A recipe file over the built-in one.
    pub config: Option<&'a Path>,
    /// Single values over both.
    pub settings: &'a [Setting],
    /// The run directory; `None` for the next free one.
    pub out: Option<&'a Path>,
    /// Where to begin.
    pub start: Start,
    /// The instructions to use.
    pub isa: Isa,
    /// What is read where the recipe names no text.
    pub stories: Stories<'a>,
}

/// What a run gave.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint directory.
    pub dir: PathBuf,
    /// Steps done.
    pub step: u64,
    /// How it ended.
    pub outcome: Ending,
}

/// Where a run stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct State {
    pub(crate) step: u64,
    /// Words (GloVe: pairs) trained on.
    pub(crate) words: u64,
    /// The hash that names the numbered text.
    pub(crate) data: String,
    /// The instruction set that computed so far.
    pub(crate) isa: String,
}

/// What a trainer begins with.
pub(crate) struct Started<'a, R> {
    pub(crate) recipe: &'a Recipe<R>,
    pub(crate) prepared: &'a Prepared,
    /// What is read, in a few words.
    pub(crate) text: &'a str,
    pub(crate) isa: Isa,
    /// Vectors to go on with, in a new run.
    pub(crate) init: Option<Stored>,
    /// A folder of the run for what training needs on the disk.
    pub(crate) work: &'a Path,
    pub(crate) interrupt: &'a Interrupt,
}

/// What a model does in a run.
pub(crate) trait Trainer: Sized {
    type Recipe: Rules;
    const NAME: &'static str;
    const RECIPE: &'static str;
    const AXIS: &'static str;

    /// What the loss measures, in one sentence.
    fn loss(&self) -> String;
    fn data(recipe: &Self::Recipe) -> &DataConfig;
    fn init(recipe: &Self::Recipe) -> Option<&Path>;
    fn deterministic(recipe: &Self::Recipe) -> bool;
    /// Checkpoints that stay, and steps between them.
    fn keep(recipe: &Self::Recipe) -> (usize, u64);
    fn vector_size(recipe: &Self::Recipe) -> usize;
    fn prepare(recipe: &Self::Recipe) -> Prepare<'static>;
    fn start(started: &Started<'_, Self::Recipe>, progress: &mut dyn Progress) -> Result<Self>;
    fn load(&mut self, checkpoint: &Path) -> Result<()>;
    fn steps(&self, run: &Run<Self>) -> u64;
    fn parameters(&self) -> u64;
    /// The size of a checkpoint's matrices.
    fn checkpoint_bytes(&self) -> u64 {
        4 * self.parameters()
    }
    fn memory(&self, run: &Run<Self>) -> Vec<Memory>;
    fn total_words(&self, run: &Run<Self>) -> u64;
    fn step(&mut self, run: &mut Run<Self>) -> Result<progress::Step>;
    fn save(&self, run: &Run<Self>, dir: &Path) -> Result<()>;
    fn config(&self, run: &Run<Self>) -> serde_json::Value;
    fn check(&self, state: &State) -> Result<()>;
}

/// A run under way.
pub(crate) struct Run<T: Trainer> {
    pub(crate) recipe: Recipe<T::Recipe>,
    pub(crate) prepared: Prepared,
    pub(crate) log: Log,
    pub(crate) state: State,
    text: String,
    // What this process has trained, and in which time.
    words: u64,
    seconds: f64,
}

const STATE: &str = "trainer.json";
/// What the process takes before anything is there.
const PROCESS: u64 = 8 << 20;

/// Runs a trainer to its end, or until the user stops it.
pub(crate) fn pretrain<T: Trainer>(
    request: &Request<'_>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<Report> {
    // A recipe with mistakes leaves no directory behind.
    resolved::<T>(request, None)?;
    let bare = request.config.is_none() && request.settings.is_empty();
    let (mut dir, resume) = RunDir::begin(request.start, request.out, T::NAME, bare, progress)?;
    for note in dir.notes() {
        progress.note(note);
    }
    let saved = match resume {
        Resume::Fresh => None,
        Resume::At(_) | Resume::Finished(_) => dir.open_latest(Verify::Checksums)?,
    };
    let recipe = recipe_of_run::<T>(request, &dir, saved.as_ref(), progress)?;
    let (keep, _) = T::keep(&recipe.values);
    dir.set_keep(Keep { last: keep, every: None });
    if let Some(checkpoint) = &saved {
        check_same::<T>(&recipe, checkpoint)?;
    }
    if let Resume::Finished(step) = resume {
        progress.note(&format!("{}: all {step} steps are done", dir.path().display()));
        return Ok(Report { dir: dir.path().to_owned(), step, outcome: Ending::AlreadyFinished });
    }
    if saved.is_none() {
        dir.keep_recipe(&recipe.to_toml())?;
    }
    let (path, step) = (dir.path().to_owned(), saved.as_ref().map_or(0, |s| s.step));
    match begin::<T>(request, recipe, &dir, saved, progress, interrupt) {
        Ok((run, trainer)) => run.train(dir, trainer, progress, interrupt),
        Err(WordsError::Interrupted) => Ok(Report { dir: path, step, outcome: Ending::Interrupted }),
        Err(e) => Err(e),
    }
}

fn resolved<T: Trainer>(request: &Request<'_>, own: Option<&Path>) -> Result<Recipe<T::Recipe>> {
    let config = request.config.or(own);
    resolve(Layers { built_in: T::RECIPE, config, settings: request.settings })
}

fn recipe_of_run<T: Trainer>(
    request: &Request<'_>,
    dir: &RunDir,
    saved: Option<&Checkpoint>,
    progress: &mut dyn Progress,
) -> Result<Recipe<T::Recipe>> {
    if let Some(saved) = saved {
        let got = crate::vectors::model_type(&saved.path)?;
        if got.as_deref() != Some(T::NAME) {
            return Err(WordsError::OtherRun {
                path: dir.path().to_owned(),
                what: format!("it holds a run of {}, not of {}", got.as_deref().unwrap_or("another model"), T::NAME),
                hint: "name the model of that run after `pretrain`, or choose another --out",
            });
        }
        return resolved::<T>(request, Some(&saved.path.join(RECIPE)));
    }
    let begun = dir.begun_with();
    if request.start == Start::New || !begun.exists() {
        return resolved::<T>(request, None);
    }
    progress.note("with the recipe that the run was begun with");
    resolved::<T>(request, Some(&begun))
}

/// An error unless the recipe gives the vectors that the checkpoint's would have given.
fn check_same<T: Trainer>(recipe: &Recipe<T::Recipe>, saved: &Checkpoint) -> Result<()> {
    match changed(T::RECIPE, &saved.path, recipe, T::Recipe::FREE_KEYS)? {
        None => Ok(()),
        Some(change) => Err(WordsError::OtherRun {
            path: saved.path.clone(),
            what: format!("{change}"),
            hint: "resume with the recipe of the run, or start another run from its vectors with --init",
        }),
    }
}

/// Text, matrices, log; and the state of an earlier process.
fn begin<T: Trainer>(
    request: &Request<'_>,
    recipe: Recipe<T::Recipe>,
    dir: &RunDir,
    saved: Option<Checkpoint>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<(Run<T>, T)> {
    progress.note(&format!("run: {}", dir.path().display()));
    let data = T::data(&recipe.values);
    let work = work_folder(dir);
    let init = match T::init(&recipe.values) {
        Some(path) => Some(Stored::open(path)?),
        None => None,
    };
    if let Some(init) = &init {
        let wanted = T::vector_size(&recipe.values);
        if init.dimension != wanted {
            return Err(WordsError::Dimension {
                path: init.path.clone(),
                got: init.dimension,
                wanted,
                hint: format!("go on with --set model.vector_size={}", init.dimension),
            });
        }
    }
    let (corpus, text);
    // Numbers that a run left before its first checkpoint are good for the recipe that they were made with.
    let stamp = work.join(RECIPE);
    if saved.is_none() && work.exists() && fs::read_to_string(&stamp).ok() != Some(recipe.to_toml()) {
        fs::remove_dir_all(&work).map_err(FileError::at(&work, "remove what another recipe made"))?;
    }
    // A text that was numbered before is not read again, nor even looked for.
    let found = Prepared::find(&work)?;
    let prepared = match found {
        Some(prepared) => {
            text = match &data.paths[..] {
                [] => format!("{} stories of the embedded World", data.stories),
                paths => paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
            };
            progress.note(&format!("words: found in {}", work.display()));
            prepared
        }
        None => {
            let source = if data.paths.is_empty() {
                let count = data.stories;
                let name = format!("{count} stories of the embedded World");
                Text::Documents { name, documents: Box::new(move || (request.stories)(count)) }
            } else {
                corpus = open_corpus(data)?;
                Text::Corpus(&corpus)
            };
            text = source.describe();
            let mut prepare = T::prepare(&recipe.values);
            prepare.known = init.as_ref().map(|i| &i.vocab);
            let mut shown = 0;
            let mut told = |what: &str, bytes: u64| {
                // Every 64 MiB, so that long reading shows life.
                if bytes >> 26 != shown {
                    shown = bytes >> 26;
                    progress.note(&format!("{what} {}", units::bytes(bytes)));
                }
                if interrupt.requested() { Err(WordsError::Interrupted) } else { Ok(()) }
            };
            let prepared = Prepared::open(&source, &work, &prepare, &mut told)?;
            fs::write(&stamp, recipe.to_toml()).map_err(FileError::at(&stamp, "write"))?;
            prepared
        }
    };
    let (vocab, words) = (units::count(prepared.vocab.len() as u64), units::count(prepared.ids.words()));
    progress.note(&format!("data: {vocab} words in the vocabulary, {words} in the text"));
    if prepared.phrases > 0 {
        progress.note(&format!("phrases: {} kinds joined", units::count(prepared.phrases)));
    }
    // Its vectors are in the checkpoint by now.
    let init = if saved.is_some() { None } else { init };
    let started =
        Started { recipe: &recipe, prepared: &prepared, text: &text, isa: request.isa, init, work: &work, interrupt };
    let mut trainer = T::start(&started, progress)?;
    let mut state = State { step: 0, words: 0, data: prepared.ids.hash().to_owned(), isa: request.isa.to_string() };
    let log = match &saved {
        None => Log::create(&dir.log())?,
        Some(saved) => {
            let old = load_state(saved)?;
            check_bits::<T>(request, &recipe.values, saved, &old, &state)?;
            trainer.load(&saved.path)?;
            progress.note(&format!("resumed after step {}", old.step));
            state = old;
            Log::resume(&dir.log(), state.step)?.0
        }
    };
    Ok((Run { recipe, prepared, log, state, text, words: 0, seconds: 0.0 }, trainer))
}

fn open_corpus(data: &DataConfig) -> Result<Corpus> {
    // Who names a field means rows, in the standard input too.
    let stdin = if data.field == Options::default().field { Format::Text } else { Format::JsonLines };
    let options = Options { field: data.field.clone(), stdin, ..Options::default() };
    Ok(Corpus::open(&data.paths, options)?)
}

/// Where the numbered text and the counts of a run lie until it is finished.
fn work_folder(dir: &RunDir) -> PathBuf {
    dir.path().join("training").join("corpus")
}

fn load_state(saved: &Checkpoint) -> Result<State> {
    let path = saved.state().join(STATE);
    let text = fs::read(&path).map_err(FileError::at(&path, "read"))?;
    serde_json::from_slice(&text).map_err(|e| WordsError::format(&path, e.to_string()))
}

fn check_bits<T: Trainer>(
    request: &Request<'_>,
    recipe: &T::Recipe,
    saved: &Checkpoint,
    old: &State,
    new: &State,
) -> Result<()> {
    let allowed = matches!(request.start, Start::Resume { allow_different_bits: true });
    let differs = |what: &str, old: &str, new: &str, hint| {
        Err(WordsError::OtherRun { path: saved.path.clone(), what: format!("{what} was {old}, now {new}"), hint })
    };
    if old.data != new.data {
        return differs("data", &old.data, &new.data, "give the same data as before");
    }
    // Without `deterministic` no two runs have the same bits anyway.
    if old.isa != new.isa && T::deterministic(recipe) && !allowed {
        let hint = "set BEDSTONE_ISA as before, or accept with --allow-different-bits";
        return differs("instruction set", &old.isa, &new.isa, hint);
    }
    Ok(())
}

impl<T: Trainer> Run<T> {
    fn train(
        mut self,
        mut dir: RunDir,
        mut trainer: T,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Report> {
        let (steps, first) = (trainer.steps(&self), self.state.step);
        let (_, every) = T::keep(&self.recipe.values);
        let plan = self.plan(&dir, &trainer, steps, first);
        space::check(dir.path(), plan.disk_bytes)?;
        progress.event(&Event::Started(progress::Started {
            run: dir.path().to_owned(),
            done: first,
            of: steps,
            plan: plan.clone(),
            loss: progress::LossMeaning::Other(trainer.loss()),
        }));
        let clock = Instant::now();
        let mut disk = 0;
        while self.state.step < steps {
            if interrupt.requested() {
                if dir.step() != Some(self.state.step) && self.state.step > 0 {
                    self.checkpoint(&mut dir, &trainer, progress)?;
                }
                return Ok(Report { dir: dir.path().to_owned(), step: self.state.step, outcome: Ending::Interrupted });
            }
            let step = trainer.step(&mut self)?;
            progress.event(&Event::Step(step));
            if step.step == steps || (every > 0 && step.step.is_multiple_of(every)) {
                disk = disk.max(self.checkpoint(&mut dir, &trainer, progress)?);
            }
        }
        dir.finish()?;
        let outcome = Measured {
            tokens: self.words,
            steps: steps - first,
            peak_bytes: run_plan::peak_memory(),
            seconds: clock.elapsed().as_secs_f64(),
            disk_bytes: Some(disk),
            aside: None,
        };
        let comparison = Some(Comparison { plan, outcome });
        progress.event(&Event::Finished(progress::Finished { step: steps, of: steps, comparison }));
        // Nothing needs the numbers of a finished run. If this fails, they are in nobody's way.
        let _ = fs::remove_dir_all(work_folder(&dir));
        Ok(Report { dir: dir.path().to_owned(), step: steps, outcome: Ending::Finished })
    }

    /// Counts what a step did.
    pub(crate) fn trained(&mut self, words: u64, seconds: f64) {
        self.words += words;
        self.seconds += seconds;
    }

    /// The speed of training in this process, without reading the text and writing checkpoints.
    pub(crate) fn words_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.words as f64 / self.seconds } else { 0.0 }
    }

    fn plan(&self, dir: &RunDir, trainer: &T, steps: u64, first: u64) -> Plan {
        let mut memory = trainer.memory(self);
        memory.insert(0, Memory { what: "program".into(), bytes: PROCESS });
        // Reading the text is over by now, and the system says what it took at its height.
        let planned = memory.iter().map(|m| m.bytes).sum();
        if let Some(more) = run_plan::peak_memory().and_then(|peak| peak.checked_sub(planned)).filter(|&more| more > 0)
        {
            memory.push(Memory { what: "reading the text, before training".into(), bytes: more });
        }
        let parameters = trainer.parameters();
        let (keep, every) = T::keep(&self.recipe.values);
        let checkpoint = trainer.checkpoint_bytes() + self.prepared.vocab.bytes();
        let work = space::used(&work_folder(dir)).unwrap_or(0);
        Plan {
            parameters,
            tokens: (trainer.total_words(self) as f64 * (steps - first) as f64 / steps.max(1) as f64) as u64,
            steps: steps - first,
            peak_bytes: memory.iter().map(|m| m.bytes).sum(),
            memory,
            seconds: None,
            tokens_per_s: None,
            unit: Unit::Words,
            disk_bytes: checkpoint * Keep { last: keep, every: None }.most(steps, every).max(1) + work,
        }
    }

    /// Writes everything of this step and commits it; the size of the run's directory meanwhile.
    fn checkpoint(&self, dir: &mut RunDir, trainer: &T, progress: &mut dyn Progress) -> Result<u64> {
        trainer.check(&self.state)?;
        dir.draw_curve(T::AXIS)?;
        let before = space::used(dir.path())?;
        let (recipe, config) = (self.recipe.to_toml(), pretty(&trainer.config(self)));
        let (card, state) = (self.card(), pretty(&self.state));
        let committed = dir.commit(self.state.step, |staging| {
            let folder = staging.join("state");
            fs::create_dir_all(&folder).map_err(FileError::at(&folder, "make the folder"))?;
            trainer.save(self, staging)?;
            self.prepared.vocab.write(&staging.join(crate::vectors::VOCAB))?;
            for (path, text) in [
                (staging.join("README.md"), &card),
                (staging.join(RECIPE), &recipe),
                (staging.join("config.json"), &config),
                (folder.join(STATE), &state),
            ] {
                fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
            }
            Ok::<_, WordsError>(())
        })?;
        for note in &committed.notes {
            progress.note(note);
        }
        progress.event(&Event::Checkpoint(progress::Saved {
            step: committed.step,
            path: committed.path,
            bytes: committed.bytes,
        }));
        Ok(before + committed.bytes)
    }

    /// The model card.
    fn card(&self) -> String {
        let (vocab, words) = (self.prepared.vocab.len() as u64, self.prepared.ids.words());
        format!(
            "---\nlibrary_name: bedstone\ntags:\n- {name}\n---\n\n# {name}\n\nWord vectors of {dim} dimensions for {vocab} words, trained by bedstone on {text} \
             ({words} words); step {step}. `recipe.toml` says how.\n\n\
             ```sh\nbedstone similar DIR WORD\nbedstone convert DIR --to word2vec-text --out vectors.txt   # for gensim\n```\n",
            name = T::NAME,
            dim = T::vector_size(&self.recipe.values),
            vocab = units::count(vocab),
            text = self.text,
            words = units::count(words),
            step = self.state.step,
        )
    }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// An error if `needs` bytes are more than the machine has left.
pub(crate) fn check_memory(needs: u64, hint: &'static str) -> Result<()> {
    match run_plan::available_memory() {
        // Where the system does not tell, the run shows.
        Some(has) if needs > has => Err(WordsError::Memory { needs, has, hint }),
        _ => Ok(()),
    }
}
