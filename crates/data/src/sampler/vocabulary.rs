//! What masking needs to know of a vocabulary.

use std::sync::Arc;

use crate::tokenizer::Tokenizer;

/// Special ids, and which tokens are what.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// Before a sequence.
    pub cls: u32,
    /// After a text.
    pub sep: u32,
    /// In the place of what is to be guessed.
    pub mask: u32,
    /// Behind a sequence.
    pub pad: u32,
    kinds: Arc<[Kind]>,
    /// Ids that are no special tokens.
    plain: Arc<[u32]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    special: bool,
    continues: bool,
    ends_sentence: bool,
}

/// A special token that a tokenizer lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tokenizer has no {role} token\nhint: take one of BERT's or RoBERTa's kind: --set tokenizer.kind=wordpiece, or =roberta"
)]
pub struct MissingToken {
    /// What it is for.
    pub role: &'static str,
}

/// Ends of sentences, with what may follow them.
const ENDS: [&str; 7] = [".", "!", "?", "。", "！", "？", "…"];

impl Vocabulary {
    /// Of a tokenizer with `cls`, `sep`, `mask` and `pad`, or what serves as these in RoBERTa.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, MissingToken> {
        let special = tokenizer.special();
        let need = |role, token: &Option<crate::tokenizer::SpecialToken>| {
            token.as_ref().map(|t| t.id).ok_or(MissingToken { role })
        };
        let all = [&special.bos, &special.eos, &special.unk, &special.sep, &special.pad, &special.cls, &special.mask];
        let roles: Vec<u32> = all.into_iter().flatten().map(|t| t.id).collect();
        let tokens: Vec<String> =
            (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.id_to_token(id).unwrap_or_default()).collect();
        // How a vocabulary marks words: what continues one, or what begins one.
        let pieces = tokens.iter().any(|t| t.starts_with("##") && t.len() > 2);
        let kind = |(id, token): (usize, &String)| {
            let begins = token.starts_with(['Ġ', '▁', 'Ċ']);
            Kind {
                special: roles.contains(&(id as u32)),
                continues: if pieces { token.starts_with("##") } else { !begins },
                ends_sentence: ENDS.contains(&token.trim_start_matches(['#', 'Ġ', '▁'])),
            }
        };
        let kinds: Arc<[Kind]> = tokens.iter().enumerate().map(kind).collect();
        let plain: Arc<[u32]> = (0..kinds.len() as u32).filter(|&id| !kinds[id as usize].special).collect();
        Ok(Vocabulary {
            cls: need("cls", &special.cls)?,
            sep: need("sep", &special.sep)?,
            mask: need("mask", &special.mask)?,
            pad: need("pad", &special.pad)?,
            kinds,
            plain,
        })
    }

    fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or_default()
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.kind(id).special
    }

    /// Whether a token belongs to the word of the one before it.
    pub(super) fn continues(&self, id: u32) -> bool {
        self.kind(id).continues
    }

    pub(super) fn ends_sentence(&self, id: u32) -> bool {
        self.kind(id).ends_sentence
    }

    /// Any token that is not special; `below(n)` draws one of `0..n`.
    pub(super) fn any(&self, below: impl FnOnce(u64) -> u64) -> u32 {
        match self.plain.len() {
            0 => self.mask,
            n => self.plain[below(n as u64) as usize],
        }
    }
}
