//! Many inputs through a model without padding.
//!
//! Inputs are sorted by length and cut into batches of up to `batch_tokens` tokens. In a batch they stand one after another
//! where the model takes that, so that products have many rows whatever the lengths; otherwise inputs of one length make a
//! batch. Either way nothing is computed that nobody asked for, and no mask is needed. Results come back under the inputs'
//! numbers.
//!
//! An input's result does not depend on the number of threads. What else is in its batch decides how many rows products
//! have and so which kernel computes them: differences are those of rounding.

use bedstone_data::tokenizer::{Encoding, Special, Tokenizer, Truncation};
use bedstone_models::{Inputs, Logits, Model, Outputs};
use bedstone_tensor::{Ctx, Isa, Tensor};

use super::{BATCH_TOKENS, Encoder};
use crate::{InferError, Result, Runtime};

/// One sequence of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Tokens.
    pub ids: Vec<i32>,
    /// Which text each token is of; empty where all are of the first.
    pub types: Vec<i32>,
}

impl Row {
    /// Of one text.
    pub fn of_ids(ids: &[u32]) -> Self {
        Row { ids: ids.iter().map(|&id| id as i32).collect(), types: Vec::new() }
    }

    /// Of one or two texts.
    pub fn of(encoding: &Encoding) -> Self {
        let types = match encoding.type_ids.iter().all(|&t| t == 0) {
            true => Vec::new(),
            false => encoding.type_ids.iter().map(|&t| t as i32).collect(),
        };
        Row { types, ..Row::of_ids(&encoding.ids) }
    }

    /// How many tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A model as rows go through it: training has no more at hand while it evaluates.
#[derive(Clone, Copy)]
pub struct Forward<'m> {
    /// The model.
    pub model: &'m Model,
    /// How it is run.
    pub runtime: Runtime,
    /// Tokens that go through it at a time.
    pub batch_tokens: usize,
}

impl<'m> Forward<'m> {
    /// With the usual number of tokens a batch.
    pub fn new(model: &'m Model, runtime: Runtime) -> Self {
        Forward { model, runtime, batch_tokens: BATCH_TOKENS }
    }
}

impl<'m> From<Encoder<'m>> for Forward<'m> {
    fn from(Encoder { model, runtime, batch_tokens, .. }: Encoder<'m>) -> Self {
        Forward { model, runtime, batch_tokens }
    }
}

/// Runs the model on every row and gives `take(row, outputs)` the numbers that each of the outputs `names` has for it:
/// `[T, width]` or `[width]`.
///
/// # Errors
///
/// If an output is not made of numbers, which names the row; what `take` gives.
pub fn forward<'m, const N: usize>(
    encoder: impl Into<Forward<'m>>,
    rows: &[Row],
    names: [&'static str; N],
    mut take: impl FnMut(usize, [&[f32]; N]) -> Result<()>,
) -> Result<()> {
    let Forward { model, runtime, batch_tokens } = encoder.into();
    no_row_without_tokens(rows)?;
    let env = model.env(runtime.isa, runtime.precision);
    for batch in batches(rows, batch_tokens, model.packs()) {
        let out = model.forward(&inputs(rows, &batch), &mut Ctx::inference(env))?;
        let outputs = outputs(&out, names, runtime.isa)?;
        let total: usize = batch.iter().map(|&row| rows[row].len()).sum();
        let mut token = 0;
        for (place, &row) in batch.iter().enumerate() {
            let tokens = token..token + rows[row].len();
            token = tokens.end;
            let of_row = |x: &Tensor| match x.shape()[0] == batch.len() {
                true => {
                    let each = x.shape().numel() / batch.len();
                    place * each..(place + 1) * each
                }
                // Packed: a row for each token.
                false => {
                    let each = x.shape().numel() / total;
                    tokens.start * each..tokens.end * each
                }
            };
            let parts = std::array::from_fn(|i| &outputs[i].f32s()[of_row(&outputs[i])]);
            if parts.iter().any(|part| part.iter().any(|x| x.is_nan())) {
                return Err(InferError::NotNumbers { row });
            }
            take(row, parts)?;
        }
    }
    Ok(())
}

