//! Which byte of the text a token ends at, for cutting a series between two tokens.

/// At most this many marks are kept.
const MARKS: usize = 1 << 16;

/// Pairs of a number of tokens and the bytes of text they stand for, thinned out evenly as they become many.
#[derive(Default)]
pub(super) struct Marks {
    marks: Vec<(u64, u64)>,
    /// One pair in `1 << skip` is kept.
    skip: u32,
    seen: u64,
}

impl Marks {
    /// Notes that the first `tokens` tokens stand for `bytes` bytes.
    pub(super) fn add(&mut self, tokens: u64, bytes: u64) {
        self.seen += 1;
        if !self.seen.is_multiple_of(1 << self.skip) {
            return;
        }
        self.marks.push((tokens, bytes));
        if self.marks.len() == MARKS {
            // Those at even multiples remain.
            let mut odd = true;
            self.marks.retain(|_| {
                odd = !odd;
                odd
            });
            self.skip += 1;
        }
    }

    /// The last mark at or before `tokens`.
    pub(super) fn before(&self, tokens: u64) -> Option<(u64, u64)> {
        let after = self.marks.partition_point(|&(at, _)| at <= tokens);
        after.checked_sub(1).map(|last| self.marks[last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_while_few_and_close_when_many() {
        let mut marks = Marks::default();
        (1..=1000).for_each(|i| marks.add(i, 3 * i));
        assert_eq!(marks.before(950), Some((950, 2850)));
        assert_eq!(marks.before(0), None);
        (1001..=1_000_000).for_each(|i| marks.add(i, 3 * i));
        let (tokens, bytes) = marks.before(950_000).unwrap();
        assert!((949_900..=950_000).contains(&tokens) && bytes == 3 * tokens, "{tokens}");
        assert!(marks.marks.len() < MARKS);
    }
}
