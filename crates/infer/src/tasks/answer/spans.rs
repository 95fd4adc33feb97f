//! The likeliest spans of a window.

/// Spans of one window, with their probabilities.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spans {
    /// First token, last token, probability; the likeliest first.
    pub(super) best: Vec<(usize, usize, f32)>,
    /// The probability of the first token as both ends, which stands for no answer.
    pub(super) null_score: f32,
}

impl Spans {
    /// The `count` likeliest spans of up to `max_len` tokens. Only tokens that are allowed share in the probabilities, and
    /// the first one stands for no answer.
    pub(super) fn find(start: &[f32], end: &[f32], allowed: &[bool], max_len: usize, count: usize) -> Self {
        let (mut start, mut end) = (probabilities(start, allowed), probabilities(end, allowed));
        let null_score = start[0] * end[0];
        (start[0], end[0]) = (0.0, 0.0);
        let mut spans = Vec::new();
        for first in (0..start.len()).filter(|&i| allowed[i] && i > 0) {
            for last in (first..end.len().min(first + max_len)).filter(|&i| allowed[i]) {
                spans.push((first, last, start[first] * end[last]));
            }
        }
        spans.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
        spans.truncate(count);
        Spans { best: spans, null_score }
    }
}

fn probabilities(logits: &[f32], allowed: &[bool]) -> Vec<f32> {
    let mut x: Vec<f32> = logits.iter().zip(allowed).map(|(&x, &a)| if a { x } else { -10000.0 }).collect();
    crate::tasks::softmax(&mut x);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_do_not_run_backwards_nor_too_far() {
        let start = [0.0, 0.0, 5.0, 1.0, 0.0];
        let end = [0.0, 9.0, 0.0, 0.0, 3.0];
        let spans = |max_len, count| {
            let spans = Spans::find(&start, &end, &[true, false, true, true, true], max_len, count);
            spans.best.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>()
        };
        assert_eq!(spans(3, 2), [(2, 4), (2, 2)]);
        assert_eq!(spans(2, 3), [(2, 2), (2, 3), (3, 4)]);
        assert_eq!(spans(1, 9), [(2, 2), (4, 4), (3, 3)]);
    }

    #[test]
    fn nothing_allowed() {
        let spans = Spans::find(&[1.0, 2.0], &[2.0, 1.0], &[true, false], 5, 5);
        assert_eq!((spans.best.len(), spans.null_score), (0, 1.0));
    }
}
