//! Reasons not to believe a number.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A reason not to believe a number, found by a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written")]
pub struct Warning {
    /// The check that found it, a stable word such as `vanished-gradients`; absent in files of before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// How much it says against the number.
    pub severity: Severity,
    /// What was found, in words.
    pub text: String,
    /// The number on which it rests, mostly a share of images, 0 to 1; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<f64>,
    /// What to do, in words; absent if the text says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How much a warning says against a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The number may be imprecise.
    #[default]
    Caution,
    /// The number is probably wrong.
    Severe,
}

impl Severity {
    /// Severe if `so`, otherwise a caution.
    pub fn severe_if(so: bool) -> Self {
        if so { Self::Severe } else { Self::Caution }
    }
}

/// A warning as files hold it: files of before have the text alone.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    /// The text alone.
    Text(String),
    Whole {
        /// The check that found it, a stable word such as `vanished-gradients`; absent in files of before.
        #[serde(default)]
        id: String,
        /// How much it says against the number.
        #[serde(default)]
        severity: Severity,
        /// What was found, in words.
        text: String,
        /// The number on which it rests, mostly a share of images, 0 to 1; absent if there is none.
        #[serde(default)]
        figure: Option<f64>,
        /// What to do, in words; absent if the text says it.
        #[serde(default)]
        advice: Option<String>,
    },
}

impl From<Written> for Warning {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => Self::caution("", text),
            Written::Whole { id, severity, text, figure, advice } => {
                Self { id, severity, text, figure, advice }
            }
        }
    }
}

impl Warning {
    /// A caution by the check of this id.
    pub fn caution(id: impl Into<String>, text: impl Into<String>) -> Self {
        let (id, text) = (id.into(), text.into());
        Self { id, severity: Severity::Caution, text, figure: None, advice: None }
    }

    /// A severe warning by the check of this id.
    pub fn severe(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::caution(id, text).graded(Severity::Severe)
    }

    /// The same with this severity.
    #[must_use]
    pub fn graded(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// The same with the number on which it rests. JSON has no NaN and no infinity: these are left out.
    #[must_use]
    pub fn with_figure(self, figure: f64) -> Self {
        Self { figure: Some(figure).filter(|figure| figure.is_finite()), ..self }
    }

    /// The same with words that say what to do.
    #[must_use]
    pub fn advising(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The same with words before its text that say what it is about.
    #[must_use]
    pub fn about(self, what: impl fmt::Display) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// Whether the number is probably wrong.
    pub fn is_severe(&self) -> bool {
        self.severity == Severity::Severe
    }

    /// The heading of its text: `warning`, or `severe warning`.
    pub fn heading(&self) -> &'static str {
        if self.is_severe() { "severe warning" } else { "warning" }
    }

    /// Its words for a list of warnings, in which severe ones are marked.
    pub fn marked(&self) -> String {
        if self.is_severe() { format!("severe: {self}") } else { self.to_string() }
    }
}

/// The text, and what to do.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.advice.iter().try_for_each(|advice| write!(f, ": {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_back_from_their_files_and_texts_of_before_are_cautions() {
        let caution = Warning::caution("test-warning", "other radii").advising("take these");
        let severe = Warning::severe("constant-predictions", "one class").with_figure(0.125);
        for (warning, written) in [
            (
                caution,
                r#"{"id":"test-warning","severity":"caution","text":"other radii","advice":"take these"}"#,
            ),
            (
                severe,
                r#"{"id":"constant-predictions","severity":"severe","text":"one class","figure":0.125}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&warning).unwrap(), written);
            assert_eq!(serde_json::from_str::<Warning>(written).unwrap(), warning);
        }
        let old: Vec<Warning> = serde_json::from_str(r#"["steps too short"]"#).unwrap();
        assert_eq!(old, [Warning::caution("", "steps too short")]);
        assert_eq!(
            serde_json::to_string(&old).unwrap(),
            r#"[{"severity":"caution","text":"steps too short"}]"#
        );
        assert!(serde_json::from_str::<Warning>("{\"id\":\"a\"}").is_err());
    }

    #[test]
    fn words_end_with_what_to_do_and_severe_ones_are_marked() {
        let warning = Warning::caution("a", "too short").advising("take more").about("`pgd`");
        assert_eq!(
            (warning.to_string(), warning.heading()),
            ("`pgd`: too short: take more".into(), "warning")
        );
        let severe = warning.graded(Severity::severe_if(true));
        assert_eq!(
            (severe.marked(), severe.heading()),
            ("severe: `pgd`: too short: take more".into(), "severe warning")
        );
        assert_eq!(severe.with_figure(f64::NAN).figure, None);
    }
}
