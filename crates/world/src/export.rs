//! Writing a part of the world to disk in a standard format.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::json;

use crate::{Classes, Question, Split, World, picture::files};

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// English short stories as JSON lines, `{"text": …}` in every row.
    Stories,
    /// Captions of scenes as tab-separated values with the columns `en` and `zh`.
    Captions,
    /// Sentences about scenes as tab-separated values with the columns `text` and `label`.
    Sentences,
    /// Words with tags in CoNLL's form: a word and its tag a line, an empty line behind every sentence.
    Tags,
    /// Questions on stories as JSON in the form of SQuAD 2.0.
    Questions,
    /// Captions that mean the same as tab-separated values with the columns `anchor`, `positive` and `negative`.
    Pairs,
    /// Pictures of single things as PNG, in a folder for each of their categories.
    Pictures,
    /// Pictures of scenes as PNG, with the boxes of all things in the form of COCO.
    Boxes,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Stories,
        Self::Captions,
        Self::Sentences,
        Self::Tags,
        Self::Questions,
        Self::Pairs,
        Self::Pictures,
        Self::Boxes,
    ];

    /// The name that [`Kind::from_str`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stories => "stories",
            Self::Captions => "captions",
            Self::Sentences => "sentences",
            Self::Tags => "tags",
            Self::Questions => "questions",
            Self::Pairs => "pairs",
            Self::Pictures => "pictures",
            Self::Boxes => "boxes",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Stories => "jsonl",
            Self::Captions | Self::Sentences | Self::Pairs => "tsv",
            Self::Tags => "conll",
            Self::Questions | Self::Boxes => "json",
            Self::Pictures => "",
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind { got: name.to_owned() })
    }
}

/// A name that is no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the World has no kind `{got}`, it has {}", Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind {
    /// What was asked for.
    pub got: String,
}

/// How many rows each split gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Rows to learn from.
    pub train: u64,
    /// Rows to measure with.
    pub validation: u64,
}

impl Counts {
    fn of(self, split: Split) -> u64 {
        match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
        }
    }
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// In which form.
    pub kind: Kind,
    /// Of pictures and boxes: what is told apart.
    pub classes: Classes,
    /// That of the world.
    pub seed: u64,
    /// Rows.
    pub counts: Counts,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// The data files, training first.
    pub files: Vec<ExportedFile>,
}

/// One data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Where it is now.
    pub path: PathBuf,
    /// The split it holds.
    pub split: Split,
    /// Its rows, without a header; sentences and stories where these are of several lines.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory holds something already.
    #[error("{}: the directory is not empty; hint: name one that does not exist yet", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The path is `.`, `..` or the root, which cannot be put in place by renaming.
    #[error("{}: the path does not end in a name; hint: name a directory that does not exist yet", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// Writes `train` and `validation` files and a `README.md` into the new directory `out`.
///
/// The directory appears whole or not at all: it is written beside its place under a hidden name and renamed. An
/// empty directory in its place is replaced.
///
/// # Errors
///
/// [`ExportError`] if `out` holds something, is a file, or cannot be written; nothing is left behind then.
pub fn export(what: &Export, out: &Path) -> Result<ExportReport, ExportError> {
    let Export { kind, classes, seed, counts } = *what;
    let name = out.file_name().ok_or_else(|| ExportError::NoName { path: out.to_owned() })?;
    refuse_used(out)?;
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(io_error(parent, "cannot create the directory"))?;
    let staging = Staging::create(parent, &name.to_string_lossy())?;

    let world = World::new(seed);
    let mut files = Vec::new();
    for split in Split::ALL {
        let extension = kind.extension();
        let file_name = match extension {
            "" => split.name().to_owned(),
            extension => format!("{}.{extension}", split.name()),
        };
        let rows = counts.of(split);
        let folder = staging.path.join(split.name());
        let wrong = io_error(&folder, "cannot write the pictures");
        let bytes = match kind {
            Kind::Pictures => files::portraits(&world, split, rows, classes, &folder).map_err(wrong)?,
            Kind::Boxes => {
                let (boxes, pictures) = files::scenes(&world, split, rows, classes, &folder).map_err(wrong)?;
                let write = |to: &mut dyn Write| Ok(serde_json::to_writer(to, &boxes)?);
                pictures + write_file(&staging.path.join(&file_name), write)?
            }
            _ => write_file(&staging.path.join(&file_name), |to| write_rows(kind, &world, split, rows, to))?,
        };
        files.push(ExportedFile { path: out.join(file_name), split, rows, bytes });
    }
    write_file(&staging.path.join("README.md"), |to| to.write_all(readme(what).as_bytes()))?;
    staging.put_in_place(out)?;
    Ok(ExportReport { files })
}

