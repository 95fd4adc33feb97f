//! Which ids are special, by the names of `tokenizer_config.json` and `special_tokens_map.json`.

use super::Error;
use serde_json::{Map, Value};
use std::path::Path;

/// A special token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
}

/// The special tokens by role; `None` where the files name none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of text.
    pub bos: Option<SpecialToken>,
    /// End of text.
    pub eos: Option<SpecialToken>,
    /// What the vocabulary does not know.
    pub unk: Option<SpecialToken>,
    /// Between two texts.
    pub sep: Option<SpecialToken>,
    /// Filler.
    pub pad: Option<SpecialToken>,
    /// The place whose state stands for the whole text.
    pub cls: Option<SpecialToken>,
    /// What is to be guessed.
    pub mask: Option<SpecialToken>,
}

impl SpecialTokens {
    /// Reads the roles from one JSON object, keeping what is there already; `id_of` looks a token up.
    pub(super) fn fill(
        &mut self,
        path: &Path,
        object: &Map<String, Value>,
        id_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<(), Error> {
        for (field, slot) in self.slots() {
            let text = match object.get(field) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text,
                // Released files hold an `AddedToken` here.
                Some(Value::Object(token)) => match token.get("content") {
                    Some(Value::String(text)) => text,
                    _ => return Err(wrong(path, field, "an object without `content`")),
                },
                Some(other) => return Err(wrong(path, field, &other.to_string())),
            };
            if slot.is_none() {
                let id = id_of(text).ok_or_else(|| Error::UnknownSpecial {
                    path: path.to_path_buf(),
                    field,
                    token: text.clone(),
                })?;
                *slot = Some(SpecialToken { id, text: text.clone() });
            }
        }
        Ok(())
    }

    /// The roles that are taken, as `special_tokens_map.json` holds them.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut copy = self.clone();
        let taken = copy.slots().into_iter().filter_map(|(field, slot)| Some((field, slot.take()?)));
        taken.map(|(field, token)| (field.to_string(), Value::String(token.text))).collect()
    }

    fn slots(&mut self) -> [(&'static str, &mut Option<SpecialToken>); 7] {
        [
            ("bos_token", &mut self.bos),
            ("eos_token", &mut self.eos),
            ("unk_token", &mut self.unk),
            ("sep_token", &mut self.sep),
            ("pad_token", &mut self.pad),
            ("cls_token", &mut self.cls),
            ("mask_token", &mut self.mask),
        ]
    }
}

fn wrong(path: &Path, field: &str, got: &str) -> Error {
    Error::Config {
        path: path.to_path_buf(),
        reason: format!("{field} is {got}, want a string or an object with `content`"),
    }
}
