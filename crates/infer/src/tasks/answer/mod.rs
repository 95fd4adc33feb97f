//! The place of an answer in a text.

mod spans;

use bedstone_data::tokenizer::{Encoding, Tokenizer, Truncation, Window};
use bedstone_models::Class;
use rayon::prelude::*;

use self::spans::Spans;
use super::{
    Encoder,
    batch::{self, Forward, Row},
    no_empty_text,
};
use crate::{InferError, Result};

/// A question about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// What is asked.
    pub question: &'a str,
    /// The text that holds the answer.
    pub context: &'a str,
}

/// What is asked for; defaults are those of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerOptions {
    /// Answers for each question.
    pub top_k: usize,
    /// Tokens of the longest answer.
    pub max_answer_len: usize,
    /// Tokens of a window; at most what the model takes.
    pub max_seq_len: usize,
    /// Tokens of the text that windows share; half a window, at most 128, if `None`.
    pub doc_stride: Option<usize>,
    /// Whether answers begin and end with words.
    pub align_to_words: bool,
    /// Whether there may be no answer: the empty one wins if its logarithm of probability is larger than the best one's by
    /// more than this. Only an answer counts if `None`.
    pub null_threshold: Option<f64>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        AnswerOptions {
            top_k: 1,
            max_answer_len: 15,
            max_seq_len: 384,
            doc_stride: None,
            align_to_words: true,
            null_threshold: None,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its probability: that of its first token times that of its last.
    pub score: f64,
    /// Where it starts in the context, in code points.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Its text; empty where there is no answer.
    pub answer: String,
}

/// Answers to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The likeliest first; the empty one is among them only if there may be none.
    pub answers: Vec<Answer>,
    /// The probability that there is no answer: the smallest over the windows.
    pub null_score: f64,
}

/// Answers to each question.
///
/// A context that is longer than the model is seen through windows that overlap. Answers of the same letters are one, and
/// their scores add up.
///
/// ```no_run
/// # fn f(runtime: bedstone_infer::Runtime) -> Result<(), bedstone_infer::InferError> {
/// use bedstone_infer::tasks::{EncoderModel, answer::{AnswerOptions, Question, answer}};
/// let (model, _) = EncoderModel::load(std::path::Path::new("squad"), runtime)?;
/// let question = Question { question: "Who lives in London?", context: "Ada lives in London." };
/// println!("{}", answer(model.encoder(), &[question], &AnswerOptions::default())?[0].answers[0].answer);
/// # Ok(()) }
/// ```
pub fn answer(encoder: Encoder<'_>, questions: &[Question<'_>], options: &AnswerOptions) -> Result<Vec<Answers>> {
    encoder.need("answer", &[Class::QuestionAnswering])?;
    no_empty_text(questions.iter().map(|q| q.question))?;
    no_empty_text(questions.iter().map(|q| q.context))?;
    let max_length = options.max_seq_len.min(encoder.max_length());
    let stride = options.doc_stride.unwrap_or((max_length / 2).min(128));
    let windows: Vec<Vec<Encoding>> = questions
        .par_iter()
        .map(|q| windows(encoder.tokenizer, q.question, q.context, max_length, stride))
        .collect::<Result<_>>()?;
    let contexts: Vec<&str> = questions.iter().map(|q| q.context).collect();
    search(encoder, cls(encoder.tokenizer), &contexts, &windows, options)
}

/// A question and its context as tokens, in as many windows of `max_length` as the context needs; windows share `stride`
/// tokens of it.
///
/// # Errors
///
/// If the question leaves no room.
pub fn windows(
    tokenizer: &Tokenizer,
    question: &str,
    context: &str,
    max_length: usize,
    stride: usize,
) -> Result<Vec<Encoding>> {
    let window = Window { max_length, truncation: Truncation::OnlySecond, stride };
    Ok(tokenizer.encode_windows(question.into(), Some(context.into()), &window)?)
}

/// The token that stands for no answer.
pub fn cls(tokenizer: &Tokenizer) -> Option<u32> {
    tokenizer.special().cls.as_ref().map(|cls| cls.id)
}

