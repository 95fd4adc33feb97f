//! Where a word begins and ends.

use serde::Deserialize;

use super::{SentenceEnds, TextConfig};

/// How words are told apart.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Runs of letters, digits and underscores; an apostrophe between two of them belongs to the word: `don't` is one word,
    /// `'tis` is `tis`, `well-known` is two.
    Words,
    /// Whatever stands between white space, as word2vec and GloVe do.
    Whitespace,
}

/// Cuts text into words.
#[derive(Clone, Copy, Debug)]
pub struct Splitter {
    split: Split,
    lowercase: bool,
    lines: bool,
}

impl Splitter {
    /// As a recipe says.
    pub fn new(config: TextConfig) -> Self {
        Self { split: config.split, lowercase: config.lowercase, lines: config.sentences == SentenceEnds::Lines }
    }

    /// Calls `word` with each word, and `end` where a sentence ends inside the text.
    pub fn each(&self, text: &str, mut word: impl FnMut(&str), mut end: impl FnMut()) {
        let mut folded = String::new();
        let mut fold = |w: &str| {
            if !self.lowercase || !w.bytes().any(|b| b.is_ascii_uppercase() || b >= 0x80) {
                word(w);
            } else if w.is_ascii() {
                folded.clear();
                folded.push_str(w);
                folded.make_ascii_lowercase();
                word(&folded);
            } else {
                word(&w.to_lowercase());
            }
        };
        if !self.lines {
            return self.words(text, &mut fold);
        }
        let mut lines = text.split('\n').peekable();
        while let Some(line) = lines.next() {
            self.words(line, &mut fold);
            if lines.peek().is_some() {
                end();
            }
        }
    }

    fn words(&self, text: &str, word: &mut impl FnMut(&str)) {
        match self.split {
            Split::Whitespace => text.split_whitespace().for_each(word),
            Split::Words => {
                let mut begin = None;
                let mut chars = text.char_indices().peekable();
                while let Some((at, c)) = chars.next() {
                    let inside = is_word(c)
                        || (begin.is_some()
                            && is_apostrophe(c)
                            && chars.peek().is_some_and(|&(_, next)| is_word(next)));
                    match (inside, begin) {
                        (true, None) => begin = Some(at),
                        (false, Some(b)) => {
                            word(&text[b..at]);
                            begin = None;
                        }
                        _ => {}
                    }
                }
                if let Some(b) = begin {
                    word(&text[b..]);
                }
            }
        }
    }
}

/// Letters, digits, underscores, and marks that belong to the letter before them.
fn is_word(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => true,
        _ if c.is_ascii() => false,
        _ => c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c),
    }
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn splitter(split: Split, lowercase: bool) -> Splitter {
        Splitter::new(TextConfig { split, lowercase, sentences: SentenceEnds::Lines })
    }

    fn words(s: Splitter, text: &str) -> Vec<String> {
        let found = std::cell::RefCell::new(Vec::new());
        s.each(text, |w| found.borrow_mut().push(w.to_owned()), || found.borrow_mut().push("|".into()));
        found.into_inner()
    }

    #[track_caller]
    fn check(split: Split, lowercase: bool, text: &str, want: &str) {
        assert_eq!(words(splitter(split, lowercase), text).join(" "), want, "{text:?}");
    }

    #[test]
    fn what_a_word_is() {
        check(Split::Words, true, "Don't stop, 'tis well-known!", "don't stop tis well known");
        check(Split::Words, false, "Äpfel und ÖL: 3,5 kg_x", "Äpfel und ÖL 3 5 kg_x");
        check(Split::Words, true, "ÄPFEL\nİstanbul", "äpfel | i\u{307}stanbul");
        check(Split::Words, true, "a\n\nb\n", "a | | b |");
        check(Split::Words, true, "rock''n' roll’s", "rock n roll’s");
        check(Split::Whitespace, false, " The cat,\t sat\u{a0}on ", "The cat, sat on");
        check(Split::Whitespace, true, "The\nCat", "the | cat");
        check(Split::Words, true, "", "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn words_are_parts_of_the_text_in_order(text in "\\PC*") {
            for split in [Split::Words, Split::Whitespace] {
                let mut rest = &text[..];
                for word in words(splitter(split, false), &text) {
                    if word == "|" && !rest.contains('|') { continue; }
                    prop_assert!(!word.is_empty() && !word.contains(char::is_whitespace));
                    let at = rest.find(&word);
                    prop_assert!(at.is_some(), "{} in {}", word, rest);
                    rest = &rest[at.unwrap_or(0) + word.len()..];
                }
            }
        }
    }
}