fn refuse_used(out: &Path) -> Result<(), ExportError> {
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(ExportError::NotEmpty { path: out.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(out, "cannot be used as the output directory")(error)),
    }
}

fn write_rows(kind: Kind, world: &World, split: Split, rows: u64, to: &mut dyn Write) -> io::Result<()> {
    match kind {
        Kind::Stories => {
            for story in world.stories(split, rows) {
                to.write_all(b"{\"text\":")?;
                serde_json::to_writer(&mut *to, &story)?;
                to.write_all(b"}\n")?;
            }
        }
        Kind::Captions => {
            to.write_all(b"en\tzh\n")?;
            for index in 0..rows {
                let scene = world.scene(split, index);
                writeln!(to, "{}\t{}", scene.caption_en(), scene.caption_zh())?;
            }
        }
        Kind::Sentences => {
            to.write_all(b"text\tlabel\n")?;
            for sentence in world.labelled_sentences(split, rows) {
                writeln!(to, "{}\t{}", sentence.text, sentence.label.name())?;
            }
        }
        Kind::Tags => {
            for sentence in world.tagged_sentences(split, rows) {
                for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
                    writeln!(to, "{word} {tag}")?;
                }
                to.write_all(b"\n")?;
            }
        }
        Kind::Questions => write_squad(world, split, rows, to)?,
        Kind::Pairs => {
            to.write_all(b"anchor\tpositive\tnegative\n")?;
            for pair in world.caption_pairs(split, rows) {
                writeln!(to, "{}\t{}\t{}", pair.anchor, pair.positive, pair.negative)?;
            }
        }
        // They are no single file.
        Kind::Pictures | Kind::Boxes => {}
    }
    Ok(())
}

/// SQuAD 2.0: one article, a paragraph a story, an id of split, story and question.
fn write_squad(world: &World, split: Split, stories: u64, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(b"{\"version\":\"v2.0\",\"data\":[{\"title\":\"World\",\"paragraphs\":[\n")?;
    for (index, story) in world.questions(split, stories).enumerate() {
        let question = |(number, question): (usize, &Question)| {
            let answers: Vec<_> =
                question.answer.iter().map(|a| json!({"text": a.text, "answer_start": a.start})).collect();
            let id = format!("{}-{index}-{number}", split.name());
            let impossible = question.answer.is_none();
            json!({"id": id, "question": question.question, "answers": answers, "is_impossible": impossible})
        };
        let questions: Vec<_> = story.questions.iter().enumerate().map(question).collect();
        if index > 0 {
            to.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *to, &json!({"context": story.context, "qas": questions}))?;
    }
    to.write_all(b"\n]}]}\n")
}

/// Writes and syncs a file; gives its size.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<u64, ExportError> {
    let file = File::create_new(path).map_err(io_error(path, "cannot create the file"))?;
    let mut to = BufWriter::with_capacity(1 << 16, file);
    let written = write(&mut to).and_then(|()| to.flush()).and_then(|()| {
        to.get_ref().sync_all()?;
        Ok(to.get_ref().metadata()?.len())
    });
    written.map_err(io_error(path, "cannot write the file"))
}

