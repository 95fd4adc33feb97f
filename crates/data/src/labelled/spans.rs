//! Spans from tags such as `B-PER`, and the schemes of such tags.

use std::collections::BTreeSet;

/// Words `first..end` of a sentence, as one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// What it is: `PER`; `_` for tags that do not say.
    pub label: String,
    /// Its first word.
    pub first: usize,
    /// The word behind its last.
    pub end: usize,
}

/// The spans that `tags` mean, however they were meant to be written.
///
/// As `seqeval` and the `conlleval` script of CoNLL-2000 read them: a span also begins at an `I-` or `E-` behind another
/// label, and wherever the label changes. IOB1, IOB2 and IOBES are read rightly, and wrong tags still give spans. Two spans
/// of one label side by side in BILOU are not: see [`bilou_to_iobes`].
pub fn spans<S: AsRef<str>>(tags: &[S]) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut prefix, mut label, mut first) = ('O', String::new(), 0);
    let closing = std::iter::once("O");
    for (index, tag) in tags.iter().map(AsRef::as_ref).chain(closing).enumerate() {
        let (next, next_label) = split(tag);
        let changed = label != next_label;
        let inside = |prefix| prefix != 'O' && prefix != '.';
        let ends = matches!(prefix, 'E' | 'S')
            || matches!((prefix, next), ('B' | 'I', 'B' | 'S' | 'O'))
            || inside(prefix) && changed;
        let begins = matches!(next, 'B' | 'S')
            || matches!((prefix, next), ('E' | 'S' | 'O', 'E' | 'I'))
            || inside(next) && changed;
        if ends {
            spans.push(Span { label: std::mem::take(&mut label), first, end: index });
        }
        if begins {
            first = index;
        }
        (prefix, label) = (next, next_label.to_owned());
    }
    spans
}

/// Prefix and label of a tag, as `seqeval` takes them apart: the first character, and what follows the first dash.
fn split(tag: &str) -> (char, &str) {
    let mut chars = tag.chars();
    let prefix = chars.next().unwrap_or('O');
    let rest = chars.as_str();
    let label = rest.split_once('-').map_or(rest, |(_, label)| label);
    (prefix, if label.is_empty() { "_" } else { label })
}

/// The spans of IOB2 tags taken at their word: a span begins with `B-` and goes on with `I-` of the same label, and an
/// `I-` elsewhere means nothing. As `seqeval` with `mode="strict", scheme=IOB2`.
///
/// # Errors
///
/// [`InvalidTag`] if a tag begins with anything else than `B`, `I` or `O`.
pub fn strict_spans<S: AsRef<str>>(tags: &[S]) -> Result<Vec<Span>, InvalidTag> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open = false;
    for (index, tag) in tags.iter().map(AsRef::as_ref).enumerate() {
        let label = tag.get(1..).unwrap_or_default().trim_matches('-');
        let label = if label.is_empty() { "_" } else { label };
        match tag.chars().next() {
            Some('B') => {
                spans.push(Span { label: label.to_owned(), first: index, end: index + 1 });
                open = true;
            }
            Some('I') => match spans.last_mut() {
                Some(span) if open && span.label == label => span.end = index + 1,
                _ => open = false,
            },
            Some('O') => open = false,
            _ => return Err(InvalidTag { index, reason: "want B, I or O".into() }),
        }
    }
    Ok(spans)
}

/// The same tag in the scheme IOBES, which [`spans`] reads rightly: `L-` becomes `E-`, and `U-` becomes `S-`.
pub fn bilou_to_iobes(tag: &str) -> String {
    match tag.split_at_checked(2) {
        Some(("L-", label)) => format!("E-{label}"),
        Some(("U-", label)) => format!("S-{label}"),
        _ => tag.to_owned(),
    }
}

/// A tag that does not fit where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag {index}: {reason}")]
pub struct InvalidTag {
    /// Its number in the sentence, from 0.
    pub index: usize,
    /// What is wrong.
    pub reason: String,
}

