//! The `[train]` table of a pipeline.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use temper_core::nn::{self, DeviceLocation};
use temper_core::{Attack, Chosen, DType, Epsilon, Loss, Norm, nonzero};
use temper_data::Augment;
use temper_results::Warning;

use crate::average::Ema;
use crate::optimizer::Optimizer;
use crate::schedule::Schedule;

/// How a network is trained.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Passes over the training images. 0 leaves the weights of `init` as they are.
    pub epochs: usize,
    /// File of weights to start from, such as the `model.safetensors` of a run; by default random weights.
    pub init: Option<PathBuf>,
    /// Radii to start from: the folder of a run that has ended (its last epoch, or the epoch of `init` if that is its
    /// `best.safetensors`), or a file in its folder `epsilon`. Images are matched by their index in the whole training
    /// split; all others, and by default all, start as the epsilon policy says.
    pub init_radii: Option<PathBuf>,
    /// Number of images that are attacked together and pass through the network together.
    #[serde(default = "batch")]
    pub batch: NonZeroUsize,
    /// Number of batches per step: the loss is the mean over all of their images; batch norm uses the
    /// statistics of each.
    #[serde(default = "one")]
    pub accumulate: NonZeroUsize,
    /// Random augmentation of the training images; by default none.
    pub augment: Option<Augment>,
    /// The loss to minimise.
    #[serde(default = "cross_entropy")]
    pub loss: Chosen<dyn Loss>,
    /// The attack that perturbs the images, or `"none"` for clean training.
    #[serde(default)]
    pub attack: MaybeAttack,
    /// The norm of the radii.
    #[serde(default = "linf")]
    pub norm: Norm,
    /// The policy that chooses the radius of each sample; required with an attack, refused without one.
    pub epsilon: Option<Chosen<dyn Epsilon>>,
    /// Batch norm in the training step.
    #[serde(default)]
    pub batch_norm: StepBatchNorm,
    /// Batch norm while the attack runs and Algorithm 2 probes.
    #[serde(default)]
    pub attack_batch_norm: BatchNormMode,
    /// The number type in which the attack and the probes compute.
    #[serde(default)]
    pub attack_precision: Precision,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// The schedule of the learning rate over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// Average of the weights, which is then the result of training; by default the result is the weights
    /// themselves.
    pub ema: Option<Ema>,
}

impl Plan {
    /// A plan without training: the weights of a file are evaluated as they are.
    pub fn untrained(weights: PathBuf) -> Self {
        Self {
            epochs: 0,
            init: Some(weights),
            init_radii: None,
            batch: batch(),
            accumulate: one(),
            augment: None,
            loss: cross_entropy(),
            attack: MaybeAttack::default(),
            norm: linf(),
            epsilon: None,
            batch_norm: StepBatchNorm::default(),
            attack_batch_norm: BatchNormMode::default(),
            attack_precision: Precision::default(),
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            ema: None,
        }
    }

    /// Whether training changes the initial weights.
    pub fn trains(&self) -> bool {
        self.epochs > 0
    }

    /// Errors that involve more than one field: the keys to each field at fault, with a message.
    pub fn problems(&self) -> Vec<(Vec<&'static str>, String)> {
        let mut problems = vec![];
        match (&self.attack.0, &self.epsilon) {
            (Some(attack), None) => problems.push((
                vec!["attack"],
                format!(
                    "attack `{}` needs radii: add `epsilon.fixed = {{ radius = \"8/255\" }}` or another policy",
                    attack.name()
                ),
            )),
            (None, Some(epsilon)) => problems.push((
                vec!["epsilon"],
                format!(
                    "epsilon policy `{}` without an attack: add one, for example `attack = \"pgd\"`",
                    epsilon.name()
                ),
            )),
            _ => {}
        }
        let hopeless = self.attack.0.as_ref().and_then(|attack| attack.problem(self.norm));
        problems.extend(hopeless.map(|problem| (vec!["attack"], problem)));
        problems.extend(self.radius_problems(None));
        if let Some(epsilon) = &self.epsilon {
            let hopeless = epsilon.probe().and_then(|probe| probe.problem(self.norm));
            problems.extend(hopeless.map(|problem| (vec!["epsilon", epsilon.name(), "probe"], problem)));
        }
        let moves = self.attack.0.is_some() && self.attack_batch_norm == BatchNormMode::Train;
        if moves && self.batch_norm == StepBatchNorm::Frozen {
            let why =
                "the attack would move the statistics that `batch_norm = \"frozen\"` keeps: use \"eval\"";
            problems.push((vec!["attack_batch_norm"], why.into()));
        }
        let schedule = self.trains().then(|| self.schedule.problem(self.epochs)).flatten();
        problems.extend(schedule.map(|problem| (vec!["schedule"], problem)));
        problems.extend(self.init_radii_problem().map(|problem| (vec!["init_radii"], problem)));
        problems
    }

    /// Why initial radii would do nothing; `None` if they have an effect, or if there are none.
    fn init_radii_problem(&self) -> Option<String> {
        self.init_radii.as_ref()?;
        match &self.epsilon {
            _ if !self.trains() => Some("0 epochs train nothing: leave the radii out".into()),
            None => Some(
                "radii without an epsilon policy: add one, for example `epsilon.instance-adaptive = {}`"
                    .into(),
            ),
            Some(epsilon) => {
                let why = epsilon.refuses_radii()?;
                Some(format!("epsilon policy `{}` cannot start from radii of a run: {why}", epsilon.name()))
            }
        }
    }

