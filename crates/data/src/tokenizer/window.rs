//! Inputs cut to a length, and windows over inputs that are longer.

use super::{Encoding, Error, Input, Special, Tokenizer, offsets::Offsets};
use serde_json::Value;
use tokenizers::{OffsetType, TruncationDirection};

/// Which of two texts gives tokens up when both together are too long; names as in transformers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// `longest_first`: the longer text, then both alike.
    #[default]
    LongestFirst,
    /// `only_first`.
    OnlyFirst,
    /// `only_second`: what question answering does, where the second text is the context.
    OnlySecond,
    /// `do_not_truncate`: an input that is too long stays so.
    DoNotTruncate,
}

/// How long an encoding may be, and how windows over longer inputs overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tokens of an encoding, special ones included.
    pub max_length: usize,
    /// Which text is cut.
    pub truncation: Truncation,
    /// Tokens of the text that a window repeats from the one before it (the doc stride of SQuAD's scripts counts the
    /// other way round: tokens from one start to the next).
    pub stride: usize,
}

impl Tokenizer {
    /// Encodes one or two inputs with special tokens, in as many windows as it takes: the first is what truncation
    /// alone gives, further ones hold what it cut off (`return_overflowing_tokens` in transformers).
    ///
    /// Each window has the special tokens and, unless it is cut too, the whole other text.
    ///
    /// ```no_run
    /// # fn f(tokenizer: &bedstone_data::tokenizer::Tokenizer) -> Result<(), bedstone_data::tokenizer::Error> {
    /// use bedstone_data::tokenizer::{Truncation, Window};
    /// let window = Window { max_length: 384, truncation: Truncation::OnlySecond, stride: 128 };
    /// for features in tokenizer.encode_windows("Who?".into(), Some("A long story.".into()), &window)? {
    ///     assert!(features.len() <= 384);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn encode_windows(
        &self,
        first: Input<'_>,
        second: Option<Input<'_>>,
        window: &Window,
    ) -> Result<Vec<Encoding>, Error> {
        self.encode_cut(first, second, window, Overflow::Kept)
    }

    /// The first window alone: what is beyond `max_length` tokens is cut off.
    pub fn encode_truncated(
        &self,
        first: Input<'_>,
        second: Option<Input<'_>>,
        max_length: usize,
        truncation: Truncation,
    ) -> Result<Encoding, Error> {
        let window = Window { max_length, truncation, stride: 0 };
        // There is always a first window.
        Ok(self.encode_cut(first, second, &window, Overflow::Dropped)?.swap_remove(0))
    }

    /// Tokens that the post-processor adds to one text, or to two.
    pub fn added_tokens(&self, pair: bool) -> usize {
        use tokenizers::PostProcessor;
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(pair))
    }

    fn encode_cut(
        &self,
        first: Input<'_>,
        second: Option<Input<'_>>,
        window: &Window,
        overflow: Overflow,
    ) -> Result<Vec<Encoding>, Error> {
        let mut raw = self.encode_raw(first, 0, OffsetType::Byte)?;
        let mut second_raw = second.map(|input| self.encode_raw(input, 1, OffsetType::Byte)).transpose()?;
        let added = self.added_tokens(second.is_some());
        let lengths = (raw.len(), second_raw.as_ref().map(|raw| raw.len()));
        let (keep, keep_second) = window.lengths(lengths, added)?;
        let side = self.truncation_side();
        let cut = |encoding: &mut tokenizers::Encoding, keep| {
            if keep < encoding.len() {
                encoding.truncate(keep, window.stride, side);
                if overflow == Overflow::Dropped {
                    encoding.set_overflowing(Vec::new());
                }
            }
        };
        cut(&mut raw, keep);
        if let Some(second_raw) = &mut second_raw {
            cut(second_raw, keep_second);
        }
        let whole = self.post_process(raw, second_raw, Special::With, first)?;
        let offsets = Offsets::of(first, second);
        Ok(std::iter::once(&whole).chain(whole.get_overflowing()).map(|window| offsets.finish(window)).collect())
    }

    fn truncation_side(&self) -> TruncationDirection {
        match self.config.get("truncation_side").and_then(Value::as_str) {
            Some("left") => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        }
    }
}

/// What becomes of tokens beyond the first window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Kept,
    Dropped,
}

impl Window {
    /// How many tokens of each text a window holds.
    fn lengths(&self, (first, second): (usize, Option<usize>), added: usize) -> Result<(usize, usize), Error> {
        let total = first + second.unwrap_or(0);
        let (n, m) = (first, second.unwrap_or(0));
        if self.truncation == Truncation::DoNotTruncate || total + added <= self.max_length {
            return Ok((n, m));
        }
        let room = self.max_length.saturating_sub(added);
        let (keep, keep_second) = match (self.truncation, second) {
            (Truncation::OnlySecond, None) => return Err(Error::NoSecondText),
            (Truncation::OnlySecond, _) => (n, room.saturating_sub(n)),
            (Truncation::OnlyFirst, _) => (room.saturating_sub(m), m),
            (_, None) => (room, 0),
            (_, Some(_)) => longest_first(n, m, room),
        };
        // A window has to move on, or there would be no end of them.
        for (length, keep, other) in [(n, keep, keep_second), (m, keep_second, keep)] {
            if keep < length && keep <= self.stride {
                let Self { max_length, stride, .. } = *self;
                return Err(Error::WindowTooSmall { max_length, added, other, room: keep, stride });
            }
        }
        Ok((keep, keep_second))
    }
}

