//! Transfer attacks between networks of different accuracy.

use temper_results::wilson;

use crate::checks::{Check, Find, Found, caution};
use crate::seen::{Seen, Together};

pub(super) const CHECK: Check = Check {
    id: "surrogate-differs",
    reads: "accuracies of both networks on unperturbed images",
    find: Find::Together(find),
};

/// Networks whose accuracies differ by no more than this are alike.
const ALIKE: f64 = 0.1;

fn find(together: &Together) -> Vec<Found> {
    let widest = together.widest();
    let transfers = together.those(|seen| seen.surrogate.is_some());
    let told = transfers.filter_map(|(at, seen)| {
        let surrogate = widest.iter().find(|other| other.network.judged_by == seen.surrogate)?;
        let judged = widest.iter().find(|other| other.network == seen.network)?;
        let ([one, other], apart) = accuracies([surrogate, judged])?;
        (apart && (one - other).abs() > ALIKE).then(|| {
            let text = format!(
                "the surrogate network is right for {:.1} % of the unperturbed images, the network that is judged for {:.1} %, and images \
                 transfer less between networks that differ so much",
                one * 100.0,
                other * 100.0
            );
            let advice = "craft them on a network trained as the judged one was";
            Found { at, warning: caution(text).with_figure((one - other).abs()).advising(advice) }
        })
    });
    told.collect()
}

/// The accuracies of both networks on unperturbed images, and whether their intervals are disjoint.
fn accuracies(both: [&Seen; 2]) -> Option<([f64; 2], bool)> {
    let counted = both.map(|seen| {
        let right = seen.broken_at.values().filter(|at| **at > f64::NEG_INFINITY).count();
        (right, seen.broken_at.len())
    });
    let [one, other] = counted.map(|(right, n)| wilson(right, n));
    let shares = counted.map(|(right, n)| right as f64 / n as f64);
    (counted[0].1 > 0 && counted[1].1 > 0).then_some((shares, one[1] < other[0] || other[1] < one[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests_support::{found, pgd, seen};
    use crate::seen::NetworkName;

    #[test]
    fn networks_of_different_accuracy_are_told() {
        let on = |name: &str, wrong: usize| {
            let mut natural = seen("natural", pgd(1), 0.1, 0..0, 1000);
            natural.attacks.clear();
            natural.network = NetworkName { weights: "last".into(), judged_by: Some(name.into()) };
            natural.broken_at.values_mut().take(wrong).for_each(|at| *at = f64::NEG_INFINITY);
            natural
        };
        let transfer = || Seen { surrogate: Some("a".into()), ..on("b", 0) };
        let told = found(&[on("a", 100), on("b", 400), Seen { broken_at: [].into(), ..transfer() }], find);
        assert_eq!((told.len(), told[0].at), (1, 2));
        assert!(told[0].warning.text.contains("for 90.0 % of the unperturbed images"), "{}", told[0].warning);
        assert!(found(&[on("a", 100), on("b", 150), transfer()], find).is_empty());
        assert!(found(&[on("b", 400), transfer()], find).is_empty(), "nothing is known of a");
    }
}
