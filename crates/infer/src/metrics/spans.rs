//! Tags by the spans they mean.

use std::collections::{BTreeMap, BTreeSet};

use bedstone_data::labelled::{Span, spans, strict_spans};

use super::{
    Averages, MetricError, Prf, Result,
    classes::{Tally, averages},
    ratio,
};

/// How spans are read from tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanMode {
    /// Kindly, as `seqeval` by default and as `conlleval`: see [`spans`].
    #[default]
    Lenient,
    /// As IOB2 at its word, `seqeval`'s `mode="strict", scheme=IOB2`: see [`strict_spans`].
    Strict,
}

/// How well spans were found: a span counts if its label and both ends are right.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanReport {
    /// For every label that occurs as a true or a predicted one, sorted.
    pub per_label: Vec<(String, Prf)>,
    /// Over all labels; all 0 if there is no span, where `seqeval` has `NaN` for the macro average.
    pub averages: Averages,
    /// Share of the words with the right tag.
    pub accuracy: f64,
}

/// Compares the tags of sentences, as `seqeval` does.
///
/// # Errors
///
/// If there are not as many sentences, or as many tags in one, or no tag at all; in the strict mode also for tags that
/// begin with anything else than `B`, `I` or `O`.
pub fn span_report<S: AsRef<str>, P: AsRef<str>>(
    truth: &[Vec<S>],
    predicted: &[Vec<P>],
    mode: SpanMode,
) -> Result<SpanReport> {
    super::same_length("spans", "sentences", predicted.len(), truth.len())?;
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut right, mut words) = (0_u64, 0_u64);
    for (sentence, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
        if truth.len() != predicted.len() {
            return Err(MetricError::Tags { sentence, got: predicted.len(), want: truth.len() });
        }
        words += truth.len() as u64;
        right += truth.iter().zip(predicted).filter(|(truth, predicted)| truth.as_ref() == predicted.as_ref()).count()
            as u64;
        let (truth, predicted) = (read(truth, mode, sentence)?, read(predicted, mode, sentence)?);
        let mut tally = |spans: Vec<&Span>, add: fn(&mut Tally)| {
            spans.into_iter().for_each(|span| add(tallies.entry(span.label.clone()).or_default()));
        };
        tally(truth.intersection(&predicted).collect(), |tally| tally.right += 1);
        tally(predicted.difference(&truth).collect(), |tally| tally.wrong += 1);
        tally(truth.difference(&predicted).collect(), |tally| tally.missed += 1);
    }
    if words == 0 {
        return Err(MetricError::Empty { metric: "spans" });
    }
    let averages = averages(&tallies.values().copied().collect::<Vec<_>>(), |_| true);
    let per_label = tallies.into_iter().map(|(label, tally)| (label, tally.prf())).collect();
    Ok(SpanReport { per_label, averages, accuracy: ratio(right as f64, words as f64) })
}

fn read<S: AsRef<str>>(tags: &[S], mode: SpanMode, sentence: usize) -> Result<BTreeSet<Span>> {
    let spans = match mode {
        SpanMode::Lenient => spans(tags),
        SpanMode::Strict => strict_spans(tags).map_err(|source| MetricError::Tag { sentence, source })?,
    };
    Ok(spans.into_iter().collect())
}
