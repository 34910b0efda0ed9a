//! `AutoAttack`, Croce and Hein 2020, <https://arxiv.org/abs/2003.01690>, as in the authors' code
//! <https://github.com/fra31/auto-attack>, and the two of its four attacks that are often run alone.
//!
//! Each attack runs on the samples that the previous ones did not break, in the authors' order and with their
//! budgets.
//!
//! Deviations:
//!
//! - Random numbers depend on the sample only. The code draws them for the batch of remaining samples. Accuracies can
//!   be compared, images cannot.
//! - With fewer than ten classes all wrong classes are targets, and labels state their number (`apgd-t-top4`). The
//!   code requires nine and fails.
//! - With 2 or 3 classes the targeted difference of logits ratio is not defined, and with 2 classes the untargeted
//!   one is not defined either. The margin of logits, its numerator, is raised instead. Labels
//!   (`apgd-margin-t-top2`) and warnings report this. The code fails.
//! - APGD compares its first loss with that of the start, and squares may lie in the last row and column. The code
//!   does neither; with `oversights = true` the suite repeats both oversights.
//! - FAB draws random starts (version `plus`) within half of the nearest distance so far. The code draws them within
//!   half of the radius.
//! - There are no l1 radii.

use temper_core::prelude::*;

/// Steps of each attack except Square, and queries of Square.
const STEPS: usize = 100;
const QUERIES: usize = 5000;
/// Maximum number of target classes.
const TARGETS: usize = 9;
/// Restarts of untargeted attacks in the version `plus`.
const PLUS_RESTARTS: usize = 5;
/// Passes over which the version `rand` averages each gradient.
const RAND_PASSES: usize = 20;

options! {
    /// The versions of the authors' code.
    pub enum SuiteVersion {
        /// APGD on cross-entropy, targeted APGD, targeted FAB, Square.
        Standard = "standard",
        /// Six attacks, the untargeted white-box ones with five restarts.
        Plus = "plus",
        /// For randomised defences: APGD on both losses, with gradients averaged over 20 passes.
        Rand = "rand",
    }
}

plugin! { Suite "autoattack";
    /// AutoAttack: APGD on cross-entropy, targeted APGD, targeted FAB and Square, each on what still stands.
    /// Croce & Hein 2020, <https://arxiv.org/abs/2003.01690>. Norms: l-inf, l2 (not l1).
    pub struct AutoAttack {
        /// The `standard` set of the paper; `plus`, with more attacks and restarts; or `rand`, for networks that draw
        /// random numbers.
        pub version: SuiteVersion = SuiteVersion::Standard,
        /// Repeat two oversights of the authors' code: APGD compares its first loss with 0, and Square never reaches
        /// the last row and column.
        pub oversights: bool = false,
    }
}

plugin! { Suite "apgd-suite";
    /// APGD on cross-entropy, then targeted APGD: the first two attacks of AutoAttack. It is not AutoAttack, and its
    /// accuracies are at least as high. Croce & Hein 2020, <https://arxiv.org/abs/2003.01690>; alone in
    /// <https://github.com/nmndeep/revisiting-at>. Norms: l-inf, l2 (not l1).
    pub struct ApgdSuite {
        /// Wrong classes aimed at, the likeliest first.
        pub targets: NonZeroUsize = nonzero(TARGETS),
    }
}

impl Suite for AutoAttack {
    fn members(&self, norm: Norm, classes: usize) -> std::result::Result<Vec<Member>, String> {
        let mut lines = self.attacks(norm, classes)?;
        if self.oversights {
            for (_, attack) in &mut lines {
                *attack = attack.replace("apgd = { ", "apgd = { first_window = \"zero\", ");
                *attack = attack.replace("square = { ", "square = { places = \"all-but-last\", ");
            }
        }
        parsed(lines)
    }
}

