//! Questions with answers in a context, SQuAD's task: where the answer begins and where it ends.

use std::{path::Path, sync::Arc};

use bedstone_data::{
    labelled::{Answer, AnswerExample, AnswerOptions as ReadOptions, Place, read_answers},
    sampler::Batch,
    tokenizer::{Encoding, Error as TokenizerError},
};
use bedstone_infer::{
    InferError, Runtime,
    metrics::{NoAnswer, squad_v1, squad_v2},
    tasks::{
        answer::{AnswerOptions, cls, search, windows},
        batch::{Forward, Row},
    },
};
use bedstone_models::{Class, Inputs, Logits, Model};
use bedstone_tensor::Tensor;
use bedstone_world::{Split, World};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::{
    data::{Kind, Setup, at, refused},
    examples::{Draws, Evaluate, Rows, TaskReport, Train, texts},
    recipe::LabelledConfig,
};
use crate::{
    Result, TrainError,
    objective::{Objective, Work},
};

/// Questions on contexts.
pub(crate) struct Answers {
    doc_stride: usize,
    options: AnswerOptions,
    threshold: f64,
}

/// Questions on a story of the World.
const QUESTIONS: u64 = 4;

impl Answers {
    pub(crate) fn new(config: &LabelledConfig) -> Self {
        let options = AnswerOptions {
            top_k: config.n_best_size,
            max_answer_len: config.max_answer_length,
            ..AnswerOptions::default()
        };
        Answers { doc_stride: config.doc_stride, options, threshold: config.null_threshold }
    }

    /// The windows over each context.
    fn windows(&self, examples: &[AnswerExample], setup: &Setup<'_>) -> Result<Vec<Vec<Encoding>>> {
        let (length, tokenizer) = (setup.max_length, setup.tokenizer);
        let stride = self.doc_stride.min(length / 2);
        let encode = |e: &AnswerExample| match windows(tokenizer, &e.question, &e.context, length, stride) {
            Ok(windows) => Ok(windows),
            Err(InferError::Tokenizer(TokenizerError::WindowTooSmall { other, room, .. })) => {
                let got = format!("a question of {other} tokens, which leaves {room} of {length} for the context");
                let wanted = format!("more than the {stride} that windows share");
                let hint = "raise train.max_length, lower data.doc_stride, or leave the record out";
                Err(refused(&e.place, got, wanted, hint))
            }
            Err(error) => Err(error.into()),
        };
        examples.par_iter().map(encode).collect()
    }
}

impl Kind for Answers {
    type Example = AnswerExample;

    fn read(&self, path: &Path) -> Result<Vec<AnswerExample>> {
        Ok(read_answers(path, &ReadOptions::default())?)
    }

