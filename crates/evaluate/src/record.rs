//! What is kept of each sample, so that any number of a report can be derived again.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

/// What an evaluation saw of one sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Index in the whole data set.
    pub sample: u64,
    /// Its class.
    pub label: u32,
    /// The class that the network gives the image unperturbed; none where logits are not numbers.
    pub natural: Option<u32>,
    /// The attack that broke it first; none if it stands, or was misclassified unperturbed.
    pub broken_by: Option<String>,
    /// The radius of a sweep at which it broke first.
    pub radius: Option<f64>,
    /// The class that the network gives the image judged last: the one that broke the sample, else the last one tried (by a
    /// minimum-norm attack whatever the radius), without an attack the clean one.
    pub prediction: Option<u32>,
    /// Cross-entropy of that image with the sample's class.
    pub loss: f32,
    /// How far that image is from the clean one, in the evaluation's norm.
    pub distance: Option<f64>,
    /// The class that the last attack led to, if it led to one.
    pub target: Option<u32>,
    /// For minimum-norm attacks: how far away the adversarial image was, in the attack's own norm, whatever the radius; infinite
    /// where there was none. Of images crafted on another network there is no such distance.
    pub minimal: Option<f64>,
    /// Of a sweep over steps: whether the sample counts as broken after each of its numbers of steps.
    pub steps: Option<Vec<bool>>,
}

impl Record {
    /// Classified correctly unperturbed, and unbroken.
    pub fn stands(&self) -> bool {
        self.natural == Some(self.label) && self.broken_by.is_none()
    }
}

/// Records of a batch, a column a field: the columns that hold nothing are left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    sample: Vec<u64>,
    label: Vec<u32>,
    natural: Vec<Option<u32>>,
    #[serde(skip_serializing_if = "empty")]
    broken_by: Vec<Option<String>>,
    #[serde(skip_serializing_if = "empty")]
    radius: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "empty")]
    prediction: Vec<Option<u32>>,
    loss: Vec<Option<f32>>,
    #[serde(skip_serializing_if = "empty")]
    distance: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "empty")]
    target: Vec<Option<u32>>,
    /// JSON has no infinity: a string stands for it.
    #[serde(skip_serializing_if = "empty")]
    minimal: Vec<Option<Distance>>,
    #[serde(skip_serializing_if = "empty")]
    steps: Vec<Option<Vec<bool>>>,
}

fn empty<T>(column: &[T]) -> bool {
    column.is_empty()
}

/// A distance that may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Distance(f64);

