//! `bedstone generate`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use bedstone_infer::{EarlyStopping, GenerationConfig};
use clap::Args;
use serde_json::json;

use super::text_model;
use crate::{args::RuntimeArgs, output, texts::stdin};

/// Continue text with a language model
#[derive(Debug, Args)]
#[command(
    after_help = "Settings that are not given are those of the checkpoint's generation_config.json; where it has none,\n\
    text is drawn with temperature 0.8 and top-p 0.95."
)]
pub(crate) struct GenerateArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// The text to continue; several make a batch, - reads the standard input
    #[arg(long, value_name = "TEXT", required = true, allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// The most tokens to add [default: 128, or as many as the model has room for]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// No end before this many tokens
    #[arg(long, value_name = "N")]
    min_tokens: Option<usize>,
    /// Take the likeliest token each time
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    greedy: bool,
    /// Lower is safer, higher is bolder
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Draw from this many likeliest tokens; 0 for all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the likeliest tokens that have this probability together
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Draw from tokens with at least this share of the likeliest token's probability
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Above 1: what was said becomes less likely
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// No run of N tokens comes twice
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,
    /// End before this text; can be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Search with this many beams instead of drawing
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    beams: usize,
    /// Beams to show, the best first
    #[arg(long, value_name = "N", default_value_t = 1, requires = "beams")]
    n_best: usize,
    /// A beam's score is divided by its length to this power
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "beams", allow_hyphen_values = true)]
    length_penalty: f32,
    /// End as soon as there are enough finished beams
    #[arg(long, requires = "beams")]
    early_stopping: bool,
    /// Equal seeds give equal text
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// One JSON object a result: prompt, text, tokens, finish, score
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// Tokens to add unless told otherwise.
const DEFAULT_TOKENS: usize = 128;

pub(crate) fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let prompts = prompts(&args.prompt)?;
    let model = text_model(&args.model, args.runtime.runtime()?)?;
    let max_tokens = match args.max_tokens {
        Some(n) => n,
        None => DEFAULT_TOKENS.min(model.room(&prompts)?),
    };
    let own = sampling(&model.generation);
    let config = GenerationConfig {
        max_new_tokens: Some(max_tokens),
        min_new_tokens: args.min_tokens,
        do_sample: !args.greedy && args.beams == 1,
        temperature: args.temperature.unwrap_or(own.temperature),
        top_k: args.top_k.unwrap_or(own.top_k),
        top_p: args.top_p.unwrap_or(own.top_p),
        min_p: args.min_p.unwrap_or(own.min_p),
        repetition_penalty: args.repetition_penalty.unwrap_or(own.repetition_penalty),
        no_repeat_ngram_size: args.no_repeat_ngram.unwrap_or(own.no_repeat_ngram_size),
        num_beams: args.beams,
        num_return_sequences: args.n_best,
        length_penalty: args.length_penalty,
        early_stopping: if args.early_stopping { EarlyStopping::Full } else { EarlyStopping::Heuristic },
        seed: args.seed,
        ..model.generation.clone()
    };
    // One prompt is shown as it grows; of several each is shown whole.
    let stream = prompts.len() == 1 && args.beams == 1 && !args.json;
    let mut shown = false;
    let started = Instant::now();
    let mut written = Ok(());
    let completions = model.complete(&prompts, &config, &args.stop, &mut |_, text| {
        if stream && written.is_ok() {
            // The prompt comes with the first text: a prompt that is refused shows nothing.
            let prompt = if std::mem::replace(&mut shown, true) { "" } else { &prompts[0] };
            written = output::data(&format!("{prompt}{text}"));
        }
    })?;
    written?;
    let seconds = started.elapsed().as_secs_f64();
    for c in &completions {
        let prompt = &prompts[c.prompt];
        if args.json {
            let mut object = json!({"prompt": prompt, "text": c.text, "tokens": c.tokens, "finish": c.finish.name()});
            if let Some(score) = c.score {
                object["score"] = score.into();
            }
            output::line(object)?;
        } else if shown {
            output::line("")?;
        } else {
            output::line(format!("{prompt}{}", c.text))?;
        }
    }
    let tokens: usize = completions.iter().map(|c| c.tokens).sum();
    output::note(format!("{tokens} tokens in {seconds:.2} s ({:.0} tok/s)", tokens as f64 / seconds));
    Ok(ExitCode::SUCCESS)
}

/// The checkpoint's settings; where it has none for drawing, those that suit small models.
fn sampling(own: &GenerationConfig) -> GenerationConfig {
    let silent = !own.do_sample && own.temperature == 1.0 && own.top_p == 1.0 && own.top_k == 0 && own.min_p == 0.0;
    match silent {
        true => GenerationConfig { temperature: 0.8, top_p: 0.95, ..own.clone() },
        false => own.clone(),
    }
}

fn prompts(given: &[String]) -> anyhow::Result<Vec<String>> {
    let mut prompts = Vec::with_capacity(given.len());
    for prompt in given {
        prompts.push(if prompt == "-" { stdin()? } else { prompt.clone() });
    }
    Ok(prompts)
}