fn readme(what: &Export) -> String {
    let Export { kind, classes, seed, counts } = *what;
    let (title, format) = match kind {
        Kind::Stories => (
            "Short English stories",
            "JSON lines; every row is one document: `{\"text\": \"…\"}`. UTF-8, ends of lines `\\n`.",
        ),
        Kind::Captions => (
            "Captions of scenes in English and Chinese",
            "Tab-separated values with a header, columns `en` and `zh`. UTF-8, ends of lines `\\n`, no quoting.",
        ),
        Kind::Sentences => (
            "Sentences about scenes, with what kind of being they are about",
            "Tab-separated values with a header, columns `text` and `label`. UTF-8, ends of lines `\\n`, no quoting. The \
            labels are mammal, bird, reptile, bug, sea-animal, fabulous, person and object: what the subject of the first \
            sentence is. Other beings and things may be named, too, and the label is not one of the words.",
        ),
        Kind::Tags => (
            "Sentences about scenes with a tag for every word",
            "CoNLL: a word, a space and its tag a line, an empty line behind every sentence. UTF-8, ends of lines `\\n`. Tags \
            are IOB2 (BIO) for CREATURE, OBJECT and PLACE.",
        ),
        Kind::Questions => (
            "Questions on short English stories",
            "JSON in the form of SQuAD 2.0. A row is a story with four questions; one of them has no answer in the story. \
            Answers are pieces of the text, their places count characters.",
        ),
        Kind::Pairs => (
            "Captions of one scene in different words",
            "Tab-separated values with a header, columns `anchor`, `positive` and `negative`. UTF-8, ends of lines `\\n`, no \
            quoting. The first two describe the same scene, the third one that differs in a single thing.",
        ),
        Kind::Pictures => (
            "Pictures of single things",
            match classes {
                Classes::Categories => {
                    "PNG of 128 by 128 pixels in a folder for each category, which is the class: creature, person, food, vehicle, \
                    tool, thing, plant, building, sky, worn."
                }
                Classes::Nouns => "PNG of 128 by 128 pixels in a folder for each noun, which is the class.",
            },
        ),
        Kind::Boxes => (
            "Pictures of scenes with the boxes of all things",
            match classes {
                Classes::Categories => {
                    "PNG of 128 by 128 pixels in the folders `train` and `validation`; the JSON of each is in the form of COCO, with ten \
                    categories. What a creature wears belongs to its box."
                }
                Classes::Nouns => {
                    "PNG of 128 by 128 pixels in the folders `train` and `validation`; the JSON of each is in the form of COCO, with a \
                    category a noun. What a creature wears belongs to its box."
                }
            },
        ),
    };
    let extension = kind.extension();
    let Counts { train, validation } = counts;
    format!(
        "# {title} from the World of Bedstone\n\n\
        Made by the generator of `bedstone-world`, kind `{name}`, seed {seed}. The same seed gives the same bytes on every \
        platform.\n\n\
        - `train{dot}{extension}`: {train} rows\n\
        - `validation{dot}{extension}`: {validation} rows\n\n\
        {format}\n\n\
        ## Held-out combinations\n\n\
        Some combinations of a creature, a thing worn and a background never occur in the training split; a cat in a \
        spacesuit on the moon is one. In the validation split every row of even number, counted from 0, holds such a \
        combination, and no other row does. Comparing the two halves shows how well a model composes what it has \
        never seen together.\n\n\
        ## Licence\n\n\
        {licence}\n",
        name = kind.name(),
        dot = if extension.is_empty() { "/" } else { "." },
        licence = match kind {
            Kind::Pictures | Kind::Boxes => {
                "The pictures are put together of Twemoji, Copyright 2020 Twitter, Inc and other contributors, under CC-BY 4.0 \
                (https://creativecommons.org/licenses/by/4.0/); they were resized and given colours. All else comes under the \
                licence of Bedstone, Apache-2.0."
            }
            _ => {
                "The text is invented by the generator and holds no text of third parties. It comes under the licence of \
                Bedstone, Apache-2.0."
            }
        },
    )
}