impl Suite for ApgdSuite {
    fn members(&self, _norm: Norm, classes: usize) -> std::result::Result<Vec<Member>, String> {
        let wrong = wrong(classes)?;
        parsed(vec![apgd("ce", 1, 1), apgd_t(wrong, self.targets.get())])
    }
}

impl AutoAttack {
    /// The attacks of this version, in order.
    fn attacks(&self, norm: Norm, classes: usize) -> std::result::Result<Vec<Line>, String> {
        let wrong = wrong(classes)?;
        Ok(match self.version {
            SuiteVersion::Standard => {
                vec![apgd("ce", 1, 1), apgd_t(wrong, TARGETS), fab_t(norm, wrong), square()]
            }
            SuiteVersion::Plus => vec![
                apgd("ce", PLUS_RESTARTS, 1),
                apgd(untargeted_dlr(wrong), PLUS_RESTARTS, 1),
                fab(norm),
                square(),
                apgd_t(wrong, TARGETS),
                fab_t(norm, wrong),
            ],
            SuiteVersion::Rand => {
                vec![apgd("ce", 1, RAND_PASSES), apgd(untargeted_dlr(wrong), 1, RAND_PASSES)]
            }
        })
    }
}

/// A member before it is parsed: its label, and the attack as a line of TOML.
type Line = (String, String);

fn parsed(lines: Vec<Line>) -> std::result::Result<Vec<Member>, String> {
    lines.into_iter().map(|(label, attack)| Ok(Member { label, ..Member::parse(&attack)? })).collect()
}

/// The number of wrong classes; an error if it would be 0.
fn wrong(classes: usize) -> std::result::Result<usize, String> {
    match classes {
        0 | 1 => Err(format!("a network of {classes} classes makes no mistakes: it needs at least two")),
        classes => Ok(classes - 1),
    }
}

/// APGD without a target. With `dlr` and too few classes it raises the margin itself, and warns of it.
fn apgd(label: &str, restarts: usize, eot: usize) -> Line {
    let loss = if label == "ce" { "ce" } else { "dlr" };
    let attack =
        format!("apgd = {{ steps = {STEPS}, restarts = {restarts}, loss = \"{loss}\", eot = {eot} }}");
    (format!("apgd-{label}"), attack)
}

/// The label of the untargeted loss: the difference of logits ratio if there is a third largest logit, or else the
/// margin.
fn untargeted_dlr(wrong: usize) -> &'static str {
    if wrong < 2 { "margin" } else { "dlr" }
}

/// Targeted APGD. Its loss needs the fourth largest logit; with fewer logits it raises the margin itself, and warns
/// of it.
fn apgd_t(wrong: usize, targets: usize) -> Line {
    let label = if wrong < 3 { "apgd-margin-t" } else { "apgd-t" };
    let n = targets.min(wrong);
    let attack = format!("apgd = {{ steps = {STEPS}, loss = \"dlr\", target = {{ likeliest = {n} }} }}");
    (format!("{label}{}", top(n)), attack)
}

fn fab(norm: Norm) -> Line {
    let attack = format!(
        "fab = {{ steps = {STEPS}, restarts = {PLUS_RESTARTS}, target = \"none\", norm = \"{}\" }}",
        norm.word()
    );
    ("fab".into(), attack)
}

fn fab_t(norm: Norm, wrong: usize) -> Line {
    let n = TARGETS.min(wrong);
    let attack = format!(
        "fab = {{ steps = {STEPS}, restarts = 1, target = {{ likeliest = {n} }}, norm = \"{}\" }}",
        norm.word()
    );
    (format!("fab-t{}", top(n)), attack)
}

fn square() -> Line {
    ("square".into(), format!("square = {{ queries = {QUERIES}, restarts = 1 }}"))
}

