//! The labels that an attack uses, and the classes that a targeted attack aims at.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;

use candle_core::{DType, Tensor};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use temper_data::Rng;

use crate::search::attempts;
use crate::{Ball, Error, Field, Raised, Result, Rows, Victim};

crate::options! {
    /// The class of a sample that an attack leads away from.
    pub enum Labels {
        /// The true class.
        True = "true",
        /// The network's prediction for the clean image, the default of ART and `CleverHans`. A natural error
        /// is then led away from its wrong class, possibly into the true one.
        Predicted = "predicted",
    }
}

impl Labels {
    /// The same victim with these labels. `Predicted` costs a forward pass.
    pub fn view<'a>(self, victim: &Victim<'a>) -> Result<Victim<'a>> {
        match self {
            Self::True => Ok(victim.clone()),
            Self::Predicted => victim.with_labels(&victim.logits(victim.pixels())?.argmax(1)?),
        }
    }
}

/// The class that an attack aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Untargeted: the loss of the true class is raised.
    None,
    /// One wrong class, drawn uniformly for each sample; its loss is lowered.
    Random,
    /// The wrong class with the smallest logit for the clean image.
    LeastLikely,
    /// This many wrong classes in turn, the likeliest for the clean image first, each on the samples that
    /// still stand.
    Likeliest(NonZeroUsize),
    /// All wrong classes in turn, like `Likeliest`.
    All,
}

/// The targets that TOML writes as a word.
const TARGETS: [(&str, Target); 4] = [
    ("none", Target::None),
    ("random", Target::Random),
    ("least-likely", Target::LeastLikely),
    ("all", Target::All),
];
/// The key of the target that TOML writes as a table.
const LIKELIEST: &str = "likeliest";

impl Field for Target {
    fn expects() -> String {
        let words: Vec<String> = TARGETS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("{} or {{ {LIKELIEST} = whole number of at least 1 }}", words.join(" or "))
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "target".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": Self::expects(),
            "oneOf": [
                { "enum": TARGETS.map(|(word, _)| word) },
                {
                    "type": "object",
                    "properties": { (LIKELIEST): { "type": "integer", "minimum": 1 } },
                    "required": [LIKELIEST],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if let Self::Likeliest(n) = self {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(LIKELIEST, n)?;
            return map.end();
        }
        let word = TARGETS.iter().find(|(_, target)| target == self).map_or("", |(word, _)| *word);
        serializer.serialize_str(word)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct TargetVisitor;
        impl<'de> de::Visitor<'de> for TargetVisitor {
            type Value = Target;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&Target::expects())
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Target, E> {
                let known = TARGETS.iter().find(|(known, _)| *known == word);
                known
                    .map(|(_, target)| *target)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(word), &self))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Target, A::Error> {
                match map.next_key::<String>()? {
                    Some(key) if key == LIKELIEST => {}
                    Some(key) => return Err(de::Error::unknown_field(&key, &[LIKELIEST])),
                    None => return Err(de::Error::missing_field(LIKELIEST)),
                }
                let n = map.next_value()?;
                match map.next_key::<String>()? {
                    None => Ok(Target::Likeliest(n)),
                    Some(key) => Err(de::Error::unknown_field(&key, &[LIKELIEST])),
                }
            }
        }
        deserializer.deserialize_any(TargetVisitor)
    }
}

impl Target {
    /// The target's part of an attack's label; empty without a target.
    pub fn suffix(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Likeliest(n) => format!("-top{n}"),
            Self::Random => "-random".into(),
            Self::LeastLikely => "-least-likely".into(),
            Self::All => "-all".into(),
        }
    }

    /// Number of target classes that are tried on a network with this number of classes; 1 if untargeted.
    pub fn tried(self, classes: usize) -> usize {
        let most = classes.saturating_sub(1).max(1);
        match self {
            Self::All => most,
            Self::Likeliest(n) => most.min(n.get()),
            _ => 1,
        }
    }

    /// Runs `attempt` on a victim whose score is the loss `raised`: of the true class if untargeted,
    /// otherwise of the target class. With several target classes, `attempt` runs once per class on the
    /// samples that still stand. For goals other than a misclassification each sample then keeps the image
    /// with the highest score of `victim`. An untargeted attack keeps a score that training gave the victim.
    pub fn aim(
        self,
        raised: Raised,
        victim: &Victim,
        ball: &Ball,
        rng: &Rng,
        attempt: impl Fn(&Victim, &Ball, &Rng) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mixes = victim.mixes_samples();
        let led = |victim: &Victim, targets: &Targets, ball: &Ball, rng: &Rng| {
            let towards =
                |logits: &Tensor, rows: &Rows| raised.towards(logits, &targets.of(rows)?, rows, mixes);
            attempt(&victim.with_score(&towards), ball, rng)
        };
        let several = match self {
            Self::All => Some(usize::MAX),
            Self::Likeliest(n) => Some(n.get()),
            _ => None,
        };
        if let Some(most) = several {
            let (classes, order) = (at_least_two(victim)?, likeliest(victim)?);
            return attempts(victim, ball, most.min(classes - 1), |victim, ball, rank| {
                let targets: Vec<u32> = order.iter().map(|classes| classes[rank]).collect();
                // With several target classes there is no target rate, so the trace does not record them.
                let targets = Targets::new(targets, victim)?;
                led(victim, &targets, ball, &rng.numbered(rank as u64))
            });
        }
        match self.choose(victim, rng)? {
            Some(targets) => led(victim, &targets, ball, rng),
            None if raised == Raised::Ce || victim.has_own_score() => attempt(victim, ball, rng),
            None => {
                let away = |logits: &Tensor, rows: &Rows| raised.away(logits, rows, mixes);
                attempt(&victim.with_score(&away), ball, rng)
            }
        }
    }

    /// The target class of each sample; `None` without a target. `Random` is (label + U{1..classes - 1}) mod
    /// classes, drawn once for all restarts. `LeastLikely` costs a forward pass. Several target classes are
    /// an error.
    pub fn choose(self, victim: &Victim, rng: &Rng) -> Result<Option<Targets>> {
        let classes = match self {
            Self::None => return Ok(None),
            Self::All | Self::Likeliest(_) => {
                return Err(Error::refused("this attack aims at one class at a time, not at several"));
            }
            _ => at_least_two(victim)? as u32,
        };
        let targets = if self == Self::LeastLikely {
            least_likely(&victim.logits(victim.pixels())?, victim)?.to_vec1()?
        } else {
            let draws = rng.named("target").uniform(victim.ids(), 1);
            // Uniform over the other classes: the label plus 1 to classes - 1, modulo the number of classes.
            let further =
                |u: f32| ((f32::midpoint(u, 1.0) * (classes - 1) as f32) as u32).min(classes - 2) + 1;
            let labels = victim.labels().to_vec1::<u32>()?;
            labels.iter().zip(&draws).map(|(l, u)| (l + further(*u)) % classes).collect()
        };
        // Scores index samples by their position in the original batch.
        let positions = victim.positions().to_vec1::<u32>()?;
        let mut all = vec![0u32; positions.iter().max().map_or(0, |p| *p as usize + 1)];
        for (position, target) in positions.iter().zip(&targets) {
            all[*position as usize] = *target;
        }
        Targets::told(all, victim).map(Some)
    }
}

