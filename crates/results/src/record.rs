//! What is kept of each sample, so that every number of a report can be derived again.
//!
//! In a file records are columns: one array a field. Fields are declared once, in the invocation of `columns!`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A field's value, as a column holds it.
trait ColumnField: Sized {
    /// What a column holds of it.
    type Cell: Clone;
    /// Whether the column may be left out, since every value of it says nothing.
    const OPTIONAL: bool;

    fn cell(self) -> Self::Cell;
    fn value(cell: Self::Cell) -> Self;
    /// What stands for it where its column was left out.
    fn absent() -> Option<Self>;
    /// Whether a cell says anything.
    fn holds(cell: &Self::Cell) -> bool;
}

macro_rules! plain {
    ($($type:ty),*) => { $(impl ColumnField for $type {
        type Cell = Self;
        const OPTIONAL: bool = false;
        fn cell(self) -> Self { self }
        fn value(cell: Self) -> Self { cell }
        fn absent() -> Option<Self> { None }
        fn holds(_: &Self) -> bool { true }
    })* };
}
plain!(u64, u32);

/// A loss. JSON has no NaN and no infinity: null stands for both.
impl ColumnField for f32 {
    type Cell = Option<f32>;
    const OPTIONAL: bool = false;
    fn cell(self) -> Self::Cell {
        Some(self).filter(|loss| loss.is_finite())
    }
    fn value(cell: Self::Cell) -> Self {
        cell.unwrap_or(f32::NAN)
    }
    fn absent() -> Option<Self> {
        None
    }
    fn holds(_: &Self::Cell) -> bool {
        true
    }
}

macro_rules! optional {
    ($($type:ty => $cell:ty, $to:expr, $from:expr;)*) => { $(impl ColumnField for Option<$type> {
        type Cell = Option<$cell>;
        const OPTIONAL: bool = true;
        fn cell(self) -> Self::Cell { self.map($to) }
        fn value(cell: Self::Cell) -> Self { cell.map($from) }
        fn absent() -> Option<Self> { Some(None) }
        fn holds(cell: &Self::Cell) -> bool { cell.is_some() }
    })* };
}
optional! {
    u32 => u32, |v| v, |v| v;
    u64 => u64, |v| v, |v| v;
    String => String, |v| v, |v| v;
    Vec<bool> => Vec<bool>, |v| v, |v| v;
    f64 => MaybeInfinite, MaybeInfinite, |length| length.0;
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What an evaluation saw of one sample.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Record { $($(#[$doc])* pub $name: $type,)* }

        /// Records of a batch, a column a field. Columns that hold nothing are left out.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Columns {
            $(#[serde(skip_serializing_if = "Vec::is_empty")] $name: Vec<<$type as ColumnField>::Cell>,)*
        }

        impl Columns {
            /// Of records in their order.
            pub fn of(records: Vec<Record>) -> Self {
                let mut all = Self::default();
                for record in records.into_iter().map(Record::without_repetition) {
                    $(all.$name.push(record.$name.cell());)*
                }
                $(if !all.$name.iter().any(<$type>::holds) { all.$name.clear(); })*
                all
            }

            fn record(&self, i: usize) -> Option<Record> {
                let record = Record {
                    $($name: match self.$name.get(i) {
                        Some(cell) => <$type>::value(cell.clone()),
                        None => <$type>::absent()?,
                    },)*
                };
                Some(record.repeated())
            }

            /// Whether the columns are of one length, or left out where they may be.
            pub(crate) fn fit(&self) -> bool {
                let n = self.len();
                $((self.$name.len() == n || <$type>::OPTIONAL && self.$name.is_empty()) &&)* true
            }
        }
    };
}

columns! {
    /// Index in the whole data set.
    sample: u64,
    /// Its class.
    label: u32,
    /// The class that the network gives the image unperturbed; none where logits are not numbers.
    natural: Option<u32>,
    /// The label of the attack that broke it first; none if it stands, or was misclassified unperturbed.
    broken_by: Option<String>,
    /// The radius of a sweep at which it broke first.
    radius: Option<f64>,
    /// The class that the network gives the image judged last: the one that broke the sample, else the last
    /// one tried (by a minimum-norm attack whatever the radius), without an attack the clean one.
    prediction: Option<u32>,
    /// Cross-entropy of that image with the sample's class.
    loss: f32,
    /// How far that image is from the clean one, in the evaluation's norm.
    distance: Option<f64>,
    /// The class that the last attack led to, if it led to one.
    target: Option<u32>,
    /// For minimum-norm attacks: how far away the adversarial image was, in the attack's own norm, whatever
    /// the radius; infinite where there was none. Of images crafted on a surrogate network there is no such
    /// distance.
    min_norm: Option<f64>,
    /// Images of this sample that the network was shown by the attack that broke it, if that sees no gradients; of a
    /// standing sample by the last such attack: its queries, restarts
    /// and all radii of a sweep included.
    queries: Option<u64>,
    /// Of a sweep over steps: whether the sample counts as broken after each of its numbers of steps.
    steps: Option<Vec<bool>>,
}

impl Record {
    /// Classified correctly unperturbed, and unbroken.
    pub fn stands(&self) -> bool {
        self.natural == Some(self.label) && self.broken_by.is_none()
    }

    /// Whether it stands at the `point`-th point of a sweep, counted from 0; `at` is that point's radius.
    pub fn stands_at(&self, point: usize, at: f64) -> bool {
        match &self.steps {
            _ if self.natural != Some(self.label) => false,
            Some(broken) => broken.get(point) == Some(&false),
            None => self.radius.is_none_or(|radius| at < radius),
        }
    }

    /// Leaves out a prediction that repeats the one of the image unperturbed, since nothing was perturbed.
    fn without_repetition(mut self) -> Self {
        self.prediction = self.prediction.filter(|_| self.distance.is_some());
        self
    }

    /// The opposite of [`Self::without_repetition`].
    fn repeated(mut self) -> Self {
        if self.distance.is_none() {
            self.prediction = self.natural;
        }
        self
    }
}

impl Columns {
    /// How many records.
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
        (0..self.len()).filter_map(|i| self.record(i))
    }
}

/// A length that may be infinite. JSON has no infinity: a string stands for it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct MaybeInfinite(f64);

impl Serialize for MaybeInfinite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.is_finite() {
            true => serializer.serialize_f64(self.0),
            false => serializer.serialize_str("inf"),
        }
    }
}

