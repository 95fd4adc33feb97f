//! Text as a SentencePiece model sees it: rules applied, white space shown, and where each byte came from.

use super::{charsmap::Charsmap, proto::NormalizerSpec, trie::Trie};

/// Stands for a space.
pub(in crate::tokenizer) const SPACE: &str = "▁";

/// What the model's `normalizer_spec` asks for.
#[derive(Clone, Debug)]
pub(super) struct Normalizer {
    charsmap: Charsmap,
    /// What rules leave alone.
    user_defined: Trie,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    whitespace_as_suffix: bool,
}

/// Text after normalization.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Normalized {
    pub(super) text: String,
    /// For each byte of `text` and its end, the byte of the input it stands for.
    pub(super) origin: Vec<usize>,
}

impl Normalizer {
    pub(super) fn new(spec: &NormalizerSpec, user_defined: Trie, whitespace_as_suffix: bool) -> Result<Self, String> {
        if !spec.escape_whitespaces {
            return Err("it keeps spaces as they are (escape_whitespaces is false), which is not supported".into());
        }
        Ok(Self {
            charsmap: Charsmap::read(&spec.precompiled_charsmap)?,
            user_defined,
            add_dummy_prefix: spec.add_dummy_prefix,
            remove_extra_whitespaces: spec.remove_extra_whitespaces,
            whitespace_as_suffix,
        })
    }

    /// Normalizes from left to right, always by the longest rule.
    pub(super) fn normalize(&self, input: &str) -> Normalized {
        let mut out = Normalized::default();
        let mut at = 0;
        if self.remove_extra_whitespaces {
            while let Some((" ", length)) = self.prefix(&input[at..]) {
                at += length;
            }
        }
        if at == input.len() {
            return out;
        }
        if self.add_dummy_prefix && !self.whitespace_as_suffix {
            out.push(SPACE, at);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while let Some((mut text, length)) = self.prefix(&input[at..]) {
            if after_space {
                text = text.trim_start_matches(' ');
            }
            for (i, part) in text.split(' ').enumerate() {
                if i > 0 {
                    out.push(SPACE, at);
                }
                out.push(part, at);
            }
            if !text.is_empty() {
                after_space = self.remove_extra_whitespaces && text.ends_with(' ');
            }
            at += length;
        }
        if self.remove_extra_whitespaces {
            while out.text.ends_with(SPACE) {
                let length = out.text.len() - SPACE.len();
                at = out.origin[length];
                out.text.truncate(length);
                out.origin.truncate(length);
            }
        }
        if self.add_dummy_prefix && self.whitespace_as_suffix {
            out.push(SPACE, at);
        }
        out.origin.push(at);
        out
    }

    /// What the beginning of `input` becomes, and how many bytes that takes; `None` at the end.
    fn prefix<'a>(&'a self, input: &'a str) -> Option<(&'a str, usize)> {
        let first = input.chars().next()?.len_utf8();
        if let Some(length) = self.user_defined.longest(input.as_bytes()) {
            return Some((&input[..length], length));
        }
        let rule = self.charsmap.longest(input.as_bytes());
        // A rule that ends inside a character comes from a broken file.
        Some(rule.filter(|&(_, length)| input.is_char_boundary(length)).unwrap_or((&input[..first], first)))
    }
}

impl Normalized {
    fn push(&mut self, text: &str, from: usize) {
        self.text.push_str(text);
        self.origin.resize(self.text.len(), from);
    }
}