/// The number of classes; an error if there are fewer than two.
fn at_least_two(victim: &Victim) -> Result<usize> {
    match victim.classes() {
        0 | 1 => Err(Error::refused("a targeted attack needs at least two classes")),
        classes => Ok(classes),
    }
}

/// The target class of each sample of the victim's original batch.
#[derive(Debug, Clone)]
pub struct Targets {
    /// By position in the original batch.
    classes: Tensor,
    /// Whether the gradient of one sample depends on the other samples.
    mixes: bool,
}

impl Targets {
    /// Target classes by position in the original batch.
    fn new(classes: Vec<u32>, victim: &Victim) -> Result<Self> {
        let n = classes.len();
        let classes = Tensor::from_vec(classes, n, victim.pixels().device())?;
        Ok(Self { classes, mixes: victim.mixes_samples() })
    }

    /// Like [`Self::new`]; also records the targets of `victim`'s samples in its trace.
    fn told(classes: Vec<u32>, victim: &Victim) -> Result<Self> {
        if let Some(trace) = victim.trace() {
            let positions = victim.positions().to_vec1::<u32>()?;
            let own: Vec<u32> = positions.iter().map(|position| classes[*position as usize]).collect();
            trace.aims(&positions, &own);
        }
        Self::new(classes, victim)
    }

    /// The target classes of some samples, `[n]`, `u32`.
    pub fn of(&self, rows: &Rows) -> Result<Tensor> {
        Ok(self.classes.index_select(&rows.positions, 0)?)
    }

    /// Minus the log odds against the target class, `[n]`; on batch statistics minus its cross-entropy.
    pub fn score(&self, logits: &Tensor, rows: &Rows) -> Result<Tensor> {
        Raised::Ce.towards(logits, &self.of(rows)?, rows, self.mixes)
    }
}

/// For each sample the `classes - 1` classes other than its label in `labels`, `[n]`, `u32`, ordered by
/// logits `[n, classes]`, the largest first. Of equal logits the lower class comes first.
pub fn wrong_classes(logits: &Tensor, labels: &Tensor) -> Result<Vec<Vec<u32>>> {
    let logits = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let order = |(row, label): (&Vec<f64>, u32)| {
        let mut order: Vec<u32> = (0..row.len() as u32).filter(|class| *class != label).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        order
    };
    Ok(logits.iter().zip(labels.to_vec1()?).map(order).collect())
}

/// The wrong classes by the logits of the clean images, by position in the original batch.
fn likeliest(victim: &Victim) -> Result<Vec<Vec<u32>>> {
    let positions = victim.positions().to_vec1::<u32>()?;
    let wrong = wrong_classes(&victim.logits(victim.pixels())?, victim.labels())?;
    let mut all = vec![vec![0; victim.classes() - 1]; positions.iter().max().map_or(0, |p| *p as usize + 1)];
    for (position, order) in positions.iter().zip(wrong) {
        all[*position as usize] = order;
    }
    Ok(all)
}

/// The wrong class with the smallest logit, `[n]`.
fn least_likely(logits: &Tensor, victim: &Victim) -> Result<Tensor> {
    let labels = victim.labels().unsqueeze(1)?;
    let others = logits.ones_like()?.scatter(&labels, &labels.zeros_like()?.to_dtype(logits.dtype())?, 1)?;
    let spread = (logits.max_keepdim(1)?.broadcast_sub(logits)? * &others)?;
    // 0 for the true class, at least 1 for the others. With equal logits the lower class is used.
    let least = (spread + others)?.argmax(1)?;
    Ok(least)
}
