//! Answers to questions, as the evaluation scripts of SQuAD 1.1 ([Rajpurkar et al. 2016](https://arxiv.org/abs/1606.05250))
//! and 2.0 ([Rajpurkar et al. 2018](https://arxiv.org/abs/1806.03822)) count. Scores are in percent.

use std::collections::BTreeMap;

use super::{MetricError, Result, ratio, same_length};

/// How well questions were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnswerScore {
    /// Percentage of predictions that equal an answer.
    pub exact: f64,
    /// Mean F1 over the words of the prediction and the best answer, in percent.
    pub f1: f64,
    /// Number of questions.
    pub total: usize,
}

/// How well questions were answered that may have no answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerReport {
    /// Over all questions.
    pub all: AnswerScore,
    /// Over those that have an answer, if there are any.
    pub has_answer: Option<AnswerScore>,
    /// Over those that have none, if there are any.
    pub no_answer: Option<AnswerScore>,
    /// The best exact score over all thresholds, if probabilities were given.
    pub best_exact: Option<Best>,
    /// The best F1 over all thresholds, if probabilities were given.
    pub best_f1: Option<Best>,
}

/// A score with the threshold that gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// The score, in percent.
    pub score: f64,
    /// Questions with a higher probability of no answer are taken as unanswered.
    pub threshold: f64,
}

/// How probable it is that a question has no answer.
#[derive(Clone, Copy, Debug)]
pub struct NoAnswer<'a> {
    /// For each question; any numbers that order them will do.
    pub probabilities: &'a [f64],
    /// Questions above it are counted as unanswered; 1 in the script unless told otherwise.
    pub threshold: f64,
}

/// Scores `predictions[i]` against `answers[i]`, of which the best counts, by the rules of SQuAD 1.1.
///
/// # Errors
///
/// If there are not as many predictions as questions, or not one of them, or a question without answers.
pub fn squad_v1<P: AsRef<str>, A: AsRef<str>>(predictions: &[P], answers: &[Vec<A>]) -> Result<AnswerScore> {
    const METRIC: &str = "SQuAD 1.1";
    same_length(METRIC, "predictions", predictions.len(), answers.len())?;
    let mut scores = Vec::with_capacity(answers.len());
    for (prediction, answers) in predictions.iter().zip(answers) {
        if answers.is_empty() {
            return Err(MetricError::Lengths { metric: METRIC, what: "answers to a question", got: 0, want: 1 });
        }
        let prediction = normalize_answer(prediction.as_ref());
        let gold = answers.iter().map(|answer| normalize_answer(answer.as_ref()));
        scores.push(gold.fold(Raw::default(), |best, gold| Raw {
            exact: best.exact.max(f64::from(u8::from(prediction == gold))),
            f1: best.f1.max(overlap(&prediction, &gold)),
        }));
    }
    Ok(mean(scores.iter()))
}

/// Scores `predictions[i]` (empty for "no answer") against `answers[i]` (none if there is none) by the rules of SQuAD 2.0.
///
/// # Errors
///
/// If there are not as many predictions, or probabilities, as questions, not one of them, or a probability that is `NaN`.
pub fn squad_v2<P: AsRef<str>, A: AsRef<str>>(
    predictions: &[P],
    answers: &[Vec<A>],
    no_answer: Option<NoAnswer<'_>>,
) -> Result<AnswerReport> {
    const METRIC: &str = "SQuAD 2.0";
    same_length(METRIC, "predictions", predictions.len(), answers.len())?;
    if let Some(NoAnswer { probabilities, .. }) = no_answer {
        same_length(METRIC, "probabilities", probabilities.len(), answers.len())?;
        if let Some(index) = probabilities.iter().position(|p| p.is_nan()) {
            return Err(MetricError::Value { metric: METRIC, index, got: f64::NAN, want: "a number" });
        }
    }
    let has_answer: Vec<bool> = answers.iter().map(|answers| !answers.is_empty()).collect();
    let raw: Vec<Raw> = predictions.iter().zip(answers).map(|(p, answers)| Raw::best(p.as_ref(), answers)).collect();

    let mut counted = raw.clone();
    if let Some(NoAnswer { probabilities, threshold }) = no_answer {
        for ((score, &has), &p) in counted.iter_mut().zip(&has_answer).zip(probabilities) {
            if p > threshold {
                let right = f64::from(u8::from(!has));
                *score = Raw { exact: right, f1: right };
            }
        }
    }
    let part = |want: bool| {
        let chosen = || counted.iter().zip(&has_answer).filter(|&(_, &has)| has == want).map(|(score, _)| score);
        if chosen().next().is_some() { Some(mean(chosen())) } else { None }
    };
    let best = |score: fn(&Raw) -> f64| {
        let questions: Vec<Question> = (raw.iter().zip(predictions).zip(&has_answer))
            .map(|((raw, prediction), &has)| match (has, prediction.as_ref().is_empty()) {
                (true, _) => Question { gain: score(raw) },
                (false, false) => Question { gain: -1.0 },
                (false, true) => Question { gain: 0.0 },
            })
            .collect();
        let unanswerable = has_answer.iter().filter(|&&has| !has).count();
        no_answer.map(|NoAnswer { probabilities, .. }| best_threshold(&questions, unanswerable, probabilities))
    };
    Ok(AnswerReport {
        all: mean(counted.iter()),
        has_answer: part(true),
        no_answer: part(false),
        best_exact: best(|raw| raw.exact),
        best_f1: best(|raw| raw.f1),
    })
}

