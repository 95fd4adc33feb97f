//! The assignment of least cost.

/// Pairs `(row, column)` of the cheapest assignment of each row to a column of its own, or of each column to a row where
/// there are fewer columns; in the order of rows. `cost(row, column)` is finite.
///
/// Shortest augmenting paths, [Crouse 2016](https://doi.org/10.1109/TAES.2016.140952), in `O(n² m)`. Among equal costs the lower
/// index goes first, so the result is the same always.
pub(crate) fn assign(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if rows <= columns {
        return columns_of(rows, columns, cost).into_iter().enumerate().collect();
    }
    let rows_of = columns_of(columns, rows, |c, r| cost(r, c));
    let mut pairs: Vec<_> = rows_of.into_iter().enumerate().map(|(c, r)| (r, c)).collect();
    pairs.sort_unstable();
    pairs
}

/// The column of each row, of which there are no more than columns.
fn columns_of(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    // Prices of rows and columns, and who has which.
    let (mut u, mut v) = (vec![0.0; rows], vec![0.0; columns]);
    let (mut row_of, mut column_of) = (vec![None; columns], vec![0; rows]);
    for first in 0..rows {
        // The cheapest way from `first` to each column, and the row before it.
        let (mut dearness, mut before) = (vec![f64::INFINITY; columns], vec![first; columns]);
        let (mut seen, mut order) = (vec![false; columns], Vec::with_capacity(columns));
        let (mut row, mut least) = (first, 0.0);
        let last = loop {
            let mut next: Option<usize> = None;
            for c in (0..columns).filter(|&c| !seen[c]) {
                let reduced = least + cost(row, c) - u[row] - v[c];
                if reduced < dearness[c] {
                    (dearness[c], before[c]) = (reduced, row);
                }
                // Of equal ones a free column, which ends the way.
                let better = |n: usize| {
                    dearness[c] < dearness[n]
                        || (dearness[c] == dearness[n] && row_of[c].is_none() && row_of[n].is_some())
                };
                if next.is_none_or(better) {
                    next = Some(c);
                }
            }
            // There are at least as many columns as rows, so one is left.
            let Some(c) = next else { return Vec::new() };
            least = dearness[c];
            seen[c] = true;
            order.push(c);
            match row_of[c] {
                Some(taken) => row = taken,
                None => break c,
            }
        };
        u[first] += least;
        for &c in order.iter().filter(|&&c| c != last) {
            if let Some(r) = row_of[c] {
                u[r] += least - dearness[c];
            }
            v[c] -= least - dearness[c];
        }
        // Along the way each row moves to the next column.
        let mut c = last;
        loop {
            let r = before[c];
            row_of[c] = Some(r);
            let left = std::mem::replace(&mut column_of[r], c);
            if r == first {
                break;
            }
            c = left;
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least sum over all assignments of rows to columns.
    fn least(cost: &[Vec<f64>], taken: &mut Vec<usize>) -> f64 {
        let row = taken.len();
        if row == cost.len() {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for c in 0..cost[0].len() {
            if !taken.contains(&c) {
                taken.push(c);
                best = best.min(cost[row][c] + least(cost, taken));
                taken.pop();
            }
        }
        best
    }

    #[test]
    fn no_other_assignment_is_cheaper() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        for (rows, columns) in [(1, 1), (1, 5), (3, 3), (4, 6), (5, 5), (5, 7), (6, 6)] {
            for trial in 0..20 {
                // Whole numbers too, of which many are equal.
                let whole = trial % 2 == 0;
                let mut number = || if whole { (next() * 4.0).floor() } else { next() * 10.0 - 5.0 };
                let cost: Vec<Vec<f64>> = (0..rows).map(|_| (0..columns).map(|_| number()).collect()).collect();
                let want = least(&cost, &mut Vec::new());
                for turned in [false, true] {
                    let pairs = match turned {
                        false => assign(rows, columns, |r, c| cost[r][c]),
                        true => assign(columns, rows, |c, r| cost[r][c]).into_iter().map(|(c, r)| (r, c)).collect(),
                    };
                    let sum: f64 = pairs.iter().map(|&(r, c)| cost[r][c]).sum();
                    assert!((sum - want).abs() < 1e-9, "{rows} {columns}: {sum} and {want}");
                    let mut columns_used: Vec<usize> = pairs.iter().map(|p| p.1).collect();
                    columns_used.sort_unstable();
                    columns_used.dedup();
                    assert_eq!((pairs.len(), columns_used.len()), (rows, rows));
                }
            }
        }
    }

    #[test]
    fn pairs_are_in_the_order_of_rows() {
        let cost = [[5.0, 1.0], [0.0, 7.0], [2.0, 2.0]];
        assert_eq!(assign(3, 2, |r, c| cost[r][c]), [(0, 1), (1, 0)]);
        assert_eq!(assign(2, 3, |r, c| cost[c][r]), [(0, 1), (1, 0)]);
        assert_eq!(assign(4, 0, |_, _| 0.0), []);
        assert_eq!(assign(0, 4, |_, _| 0.0), []);
    }
}