/// Runs a model of masked words on every row and gives `take(row, place, logits)` the scores of the whole vocabulary at
/// each of the row's `places`; nothing is computed for other places.
pub(crate) fn forward_places(
    encoder: Encoder<'_>,
    rows: &[Row],
    places: &[Vec<usize>],
    name: &'static str,
    mut take: impl FnMut(usize, usize, &[f32]) -> Result<()>,
) -> Result<()> {
    no_row_without_tokens(rows)?;
    let env = encoder.model.env(encoder.runtime.isa, encoder.runtime.precision);
    for batch in batches(rows, encoder.batch_tokens, encoder.model.packs()) {
        let mut asked = Vec::new();
        let mut token = 0;
        for &row in &batch {
            asked.extend(places[row].iter().map(|&place| (token + place, row, place)));
            token += rows[row].len();
        }
        if asked.is_empty() {
            continue;
        }
        let mut inputs = inputs(rows, &batch);
        inputs.logits = Logits::At(asked.iter().map(|&(token, ..)| token as i32).collect());
        let out = encoder.model.forward(&inputs, &mut Ctx::inference(env))?;
        let [logits] = outputs(&out, [name], encoder.runtime.isa)?;
        let width = logits.shape().width().max(1);
        for (&(_, row, place), scores) in asked.iter().zip(logits.f32s().chunks_exact(width)) {
            if scores.iter().any(|x| x.is_nan()) {
                return Err(InferError::NotNumbers { row });
            }
            take(row, place, scores)?;
        }
    }
    Ok(())
}

/// What a tokenizer without special tokens makes of some texts.
fn no_row_without_tokens(rows: &[Row]) -> Result<()> {
    match rows.iter().position(Row::is_empty) {
        Some(row) => Err(InferError::NoTokens { row }),
        None => Ok(()),
    }
}

/// The tokens of a text, or of a pair, cut to `limit`, and whether something was cut off.
pub fn tokens(tokenizer: &Tokenizer, text: &str, pair: Option<&str>, limit: usize) -> Result<(Row, bool)> {
    let row = match pair {
        // Without places of tokens it is faster.
        None => Row::of_ids(&tokenizer.encode_ids(text, Special::With)?),
        Some(pair) => Row::of(&tokenizer.encode_pair(text, pair, Special::With)?),
    };
    if row.len() <= limit {
        return Ok((row, false));
    }
    let pair = pair.map(|pair| pair.into());
    let cut = tokenizer.encode_truncated(text.into(), pair, limit, Truncation::LongestFirst)?;
    Ok((Row::of(&cut), true))
}

/// Numbers of rows, batch by batch; rows of any lengths go together if the model packs. Long rows come first, so that a
/// lack of memory shows at once, and those of one length are neighbours.
fn batches(rows: &[Row], tokens: usize, packs: bool) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(rows[i].len()), i));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for row in order {
        let length = rows[row].len();
        match batches.last_mut() {
            Some(batch) if room >= length && (packs || rows[batch[0]].len() == length) => {
                batch.push(row);
                room -= length;
            }
            _ => {
                batches.push(vec![row]);
                room = tokens.saturating_sub(length);
            }
        }
    }
    batches
}

fn inputs(rows: &[Row], batch: &[usize]) -> Inputs {
    let lengths: Vec<usize> = batch.iter().map(|&row| rows[row].len()).collect();
    let packed = lengths.iter().any(|&length| length != lengths[0]);
    let shape = if packed { [1, lengths.iter().sum()] } else { [batch.len(), lengths[0]] };
    let all = |part: &dyn Fn(&Row) -> Vec<i32>| -> Vec<i32> { batch.iter().flat_map(|&i| part(&rows[i])).collect() };
    let mut inputs = Inputs::new("input_ids", Tensor::from_slice(&all(&|row| row.ids.clone()), shape));
    inputs.lengths = packed.then_some(lengths);
    if batch.iter().all(|&i| rows[i].types.is_empty()) {
        return inputs;
    }
    let types = all(&|row| if row.types.is_empty() { vec![0; row.len()] } else { row.types.clone() });
    inputs.with("token_type_ids", Tensor::from_slice(&types, shape))
}

fn outputs<const N: usize>(out: &Outputs, names: [&'static str; N], isa: Isa) -> Result<[Tensor; N]> {
    let mut all = Vec::with_capacity(N);
    for name in names {
        all.push(out.need(name)?.to_f32(isa)?);
    }
    // As many as names.
    all.try_into().map_err(|_| unreachable!("one a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lengths: &[usize], tokens: usize, packs: bool, want: &[&[usize]]) {
        let rows: Vec<Row> = lengths.iter().map(|&n| Row { ids: vec![1; n], types: vec![] }).collect();
        assert_eq!(batches(&rows, tokens, packs), want, "{lengths:?} by {tokens}, {packs}");
    }

    #[test]
    fn rows_of_a_length_go_together() {
        check(&[], 8, false, &[]);
        check(&[3, 5, 3, 5, 3], 100, false, &[&[1, 3], &[0, 2, 4]]);
        check(&[3, 5, 3, 5, 3], 100, true, &[&[1, 3, 0, 2, 4]]);
    }

    #[test]
    fn batches_end_at_their_tokens() {
        check(&[3, 3, 3, 3, 3], 7, false, &[&[0, 1], &[2, 3], &[4]]);
        check(&[1, 4, 2, 3], 7, true, &[&[1, 3], &[2, 0]]);
        // One row is always taken.
        check(&[9, 9], 4, true, &[&[0], &[1]]);
        check(&[0, 0], 4, false, &[&[0, 1]]);
    }
}
