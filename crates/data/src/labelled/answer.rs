//! Questions with answers in a context.

use super::{
    Error, Header, Place, Unit, Unlabelled,
    input::{Format, Input},
    records::{Record, Records, Value},
};
use crate::corpus::jsonl::kind;
use serde::Deserialize;
use serde_json::Value as Json;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// A question on a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerExample {
    /// Where it was read; in SQuAD's JSON the number of the question.
    pub place: Place,
    /// Its id; the number of the record if it has none.
    pub id: String,
    /// The text that is asked about; shared by the questions of a paragraph.
    pub context: Arc<str>,
    /// The question.
    pub question: String,
    /// Answers, each as good as the others; none if there is none, or if none is known.
    pub answers: Vec<Answer>,
    /// Whether the context is known to hold no answer.
    pub impossible: bool,
}

/// A piece of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The piece.
    pub text: String,
    /// Where it begins, in characters (code points) from 0.
    pub start: usize,
}

/// How to read questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerOptions {
    /// Whether a question may come without saying what its answer is.
    pub unlabelled: Unlabelled,
}

/// All questions of a `.json` in the form of SQuAD 1.1 or 2.0, or of a `.jsonl` with rows of `context`, `question`,
/// `answers` (`{"text": […], "answer_start": […]}`, or a list of `{"text": …, "answer_start": …}`) and perhaps `id`.
///
/// A question has no answer if `is_impossible` says so, or, where that is not there, if its list of answers is empty.
///
/// # Errors
///
/// The first record that is wrong, see [`Error`]; an answer that does not stand where the record says is.
pub fn read_answers(path: impl AsRef<Path>, options: &AnswerOptions) -> Result<Vec<AnswerExample>, Error> {
    let path = path.as_ref();
    let input = Input::find(path, &[Format::Json, Format::JsonLines], ".json (SQuAD) or .jsonl")?;
    let examples = match input.format {
        Format::Json => squad(&input, *options)?,
        _ => rows(path, *options)?,
    };
    if examples.is_empty() {
        return Err(input.empty());
    }
    let mut ids: BTreeMap<&str, &Place> = BTreeMap::new();
    for AnswerExample { id, place, .. } in &examples {
        if let Some(first) = ids.insert(id, place) {
            return Err(Error::SameId { place: place.clone(), id: id.clone(), first: first.clone() });
        }
    }
    Ok(examples)
}

#[derive(Deserialize)]
struct Squad {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    question: String,
    answers: Option<Vec<RawAnswer>>,
    is_impossible: Option<bool>,
}

#[derive(Deserialize)]
struct RawAnswer {
    text: String,
    answer_start: usize,
}

fn squad(input: &Input, options: AnswerOptions) -> Result<Vec<AnswerExample>, Error> {
    let text = input.text()?;
    if text.trim().is_empty() {
        return Err(input.empty());
    }
    let parser = &mut serde_json::Deserializer::from_str(&text);
    let parsed: Result<Squad, _> = serde_path_to_error::deserialize(&mut *parser);
    let failed = |e: &serde_json::Error, path: String| {
        let place = Place { file: input.path.clone(), record: e.line() as u64, unit: Unit::Line };
        let path = if path == "." { String::new() } else { format!("{path}: ") };
        let e = e.to_string().replace(&format!(" at line {} column", e.line()), " at column");
        Error::Json { place, reason: format!("not JSON of the form of SQuAD: {path}{e}") }
    };
    let squad = parsed.map_err(|e| failed(e.inner(), e.path().to_string()))?;
    parser.end().map_err(|e| failed(&e, ".".into()))?;

    let mut examples = Vec::new();
    for paragraph in squad.data.into_iter().flat_map(|article| article.paragraphs) {
        let context: Arc<str> = paragraph.context.into();
        for Question { id, question, answers, is_impossible } in paragraph.qas {
            let place = input.place(examples.len() as u64 + 1);
            let answers = answers.map(|answers| answers.into_iter().map(|a| (a.text, a.answer_start)).collect());
            let raw = Raw { place, id, context: context.clone(), question, answers, is_impossible };
            examples.push(raw.check(options)?);
        }
    }
    Ok(examples)
}