/// The suffix of a label with the number of target classes; empty for the authors' number.
fn top(n: usize) -> String {
    if n == TARGETS { String::new() } else { format!("-top{n}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(version: SuiteVersion, classes: usize) -> Vec<String> {
        let lines = AutoAttack { version, ..AutoAttack::default() }.attacks(Norm::Linf, classes).unwrap();
        lines.into_iter().map(|(label, _)| label).collect()
    }

    fn attacks(version: SuiteVersion, norm: Norm, classes: usize) -> Vec<String> {
        let lines = AutoAttack { version, ..AutoAttack::default() }.attacks(norm, classes).unwrap();
        lines.into_iter().map(|(_, attack)| attack).collect()
    }

    #[test]
    fn versions_have_the_attacks_and_budgets_of_the_authors_code() {
        assert_eq!(labels(SuiteVersion::Standard, 10), ["apgd-ce", "apgd-t", "fab-t", "square"]);
        assert_eq!(
            attacks(SuiteVersion::Standard, Norm::L2, 10),
            [
                "apgd = { steps = 100, restarts = 1, loss = \"ce\", eot = 1 }",
                "apgd = { steps = 100, loss = \"dlr\", target = { likeliest = 9 } }",
                "fab = { steps = 100, restarts = 1, target = { likeliest = 9 }, norm = \"l2\" }",
                "square = { queries = 5000, restarts = 1 }",
            ]
        );
        assert_eq!(
            labels(SuiteVersion::Plus, 1000),
            ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
        );
        assert_eq!(
            attacks(SuiteVersion::Plus, Norm::Linf, 1000)[..3],
            [
                "apgd = { steps = 100, restarts = 5, loss = \"ce\", eot = 1 }",
                "apgd = { steps = 100, restarts = 5, loss = \"dlr\", eot = 1 }",
                "fab = { steps = 100, restarts = 5, target = \"none\", norm = \"linf\" }",
            ]
        );
        assert_eq!(labels(SuiteVersion::Rand, 10), ["apgd-ce", "apgd-dlr"]);
        assert_eq!(
            attacks(SuiteVersion::Rand, Norm::Linf, 10),
            [
                "apgd = { steps = 100, restarts = 1, loss = \"ce\", eot = 20 }",
                "apgd = { steps = 100, restarts = 1, loss = \"dlr\", eot = 20 }",
            ]
        );
    }

    #[test]
    fn few_classes_are_said_in_labels() {
        assert_eq!(labels(SuiteVersion::Standard, 9)[1..3], ["apgd-t-top8", "fab-t-top8"]);
        assert_eq!(labels(SuiteVersion::Standard, 4)[1..3], ["apgd-t-top3", "fab-t-top3"]);
        assert_eq!(labels(SuiteVersion::Standard, 3)[1..3], ["apgd-margin-t-top2", "fab-t-top2"]);
        assert_eq!(labels(SuiteVersion::Rand, 3), ["apgd-ce", "apgd-dlr"]);
        assert_eq!(labels(SuiteVersion::Rand, 2), ["apgd-ce", "apgd-margin"]);
        assert!(attacks(SuiteVersion::Standard, Norm::Linf, 3)[1].contains("likeliest = 2"));
        let one = AutoAttack::default().attacks(Norm::Linf, 1).unwrap_err();
        assert!(one.contains("needs at least two"), "{one}");
    }

    /// A label is the name of a row of results.
    #[test]
    fn labels_are_unique() {
        for version in [SuiteVersion::Standard, SuiteVersion::Plus, SuiteVersion::Rand] {
            for classes in [2, 3, 4, 10, 100] {
                let mut all = labels(version, classes);
                let n = all.len();
                all.sort();
                all.dedup();
                assert_eq!(all.len(), n, "{version:?} {classes}: {all:?}");
            }
        }
    }

    #[test]
    fn the_shortcut_aims_at_as_many_classes_as_it_is_told() {
        assert_eq!(apgd_t(9, 9).0, "apgd-t");
        assert_eq!(apgd_t(99, 20).0, "apgd-t-top20");
        assert_eq!(apgd_t(9, 20).0, "apgd-t");
        assert_eq!(apgd_t(1, 9).0, "apgd-margin-t-top1");
    }
}
