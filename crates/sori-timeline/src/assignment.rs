//! The cheapest one-to-one pairing of two sets: local speakers with clusters, reference speakers with found ones.

/// A cost in two ranks: how many forbidden pairs, then how much. Comparing and adding rank by rank keeps the second
/// rank exact, which one "very large" number in place of a forbidden pair would not.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Cost(i64, f64);

impl Cost {
    const ZERO: Cost = Cost(0, 0.0);
    const UNREACHED: Cost = Cost(i64::MAX, 0.0);

    fn of(cost: f64) -> Self {
        if cost.is_finite() {
            Self(0, cost)
        } else {
            Self(1, 0.0)
        }
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }

    fn minus(self, other: Self) -> Self {
        Self(self.0 - other.0, self.1 - other.1)
    }
}

/// Returns, for each row of a row-major `(rows, columns)` matrix of costs, the column it is paired with, or `None`.
///
/// No column is given twice. A cost that is not finite forbids its pair. As many rows as possible are paired, and among
/// all such pairings the total cost is the least; where several are equal the lowest row and column go first, so that
/// equal costs everywhere give the diagonal. A trailing part of a row is ignored; no column, no rows.
///
/// Shortest augmenting paths with potentials (Kuhn 1955; Jonker and Volgenant 1987): time O(n^2 m), n the shorter side.
pub fn assign(costs: &[f64], columns: usize) -> Vec<Option<usize>> {
    let rows = costs.len().checked_div(columns).unwrap_or(0);
    let cost = |row: usize, column: usize| costs[row * columns + column];
    let mut pairs = vec![None; rows];
    if rows <= columns {
        for (column, row) in
            shortest_paths(rows, columns, |row, column| Cost::of(cost(row, column)))
        {
            pairs[row] = Some(column);
        }
    } else {
        for (row, column) in
            shortest_paths(columns, rows, |column, row| Cost::of(cost(row, column)))
        {
            pairs[row] = Some(column);
        }
    }
    for (row, pair) in pairs.iter_mut().enumerate() {
        *pair = pair.filter(|&column| cost(row, column).is_finite());
    }
    pairs
}

/// Every one of `few` paired with one of `many` (`few <= many`), as (many, few). Index 0 stands for "none" inside.
fn shortest_paths(
    few: usize,
    many: usize,
    cost: impl Fn(usize, usize) -> Cost,
) -> Vec<(usize, usize)> {
    let mut few_potential = vec![Cost::ZERO; few + 1];
    let mut many_potential = vec![Cost::ZERO; many + 1];
    let mut taken_by = vec![0usize; many + 1];
    let mut from = vec![0usize; many + 1];
    for start in 1..=few {
        taken_by[0] = start;
        let mut at = 0;
        let mut reach = vec![Cost::UNREACHED; many + 1];
        let mut done = vec![false; many + 1];
        while taken_by[at] != 0 {
            done[at] = true;
            let row = taken_by[at];
            let mut step = Cost::UNREACHED;
            let mut next = 0;
            for column in (1..=many).filter(|&column| !done[column]) {
                let reduced = cost(row - 1, column - 1)
                    .minus(few_potential[row])
                    .minus(many_potential[column]);
                if reduced < reach[column] {
                    reach[column] = reduced;
                    from[column] = at;
                }
                if reach[column] < step {
                    step = reach[column];
                    next = column;
                }
            }
            for column in 0..=many {
                if done[column] {
                    let row = taken_by[column];
                    few_potential[row] = few_potential[row].plus(step);
                    many_potential[column] = many_potential[column].minus(step);
                } else if column > 0 {
                    reach[column] = reach[column].minus(step);
                }
            }
            at = next;
        }
        while at != 0 {
            taken_by[at] = taken_by[from[at]];
            at = from[at];
        }
    }
    (1..=many)
        .filter(|&column| taken_by[column] != 0)
        .map(|column| (column - 1, taken_by[column] - 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_tables_have_the_known_answer() {
        const NO: f64 = f64::INFINITY;
        type Case<'a> = (&'a str, &'a [f64], usize, &'a [Option<usize>]);
        let cases: [Case; 8] = [
            ("nothing", &[], 0, &[]),
            ("one", &[3.0], 1, &[Some(0)]),
            (
                "square",
                &[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0],
                3,
                &[Some(1), Some(0), Some(2)],
            ),
            ("equal costs", &[1.0; 9], 3, &[Some(0), Some(1), Some(2)]),
            (
                "more rows",
                &[2.0, 9.0, 1.0, 9.0, 9.0, 3.0],
                2,
                &[None, Some(0), Some(1)],
            ),
            ("more columns", &[9.0, 1.0, 5.0], 3, &[Some(1)]),
            ("forbidden", &[1.0, NO, 0.0, NO], 2, &[None, Some(0)]),
            (
                "most pairs first",
                &[0.0, 1e12, NO, 1e12, f64::NAN, NO],
                3,
                &[Some(1), Some(0)],
            ),
        ];
        for (name, costs, columns, expected) in cases {
            assert_eq!(assign(costs, columns), expected, "{name}");
        }
    }

    /// The best (pairs, -cost) over every pairing of the rows from `row` on.
    fn exhaustive(costs: &[f64], columns: usize, row: usize, free: &mut Vec<bool>) -> (usize, f64) {
        if row * columns >= costs.len() {
            return (0, 0.0);
        }
        let mut best = exhaustive(costs, columns, row + 1, free);
        for column in 0..columns {
            let cost = costs[row * columns + column];
            if free[column] && cost.is_finite() {
                free[column] = false;
                let (pairs, gain) = exhaustive(costs, columns, row + 1, free);
                free[column] = true;
                if (pairs + 1, gain - cost) > best {
                    best = (pairs + 1, gain - cost);
                }
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_pairing_is_better(
            columns in 1usize..6,
            cells in proptest::collection::vec(prop_oneof![4 => -9i32..9, 1 => Just(99)], 0..30),
        ) {
            let rows = cells.len() / columns;
            let costs: Vec<f64> = cells[..rows * columns]
                .iter()
                .map(|&cell| if cell == 99 { f64::INFINITY } else { f64::from(cell) })
                .collect();
            let pairs = assign(&costs, columns);
            let mut seen = std::collections::HashSet::new();
            let mut got = (0, 0.0);
            for (row, column) in pairs.iter().enumerate().filter_map(|(row, pair)| pair.map(|column| (row, column))) {
                prop_assert!(seen.insert(column));
                got = (got.0 + 1, got.1 - costs[row * columns + column]);
            }
            prop_assert_eq!(got, exhaustive(&costs, columns, 0, &mut vec![true; columns]));
        }
    }
}
