//! Texts that belong together, for embeddings.

use super::{
    Error, Header, Place,
    records::{Record, Records, Value},
    text::{asked, no_column},
};
use std::path::Path;

/// Two texts that belong together, or a triplet with one that does not, or two texts with a score.
#[derive(Clone, Debug, PartialEq)]
pub struct PairExample {
    /// Where it was read.
    pub place: Place,
    /// The text that others are compared with.
    pub anchor: String,
    /// What belongs to it.
    pub positive: String,
    /// What does not belong to it.
    pub negative: Option<String>,
    /// How much anchor and positive belong together, on the scale of the file.
    pub score: Option<f64>,
}

/// How to read pairs.
///
/// Columns that are not named are found by their names, capital letters or not: `anchor` or `query` with `positive`,
/// `sentence1` with `sentence2`, `text1` with `text2`, `question1` with `question2`, `premise` with `hypothesis`,
/// `question` or `query` with `answer`, `text` with `text_pair` or `pair`; then `negative`; then `score`,
/// `similarity` or `label`.
///
/// Of columns without names, the first two are anchor and positive; a third is the score if all of its first hundred
/// cells are numbers, else the negative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairOptions {
    /// The column or field of the anchor.
    pub anchor: Option<String>,
    /// The column or field of the positive.
    pub positive: Option<String>,
    /// The column or field of the negative.
    pub negative: Option<String>,
    /// The column or field of the score.
    pub score: Option<String>,
    /// Whether a table has a header.
    pub header: Header,
}

const PAIRS: &[(&str, &str)] = &[
    ("anchor", "positive"),
    ("query", "positive"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "answer"),
    ("query", "answer"),
    ("text", "text_pair"),
    ("text", "pair"),
];
const NEGATIVES: &[&str] = &["negative"];
const SCORES: &[&str] = &["score", "similarity", "label"];

/// All pairs of a `.tsv`, `.csv` or `.jsonl`.
///
/// # Errors
///
/// The first record that is wrong, see [`Error`].
pub fn read_pairs(path: impl AsRef<Path>, options: &PairOptions) -> Result<Vec<PairExample>, Error> {
    Pairs::open(path, options)?.collect()
}

/// The pairs of a file one by one; ends after the first error.
#[derive(Debug)]
pub struct Pairs {
    records: Records,
    columns: Columns,
    failed: bool,
}

/// The names of the fields that are read.
#[derive(Debug)]
struct Columns {
    anchor: String,
    positive: String,
    negative: Option<String>,
    score: Option<String>,
}

impl Pairs {
    /// Opens a `.tsv`, `.csv` or `.jsonl` and finds its columns.
    pub fn open(path: impl AsRef<Path>, options: &PairOptions) -> Result<Self, Error> {
        let asked = [&options.anchor, &options.positive, &options.negative, &options.score];
        let mut known: Vec<&str> = asked.into_iter().flatten().map(String::as_str).collect();
        known.extend(PAIRS.iter().flat_map(|&(anchor, positive)| [anchor, positive]));
        known.extend(NEGATIVES.iter().chain(SCORES));
        let mut records = Records::open(path.as_ref(), options.header, &known)?;
        let guess = !records.named() && options.anchor.is_none() && options.positive.is_none();
        let peeked = records.peek();
        let columns = if guess { Columns::guess(&peeked, options)? } else { Columns::find(peeked[0], options)? };
        Ok(Self { records, columns, failed: false })
    }

    fn next_example(&mut self) -> Result<Option<PairExample>, Error> {
        let Some(record) = self.records.next()? else { return Ok(None) };
        let Columns { anchor, positive, negative, score } = &self.columns;
        let (anchor, positive) = (record.text(anchor)?, record.text(positive)?);
        let negative_text = negative.as_deref().map(|name| record.text(name)).transpose()?;
        let score_value = match score {
            Some(name) => match record.number(name)? {
                Some(number) => Some(number),
                None => return Err(Error::NoLabel { place: record.place, field: name.clone() }),
            },
            None => None,
        };
        // A row may have what the first has not.
        for (name, known) in [(negative, NEGATIVES), (score, SCORES)] {
            if let (None, true, Some(field)) = (name, record.is_row(), record.find(known)) {
                return Err(Error::FieldChanges { place: record.place, field, missing: false });
            }
        }
        Ok(Some(PairExample { place: record.place, anchor, positive, negative: negative_text, score: score_value }))
    }
}

impl Iterator for Pairs {
    type Item = Result<PairExample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_example().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl Columns {
    /// By name in `record`.
    fn find(record: &Record, options: &PairOptions) -> Result<Self, Error> {
        let (anchor, positive) = match (&options.anchor, &options.positive) {
            (Some(anchor), Some(positive)) => (asked(record, anchor, "anchor")?, asked(record, positive, "positive")?),
            (anchor, positive) => {
                let fits = |asked: &Option<String>, name: &str| {
                    asked.as_ref().map_or_else(|| record.find(&[name]), |asked| record.find(&[asked]))
                };
                let both = PAIRS.iter().find_map(|&(a, p)| Some((fits(anchor, a)?, fits(positive, p)?)));
                let wanted = PAIRS.iter().map(|(anchor, positive)| format!("{anchor} with {positive}")).collect();
                both.ok_or_else(|| no_column(record, "pair", wanted))?
            }
        };
        let further = |asked_name: &Option<String>, known, role| match asked_name {
            Some(name) => asked(record, name, role).map(Some),
            None => Ok(record.find(known)),
        };
        let negative = further(&options.negative, NEGATIVES, "negative")?;
        let score = further(&options.score, SCORES, "score")?;
        Ok(Self { anchor, positive, negative, score })
    }

    /// By what the first records of a table without names hold.
    fn guess(records: &[&Record], options: &PairOptions) -> Result<Self, Error> {
        let first = records[0];
        let names = first.names();
        if options.negative.is_some() || options.score.is_some() || !(2..=3).contains(&names.len()) {
            return Err(Error::Unclear { place: first.place.clone(), columns: names.len(), role: "anchor" });
        }
        let number = |value| matches!(value, Value::Cell(cell) if cell.trim().parse::<f64>().is_ok());
        let third = names.get(2).cloned();
        let scored = third.as_ref().is_some_and(|name| records.iter().all(|r| r.get(name).is_some_and(number)));
        let (negative, score) = if scored { (None, third) } else { (third, None) };
        let [anchor, positive, ..] = &names[..] else {
            return Err(no_column(first, "positive", Vec::new()));
        };
        Ok(Self { anchor: anchor.clone(), positive: positive.clone(), negative, score })
    }
}
