//! Defaults must not overstate: whatever the radius, an attack as it is breaks what ten plain steps of PGD break.

use temper_core::nn::Frozen;
use temper_core::{Attack, Chosen, Kind, Norm};

use crate::attacks::trained::{count, right, trained, under};
use crate::support::attack;

/// Attacks that are weaker by what they are, in one norm or in both, and why; docs/attacks.md says so too.
const EXEMPT: [(&str, Option<Norm>, &str); 9] = [
    ("square", None, "a search without gradients, of thousands of passes"),
    ("fgsm", None, "one step by definition"),
    (
        "mi-fgsm",
        Some(Norm::L2),
        "what was gathered turns slowly: at large radii it goes on where the slope has turned",
    ),
    (
        "deepfool",
        None,
        "stops at the first boundary that its linear steps meet, which is not the nearest one",
    ),
    ("fab", Some(Norm::Linf), "makes l2 distances small unless told otherwise"),
    (
        "cw-l2",
        None,
        "takes thousands of passes; its distances are held to those of other libraries (peers_trained)",
    ),
    ("cw-linf", None, "likewise"),
    ("hop-skip-jump", None, "takes thousands of passes, and makes l2 distances small"),
    ("ray-s", None, "takes thousands of passes, and sees no gradient"),
];

fn exempt(name: &str, norm: Norm) -> bool {
    EXEMPT.iter().any(|(exempt, only, _)| *exempt == name && only.is_none_or(|only| only == norm))
}

#[test]
fn every_attack_as_it_is_breaks_what_ten_steps_of_a_quarter_of_the_radius_break() {
    let (classifier, batch) = trained(140);
    let frozen = Frozen::new(&classifier).unwrap();
    let batch = right(&frozen, &batch);
    let n = batch.len();
    assert!(n >= 100, "{n} images");
    let names: Vec<&str> = <dyn Attack>::plugins().iter().map(|plugin| plugin.name).collect();
    assert!(EXEMPT.iter().all(|(name, ..)| names.contains(name)), "{names:?}");
    let plain = attack("pgd = { steps = 10, relative_step = 0.25 }");
    // At 15 times the l-inf radius about as many images fall in l2.
    for (norm, unit) in [(Norm::Linf, 1.0), (Norm::L2, 15.0)] {
        let mut broken = vec![];
        for radius in
            [0.5 / 255.0, 1.0 / 255.0, 4.0 / 255.0, 8.0 / 255.0, 0.1, 0.3].map(|radius| radius * unit)
        {
            let want = count(&under(&frozen, &batch, &plain, (norm, radius)).1);
            broken.push(want);
            for name in names.iter().filter(|name| !exempt(name, norm)) {
                let chosen: Chosen<dyn Attack> = Chosen::by_name(name).unwrap();
                assert_eq!(chosen.warning(radius), None, "{name} {norm} {radius}");
                // Where those steps break 2 in 100 at most, any attack does as well.
                if chosen.problem(norm).is_some() || want * 50 <= n {
                    continue;
                }
                let got = count(&under(&frozen, &batch, &chosen, (norm, radius)).1);
                // 2 in 100.
                assert!(
                    got * 50 + n >= want * 50,
                    "{name} {norm} {radius:.4}: {got} of {n}, ten steps of PGD {want}"
                );
            }
        }
        assert!(broken[5] > 4 * n / 5 && broken[4] < n / 2, "nothing can be told: {broken:?}");
    }
}
