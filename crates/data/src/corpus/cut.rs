//! Cutting a long text where a tokenizer would not notice.

/// Parts of `text` of at most `limit` bytes (at least one character each), put together the text.
pub(crate) fn pieces(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = if rest.len() <= limit { rest.len() } else { cut(&rest[..rest.floor_char_boundary(limit.max(4))]) };
        let (piece, after) = rest.split_at(at);
        rest = after;
        Some(piece)
    })
}

/// Where to cut `text`, if more text follows: never 0.
///
/// Best is the last single line end between two visible characters, where pre-tokenizers cut anyway; then any line end,
/// then before a space, then the end.
pub(crate) fn cut(text: &str) -> usize {
    let bytes = text.as_bytes();
    let visible = |at: usize| bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace());
    let line_ends = || bytes.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n').map(|(at, _)| at);
    line_ends()
        .find(|&at| at > 0 && visible(at - 1) && visible(at + 1))
        .or_else(|| line_ends().next())
        .map(|at| at + 1)
        .or_else(|| text.rfind(' ').filter(|&at| at > 0))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, limit: usize, want: &[&str]) {
        assert_eq!(pieces(text, limit).collect::<Vec<_>>(), want, "{text:?} by {limit}");
    }

    #[test]
    fn places() {
        check("", 8, &[]);
        check("ab\ncd\nef", 8, &["ab\ncd\nef"]);
        check("ab\ncd\nefg", 8, &["ab\ncd\n", "efg"]);
        check("ab\ncd\n\n\nefg", 8, &["ab\n", "cd\n\n\nefg"]);
        check("abcd efgh ij", 8, &["abcd", " efgh ij"]);
        check("äöüßäöüß", 5, &["äö", "üß", "äö", "üß"]);
    }
}