    /// Attacks that cannot work on a network with this number of classes: the keys to each, with a message.
    pub fn problems_of_classes(&self, classes: usize) -> Vec<(Vec<&'static str>, String)> {
        let problem = |attack: &Chosen<dyn Attack>| {
            let problem = attack.problem_of_classes(classes)?;
            Some(format!("attack `{}`: {problem}", attack.name()))
        };
        let trained_on = self.attack.0.as_ref().and_then(problem).map(|problem| (vec!["attack"], problem));
        let probing = self.epsilon.as_ref().and_then(|epsilon| {
            let problem = epsilon.probe().and_then(problem)?;
            Some((vec!["epsilon", epsilon.name(), "probe"], problem))
        });
        trained_on.into_iter().chain(probing).collect()
    }

    /// Radii whose ball contains every image of this shape (channels, height, width): the keys to each, with a
    /// message. Without a shape only l-inf radii are checked, for which the shape does not matter.
    pub fn radius_problems(&self, shape: Option<[usize; 3]>) -> Vec<(Vec<&'static str>, String)> {
        let Some(epsilon) = &self.epsilon else { return vec![] };
        let refused = |(name, length): (&'static str, f64)| {
            Some((vec!["epsilon", epsilon.name(), name], self.norm.refuses(length, shape)?))
        };
        epsilon.lengths().into_iter().filter_map(refused).collect()
    }

    /// Reasons not to trust its numbers that are known before training.
    pub fn warnings(&self) -> Vec<Warning> {
        let attacked = self.trains() && self.attack.0.is_some();
        let Some(epsilon) = self.epsilon.as_ref().filter(|_| attacked) else { return vec![] };
        let probe = epsilon.probe().and_then(|probe| {
            let warning = probe.warning(epsilon.largest())?;
            let about = format!("the attack of the probes `{}`", probe.name());
            Some(Warning::caution("training-attack", warning).about(about))
        });
        let policy = epsilon.warning(self.epochs);
        let policy = policy.map(|warning| {
            let about = format!("epsilon policy `{}`", epsilon.name());
            Warning::caution("epsilon-policy", warning).about(about)
        });
        self.attack_warning().into_iter().chain(probe).chain(policy).collect()
    }

    /// The attack's warning about the largest radius that training is sure to use or may choose, as stated by
    /// [`Epsilon::largest`].
    pub fn attack_warning(&self) -> Option<Warning> {
        let (attack, epsilon) = (self.attack.0.as_ref()?, self.epsilon.as_ref()?);
        let warning = attack.warning(epsilon.largest())?;
        let about = format!("the training attack `{}`", attack.name());
        Some(Warning::caution("training-attack", warning).about(about))
    }

    /// The norm of its attack; `None` without an attack.
    pub fn attacked_in(&self) -> Option<Norm> {
        self.attack.0.as_ref().map(|_| self.norm)
    }

    /// Number of optimiser steps in an epoch with this number of samples.
    pub fn steps_an_epoch(&self, samples: usize) -> usize {
        samples.div_ceil(self.batch.get()).div_ceil(self.accumulate.get())
    }
}

fn one() -> NonZeroUsize {
    nonzero(1)
}

fn batch() -> NonZeroUsize {
    nonzero(128)
}

fn linf() -> Norm {
    Norm::Linf
}

fn cross_entropy() -> Chosen<dyn Loss> {
    // Every runner that can train links this loss; tests of the registry ensure it.
    Chosen::by_name("cross-entropy").unwrap_or_else(|e| panic!("the default loss is not linked in: {e}"))
}

temper_core::options! {
    /// Statistics that batch norm uses in the training step.
    #[derive(Default)]
    pub enum StepBatchNorm {
        /// Those of the batch; the running ones follow.
        #[default]
        Train = "train",
        /// The running ones, which stay as they are: for networks that start from trained weights.
        Frozen = "frozen",
    }
}

temper_core::options! {
    /// Statistics that batch norm uses while the attack runs.
    #[derive(Default)]
    pub enum BatchNormMode {
        /// The running ones: the network as it will be used.
        #[default]
        Eval = "eval",
        /// Those of the batch, and each pass moves the running ones: the authors' code of IAAT.
        Train = "train",
    }
}

temper_core::options! {
    /// Numbers that the attack of training computes with.
    #[derive(Default)]
    pub enum Precision {
        /// 32 bits.
        #[default]
        F32 = "f32",
        /// 16 bits, 8 of them the exponent.
        Bf16 = "bf16",
        /// 16 bits, 5 of them the exponent.
        F16 = "f16",
    }
}

impl Precision {
    /// The reason, as stated by the backend, why attacks cannot compute in this type on such a device; `None`
    /// if they can.
    pub fn refused(self, location: DeviceLocation) -> Option<&'static str> {
        let dtype = match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        };
        nn::refused(location, dtype)
    }
}

/// An attack, or `"none"`.
#[derive(Debug, Default)]
pub struct MaybeAttack(pub Option<Chosen<dyn Attack>>);

impl JsonSchema for MaybeAttack {
    fn schema_name() -> Cow<'static, str> {
        "attack-or-none".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let attack = generator.subschema_for::<Chosen<dyn Attack>>();
        json_schema!({ "anyOf": [{ "const": "none" }, attack] })
    }
}

impl Serialize for MaybeAttack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(attack) => attack.serialize(serializer),
            None => serializer.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for MaybeAttack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Maybe;
        impl<'de> de::Visitor<'de> for Maybe {
            type Value = MaybeAttack;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", or one attack: its name, or a table `{ name = { .. } }`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<MaybeAttack, E> {
                match name {
                    "none" => Ok(MaybeAttack(None)),
                    name => Deserialize::deserialize(de::value::StrDeserializer::new(name))
                        .map(Some)
                        .map(MaybeAttack),
                }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<MaybeAttack, A::Error> {
                let attack = Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(MaybeAttack(Some(attack)))
            }
        }
        deserializer.deserialize_any(Maybe)
    }
}