impl<'de> Deserialize<'de> for MaybeInfinite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl de::Visitor<'_> for Number {
            type Value = MaybeInfinite;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length, or \"inf\"")
            }
            fn visit_f64<E>(self, length: f64) -> Result<MaybeInfinite, E> {
                Ok(MaybeInfinite(length))
            }
            fn visit_u64<E>(self, length: u64) -> Result<MaybeInfinite, E> {
                Ok(MaybeInfinite(length as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<MaybeInfinite, E> {
                match text {
                    "inf" => Ok(MaybeInfinite(f64::INFINITY)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
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
            min_norm: Some(f64::INFINITY),
            queries: Some(5000),
            steps: Some(vec![false, true]),
        };
        let clean = Record {
            sample: 4,
            label: 1,
            natural: Some(1),
            prediction: Some(1),
            loss: 2.5,
            ..Record::default()
        };
        let broken = Record { sample: 5, ..Record::default() };
        for records in
            [vec![attacked.clone(), clean.clone()], vec![clean], vec![attacked, broken.clone()], vec![]]
        {
            let text = serde_json::to_string(&Columns::of(records.clone())).unwrap();
            let back: Columns = serde_json::from_str(&text).unwrap();
            assert!(back.fit());
            assert_eq!(back.records().collect::<Vec<_>>(), records, "{text}");
        }
        let one = serde_json::to_string(&Columns::of(vec![broken])).unwrap();
        assert_eq!(one, r#"{"sample":[5],"label":[0],"loss":[0.0]}"#);
        // A column that may not be left out.
        let torn: Columns = serde_json::from_str(r#"{"sample":[5],"loss":[0.0]}"#).unwrap();
        assert!(!torn.fit());
    }

    #[test]
    fn a_sample_stands_below_the_radius_that_broke_it() {
        let sample = Record { natural: Some(0), radius: Some(0.2), ..Record::default() };
        assert_eq!([0.1, 0.2, 0.3].map(|at| sample.stands_at(0, at)), [true, false, false]);
        let steps = Record { natural: Some(0), steps: Some(vec![false, true]), ..Record::default() };
        assert_eq!([0, 1, 2].map(|point| steps.stands_at(point, 1.0)), [true, false, false]);
        assert!(!Record { label: 1, ..steps }.stands_at(0, 1.0));
    }
}