/// The answers that a model finds in the windows over each of `contexts`, as [`answer`] and the evaluation of training
/// search for them; the token `cls` stands for no answer.
///
/// # Errors
///
/// If the model's results are not numbers, which names the question.
pub fn search<'m>(
    model: impl Into<Forward<'m>>,
    cls: Option<u32>,
    contexts: &[&str],
    windows: &[Vec<Encoding>],
    options: &AnswerOptions,
) -> Result<Vec<Answers>> {
    let encodings: Vec<&Encoding> = windows.iter().flatten().collect();
    let rows: Vec<Row> = encodings.iter().map(|e| Row::of(e)).collect();
    let question_of: Vec<usize> = windows.iter().enumerate().flat_map(|(q, w)| vec![q; w.len()]).collect();
    let mut found: Vec<Option<Spans>> = vec![None; rows.len()];
    let count = if options.align_to_words { 2 * options.top_k + 10 } else { options.top_k };
    let failed = batch::forward(model, &rows, ["start_logits", "end_logits"], |row, [start, end]| {
        let allowed = allowed(encodings[row], cls);
        found[row] = Some(Spans::find(start, end, &allowed, options.max_answer_len, count));
        Ok(())
    });
    failed.map_err(|e| match e {
        InferError::NotNumbers { row } => InferError::NotNumbers { row: question_of[row] },
        other => other,
    })?;
    let mut results: Vec<Merged> = contexts.iter().map(|context| Merged::new(context)).collect();
    for ((encoding, spans), &question) in encodings.iter().zip(&found).zip(&question_of) {
        if let Some(spans) = spans {
            results[question].add(encoding, spans, options);
        }
    }
    Ok(results.into_iter().map(|merged| merged.finish(options)).collect())
}

/// The tokens that take part: those of the context, and the one that stands for no answer.
fn allowed(encoding: &Encoding, cls: Option<u32>) -> Vec<bool> {
    let tokens = encoding.sequence_ids.iter().zip(&encoding.ids);
    tokens.map(|(sequence, id)| *sequence == Some(1) || Some(*id) == cls).collect()
}

/// Answers from the windows over one context.
struct Merged {
    context: Vec<char>,
    answers: Vec<Answer>,
    null_score: f64,
}

impl Merged {
    fn new(context: &str) -> Self {
        Merged { context: context.chars().collect(), answers: Vec::new(), null_score: f64::INFINITY }
    }

    fn add(&mut self, encoding: &Encoding, spans: &Spans, options: &AnswerOptions) {
        self.null_score = self.null_score.min(spans.null_score as f64);
        for &(first, last, score) in &spans.best {
            let (start, end) = place(encoding, first, last, options.align_to_words);
            let answer: String = self.context.get(start..end).unwrap_or(&[]).iter().collect();
            let same = |a: &&mut Answer| a.answer.to_lowercase() == answer.to_lowercase();
            match self.answers.iter_mut().find(same) {
                Some(known) => known.score += score as f64,
                None => self.answers.push(Answer { score: score as f64, start, end, answer }),
            }
        }
    }

    fn finish(mut self, options: &AnswerOptions) -> Answers {
        let null_score = self.null_score;
        self.answers.sort_by(|a, b| b.score.total_cmp(&a.score));
        if let Some(threshold) = options.null_threshold {
            let none = Answer { score: null_score, start: 0, end: 0, answer: String::new() };
            let best = self.answers.first().map_or(0.0, |a| a.score);
            let place = match null_score.ln() - best.ln() > threshold {
                true => 0,
                // Behind the best, and then by its score.
                false => self.answers.iter().skip(1).position(|a| a.score < null_score).map_or(usize::MAX, |i| i + 1),
            };
            self.answers.insert(place.min(self.answers.len()), none);
        }
        self.answers.truncate(options.top_k);
        Answers { answers: self.answers, null_score }
    }
}

/// Where the tokens `first..=last` lie in the context; whole words of them if so wanted.
fn place(encoding: &Encoding, first: usize, last: usize, align_to_words: bool) -> (usize, usize) {
    let words = (encoding.word_ids[first], encoding.word_ids[last]);
    let (from, to) = (encoding.offsets[first].0, encoding.offsets[last].1);
    let (true, (Some(start), Some(end))) = (align_to_words, words) else { return (from, to) };
    let of = |word: u32| {
        let tokens = encoding.word_ids.iter().zip(&encoding.sequence_ids).zip(&encoding.offsets);
        tokens.filter(move |((w, s), _)| **w == Some(word) && **s == Some(1)).map(|(_, offsets)| *offsets)
    };
    (of(start).next().map_or(from, |o| o.0), of(end).next_back().map_or(to, |o| o.1))
}
