//! Why word vectors could not be made, read or used.

use std::path::{Path, PathBuf};

use bedstone_data::corpus;
use bedstone_run as run;

/// The result of this crate's functions.
pub type Result<T, E = WordsError> = std::result::Result<T, E>;

/// Why word vectors could not be made, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// The recipe, the run directory, the log, a file.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The text.
    #[error("{}{}", .0, or_hint(.0.hint()))]
    Corpus(corpus::Error),
    /// Text without a word that is frequent enough.
    #[error(
        "{text}: no word occurs {min_count} times or more: {words} words, the most frequent {most} time(s)\nhint: lower vocabulary.min_count, or give more text"
    )]
    NoWords {
        /// Which text.
        text: String,
        /// The limit.
        min_count: u64,
        /// Words, counting repetitions.
        words: u64,
        /// How often the most frequent one occurs.
        most: u64,
    },
    /// One word is not enough to learn from.
    #[error(
        "{text}: only one word, `{word}`, occurs {min_count} times or more: nothing can be learned\nhint: lower vocabulary.min_count, or give more text"
    )]
    OneWord {
        /// Which text.
        text: String,
        /// The word.
        word: String,
        /// The limit.
        min_count: u64,
    },
    /// No two words stand near each other.
    #[error(
        "{text}: no two words of the vocabulary stand in one sentence: nothing can be learned\nhint: set text.sentences=documents, or lower vocabulary.min_count"
    )]
    NoPairs {
        /// Which text.
        text: String,
    },
    /// A word that has no vector.
    #[error("`{word}` is not in the vocabulary of {} words{}", bedstone_run::units::count(*.size), or_hint(.hint.clone()))]
    UnknownWord {
        /// The word.
        word: String,
        /// Words in the vocabulary.
        size: u64,
        /// What the user may have meant.
        hint: Option<String>,
    },
    /// Vectors of another width than wanted.
    #[error("{}: vectors have {got} dimensions, wanted {wanted}\nhint: {hint}", path.display())]
    Dimension {
        /// Where the vectors are.
        path: PathBuf,
        /// Their dimensions.
        got: usize,
        /// What was wanted.
        wanted: usize,
        /// What to do.
        hint: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {what}{}", path.display(), or_hint(.hint.clone()))]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in it, what was got and wanted.
        what: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A resumed run would not give what an undisturbed one gives.
    #[error("{}: cannot go on as before: {what}\nhint: {hint}", path.display())]
    OtherRun {
        /// The run.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// Numbers that are none.
    #[error("step {step}: the {what} is {value}\nhint: {hint}")]
    NotFinite {
        /// The step.
        step: u64,
        /// What.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What to do.
        hint: String,
    },
    /// More memory than there is.
    #[error("the run needs about {} of memory, {} are available\nhint: {hint}", bedstone_run::units::bytes(*.needs), bedstone_run::units::bytes(*.has))]
    Memory {
        /// Bytes planned.
        needs: u64,
        /// Bytes available.
        has: u64,
        /// What to do.
        hint: &'static str,
    },
    /// The user wants no more, before there is anything to keep.
    #[error("interrupted")]
    Interrupted,
    /// A picture could not be drawn.
    #[error("cannot draw the map: {0}")]
    Draw(String),
}

fn or_hint(hint: Option<String>) -> String {
    hint.map(|h| format!("\nhint: {h}")).unwrap_or_default()
}

impl WordsError {
    /// A file that is not what it should be.
    pub(crate) fn format(path: &Path, what: impl Into<String>) -> Self {
        WordsError::Format { path: path.to_owned(), what: what.into(), hint: None }
    }

    /// The same error with `to` in the place of the path `from`: of a file whose name is nobody's business.
    pub(crate) fn at_path(mut self, from: &Path, to: &Path) -> Self {
        if let WordsError::Run(run::Error::File(error)) = &mut self
            && error.path == from
        {
            error.path = to.to_owned();
        }
        self
    }

    /// The same, with a hint.
    pub(crate) fn format_hint(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> Self {
        WordsError::Format { path: path.to_owned(), what: what.into(), hint: Some(hint.into()) }
    }
}

impl From<corpus::Error> for WordsError {
    fn from(e: corpus::Error) -> Self {
        WordsError::Corpus(e)
    }
}

macro_rules! from_run {
    ($($type:ty),*) => {
        $(impl From<$type> for WordsError {
            fn from(e: $type) -> Self {
                WordsError::Run(e.into())
            }
        })*
    };
}
from_run!(
    run::recipe::RecipeError,
    run::dir::DirError,
    run::log::LogError,
    run::curve::CurveError,
    run::space::SpaceError,
    run::files::FileError
);
