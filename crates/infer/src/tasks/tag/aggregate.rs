//! From tokens to words, and from words to spans, as `transformers` puts them together.

use bedstone_data::tokenizer::Encoding;

use super::{Aggregation, Entity};
use crate::{
    Result,
    tasks::{Labels, top_k},
};

/// A token that is not special, with a score for each class.
pub(super) struct Token<'a> {
    word: String,
    scores: &'a [f32],
    start: usize,
    end: usize,
    index: usize,
    is_subword: bool,
}

/// The tokens of a window over `text`; `scores: [T, classes]`.
///
/// `prefix` says that the vocabulary marks tokens inside of words; otherwise a token is inside of one if there is no space
/// before it.
pub(super) fn tokens<'a>(
    encoding: &Encoding,
    text: &str,
    scores: &'a [f32],
    classes: usize,
    prefix: bool,
    unk: Option<u32>,
) -> Vec<Token<'a>> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::with_capacity(encoding.len());
    for (index, scores) in scores.chunks_exact(classes).enumerate() {
        if encoding.special_tokens_mask[index] == 1 {
            continue;
        }
        let (start, end) = encoding.offsets[index];
        let of_text = || chars.get(start..end.min(chars.len())).unwrap_or(&[]).iter().collect::<String>();
        let mut word = encoding.tokens[index].clone();
        let mut is_subword = match prefix {
            true => word.chars().count() != end - start,
            false => start > 0 && !chars[start - 1..(start + 1).min(chars.len())].contains(&' '),
        };
        if Some(encoding.ids[index]) == unk {
            word = of_text();
            is_subword = false;
        }
        tokens.push(Token { word, scores, start, end, index, is_subword });
    }
    tokens
}

impl Token<'_> {
    /// With its likeliest label.
    pub(super) fn labelled(&self, labels: &Labels) -> Entity {
        let (class, score) = best(self.scores);
        Entity {
            label: labels.name(class).to_owned(),
            score,
            word: self.word.clone(),
            start: self.start,
            end: self.end,
            index: Some(self.index),
        }
    }
}

/// Words, each with the label that its tokens agree on.
pub(super) fn words(
    tokens: &[Token<'_>],
    labels: &Labels,
    aggregation: Aggregation,
    join: &dyn Fn(&[String]) -> Result<String>,
) -> Result<Vec<Entity>> {
    let word = |tokens: &[Token<'_>]| -> Result<Entity> {
        let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
        let (class, score) = match aggregation {
            Aggregation::Average => {
                let mut mean = vec![0.0; first.scores.len()];
                tokens.iter().for_each(|t| mean.iter_mut().zip(t.scores).for_each(|(m, s)| *m += s));
                mean.iter_mut().for_each(|m| *m /= tokens.len() as f32);
                best(&mean)
            }
            Aggregation::Max => {
                let tops: Vec<f32> = tokens.iter().map(|t| best(t.scores).1).collect();
                best(tokens[best(&tops).0].scores)
            }
            _ => best(first.scores),
        };
        let word = join(&tokens.iter().map(|t| t.word.clone()).collect::<Vec<_>>())?;
        let label = labels.name(class).to_owned();
        Ok(Entity { label, score, word, start: first.start, end: last.end, index: None })
    };
    tokens.chunk_by(|_, next| next.is_subword).map(word).collect()
}

/// Neighbours of one label make a span, but one that begins (`B-`) begins another.
pub(super) fn spans(parts: &[Entity], join: &dyn Fn(&[String]) -> Result<String>) -> Result<Vec<Entity>> {
    let span = |parts: &[Entity]| -> Result<Entity> {
        let (first, last) = (&parts[0], &parts[parts.len() - 1]);
        let label = first.label.split_once('-').map_or(first.label.as_str(), |(_, label)| label);
        Ok(Entity {
            label: label.to_owned(),
            score: parts.iter().map(|p| p.score).sum::<f32>() / parts.len() as f32,
            word: join(&parts.iter().map(|p| p.word.clone()).collect::<Vec<_>>())?,
            start: first.start,
            end: last.end,
            index: None,
        })
    };
    let same = |a: &Entity, b: &Entity| {
        let ((_, last), (begins, label)) = (tag(&a.label), tag(&b.label));
        last == label && !begins
    };
    parts.chunk_by(same).map(span).collect()
}

/// Of spans that overlap, which windows found twice: the longer one, then the surer one.
pub(super) fn without_overlaps(mut spans: Vec<Entity>) -> Vec<Entity> {
    spans.sort_by_key(|span| span.start);
    let mut kept: Vec<Entity> = Vec::with_capacity(spans.len());
    for span in spans {
        match kept.last_mut() {
            Some(before) if before.start <= span.start && span.start < before.end => {
                let (new, old) = (span.end - span.start, before.end - before.start);
                if new > old || (new == old && span.score > before.score) {
                    *before = span;
                }
            }
            _ => kept.push(span),
        }
    }
    kept
}

/// Whether a label begins a span, and its name without `B-` or `I-`.
fn tag(label: &str) -> (bool, &str) {
    match label.strip_prefix("B-") {
        Some(rest) => (true, rest),
        None => (false, label.strip_prefix("I-").unwrap_or(label)),
    }
}

/// The largest number and its place.
fn best(x: &[f32]) -> (usize, f32) {
    top_k(x, 1).first().map_or((0, 0.0), |&i| (i, x[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(label: &str, start: usize, end: usize, score: f32) -> Entity {
        Entity { label: label.into(), score, word: format!("w{start}"), start, end, index: None }
    }

    #[track_caller]
    fn check(labels: &[&str], want: &[(&str, usize, usize)]) {
        let parts: Vec<Entity> =
            labels.iter().enumerate().map(|(i, label)| entity(label, 2 * i, 2 * i + 1, 0.5)).collect();
        let spans = spans(&parts, &|words| Ok(words.join(" "))).unwrap();
        let got: Vec<(&str, usize, usize)> = spans.iter().map(|s| (&s.label[..], s.start, s.end)).collect();
        assert_eq!(got, want, "{labels:?}");
    }

    #[test]
    fn labels_make_spans() {
        check(&[], &[]);
        check(&["O", "B-PER", "I-PER", "O"], &[("O", 0, 1), ("PER", 2, 5), ("O", 6, 7)]);
        check(&["B-PER", "B-PER", "I-LOC"], &[("PER", 0, 1), ("PER", 2, 3), ("LOC", 4, 5)]);
        check(&["I-PER", "I-PER"], &[("PER", 0, 3)]);
        check(&["PER", "PER", "LOC"], &[("PER", 0, 3), ("LOC", 4, 5)]);
    }

    #[test]
    fn of_overlapping_spans_the_longer_then_the_surer() {
        let spans =
            vec![entity("A", 4, 9, 0.1), entity("B", 0, 3, 0.5), entity("C", 1, 4, 0.9), entity("D", 5, 7, 0.9)];
        let labels: Vec<String> = without_overlaps(spans).into_iter().map(|s| s.label).collect();
        assert_eq!(labels, ["C", "A"]);
    }
}
