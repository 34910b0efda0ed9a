//! Runs and judges the quickstart. Each claim is an inequality between a measured value and its bound.

use std::process::Command;

use anyhow::{Context, ensure};
use temper_report::{Table, percent};
use temper_results::Results;

use crate::configs::Configs;
use crate::execute::Place;

/// A claim about a run, and the measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct QuickstartClaim {
    /// The claim in words.
    pub what: String,
    /// The measured value must be at least this.
    pub at_least: f64,
    /// The measured value.
    pub measured: f64,
}

impl QuickstartClaim {
    /// Whether the measured value satisfies the claim.
    pub fn holds(&self) -> bool {
        self.measured >= self.at_least
    }
}

/// The claims of the quickstart about a run's results. An error names a missing evaluation.
pub fn quickstart(results: &Results, warmup_radius: f64) -> anyhow::Result<Vec<QuickstartClaim>> {
    let accuracy = |name: &str| {
        results
            .get(name)
            .map(|e| e.accuracy)
            .with_context(|| format!("the results hold no evaluation `{name}`"))
    };
    let radii = results.radii.context("the results hold no radii")?;
    let claim = |what: &str, at_least, measured| QuickstartClaim { what: what.into(), at_least, measured };
    Ok(vec![
        claim("natural accuracy", 0.75, accuracy("natural")?),
        claim("accuracy under pgd20", 0.50, accuracy("pgd20")?),
        claim("5 to 95 % span of radii / warm-up radius", 0.30, (radii.p95 - radii.p5) / warmup_radius),
    ])
}

/// Runs `quickstart.toml` of `configs` and reports the verdicts. Returns `false` if a claim does not hold.
pub fn run(configs: &Configs, place: &Place, say: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let config = std::path::absolute(configs.folder.join("quickstart.toml"))?;
    let out = place.folder.join("runs/reproduce/quickstart");
    let status = Command::new(&place.binary)
        .current_dir(&place.folder)
        .arg("run")
        .arg(&config)
        .args(["--force", "--out"])
        .arg(&out)
        .status()
        .with_context(|| format!("cannot start {}", place.binary.display()))?;
    ensure!(status.success(), "the run failed: {status}");
    let results = Results::read(&out.join("results.json"))?;
    let text =
        std::fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let pipeline: toml::Table = text.parse()?;
    let warmup = pipeline["train"]["epsilon"]["instance-adaptive"]["start"].as_float();
    let claims = quickstart(&results, warmup.context("the quickstart's warm-up radius is not a number")?)?;
    say(verdicts(&claims).trim_end());
    Ok(claims.iter().all(QuickstartClaim::holds))
}

/// The claims as a table.
pub fn verdicts(claims: &[QuickstartClaim]) -> String {
    let mut table = Table::new(&["claim", "expected", "measured", "verdict"]);
    for claim in claims {
        let expected = format!(">= {}", percent(claim.at_least));
        let verdict = if claim.holds() { "holds" } else { "fails" };
        table.row(vec![claim.what.clone(), expected, percent(claim.measured), verdict.into()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_not_met_fails() {
        let claims: Vec<QuickstartClaim> = [(0.5, 0.6), (0.5, 0.4), (0.5, f64::NAN)]
            .map(|(at_least, measured)| QuickstartClaim { what: "x".into(), at_least, measured })
            .into();
        assert_eq!(claims.iter().map(QuickstartClaim::holds).collect::<Vec<_>>(), [true, false, false]);
        assert!(verdicts(&claims).contains(">= 50.0 %    40.0 %    fails"));
    }
}