/// How tags write spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `I-` throughout; `B-` only where a span follows another of the same label. Tags without `B-` are of this scheme.
    Iob1,
    /// `B-`, then `I-`. Also called BIO.
    Iob2,
    /// `B-`, `I-`, `E-` for the last word, `S-` for the only one.
    Iobes,
    /// `B-`, `I-`, `L-` for the last word, `U-` for the only one.
    Bilou,
}

impl Scheme {
    /// The scheme of all `sentences`; `None` if not one tag is of the form `X-LABEL` with a prefix of a scheme.
    ///
    /// # Errors
    ///
    /// The number of the sentence and the first tag of it that the scheme does not allow there.
    pub fn detect<'a, S>(sentences: impl Iterator<Item = &'a [S]> + Clone) -> Result<Option<Self>, (usize, InvalidTag)>
    where
        S: AsRef<str> + 'a,
    {
        let prefixes: BTreeSet<char> = sentences.clone().flatten().filter_map(|tag| prefix(tag.as_ref())).collect();
        let check = |scheme: Self| {
            let mut numbered = sentences.clone().enumerate();
            numbered.try_for_each(|(number, tags)| scheme.check(tags).map_err(|wrong| (number, wrong)))
        };
        let scheme = if prefixes.is_empty() {
            return Ok(None);
        } else if prefixes.contains(&'L') || prefixes.contains(&'U') {
            Self::Bilou
        } else if prefixes.contains(&'E') || prefixes.contains(&'S') {
            Self::Iobes
        } else if check(Self::Iob2).is_err() && check(Self::Iob1).is_ok() {
            Self::Iob1
        } else {
            Self::Iob2
        };
        check(scheme).map(|()| Some(scheme))
    }

    /// Whether the tags of a sentence follow the scheme.
    ///
    /// # Errors
    ///
    /// The first tag that it does not allow there.
    pub fn check<S: AsRef<str>>(self, tags: &[S]) -> Result<(), InvalidTag> {
        let (last, only) = match self {
            Self::Iob1 | Self::Iob2 => (None, None),
            Self::Iobes => (Some('E'), Some('S')),
            Self::Bilou => (Some('L'), Some('U')),
        };
        // The label of the span that the last word belongs to, if it may go on.
        let mut open: Option<&str> = None;
        for (index, tag) in tags.iter().map(AsRef::as_ref).enumerate() {
            let wrong = |reason: String| Err(InvalidTag { index, reason });
            let (prefix, label) = match (prefix(tag), tag) {
                (_, "O") => ('O', ""),
                (Some(prefix), _) => (prefix, &tag[2..]),
                (None, _) => return wrong("want O, or a prefix, a dash and a label".into()),
            };
            let goes_on = open == Some(label);
            let must_end = last.is_some() && open.is_some();
            open = match prefix {
                'B' if self == Self::Iob1 && !goes_on => {
                    return wrong(format!("B- without a span of {label} before it"));
                }
                'I' if self == Self::Iob1 => Some(label),
                'I' if goes_on => Some(label),
                'I' => return wrong(format!("I- without a B- or I- of {label} before it")),
                p if Some(p) == last && goes_on => None,
                p if Some(p) == last => return wrong(format!("{p}- without a B- or I- of {label} before it")),
                'O' | 'B' if must_end => return wrong("the span before it has no end".into()),
                p if Some(p) == only && must_end => return wrong("the span before it has no end".into()),
                'O' => None,
                'B' => Some(label),
                p if Some(p) == only => None,
                p => return wrong(format!("{p}- is not of {self:?}")),
            };
        }
        match open {
            Some(_) if last.is_some() => {
                Err(InvalidTag { index: tags.len() - 1, reason: "the span does not end within the sentence".into() })
            }
            _ => Ok(()),
        }
    }
}