impl Serialize for Distance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.is_finite() {
            true => serializer.serialize_f64(self.0),
            false => serializer.serialize_str("inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Distance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = Distance;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a distance, or \"inf\"")
            }
            fn visit_f64<E>(self, distance: f64) -> Result<Distance, E> {
                Ok(Distance(distance))
            }
            fn visit_u64<E>(self, distance: u64) -> Result<Distance, E> {
                Ok(Distance(distance as f64))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Distance, E> {
                match text {
                    "inf" => Ok(Distance(f64::INFINITY)),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl Columns {
    /// Of records in their order.
    pub fn of(records: Vec<Record>) -> Self {
        fn held<T>(column: Vec<Option<T>>) -> Vec<Option<T>> {
            if column.iter().all(Option::is_none) { vec![] } else { column }
        }
        let mut all = Self::default();
        for record in records {
            // Every field, so that a new one is not forgotten here.
            let Record {
                sample,
                label,
                natural,
                broken_by,
                radius,
                prediction,
                loss,
                distance,
                target,
                minimal,
                steps,
            } = record;
            all.sample.push(sample);
            all.label.push(label);
            all.natural.push(natural);
            all.broken_by.push(broken_by);
            all.radius.push(radius);
            // As unperturbed, where nothing was perturbed.
            all.prediction.push(prediction.filter(|_| distance.is_some()));
            all.loss.push(Some(loss).filter(|loss| loss.is_finite()));
            all.distance.push(distance);
            all.target.push(target);
            all.minimal.push(minimal.map(Distance));
            all.steps.push(steps);
        }
        all.broken_by = held(all.broken_by);
        all.radius = held(all.radius);
        all.prediction = held(all.prediction);
        all.distance = held(all.distance);
        all.target = held(all.target);
        all.minimal = held(all.minimal);
        all.steps = held(all.steps);
        all
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.sample.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sample.is_empty()
    }

    /// Their samples.
    pub fn samples(&self) -> &[u64] {
        &self.sample
    }

    /// The records in their order.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        (0..self.len()).map(|i| self.record(i))
    }

    fn record(&self, i: usize) -> Record {
        fn at<T: Clone>(column: &[Option<T>], i: usize) -> Option<T> {
            column.get(i).cloned().flatten()
        }
        let (natural, distance) = (self.natural[i], at(&self.distance, i));
        Record {
            sample: self.sample[i],
            label: self.label[i],
            natural,
            broken_by: at(&self.broken_by, i),
            radius: at(&self.radius, i),
            prediction: if distance.is_some() { at(&self.prediction, i) } else { natural },
            loss: at(&self.loss, i).unwrap_or(f32::NAN),
            distance,
            target: at(&self.target, i),
            minimal: at(&self.minimal, i).map(|distance| distance.0),
            steps: at(&self.steps, i),
        }
    }

    /// Whether the columns are of one length, or empty where they may be.
    pub(crate) fn fit(&self) -> bool {
        let n = self.len();
        let optional = [
            self.broken_by.len(),
            self.radius.len(),
            self.prediction.len(),
            self.distance.len(),
            self.target.len(),
            self.minimal.len(),
            self.steps.len(),
        ];
        [self.label.len(), self.natural.len(), self.loss.len()].iter().all(|len| *len == n)
            && optional.iter().all(|len| *len == n || *len == 0)
    }
}

/// What an attack cost and did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The attack; `natural` for the pass over the clean images.
    pub attack: String,
    /// Samples it was run on: those that stood. A sample counts once for every radius of a sweep and for every restart, but with a
    /// minimum-norm attack, which serves all radii, once.
    pub attacked: usize,
    /// Samples it broke first.
    pub broken: usize,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// Wall time.
    pub seconds: f64,
    /// Images whose gradient was exactly 0 in a pass at which they were still classified correctly, each counted once whatever the
    /// restarts and radii; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vanished: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Cost {
    pub(crate) fn add(&mut self, other: &Self) {
        self.attacked = self.attacked.saturating_add(other.attacked);
        self.broken = self.broken.saturating_add(other.broken);
        self.forwards = self.forwards.saturating_add(other.forwards);
        self.backwards = self.backwards.saturating_add(other.backwards);
        self.seconds += other.seconds;
        self.vanished = self.vanished.saturating_add(other.vanished);
    }
}

/// A batch that was judged: a line of the file of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The evaluation's name.
    pub evaluation: String,
    /// Which weights of the run were judged.
    pub weights: String,
    /// The corruption of the images, and its severity; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruption: Option<String>,
    /// What tells corrupted images from others of their kind and severity, hashed; absent for images as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// All that the numbers depend on, hashed.
    pub key: String,
    /// Images and labels of the batch, hashed.
    pub data: String,
    /// The columns of the samples.
    pub samples: Columns,
    /// What could not be decoded, by index in the whole data set, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<u64, String>,
    /// What it cost, in the order of the attacks; the first one is the natural pass.
    pub costs: Vec<Cost>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_their_columns_as_they_were() {
        let attacked = Record {
            sample: 17,
            label: 3,
            natural: Some(3),
            broken_by: Some("pgd".into()),
            radius: Some(0.1),
            prediction: Some(5),
            loss: 0.1,
            distance: Some(1.0 / 3.0),
            target: Some(5),
            minimal: Some(f64::INFINITY),
            steps: Some(vec![false, true]),
        };
        let clean = Record { sample: 4, label: 1, loss: 2.5, ..Record::default() };
        for records in [vec![attacked.clone(), clean.clone()], vec![clean], vec![attacked], vec![]] {
            let text = serde_json::to_string(&Columns::of(records.clone())).unwrap();
            let back: Columns = serde_json::from_str(&text).unwrap();
            assert!(back.fit());
            assert_eq!(back.records().collect::<Vec<_>>(), records, "{text}");
        }
        // Lines of before know nothing of vanished gradients; a line of now says nothing of them where there are none.
        let old = r#"{"attack":"pgd","attacked":3,"broken":1,"forwards":9,"backwards":6,"seconds":0.5}"#;
        let cost: Cost = serde_json::from_str(old).unwrap();
        assert_eq!((cost.vanished, serde_json::to_string(&cost).unwrap().as_str()), (0, old));
        let one = Columns::of(vec![Record { sample: 1, ..Record::default() }]);
        assert_eq!(
            serde_json::to_string(&one).unwrap(),
            r#"{"sample":[1],"label":[0],"natural":[null],"loss":[0.0]}"#
        );
    }
}