/// Whether a prediction equals an answer but for capital letters, punctuation, articles and white space.
pub fn exact_match(prediction: &str, answer: &str) -> bool {
    normalize_answer(prediction) == normalize_answer(answer)
}

/// F1 over the words of a prediction and an answer, 0 to 1, by the rules of SQuAD 2.0: where one of them has no words,
/// it is 1 if the other has none either.
pub fn answer_f1(prediction: &str, answer: &str) -> f64 {
    let (prediction, answer) = (normalize_answer(prediction), normalize_answer(answer));
    if prediction.is_empty() || answer.is_empty() {
        return f64::from(u8::from(prediction == answer));
    }
    overlap(&prediction, &answer)
}

/// Small letters, without ASCII punctuation, without the words "a", "an" and "the", with single spaces.
pub fn normalize_answer(text: &str) -> String {
    let lower = text.to_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut without = String::with_capacity(plain.len());
    // A word ends where letters and digits do, not at white space only: "a–b" has an article.
    for run in plain.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = run.trim_end_matches(|c: char| !c.is_alphanumeric());
        if matches!(word, "a" | "an" | "the") {
            without.push(' ');
            without.push_str(&run[word.len()..]);
        } else {
            without.push_str(run);
        }
    }
    // Python takes four control characters for white space that Unicode does not.
    let space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    without.split(space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The scores of one question, 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
struct Raw {
    exact: f64,
    f1: f64,
}

impl Raw {
    /// Against the best of the answers; answers that are nothing once normalised do not count.
    fn best<A: AsRef<str>>(prediction: &str, answers: &[A]) -> Self {
        let mut gold: Vec<&str> = answers.iter().map(AsRef::as_ref).collect();
        gold.retain(|answer| !normalize_answer(answer).is_empty());
        if gold.is_empty() {
            gold.push("");
        }
        gold.into_iter().fold(Self::default(), |best, gold| Self {
            exact: best.exact.max(f64::from(u8::from(exact_match(prediction, gold)))),
            f1: best.f1.max(answer_f1(prediction, gold)),
        })
    }
}

/// F1 over the words of two normalised texts; 0 if they share none.
fn overlap(prediction: &str, answer: &str) -> f64 {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    answer.split(' ').filter(|word| !word.is_empty()).for_each(|word| *left.entry(word).or_default() += 1);
    let (mut shared, mut predicted) = (0, 0);
    for word in prediction.split(' ').filter(|word| !word.is_empty()) {
        predicted += 1;
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    let wanted = answer.split(' ').filter(|word| !word.is_empty()).count();
    let (precision, recall) = (ratio(f64::from(shared), f64::from(predicted)), ratio(f64::from(shared), wanted as f64));
    ratio(2.0 * precision * recall, precision + recall)
}

fn mean<'a>(scores: impl Iterator<Item = &'a Raw> + Clone) -> AnswerScore {
    let total = scores.clone().count();
    let percent = |score: fn(&Raw) -> f64| 100.0 * ratio(scores.clone().map(score).sum(), total as f64);
    AnswerScore { exact: percent(|raw| raw.exact), f1: percent(|raw| raw.f1), total }
}

/// What answering a question adds to the score.
struct Question {
    gain: f64,
}

/// Starting with all questions unanswered, answers them from the least probable "no answer" on, and keeps the best.
fn best_threshold(questions: &[Question], unanswerable: usize, probabilities: &[f64]) -> Best {
    let mut order: Vec<usize> = (0..questions.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].partial_cmp(&probabilities[b]).unwrap_or(std::cmp::Ordering::Equal));
    let mut score = unanswerable as f64;
    let mut best = (score, 0.0);
    for index in order {
        score += questions[index].gain;
        if score > best.0 {
            best = (score, probabilities[index]);
        }
    }
    Best { score: 100.0 * ratio(best.0, questions.len() as f64), threshold: best.1 }
}
