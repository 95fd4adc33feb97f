//! `bedstone embed`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use bedstone_infer::tasks::{
    embed::{Embeddings, Pooling, SentenceConfig, SentenceEncoder, is_sentence_transformer},
    vision::PicturePooling,
};
use bedstone_models::checkpoint::{Dtype, NamedTensor, TensorData, write_safetensors_file};
use bedstone_run::dir::model_folder;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    pictures::{Folder, each_group, folder, listed, vision_body},
    unused,
};
use crate::{
    args::RuntimeArgs,
    output::{self, Usage},
    texts::{DataArgs, Text, at_place, places},
};

/// Turn texts or pictures into vectors
#[derive(Debug, Args)]
#[command(
    after_help = "A checkpoint of sentence-transformers says itself how it pools; any other encoder gives the mean of its \
    last states. A model of pictures gives its summary, or the last state of its class token; a masked autoencoder sees \
    whole pictures.\n--out FILE.safetensors holds `embeddings` [N, D] in the order of what was given, folders sorted by \
    name; --out FILE.jsonl and the standard output hold one object a text or picture."
)]
pub(crate) struct EmbedArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// Files of texts, one a line, or .tsv, .csv or .jsonl with one a row, plain or as .gz or .zst; - for the standard input. Pictures, or folders of
    /// them
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A text; can be given several times
    #[arg(long, value_name = "TEXT", num_args = 1..)]
    text: Vec<String>,
    /// The column or field that holds the text [default: text, or in tables as finetune finds it]; with it, files of other
    /// names hold JSON rows
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Where the vectors go: .safetensors or .jsonl [default: the standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How states become a vector, instead of what the checkpoint says
    #[arg(long, value_enum)]
    pooling: Option<PoolingArg>,
    /// A prompt of the checkpoint, by name, that is put before each text
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PoolingArg {
    /// The mean of all states
    Mean,
    /// The first token's state
    Cls,
    /// The largest of each column
    Max,
    /// The last token's state
    Lasttoken,
}

impl PoolingArg {
    fn pooling(self) -> Pooling {
        match self {
            PoolingArg::Mean => Pooling::Mean,
            PoolingArg::Cls => Pooling::Cls,
            PoolingArg::Max => Pooling::Max,
            PoolingArg::Lasttoken => Pooling::LastToken,
        }
    }
}

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    JsonLines,
}

pub(crate) fn run(args: &EmbedArgs) -> anyhow::Result<ExitCode> {
    let format = args.out.as_deref().map_or(Ok(Format::JsonLines), format)?;
    let dir = match folder(&args.model)? {
        Folder::Pictures(dir) => return pictures(args, &dir, format),
        Folder::Texts(dir) => dir,
    };
    if args.files.is_empty() && args.text.is_empty() {
        return Err(Usage("no texts: give files, or --text".into()).into());
    }
    let data = DataArgs { data: args.files.clone(), field: args.field.clone() };
    let texts = data.read(&args.text, false)?;
    let dir = model_folder(&dir)?;
    let (mut encoder, report) = SentenceEncoder::load(&dir, args.runtime.runtime()?)?;
    unused(&dir, &report);
    match args.pooling {
        Some(pooling) => {
            let pooling = SentenceConfig::plain(pooling.pooling()).modules.remove(0);
            encoder.config.modules[0] = pooling;
            encoder.config.check(encoder.model.model.info().width)?;
        }
        None if !is_sentence_transformer(&dir) => {
            output::note(format!("note: {}: no modules.json: vectors are means of the last states", dir.display()));
        }
        None => {}
    }
    let prompt = encoder.config.prompt(args.prompt_name.as_deref())?;
    let started = Instant::now();
    let all: Vec<&str> = texts.iter().map(|t| t.text.as_str()).collect();
    let vectors = encoder.embed(&all, prompt).map_err(|e| at_place(e, &texts))?;
    let seconds = started.elapsed().as_secs_f64();
    notes(&encoder, &texts, &vectors);
    match (&args.out, format) {
        (Some(path), Format::Safetensors) => write_tensor(path, &vectors)?,
        (Some(path), Format::JsonLines) => {
            write_lines(path, rows(&texts, &vectors).map(|(text, vector)| row(text, vector)))?
        }
        (None, _) => {
            for (text, vector) in rows(&texts, &vectors) {
                output::line(row(text, vector)?)?;
            }
        }
    }
    let rate = texts.len() as f64 / seconds;
    output::note(format!("{} texts of {} numbers in {seconds:.2} s ({rate:.0} texts/s)", texts.len(), vectors.width));
    Ok(ExitCode::SUCCESS)
}

fn format(path: &Path) -> anyhow::Result<Format> {
    output::place_for("--out", path)?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => Ok(Format::Safetensors),
        Some("jsonl") => Ok(Format::JsonLines),
        _ => Err(Usage(format!("--out: got {}, wanted a name with .safetensors or .jsonl", path.display())).into()),
    }
}

