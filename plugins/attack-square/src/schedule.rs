//! How large the squares are: section 3.1 of the paper, with the schedule of its authors' code.

use temper_core::prelude::*;

/// The queries, of 10,000, from which on the share is halved once more.
const HALVINGS: [usize; 9] = [11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001];
/// The number of queries for which these are defined.
const QUERIES: u128 = 10_000;

/// The share of an image that the square of this query covers. The start is query 0, and query 1 covers `p`.
/// `rescaled`: the number of queries that the schedule is stretched to.
pub(crate) fn share(p: f64, query: usize, rescaled: Option<usize>) -> f64 {
    let at = match rescaled {
        Some(queries) => (query as u128 * QUERIES / (queries as u128).max(1)) as usize,
        None => query,
    };
    let halvings = HALVINGS.iter().filter(|from| at >= **from).count();
    p / f64::from(1 << halvings)
}

/// The side of a square that covers this share of an image of `rows x columns`: at least 1, at most the shorter side.
/// In l2 it is odd and at least 3, where the image is large enough.
pub(crate) fn side(share: f64, norm: Norm, [rows, columns]: [usize; 2]) -> usize {
    // Rounds half to even, as Python does.
    let side = (share * rows as f64 * columns as f64).sqrt().round_ties_even() as usize;
    let side = match norm {
        Norm::Linf => side.max(1),
        Norm::L2 => side.max(3) | 1,
    };
    side.min(rows).min(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: [usize; 8] = [1, 11, 51, 201, 501, 1001, 2001, 4001];

    fn sides(norm: Norm, size: usize) -> [usize; 8] {
        FROM.map(|query| side(share(0.8, query, None), norm, [size, size]))
    }

    #[test]
    fn sides_are_those_of_autoattack() {
        assert_eq!(sides(Norm::Linf, 32), [29, 20, 14, 10, 7, 5, 4, 3]);
        assert_eq!(sides(Norm::Linf, 28), [25, 18, 13, 9, 6, 4, 3, 2]);
        assert_eq!(sides(Norm::Linf, 224), [200, 142, 100, 71, 50, 35, 25, 18]);
        assert_eq!(sides(Norm::L2, 32), [29, 21, 15, 11, 7, 5, 5, 3]);
        // Each size applies up to the query before the next one.
        for (i, from) in FROM.iter().enumerate().skip(1) {
            let before = side(share(0.8, from - 1, None), Norm::Linf, [32, 32]);
            assert_eq!(before, sides(Norm::Linf, 32)[i - 1], "query {}", from - 1);
        }
    }

    #[test]
    fn a_rescaled_schedule_reaches_the_smallest_squares_at_the_same_part_of_the_queries() {
        assert_eq!(share(0.8, 9_999, None), 0.8 / 512.0);
        assert_eq!(share(0.8, 4_999, None), 0.8 / 128.0);
        assert_eq!(share(0.8, 4_999, Some(5_000)), 0.8 / 512.0);
        // Query 5 of 5000 corresponds to query 10 of 10,000, query 6 to query 12.
        assert_eq!([5, 6].map(|query| share(0.8, query, Some(5_000))), [0.8, 0.4]);
        assert_eq!(share(0.8, usize::MAX, Some(usize::MAX)), 0.8 / 512.0);
    }

    #[test]
    fn sides_fit_into_any_image() {
        for norm in [Norm::Linf, Norm::L2] {
            for rows in 1..40 {
                for columns in 1..40 {
                    for share in [0.0, 0.01, 0.5, 1.0] {
                        let side = side(share, norm, [rows, columns]);
                        assert!((1..=rows.min(columns)).contains(&side), "{rows} x {columns}: {side}");
                    }
                }
            }
        }
    }
}
