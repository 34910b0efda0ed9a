//! Reports as text.

use std::fmt::Write;

use crate::compare::{AttackOutcome, Both, NetworkReport, formats};
use crate::manifest::{Manifest, NetworkEntry};

/// The heading: which programs are compared.
pub fn heading(manifest: &Manifest) -> String {
    let versions: Vec<String> =
        manifest.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "{} images a network, seed {}; {}\nfrom float64: logits by their largest difference with exact sums, and by \
         relative l2 with fast ones; gradients by\nrelative l2 at the median image, and the share of images beyond 1e-4; \
         attacks by the images broken on one side only",
        manifest.n,
        manifest.seed,
        versions.join(", ")
    )
}

/// The tables of a network.
pub fn section(entry: &NetworkEntry, report: &NetworkReport) -> String {
    let mut text = format!(
        "\n{}: {}; {} parameters, {:.1} % right; in {}\nPyTorch's own logits in float32: {:.1e} from float64\n",
        entry.name,
        entry.what,
        entry.parameters,
        100.0 * entry.accuracy,
        formats(&entry.files),
        entry.float32
    );
    let mut line = |cells: [String; 7]| {
        let [format, rest @ ..] = cells;
        let _ = write!(text, "  {format:<12}");
        for cell in rest {
            let _ = write!(text, "{cell:>15}");
        }
        text.push('\n');
    };
    let words = ["format", "logits exact", "logits fast", "ONNX Runtime", "grad. exact", "grad. fast"];
    let attacks: Vec<&str> = report
        .files
        .first()
        .map_or(vec![], |file| file.differ.iter().map(|(name, ..)| name.as_str()).collect());
    let [format, a, b, c, d, e] = words.map(String::from);
    line([format, a, b, c, d, e, attacks.join(", ")]);
    for file in &report.files {
        let slope = |i: usize| format!("{:.1e} {:3.0} %", file.gradients[i], 100.0 * file.kinked[i]);
        let differ = |(_, _, both): &(String, usize, Both<usize>)| format!("{}|{}", both[0], both[1]);
        line([
            file.format.clone(),
            format!("{:.1e}", file.logits[0]),
            format!("{:.1e}", file.relative[1]),
            file.runtime.map_or("-".into(), |off| format!("{off:.1e}")),
            slope(0),
            slope(1),
            file.differ.iter().map(differ).collect::<Vec<_>>().join(", "),
        ]);
    }
    let _ = writeln!(
        text,
        "  {:<22}{:<30}{:>7}{:>12}{:>18}{:>20}",
        "attack", "beside", "images", "theirs", "temper", "differ"
    );
    for attack in &report.attacks {
        let (theirs, ours, differ) = match attack.outcome {
            AttackOutcome::Broken { theirs, ours, differ } => (
                format!("{:.1} %", 100.0 * theirs),
                format!("{:.1}|{:.1} %", 100.0 * ours[0], 100.0 * ours[1]),
                format!("{}|{}", differ[0], differ[1]),
            ),
            AttackOutcome::Distance { theirs, ours, differ } => {
                (format!("{theirs:.4}"), format!("{ours:.4}"), format!("{:.0} % by > 0.1 %", 100.0 * differ))
            }
        };
        let (name, peer, n) = (&attack.name, &attack.peer, attack.images);
        let _ = writeln!(text, "  {name:<22}{peer:<30}{n:>7}{theirs:>12}{ours:>18}{differ:>20}");
    }
    text
}
