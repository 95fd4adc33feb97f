//! Masked words.

use bedstone_data::tokenizer::{Special, Tokenizer};
use bedstone_models::Class;
use rayon::prelude::*;

use super::{Encoder, batch, no_empty_text, softmax, top_k};
use crate::{InferError, Result};

/// What is asked of each mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillOptions {
    /// Guesses for each mask.
    pub top_k: usize,
    /// Ids that are compared, from [`target_ids`]; the whole vocabulary if `None`.
    pub targets: Option<Vec<u32>>,
}

impl Default for FillOptions {
    fn default() -> Self {
        FillOptions { top_k: 5, targets: None }
    }
}

/// A word for a mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// Its probability among the whole vocabulary.
    pub score: f32,
    /// Its id.
    pub token: u32,
    /// Its text.
    pub token_str: String,
    /// The text with this word in place of this mask.
    pub sequence: String,
}

/// Guesses for each mask of each text, the likeliest first. With several masks each is guessed with the others unknown.
///
/// `[MASK]` and `<mask>` stand for the tokenizer's mask token.
///
/// ```no_run
/// # fn f(runtime: bedstone_infer::Runtime) -> Result<(), bedstone_infer::InferError> {
/// use bedstone_infer::tasks::{EncoderModel, fill::{FillOptions, fill}};
/// let (model, _) = EncoderModel::load(std::path::Path::new("bert-base-uncased"), runtime)?;
/// let guesses = fill(model.encoder(), &["Paris is the [MASK] of France."], &FillOptions::default())?;
/// println!("{}", guesses[0][0][0].sequence);
/// # Ok(()) }
/// ```
pub fn fill<T: AsRef<str> + Sync>(
    encoder: Encoder<'_>,
    texts: &[T],
    options: &FillOptions,
) -> Result<Vec<Vec<Vec<Guess>>>> {
    encoder.need("fill", &[Class::MaskedLm, Class::PreTraining])?;
    no_empty_text(texts.iter().map(AsRef::as_ref))?;
    let special = encoder.tokenizer.special();
    let mask = special.mask.as_ref().ok_or(InferError::NoToken { task: "fill", role: "mask" })?;
    let limit = encoder.max_length();
    let ids: Vec<Vec<u32>> = texts
        .par_iter()
        .enumerate()
        .map(|(row, text)| {
            let text = with_mask(text.as_ref(), &mask.text);
            let ids = encoder.tokenizer.encode_ids(&text, Special::With)?;
            if !ids.contains(&mask.id) {
                let start = text.chars().take(40).collect();
                return Err(InferError::NoMask { row, mask: mask.text.clone(), start });
            }
            // A mask may be in what would be cut off.
            if ids.len() > limit {
                return Err(InferError::TextTooLong { row, got: ids.len(), limit });
            }
            Ok(ids)
        })
        .collect::<Result<_>>()?;
    let rows: Vec<batch::Row> = ids.iter().map(|ids| batch::Row::of_ids(ids)).collect();
    let places: Vec<Vec<usize>> =
        ids.iter().map(|ids| (0..ids.len()).filter(|&i| ids[i] == mask.id).collect()).collect();
    let name = if encoder.model.class() == Class::PreTraining { "prediction_logits" } else { "logits" };
    let mut results: Vec<Vec<Vec<Guess>>> = vec![Vec::new(); texts.len()];
    batch::forward_places(encoder, &rows, &places, name, |row, place, logits| {
        let mut scores = logits.to_vec();
        softmax(&mut scores);
        let best: Vec<u32> = match &options.targets {
            None => top_k(&scores, options.top_k).into_iter().map(|id| id as u32).collect(),
            Some(targets) => {
                let of_targets: Vec<f32> = targets.iter().map(|&id| scores[id as usize]).collect();
                top_k(&of_targets, options.top_k).into_iter().map(|i| targets[i]).collect()
            }
        };
        let single = places[row].len() == 1;
        let mut filled = ids[row].clone();
        let guesses = best.into_iter().map(|token| {
            filled[place] = token;
            let shown: Vec<u32> =
                filled.iter().copied().filter(|&id| special.pad.as_ref().is_none_or(|pad| pad.id != id)).collect();
            // The other masks would be left out with the special tokens.
            let special = if single { Special::Without } else { Special::With };
            Ok(Guess {
                score: scores[token as usize],
                token,
                token_str: encoder.tokenizer.decode(&[token], Special::With)?,
                sequence: encoder.tokenizer.decode(&shown, special)?,
            })
        });
        // Masks of a text come in their order.
        results[row].push(guesses.collect::<Result<_>>()?);
        Ok(())
    })?;
    Ok(results)
}

/// The id of each word that masks are to be compared with: its own, or that of its first token. In the order given, each
/// once; with the words that are no token of the vocabulary, and the token taken for each.
#[allow(clippy::type_complexity)] // Two lists, of which the second is for messages.
pub fn target_ids(tokenizer: &Tokenizer, targets: &[String]) -> Result<(Vec<u32>, Vec<(String, String)>)> {
    let (mut ids, mut replaced) = (Vec::new(), Vec::new());
    for target in targets {
        let id = match tokenizer.token_to_id(target) {
            Some(id) => id,
            None => {
                let first = tokenizer.encode_ids(target, Special::Without)?.first().copied();
                let wanted = || InferError::Setting {
                    name: "targets",
                    got: format!("{target:?}, which has no tokens"),
                    wanted: "words".into(),
                };
                let id = first.ok_or_else(wanted)?;
                replaced.push((target.clone(), tokenizer.id_to_token(id).unwrap_or_default()));
                id
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok((ids, replaced))
}

/// The text with the tokenizer's own mask, where it is written as that of another family.
fn with_mask(text: &str, mask: &str) -> String {
    if text.contains(mask) {
        return text.to_owned();
    }
    text.replace("[MASK]", mask).replace("<mask>", mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_other_families() {
        assert_eq!(with_mask("a [MASK] <mask>", "<mask>"), "a [MASK] <mask>");
        assert_eq!(with_mask("a [MASK]", "<mask>"), "a <mask>");
        assert_eq!(with_mask("a <mask> b <mask>", "[MASK]"), "a [MASK] b [MASK]");
        assert_eq!(with_mask("a", "[MASK]"), "a");
    }
}