/// Lengths that fit into `room`: the shorter text stays whole if it can, else both get half, the longer one the odd token.
fn longest_first(n: usize, m: usize, room: usize) -> (usize, usize) {
    let short = n.min(m);
    let (short, long) = match short + short.max(room.saturating_sub(short)) <= room {
        true => (short, room - short),
        false => (room / 2, room - room / 2),
    };
    if n <= m { (short, long) } else { (long, short) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::path::Path;

    /// `windows.json`: what transformers gives (`bench/fixtures/make_windows.py`).
    #[derive(Deserialize)]
    struct Case {
        tokenizer: String,
        a: Text,
        b: Option<Text>,
        max_length: usize,
        truncation: String,
        stride: usize,
        side: Option<String>,
        windows: Vec<Want>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Whole(String),
        Words(Vec<String>),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Want {
        ids: Vec<u32>,
        type_ids: Vec<u32>,
        special_tokens_mask: Vec<u32>,
        offsets: Vec<(usize, usize)>,
        word_ids: Vec<Option<u32>>,
        sequence_ids: Vec<Option<usize>>,
    }

    impl From<Encoding> for Want {
        fn from(e: Encoding) -> Self {
            let Encoding { ids, type_ids, special_tokens_mask, offsets, word_ids, sequence_ids, .. } = e;
            Self { ids, type_ids, special_tokens_mask, offsets, word_ids, sequence_ids }
        }
    }

    fn fixture(name: &str) -> Tokenizer {
        Tokenizer::load(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)).unwrap()
    }

    #[track_caller]
    fn check(at: usize, case: &Case) {
        let mut tokenizer = fixture(&case.tokenizer);
        if let Some(side) = &case.side {
            tokenizer.config.insert("truncation_side".into(), side.as_str().into());
        }
        let truncation = match case.truncation.as_str() {
            "longest_first" => Truncation::LongestFirst,
            "only_first" => Truncation::OnlyFirst,
            "only_second" => Truncation::OnlySecond,
            other => panic!("{other}"),
        };
        let window = Window { max_length: case.max_length, truncation, stride: case.stride };
        let words = [Some(&case.a), case.b.as_ref()].map(|text| match text {
            Some(Text::Words(words)) => words.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        });
        let [a, b] = [(Some(&case.a), &words[0]), (case.b.as_ref(), &words[1])].map(|(text, words)| match text? {
            Text::Whole(text) => Some(Input::Text(text)),
            Text::Words(_) => Some(Input::Words(words)),
        });
        if matches!(case.a, Text::Words(_)) {
            tokenizer.add_prefix_space().unwrap();
        }
        let got = tokenizer.encode_windows(a.unwrap(), b, &window).unwrap();
        let first = tokenizer.encode_truncated(a.unwrap(), b, case.max_length, truncation).unwrap();
        if case.side.is_none() || case.stride == 0 {
            assert_eq!(first.ids, got[0].ids);
        }
        for encoding in &got {
            for (at, &(from, to)) in encoding.byte_offsets.iter().enumerate() {
                let input = match encoding.sequence_ids[at] {
                    Some(0) => a.unwrap(),
                    Some(_) => b.unwrap(),
                    None => continue,
                };
                let text = match input {
                    Input::Text(text) => text,
                    Input::Words(words) => words[encoding.word_ids[at].unwrap() as usize],
                };
                let (start, end) = encoding.offsets[at];
                let characters: String = text.chars().skip(start).take(end - start).collect();
                // Tokens of single bytes lie inside characters.
                if let Some(bytes) = text.get(from..to) {
                    assert_eq!(bytes, characters);
                }
            }
        }
        let got: Vec<Want> = got.into_iter().map(Want::from).collect();
        assert_eq!(got, case.windows, "case {at}");
    }

    #[test]
    fn as_transformers() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("windows.json")).unwrap();
        assert!(cases.len() > 30);
        for (at, case) in cases.iter().enumerate() {
            check(at, case);
        }
    }

    #[track_caller]
    fn refused(window: Window, second: Option<&str>, want: &str) {
        let error = fixture("bert").encode_windows("a b c d e f".into(), second.map(Input::Text), &window).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }

    #[test]
    fn windows_that_cannot_move() {
        let window = |max_length, truncation, stride| Window { max_length, truncation, stride };
        refused(window(2, Truncation::LongestFirst, 0), None, "leave 0 for the text beside 2 special tokens");
        refused(window(0, Truncation::LongestFirst, 0), None, "windows of 0 tokens");
        refused(window(5, Truncation::OnlyFirst, 3), None, "want more than the stride of 3");
        refused(window(8, Truncation::OnlySecond, 0), Some("g h"), "beside 3 special tokens and 6 of the other text");
        refused(window(8, Truncation::OnlySecond, 0), Some("g h"), "leave 0");
        refused(window(4, Truncation::LongestFirst, 0), Some("g h"), "leave 0");
        refused(window(5, Truncation::OnlySecond, 0), None, "there is no second text");
        let whole = Window { max_length: 1, truncation: Truncation::DoNotTruncate, stride: 0 };
        assert_eq!(fixture("bert").encode_windows("a b".into(), None, &whole).unwrap()[0].len(), 4);
    }

    #[test]
    fn words_that_would_run_together() {
        let words = Input::Words(&["a", "b"]);
        let mut tokenizer = fixture("roberta-mlm");
        let error = tokenizer.encode_input(words, None, Special::With).unwrap_err();
        assert!(error.hint().unwrap().contains("add_prefix_space"), "{error}");
        tokenizer.add_prefix_space().unwrap();
        let encoding = tokenizer.encode_input(words, None, Special::With).unwrap();
        assert_eq!(encoding.tokens, ["<s>", "Ġa", "Ġb", "</s>"]);
        assert_eq!(encoding.offsets, [(0, 0), (0, 1), (0, 1), (0, 0)]);
    }
}
