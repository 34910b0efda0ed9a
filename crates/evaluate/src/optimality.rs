//! The local optimality of `AttackBench` (Cina et al. 2025): how near each evaluation comes to all of them
//! together.

use crate::seen::{Seen, Together};

/// The optimality of each evaluation, 0 to 1; `None` if no other evaluation can be compared with it.
///
/// The area under an evaluation's curve of accuracy over the radius, A, is compared with that of the best
/// distance known for each image, A*: `(A0 - A) / (A0 - A*)`, where A0 is the area if no attack breaks
/// anything. Minimum-norm attacks are compared over all distances up to the largest best one, attacks within
/// radii at these radii.
pub(crate) fn optimality(all: &Together) -> Vec<Option<f64>> {
    all.all.iter().map(|seen| of(seen, all)).collect()
}

fn of(seen: &Seen, all: &Together) -> Option<f64> {
    let attacks = !seen.attacks.is_empty() && !seen.broken_at.is_empty();
    if !attacks || !seen.searches() && seen.radii.is_empty() {
        return None;
    }
    let same_images = |other: &Seen| other.broken_at.keys().eq(seen.broken_at.keys());
    let comparable = |other: &Seen| match seen.searches() {
        true => other.searches(),
        false => !other.attacks.is_empty() && seen.radii.iter().all(|radius| other.knows(*radius)),
    };
    let group: Vec<&Seen> = all
        .those(|other| seen.compares_with(other) && comparable(other) && same_images(other))
        .map(|(_, other)| other)
        .collect();
    if group.len() < 2 {
        return None;
    }
    let best = |sample: &u64| {
        let each = group.iter().filter_map(|other| other.broken_at.get(sample));
        each.fold(f64::INFINITY, |least, at| least.min(*at))
    };
    let least: Vec<f64> = seen.broken_at.keys().map(best).collect();
    let own: Vec<f64> = seen.broken_at.values().copied().collect();
    let none: Vec<f64> = own.iter().map(|at| if *at < 0.0 { *at } else { f64::INFINITY }).collect();
    let farthest = least.iter().copied().filter(|at| at.is_finite()).fold(0.0, f64::max);
    let area = |at: &[f64]| -> f64 {
        let of_image = |at: &f64| match seen.searches() {
            true => at.clamp(0.0, farthest),
            false => seen.radii.iter().filter(|radius| *at > **radius).count() as f64,
        };
        at.iter().map(of_image).sum()
    };
    let [none, own, least] = [area(&none), area(&own), area(&least)];
    (none > least).then(|| (none - own) / (none - least))
}

#[cfg(test)]
mod tests {
    use temper_core::{Member, Norm};

    use super::*;
    use crate::seen::AttackFacts;

    const ALL: f64 = f64::INFINITY;

    /// An evaluation that breaks its images at these radii.
    fn seen(attack: &str, radii: &[f64], at: &[f64]) -> Seen {
        let member = Member { label: "a".into(), ..Member::parse(attack).unwrap() };
        Seen {
            norm: Some(Norm::Linf),
            radii: radii.to_vec(),
            attacks: vec![AttackFacts::of(&member, 5)],
            broken_at: at.iter().enumerate().map(|(sample, at)| (sample as u64, *at)).collect(),
            ..Seen::default()
        }
    }

    fn of_all(all: &[Seen]) -> Vec<Option<f64>> {
        optimality(&Together { all: &all.iter().collect::<Vec<_>>() })
    }

    #[test]
    fn within_a_radius_it_is_the_share_of_what_all_break() {
        let wrong = f64::NEG_INFINITY;
        let one = seen("pgd = {}", &[0.1], &[wrong, 0.1, 0.1, 0.1, ALL, ALL]);
        let other = seen("pgd = {}", &[0.1], &[wrong, ALL, ALL, ALL, 0.1, ALL]);
        assert_eq!(of_all(&[one.clone(), other]), [Some(0.75), Some(0.25)]);
        // Not comparable: another radius, other images, another norm, and a single evaluation.
        let elsewhere = seen("pgd = {}", &[0.2], &[wrong, 0.2, 0.2, 0.2, 0.2, 0.2]);
        let fewer = seen("pgd = {}", &[0.1], &[wrong, 0.1]);
        let long = Seen { norm: Some(Norm::L2), ..one.clone() };
        assert_eq!(of_all(&[one, elsewhere, fewer, long]), [None; 4]);
    }

    #[test]
    fn of_distances_it_is_the_area_over_the_best_ones() {
        let one = seen("deepfool = {}", &[], &[0.1, 0.3, ALL]);
        let other = seen("deepfool = {}", &[], &[0.2, 0.2, 0.4]);
        // With distances up to 0.4 the area is at most 3 * 0.4. It is 0.1 + 0.2 + 0.4 for the best distances,
        // and 0.1 + 0.3 + 0.4 for the first attack.
        let [first, second] = of_all(&[one.clone(), other.clone()])[..] else { panic!() };
        assert!((first.unwrap() - 0.4 / 0.5).abs() < 1e-12 && (second.unwrap() - 0.4 / 0.5).abs() < 1e-12);
        // An attack within a radius is also compared with minimum-norm distances at that radius.
        let within = seen("pgd = {}", &[0.25], &[ALL, 0.25, ALL]);
        let told = of_all(&[one, other, within]);
        assert_eq!((told[2], told[0].is_some()), (Some(0.5), true));
    }
}