fn rows(path: &Path, options: AnswerOptions) -> Result<Vec<AnswerExample>, Error> {
    let mut records = Records::open(path, Header::Absent, &[])?;
    let mut examples = Vec::new();
    while let Some(record) = records.next()? {
        let id = match record.get("id") {
            Some(Value::Json(Json::String(id))) => id.clone(),
            Some(Value::Json(Json::Number(id))) => id.to_string(),
            Some(Value::Json(other)) => return Err(wrong(&record, "id", other, "a string")),
            _ => (examples.len() + 1).to_string(),
        };
        let is_impossible = match record.get("is_impossible") {
            Some(Value::Json(Json::Bool(is))) => Some(*is),
            Some(Value::Json(other)) => return Err(wrong(&record, "is_impossible", other, "a boolean")),
            _ => None,
        };
        let (context, question) = (record.text("context")?.into(), record.text("question")?);
        let (answers, place) = (row_answers(&record)?, record.place);
        examples.push(Raw { place, id, context, question, answers, is_impossible }.check(options)?);
    }
    Ok(examples)
}

fn row_answers(record: &Record) -> Result<Option<Vec<(String, usize)>>, Error> {
    const WANT: &str = "{\"text\": [strings], \"answer_start\": [numbers]}";
    let Some(Value::Json(answers)) = record.get("answers") else { return Ok(None) };
    let answer = |text: Option<&Json>, start: Option<&Json>| match (text, start) {
        (Some(Json::String(text)), Some(Json::Number(start))) => {
            Some((text.clone(), usize::try_from(start.as_u64()?).ok()?))
        }
        _ => None,
    };
    let found = match answers {
        Json::Object(answers) => match (answers.get("text"), answers.get("answer_start")) {
            (Some(Json::Array(texts)), Some(Json::Array(starts))) if texts.len() == starts.len() => {
                texts.iter().zip(starts).map(|(text, start)| answer(Some(text), Some(start))).collect()
            }
            (text @ Some(Json::String(_)), start) => answer(text, start).map(|answer| vec![answer]),
            _ => None,
        },
        Json::Array(answers) => answers.iter().map(|a| answer(a.get("text"), a.get("answer_start"))).collect(),
        _ => None,
    };
    found.map(Some).ok_or_else(|| wrong(record, "answers", answers, WANT))
}

fn wrong(record: &Record, field: &str, value: &Json, want: &'static str) -> Error {
    let got = match value {
        Json::Object(_) | Json::Array(_) => format!("{} of another form", kind(value)),
        value => kind(value).to_owned(),
    };
    Error::FieldType { place: record.place.clone(), field: field.to_owned(), got, want }
}

/// A question as a file has it.
struct Raw {
    place: Place,
    id: String,
    context: Arc<str>,
    question: String,
    answers: Option<Vec<(String, usize)>>,
    is_impossible: Option<bool>,
}

impl Raw {
    fn check(self, options: AnswerOptions) -> Result<AnswerExample, Error> {
        let Self { place, id, context, question, answers, is_impossible } = self;
        let empty = |field: &str| Err(Error::Empty { place: place.clone(), field: field.to_owned() });
        let contradiction = |reason| Err(Error::Impossible { place: place.clone(), id: id.clone(), reason });
        if context.trim().is_empty() {
            return empty("context");
        }
        if question.trim().is_empty() {
            return empty("question");
        }
        let has_answers = answers.as_ref().map(|answers| !answers.is_empty());
        let impossible = match (is_impossible, has_answers) {
            (Some(true), Some(true)) => return contradiction("is_impossible is true, but there are answers"),
            (Some(false), Some(false)) => return contradiction("is_impossible is false, but there are no answers"),
            (Some(true), _) | (None, Some(false)) => true,
            (_, Some(true)) => false,
            (_, None) if options.unlabelled == Unlabelled::Allowed => false,
            (_, None) => return Err(Error::NoLabel { place, field: "answers".into() }),
        };
        let mut checked = Vec::new();
        for (text, start) in answers.into_iter().flatten() {
            if text.trim().is_empty() {
                return empty("answers.text");
            }
            let there: String = context.chars().skip(start).take(text.chars().count()).collect();
            if there != text {
                let found = context.find(&text).map(|byte| context[..byte].chars().count());
                return Err(Error::Answer { place, id, text, start, got: there, found });
            }
            checked.push(Answer { text, start });
        }
        Ok(AnswerExample { place, id, context, question, answers: checked, impossible })
    }
}
