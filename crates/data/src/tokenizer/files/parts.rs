//! Parts of a `tokenizer.json`.

use super::super::{Error, read_object};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What the files beside the vocabulary say about special tokens.
pub(super) struct Roles<'a> {
    pub(super) folder: &'a Path,
    pub(super) config: Map<String, Value>,
    pub(super) map: &'a Map<String, Value>,
}

/// The roles in the order in which `transformers` adds their tokens.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl Roles<'_> {
    /// Gives each role of a class that no file names the token that the class has for it.
    pub(super) fn defaults(&mut self, defaults: &[(&str, Value)]) {
        for (role, token) in defaults {
            let named = [&self.config, self.map].iter().any(|object| object.get(*role).is_some_and(|t| !t.is_null()));
            // `null` in the configuration means: none.
            if !named && !self.config.contains_key(*role) {
                self.config.insert((*role).to_owned(), token.clone());
            }
        }
    }

    /// The token of a role.
    pub(super) fn token(&self, role: &str) -> Option<&str> {
        text(self.value(role)?)
    }

    /// A switch of `tokenizer_config.json`.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.config.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    fn value(&self, role: &str) -> Option<&Value> {
        self.config.get(role).or_else(|| self.map.get(role)).filter(|token| !token.is_null())
    }

    /// `added_tokens` for a vocabulary of `size` ids: `known` first (tokens that the vocabulary itself marks), then those
    /// of the files. What the vocabulary lacks gets ids behind it, in the order of `transformers`.
    pub(super) fn added_tokens(
        &self,
        size: usize,
        id_of: impl Fn(&str) -> Option<u32>,
        known: Vec<Value>,
    ) -> Result<Vec<Value>, Error> {
        let mut tokens: Vec<Value> = Vec::new();
        // Flags in `added_tokens_decoder` count more than the vocabulary's own, and those more than a role's.
        let mut add =
            |token: Value, replaces: bool| match tokens.iter().position(|other| other["content"] == token["content"]) {
                Some(at) if replaces => tokens[at] = token,
                Some(_) => {}
                None => tokens.push(token),
            };
        known.into_iter().for_each(|token| add(token, false));
        let mut decoder = self.decoder()?;
        decoder.sort_by_key(|(id, _)| *id);
        decoder.iter().for_each(|(_, token)| add(token.clone(), true));
        for role in ROLES {
            if let Some(token) = self.value(role) {
                add(added_token(token).ok_or_else(|| self.wrong(role, token))?, false);
            }
        }
        for list in ["additional_special_tokens", "extra_special_tokens"] {
            let listed = self.config.get(list).or_else(|| self.map.get(list));
            for token in listed.and_then(Value::as_array).into_iter().flatten() {
                add(added_token(token).ok_or_else(|| self.wrong(list, token))?, false);
            }
        }
        let (mut old, mut new): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for mut token in tokens {
            let id = token["content"].as_str().and_then(&id_of);
            token["id"] = json!(id.map_or(size + new.len(), |id| id as usize));
            if id.is_some() { old.push(token) } else { new.push(token) }
        }
        old.sort_by_key(|token| token["id"].as_u64());
        old.append(&mut new);
        for (id, token) in decoder {
            let at = old.iter().find(|other| other["content"] == token["content"]);
            if at.is_some_and(|at| at["id"] != json!(id)) {
                let got = at.map(|at| at["id"].to_string()).unwrap_or_default();
                return Err(Error::Config {
                    path: self.folder.join("tokenizer_config.json"),
                    reason: format!("token {} is to have id {id}, with this vocabulary it has {got}", token["content"]),
                });
            }
        }
        Ok(old)
    }

    /// `added_tokens_decoder`, or `added_tokens.json` of older releases: ids with tokens.
    fn decoder(&self) -> Result<Vec<(u64, Value)>, Error> {
        if let Some(Value::Object(decoder)) = self.config.get("added_tokens_decoder") {
            let entry = |(id, token): (&String, &Value)| {
                let parsed = id.parse().ok().zip(added_token(token));
                parsed.ok_or_else(|| self.wrong("added_tokens_decoder", token))
            };
            return decoder.iter().map(entry).collect();
        }
        let path = self.folder.join("added_tokens.json");
        let entry = |(token, id): (String, Value)| match id.as_u64() {
            Some(id) => Ok((id, plain_token(&token))),
            None => Err(Error::Config { path: path.clone(), reason: format!("{token:?} has the id {id}") }),
        };
        read_object(&path)?.unwrap_or_default().into_iter().map(entry).collect()
    }

    fn wrong(&self, field: &str, got: &Value) -> Error {
        Error::Config {
            path: self.folder.join("tokenizer_config.json"),
            reason: format!("{field} holds {got}, want a string or an object with `content`"),
        }
    }

    /// A template, written as `cls A sep B:1 sep:1`: roles, the two texts, and types other than 0.
    pub(super) fn template(
        &self,
        path: &Path,
        single: &str,
        pair: &str,
        added: &[Value],
        id_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<Value, Error> {
        let mut specials = Map::new();
        let mut pieces = |pattern: &str| -> Result<Vec<Value>, Error> {
            let mut pieces = Vec::new();
            for part in pattern.split(' ').filter(|part| !part.is_empty()) {
                let (name, type_id) = part.strip_suffix(":1").map_or((part, 0), |name| (name, 1));
                if ["A", "B"].contains(&name) {
                    pieces.push(json!({"Sequence": {"id": name, "type_id": type_id}}));
                    continue;
                }
                let role = format!("{name}_token");
                let missing = |reason: String| Error::Config { path: path.to_path_buf(), reason };
                let token = self
                    .token(&role)
                    .ok_or_else(|| missing(format!("{role} is not named, which this class puts around a text")))?;
                let listed = added.iter().find(|other| other["content"] == token).and_then(|t| t["id"].as_u64());
                let id = listed
                    .or_else(|| id_of(token).map(u64::from))
                    .ok_or_else(|| missing(format!("{role} is {token:?}, which the vocabulary does not hold")))?;
                specials.insert(token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}));
                pieces.push(json!({"SpecialToken": {"id": token, "type_id": type_id}}));
            }
            Ok(pieces)
        };
        let (single, pair) = (pieces(single)?, pieces(pair)?);
        Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": specials}))
    }
}