    fn in_world(&self) -> Option<&'static str> {
        Some("questions")
    }

    fn world(&self, world: &World, split: Split, count: u64) -> Vec<AnswerExample> {
        let mut all = Vec::new();
        for story in world.questions(split, count.div_ceil(QUESTIONS)) {
            let context: Arc<str> = story.context.into();
            for q in story.questions {
                let answer = q.answer.map(|a| Answer { text: a.text, start: a.start });
                let (place, id) = (at(split, all.len()), all.len().to_string());
                let (context, impossible) = (context.clone(), answer.is_none());
                let answers = answer.into_iter().collect();
                all.push(AnswerExample { place, id, context, question: q.question, answers, impossible });
            }
        }
        all
    }

    fn learn(&mut self, _: &[AnswerExample]) -> Result<()> {
        Ok(())
    }

    fn adopt(&mut self, _: &Model) -> Result<()> {
        Ok(())
    }

    fn head(&self) -> (Class, Map<String, Value>) {
        (Class::QuestionAnswering, Map::new())
    }

    fn train(&self, examples: &[AnswerExample], setup: &Setup<'_>) -> Result<Box<dyn Train>> {
        let Some(cls) = cls(setup.tokenizer) else {
            return Err(TrainError::Examples {
                what: "the tokenizer".into(),
                got: "no token that stands for a text (cls)".into(),
                wanted: "one, which windows without an answer point to".into(),
                hint: "take an encoder's tokenizer, such as BERT's".into(),
            });
        };
        let mut made =
            AnswerTraining { rows: Rows::new(Vec::new(), setup.tokenizer), targets: Vec::new(), notes: Vec::new() };
        let (mut rows, mut inside, mut unseen) = (Vec::new(), Counted::default(), Counted::default());
        for (e, windows) in examples.iter().zip(self.windows(examples, setup)?) {
            let mut seen = false;
            for window in &windows {
                // The first answer is learned; evaluation counts any.
                let target = match e.answers.first() {
                    Some(answer) => Target::find(window, answer)
                        .map_err(|got| refused(&e.place, got, "an answer that has tokens", "leave the record out"))?,
                    None => None,
                };
                if let (Some(target), Some(answer)) = (target, e.answers.first()) {
                    if !seen && !target.is(window, &e.context, answer) {
                        inside.add(&e.place);
                    }
                    seen = true;
                }
                let nothing = window.ids.iter().position(|&id| id == cls).unwrap_or(0);
                let Target { first, last } = target.unwrap_or(Target { first: nothing, last: nothing });
                made.targets.push([first as i32, last as i32]);
                rows.push(Row::of(window));
            }
            if !seen && !e.answers.is_empty() {
                unseen.add(&e.place);
            }
        }
        let (n, length) = (examples.len(), setup.max_length);
        made.notes
            .extend((rows.len() > n).then(|| format!("{n} questions make {} windows of {length} tokens", rows.len())));
        made.notes.extend(inside.note(n, "answers begin or end inside a token, which is learned whole"));
        made.notes.extend(unseen.note(n, "answers are whole in no window, which are learned as without an answer"));
        made.rows = Rows::new(rows, setup.tokenizer);
        Ok(Box::new(made))
    }

    fn eval(&self, examples: &[AnswerExample], setup: &Setup<'_>) -> Result<Box<dyn Evaluate>> {
        Ok(Box::new(AnswerEvaluation {
            windows: self.windows(examples, setup)?,
            contexts: examples.iter().map(|e| e.context.clone()).collect(),
            answers: examples.iter().map(|e| e.answers.iter().map(|a| a.text.clone()).collect()).collect(),
            impossible: examples.iter().any(|e| e.impossible),
            cls: cls(setup.tokenizer),
            options: self.options,
            threshold: self.threshold,
        }))
    }
}

/// How many records there are of a sort, and the first of them.
#[derive(Default)]
struct Counted {
    count: usize,
    first: Option<Place>,
}

impl Counted {
    fn add(&mut self, place: &Place) {
        self.count += 1;
        self.first.get_or_insert_with(|| place.clone());
    }

    fn note(&self, of: usize, what: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!("{} of {of} {what} (first: {first})", self.count))
    }
}

/// The first and the last token of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    first: usize,
    last: usize,
}

impl Target {
    /// Of an answer in a window: the fewest tokens that cover it. `None` if it is not whole in the window; an error if no
    /// token has any of its letters.
    fn find(window: &Encoding, answer: &Answer) -> Result<Option<Self>, String> {
        let (start, end) = (answer.start, answer.start + answer.text.chars().count());
        let context: Vec<usize> = (0..window.len()).filter(|&i| window.sequence_ids[i] == Some(1)).collect();
        let (Some(&from), Some(&to)) = (context.first(), context.last()) else { return Ok(None) };
        if window.offsets[from].0 > start || window.offsets[to].1 < end {
            return Ok(None);
        }
        // Of tokens on the same letters, as single bytes are, all belong to it.
        let begin = context.iter().map(|&i| window.offsets[i].0).filter(|&o| o <= start).max().unwrap_or(0);
        let first = context.iter().copied().find(|&i| window.offsets[i].0 == begin).unwrap_or(from);
        let stop = context.iter().map(|&i| window.offsets[i].1).filter(|&o| o >= end).min().unwrap_or(end);
        let last = context.iter().copied().rfind(|&i| window.offsets[i].1 == stop).unwrap_or(to);
        let covers = |i: usize| window.offsets[i].0 < end && window.offsets[i].1 > start;
        if first > last || !(first..=last).any(covers) {
            return Err(format!("the answer {:?}, of which the tokenizer makes nothing", answer.text));
        }
        Ok(Some(Target { first, last }))
    }