/// A hidden directory beside the final one, removed unless it is put in place.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(parent: &Path, name: &str) -> Result<Self, ExportError> {
        // The number keeps out of the way of another export and of what a killed one left.
        let mut number = 0_u32;
        loop {
            let path = parent.join(format!(".{name}.partial-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(error) => return Err(io_error(&path, "cannot create the directory")(error)),
            }
        }
    }

    fn put_in_place(self, out: &Path) -> Result<(), ExportError> {
        // Only an empty directory can be removed this way; if somebody filled it meanwhile, renaming is not reached.
        match fs::remove_dir(out) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(out, "cannot replace the empty directory")(error)),
        }
        fs::rename(&self.path, out).map_err(io_error(out, "cannot rename the finished directory to this"))
        // Dropping `self` now finds nothing to remove.
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Already gone after success; after a failure the first error is the one worth reporting.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Io { path, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts { train: 20, validation: 5 };

    #[track_caller]
    fn entries(path: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn stories_are_one_json_object_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/stories");
        let report = export(&of(Kind::Stories, 3), &out).unwrap();
        assert_eq!(entries(&out), ["README.md", "train.jsonl", "validation.jsonl"]);
        assert_eq!(entries(out.parent().unwrap()), ["stories"]);
        let world = World::new(3);
        for file in &report.files {
            let text = fs::read_to_string(&file.path).unwrap();
            assert_eq!((text.len() as u64, text.lines().count() as u64), (file.bytes, file.rows));
            for (row, story) in text.lines().zip(world.stories(file.split, file.rows)) {
                let row: serde_json::Value = serde_json::from_str(row).unwrap();
                assert_eq!(row, serde_json::json!({ "text": story }));
            }
        }
        assert!(fs::read_to_string(out.join("README.md")).unwrap().contains("seed 3"));
    }

    #[test]
    fn captions_have_two_columns() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("captions");
        export(&of(Kind::Captions, 0), &out).unwrap();
        let text = fs::read_to_string(out.join("train.tsv")).unwrap();
        assert_eq!(text.lines().count(), 21);
        assert!(text.lines().all(|line| line.split('\t').count() == 2), "{text}");
    }

    fn of(kind: Kind, seed: u64) -> Export {
        Export { kind, classes: Classes::Categories, seed, counts: COUNTS }
    }

    #[track_caller]
    fn check_rows(kind: Kind, file: &str, want: &str) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let report = export(&of(kind, 0), &out).unwrap();
        assert_eq!((report.files[0].rows, report.files[1].rows), (20, 5));
        let text = fs::read_to_string(out.join(file)).unwrap();
        assert!(text.contains(want), "{text}");
        assert!(text.ends_with('\n'));
        assert!(fs::read_to_string(out.join("README.md")).unwrap().contains(kind.name()));
    }

    #[test]
    fn labelled_kinds() {
        check_rows(Kind::Sentences, "train.tsv", "text\tlabel\n");
        check_rows(Kind::Tags, "validation.conll", " B-PLACE\n. O\n\n");
        check_rows(Kind::Questions, "train.json", "{\"version\":\"v2.0\"");
        check_rows(Kind::Pairs, "validation.tsv", "anchor\tpositive\tnegative\n");
    }

    #[test]
    fn pictures_in_folders_and_with_boxes() {
        let dir = tempfile::tempdir().unwrap();
        let (pictures, boxes) = (dir.path().join("pictures"), dir.path().join("boxes"));
        let report = export(&of(Kind::Pictures, 0), &pictures).unwrap();
        assert_eq!(report.files[0].path, pictures.join("train"));
        assert_eq!(entries(&pictures), ["README.md", "train", "validation"]);
        let classes = entries(&pictures.join("train"));
        let files: usize = classes.iter().map(|c| entries(&pictures.join("train").join(c)).len()).sum();
        assert_eq!(files, 20);
        assert!(classes.iter().all(|c| crate::lexicon::Category::ALL.iter().any(|k| k.name() == c)), "{classes:?}");
        export(&of(Kind::Boxes, 0), &boxes).unwrap();
        assert_eq!(entries(&boxes), ["README.md", "train", "train.json", "validation", "validation.json"]);
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(boxes.join("validation.json")).unwrap()).unwrap();
        assert_eq!(json["images"].as_array().map(Vec::len), Some(5));
        assert_eq!(json["categories"].as_array().map(Vec::len), Some(10));
        let nouns = dir.path().join("nouns");
        export(&Export { classes: Classes::Nouns, ..of(Kind::Boxes, 0) }, &nouns).unwrap();
        let named: serde_json::Value =
            serde_json::from_slice(&fs::read(nouns.join("validation.json")).unwrap()).unwrap();
        assert_eq!(named["images"], json["images"]);
        let category = |json: &serde_json::Value, i: usize, field: &str| {
            let id = json["annotations"][i]["category_id"].as_u64().unwrap();
            json["categories"][id as usize - 1][field].clone()
        };
        for i in 0..json["annotations"].as_array().unwrap().len() {
            assert_eq!(category(&named, i, "supercategory"), category(&json, i, "name"));
        }
        let name = json["images"][0]["file_name"].as_str().unwrap();
        assert!(boxes.join(name).is_file() && fs::read_to_string(boxes.join("README.md")).unwrap().contains("CC-BY"));
    }

    #[test]
    fn an_empty_directory_is_replaced_and_a_used_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        export(&of(Kind::Stories, 0), dir.path().join("a").as_path()).unwrap();
        let again = export(&of(Kind::Stories, 0), dir.path().join("a").as_path());
        assert!(matches!(again, Err(ExportError::NotEmpty { .. })), "{again:?}");
        fs::create_dir(dir.path().join("b")).unwrap();
        export(&of(Kind::Stories, 0), dir.path().join("b").as_path()).unwrap();
        fs::write(dir.path().join("file"), "kept").unwrap();
        let file = export(&of(Kind::Stories, 0), dir.path().join("file").as_path());
        assert!(matches!(file, Err(ExportError::Io { .. })), "{file:?}");
        let none = export(&of(Kind::Stories, 0), Path::new(".."));
        assert!(matches!(none, Err(ExportError::NoName { .. })), "{none:?}");
        assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "kept");
        assert_eq!(entries(dir.path()), ["a", "b", "file"]);
    }

    /// What a killed export left does not stand in the way, and is not taken for data.
    #[test]
    fn leftovers_are_stepped_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".a.partial-0")).unwrap();
        export(&of(Kind::Stories, 0), dir.path().join("a").as_path()).unwrap();
        assert_eq!(entries(dir.path()), [".a.partial-0", "a"]);
    }

    #[test]
    fn kinds_are_read_by_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "tales".parse::<Kind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "the World has no kind `tales`, it has stories, captions, sentences, tags, questions, pairs, pictures, boxes"
        );
    }
}