/// A token with the special tokens' usual properties.
pub(super) fn plain_token(content: &str) -> Value {
    json!({"content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
           "special": true})
}

/// A mask that swallows the space before it.
pub(super) fn mask_token(content: &str) -> Value {
    let mut token = plain_token(content);
    token["lstrip"] = json!(true);
    token
}

/// A token as the files hold it: its text, or an object whose missing properties are false.
fn added_token(value: &Value) -> Option<Value> {
    let mut token = plain_token(text(value)?);
    for field in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
        if let Some(set) = value.get(field).and_then(Value::as_bool) {
            token[field] = json!(set);
        }
    }
    Some(token)
}

fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// A whole `tokenizer.json`, opened.
pub(super) fn open(path: &Path, content: Value) -> Result<tokenizers::Tokenizer, Error> {
    let mut file = json!({"version": "1.0", "truncation": null, "padding": null});
    if let (Value::Object(file), Value::Object(content)) = (&mut file, content) {
        file.extend(content);
    }
    tokenizers::Tokenizer::from_bytes(file.to_string())
        .map_err(|reason| Error::Parse { path: path.to_path_buf(), reason: reason.to_string() })
}

/// Bytes as JSON holds them, [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[track_caller]
    fn check(bytes: &str, want: &str) {
        assert_eq!(base64(bytes.as_bytes()), want);
    }

    #[test]
    fn base64_of_the_rfc() {
        for (bytes, want) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("é", "w6k=")]
        {
            check(bytes, want);
        }
    }
}