    /// Whether the tokens have the answer's letters and no others but white space.
    fn is(self, window: &Encoding, context: &str, answer: &Answer) -> bool {
        let (from, to) = (window.offsets[self.first].0, window.offsets[self.last].1);
        let covered: String = context.chars().skip(from).take(to - from).collect();
        covered.trim() == answer.text.trim()
    }
}

/// Windows with the tokens of their answers.
struct AnswerTraining {
    rows: Rows,
    /// First and last token of each window's answer.
    targets: Vec<[i32; 2]>,
    notes: Vec<String>,
}

impl Train for AnswerTraining {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn work(&self, _: Draws, samples: Vec<u64>) -> Result<Box<dyn Work + '_>> {
        texts(self, samples)
    }

    fn tokens(&self, samples: &[u64]) -> u64 {
        samples.iter().map(|&i| self.rows.tokens(i as usize) as u64).sum()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

impl Objective for AnswerTraining {
    fn weight(&self, batch: &Batch) -> u64 {
        batch.samples.len() as u64
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let which: Vec<usize> = batch.samples[samples].iter().map(|&i| i as usize).collect();
        let places = |end: usize| {
            let all: Vec<i32> = which.iter().map(|&i| self.targets[i][end]).collect();
            Tensor::from_slice(&all, [which.len()])
        };
        let (first, last) = (places(0), places(1));
        let mut inputs = self.rows.inputs(&which).with("start_positions", first).with("end_positions", last);
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs
    }
}

/// Questions as windows, with all their answers.
struct AnswerEvaluation {
    windows: Vec<Vec<Encoding>>,
    contexts: Vec<Arc<str>>,
    answers: Vec<Vec<String>>,
    /// Whether there are questions without an answer: scores are those of SQuAD 2.0 then.
    impossible: bool,
    cls: Option<u32>,
    options: AnswerOptions,
    threshold: f64,
}

impl Evaluate for AnswerEvaluation {
    fn len(&self) -> usize {
        self.contexts.len()
    }

    fn report(&self, model: &Model, runtime: Runtime) -> Result<TaskReport> {
        let contexts: Vec<&str> = self.contexts.iter().map(|c| &**c).collect();
        let found = search(Forward::new(model, runtime), self.cls, &contexts, &self.windows, &self.options)?;
        let best: Vec<&str> = found.iter().map(|f| f.answers.first().map_or("", |a| &a.answer[..])).collect();
        if !self.impossible {
            let score = squad_v1(&best, &self.answers)?;
            return Ok(TaskReport::plain(vec![("F1", score.f1), ("exact match", score.exact)]));
        }
        // By how much no answer is likelier than the best one, in logarithms.
        let margins: Vec<f64> = found
            .iter()
            .map(|f| match f.answers.first() {
                Some(best) if best.score > 0.0 => f.null_score.ln() - best.score.ln(),
                _ => f64::INFINITY,
            })
            .collect();
        let no_answer = NoAnswer { probabilities: &margins, threshold: self.threshold };
        let report = squad_v2(&best, &self.answers, Some(no_answer))?;
        let mut scores = vec![("F1", report.all.f1), ("exact match", report.all.exact)];
        if let Some(part) = report.has_answer {
            scores.extend([("HasAns F1", part.f1), ("HasAns exact match", part.exact)]);
        }
        if let Some(part) = report.no_answer {
            scores.extend([("NoAns F1", part.f1), ("NoAns exact match", part.exact)]);
        }
        if let Some(best) = report.best_exact {
            scores.extend([("best exact match", best.score), ("best exact match threshold", best.threshold)]);
        }
        if let Some(best) = report.best_f1 {
            scores.extend([("best F1", best.score), ("best F1 threshold", best.threshold)]);
        }
        Ok(TaskReport::plain(scores))
    }

    fn notes(&self) -> Vec<String> {
        let (n, windows) = (self.windows.len(), self.windows.iter().map(Vec::len).sum::<usize>());
        if windows > n { vec![format!("{n} questions make {windows} windows")] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use bedstone_data::tokenizer::Tokenizer;

    use super::*;

    /// Tokens of a context, and of a question before it that begins at the same places.
    fn window(offsets: &[(usize, usize)]) -> Encoding {
        let mut all = Encoding {
            offsets: vec![(0, 0), (0, 3), (0, 0)],
            sequence_ids: vec![None, Some(0), None],
            ..Encoding::default()
        };
        all.offsets.extend(offsets);
        all.sequence_ids.extend(vec![Some(1); offsets.len()]);
        all.offsets.push((0, 0));
        all.sequence_ids.push(None);
        all.ids = vec![7; all.offsets.len()];
        all
    }

    const CONTEXT: &str = "one twenty-one two";
    const TOKENS: [(usize, usize); 5] = [(0, 3), (4, 10), (10, 11), (11, 14), (15, 18)];

    #[track_caller]
    fn check(offsets: &[(usize, usize)], text: &str, start: usize, want: Result<Option<(usize, usize)>, ()>) {
        let answer = Answer { text: text.to_owned(), start };
        let got = Target::find(&window(offsets), &answer).map(|t| t.map(|t| (t.first - 3, t.last - 3)));
        assert_eq!(got.map_err(|_| ()), want, "{text:?} at {start}");
    }

    #[test]
    fn tokens_of_answers() {
        check(&TOKENS, "one", 0, Ok(Some((0, 0))));
        check(&TOKENS, "twenty-one", 4, Ok(Some((1, 3))));
        check(&TOKENS, "went", 5, Ok(Some((1, 1))));
        check(&TOKENS, "one two", 11, Ok(Some((3, 4))));
        // Not whole in the window.
        check(&TOKENS[1..], "one", 0, Ok(None));
        check(&TOKENS[..3], "twenty-one", 4, Ok(None));
        check(&[], "one", 0, Ok(None));
        // Bytes of one letter.
        check(&[(0, 1), (1, 2), (1, 2), (2, 3)], "x", 1, Ok(Some((1, 2))));
        // No token at all.
        check(&[(0, 3), (6, 9)], "x", 4, Err(()));
    }

    /// Windows and targets of transformers' example (`bench/fixtures/answer_features.py`).
    #[test]
    fn windows_are_those_of_transformers() {
        const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests");
        let text = std::fs::read_to_string(format!("{TESTS}/fixtures-extra/answer_features.json")).unwrap();
        let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
        let tokenizer = Tokenizer::load(Path::new(&format!("{TESTS}/fixtures/bert"))).unwrap();
        assert_eq!(cases.len(), 24);
        for case in &cases {
            let text = |field: &str| case[field].as_str().unwrap().to_owned();
            let size = |field: &str| case[field].as_u64().unwrap() as usize;
            let answer = case["start"].as_u64().map(|start| Answer { text: text("answer"), start: start as usize });
            let example = AnswerExample {
                place: at(Split::Train, 0),
                id: "1".into(),
                context: text("context").into(),
                question: text("question"),
                impossible: answer.is_none(),
                answers: answer.into_iter().collect(),
            };
            let kind = Answers { doc_stride: size("stride"), options: AnswerOptions::default(), threshold: 0.0 };
            let setup = Setup { tokenizer: &tokenizer, max_length: size("max_length"), sentence: None };
            let made = kind.train(&[example], &setup).unwrap();
            let n = made.len();
            let lengths: Vec<u64> = (0..n as u64).map(|i| made.tokens(&[i])).collect();
            assert_eq!(serde_json::json!(lengths), case["lengths"], "{case}");
            let work = made.work(Draws { seed: 0, epoch: 0 }, (0..n as u64).collect()).unwrap();
            let inputs = work.inputs(0..n, 1.0);
            let ends =
                ["start_positions", "end_positions"].map(|name| inputs.get(name).unwrap().data::<i32>("").unwrap());
            let targets: Vec<[i32; 2]> = ends[0].iter().zip(ends[1]).map(|(&first, &last)| [first, last]).collect();
            assert_eq!(serde_json::json!(targets), case["targets"], "{case}");
        }
    }

    #[test]
    fn parts_of_tokens_are_noticed() {
        let window = window(&TOKENS);
        for (text, start, want) in [("one", 0, true), ("twenty", 4, true), ("went", 5, false), ("two", 15, true)] {
            let answer = Answer { text: text.to_owned(), start };
            let target = Target::find(&window, &answer).unwrap().unwrap();
            assert_eq!(target.is(&window, CONTEXT, &answer), want, "{text:?}");
        }
    }
}