/// What a reader of the vectors should know of the texts.
fn notes(encoder: &SentenceEncoder, texts: &[Text], vectors: &Embeddings) {
    if !vectors.truncated.is_empty() {
        let model = encoder.model.encoder().max_length();
        let limit = encoder.config.max_seq_length.unwrap_or(usize::MAX).min(model);
        output::note(format!(
            "note: cut to {limit} tokens: {} of {} texts: {}",
            vectors.truncated.len(),
            texts.len(),
            places(texts, &vectors.truncated)
        ));
    }
    let empty: Vec<usize> = (0..texts.len()).filter(|&i| texts[i].text.trim().is_empty()).collect();
    if !empty.is_empty() {
        output::note(format!("note: empty texts, whose vectors mean nothing: {}", places(texts, &empty)));
    }
}

fn pictures(args: &EmbedArgs, dir: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let of_texts = [
        ("--text", !args.text.is_empty()),
        ("--field", args.field.is_some()),
        ("--prompt-name", args.prompt_name.is_some()),
    ];
    if let Some((flag, _)) = of_texts.into_iter().find(|(_, given)| *given) {
        return Err(Usage(format!("{flag}: has no use for a model of pictures")).into());
    }
    let pooling = match args.pooling {
        None => PicturePooling::Auto,
        Some(PoolingArg::Cls) => PicturePooling::Cls,
        Some(PoolingArg::Mean) => PicturePooling::Mean,
        Some(PoolingArg::Max | PoolingArg::Lasttoken) => {
            return Err(Usage("--pooling: wanted cls or mean for a model of pictures".into()).into());
        }
    };
    let paths = listed(&args.files, None)?;
    let model = vision_body(dir, args.runtime.runtime()?)?;
    let kind = model.model.architecture().model_type;
    if pooling != PicturePooling::Auto && ["detr", "resnet"].contains(&kind) {
        return Err(Usage(format!("--pooling: a {kind} has no tokens of patches")).into());
    }
    let mut all: Vec<Vec<f32>> = Vec::with_capacity(paths.len());
    let mut read: Vec<&PathBuf> = Vec::with_capacity(paths.len());
    let code = each_group(&paths, |paths, pictures| {
        all.extend(model.vision().embed(pictures, pooling)?);
        read.extend(paths);
        Ok(())
    })?;
    if format == Format::Safetensors && read.len() < paths.len() {
        let missing = paths.len() - read.len();
        anyhow::bail!(
            "{missing} of {} pictures could not be read: rows have no names, so none are written",
            paths.len()
        );
    }
    let width = all.first().map_or(0, Vec::len);
    let lines = read.iter().zip(&all).map(|(picture, embedding)| {
        let picture = picture.display().to_string();
        Ok(serde_json::to_string(&PictureRow { picture: &picture, embedding })?)
    });
    match (&args.out, format) {
        (Some(path), Format::Safetensors) => write_numbers(path, [all.len(), width], all.iter().flatten())?,
        (Some(path), Format::JsonLines) => write_lines(path, lines)?,
        (None, _) => {
            for line in lines {
                output::line(line?)?;
            }
        }
    }
    if !all.is_empty() {
        output::note(format!("{} pictures of {width} numbers", all.len()));
    }
    Ok(code)
}

/// One object of the output, of a picture.
#[derive(Serialize)]
struct PictureRow<'a> {
    picture: &'a str,
    embedding: &'a [f32],
}

/// One object of the output.
#[derive(Serialize)]
struct Row<'a> {
    text: &'a str,
    embedding: &'a [f32],
}

fn row(text: &str, embedding: &[f32]) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&Row { text, embedding })?)
}

fn rows<'a>(texts: &'a [Text], vectors: &'a Embeddings) -> impl Iterator<Item = (&'a str, &'a [f32])> {
    texts.iter().enumerate().map(|(i, text)| (text.text.as_str(), vectors.row(i)))
}

fn write_tensor(path: &Path, vectors: &Embeddings) -> anyhow::Result<()> {
    write_numbers(path, [vectors.len(), vectors.width], vectors.data.iter())
}

fn write_numbers<'a>(path: &Path, shape: [usize; 2], numbers: impl Iterator<Item = &'a f32>) -> anyhow::Result<()> {
    let bytes: Vec<u8> = numbers.flat_map(|x| x.to_le_bytes()).collect();
    let tensor = NamedTensor { name: "embeddings", dtype: Dtype::F32, shape: &shape, data: TensorData::Bytes(&bytes) };
    Ok(write_safetensors_file(path, &[tensor])?)
}

fn write_lines(path: &Path, lines: impl Iterator<Item = anyhow::Result<String>>) -> anyhow::Result<()> {
    let failed = |e: std::io::Error| anyhow::anyhow!("{}: {e}", path.display());
    let beside = path.with_extension("jsonl.tmp");
    let mut file = BufWriter::new(File::create(&beside).map_err(failed)?);
    for line in lines {
        writeln!(file, "{}", line?).map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}