/// The prefix of a tag that has one and a label.
fn prefix(tag: &str) -> Option<char> {
    match tag.as_bytes() {
        [prefix @ (b'B' | b'I' | b'E' | b'S' | b'L' | b'U'), b'-', _, ..] => Some(char::from(*prefix)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tags: &str) -> Vec<&str> {
        tags.split_whitespace().collect()
    }

    fn shown(spans: &[Span]) -> String {
        spans.iter().map(|s| format!("{} {}..{}", s.label, s.first, s.end)).collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn check(tags: &str, want: &str, strict: &str) {
        assert_eq!(shown(&spans(&words(tags))), want, "{tags}");
        let got = strict_spans(&words(tags)).map_or_else(|wrong| wrong.to_string(), |spans| shown(&spans));
        assert_eq!(got, strict, "{tags}, strict");
    }

    #[test]
    fn spans_of_tags() {
        check("", "", "");
        check("O O", "", "");
        check("B-PER I-PER O B-LOC", "PER 0..2, LOC 3..4", "PER 0..2, LOC 3..4");
        check("I-PER I-PER I-LOC", "PER 0..2, LOC 2..3", "");
        check("B-PER B-PER I-LOC I-LOC", "PER 0..1, PER 1..2, LOC 2..4", "PER 0..1, PER 1..2");
        check("B-A-B I-A-B", "A-B 0..2", "A-B 0..2");
        check("B I O B", "_ 0..2, _ 3..4", "_ 0..2, _ 3..4");
        check("B-X O I-X", "X 0..1, X 2..3", "X 0..1");
        check("S-X B-X E-X I-X", "X 0..1, X 1..3, X 3..4", "tag 0: want B, I or O");
        check("U-X B-X L-X", "X 1..3", "tag 0: want B, I or O");
        check("NOUN NOUN VERB", "OUN 0..2, ERB 2..3", "tag 0: want B, I or O");
    }

    #[test]
    fn bilou() {
        let tags: Vec<String> = words("U-X B-X L-X O É").iter().map(|tag| bilou_to_iobes(tag)).collect();
        assert_eq!(tags.join(" "), "S-X B-X E-X O É");
        assert_eq!(shown(&spans(&tags[..4])), "X 0..1, X 1..3");
    }

    #[track_caller]
    fn check_scheme(sentences: &[&str], want: Result<Option<Scheme>, &str>) {
        let sentences: Vec<Vec<&str>> = sentences.iter().map(|tags| words(tags)).collect();
        let got = Scheme::detect(sentences.iter().map(|tags| &tags[..]));
        let got = got.map_err(|(number, wrong)| format!("sentence {number}, {wrong}"));
        assert_eq!(got, want.map_err(str::to_owned), "{sentences:?}");
    }

    #[test]
    fn schemes() {
        check_scheme(&["NOUN VERB", "O O"], Ok(None));
        check_scheme(&["O B-X I-X B-X"], Ok(Some(Scheme::Iob2)));
        check_scheme(&["I-X I-X O", "I-X B-X I-Y"], Ok(Some(Scheme::Iob1)));
        check_scheme(&["S-X O", "B-X I-X E-X B-Y E-Y"], Ok(Some(Scheme::Iobes)));
        check_scheme(&["U-X O B-X L-X"], Ok(Some(Scheme::Bilou)));
        check_scheme(&["B-X", "O B-X I-Y"], Err("sentence 1, tag 2: I- without a B- or I- of Y before it"));
        check_scheme(&["B-X E-X", "O B-X O"], Err("sentence 1, tag 2: the span before it has no end"));
        check_scheme(&["B-X E-X", "B-X"], Err("sentence 1, tag 0: the span does not end within the sentence"));
        check_scheme(&["U-X E-X"], Err("sentence 0, tag 1: E- is not of Bilou"));
        check_scheme(&["B-X X-Y"], Err("sentence 0, tag 1: want O, or a prefix, a dash and a label"));
        check_scheme(&["B-X L-Y"], Err("sentence 0, tag 1: L- without a B- or I- of Y before it"));
        check_scheme(&["B-X S-Y"], Err("sentence 0, tag 1: the span before it has no end"));
    }
}
