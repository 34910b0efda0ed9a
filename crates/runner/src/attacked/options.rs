//! The options that `temper attack` and `temper transfer` share.

use std::num::NonZeroUsize;

use clap::Args;
use temper_core::{Attack, Chosen, Dataset, Distance, Kind, Model, Norm, Suite};
use temper_evaluate::Entry;

use crate::config::BadConfig;
use crate::device::DeviceName;
use crate::images::SplitOption;
use crate::inline;

/// What is attacked, and by what.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Data set, by name or with parameters as in a pipeline [default: that of the run]
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Attack or suite, by name or with parameters as in a pipeline. Attacks may be repeated: the result is the
    /// worst case over all of them. `none` judges the images as they are
    #[arg(long = "attack", value_name = "NAME", required_unless_present = "suite")]
    attacks: Vec<String>,
    /// Suite of attacks, by name or with parameters as in a pipeline, instead of attacks
    #[arg(long, value_name = "NAME", conflicts_with = "attacks")]
    suite: Option<String>,
    /// Radius of every sample in pixel values of [0, 1]: a number, or a quotient such as 8/255. With --split
    /// train also `own`: the radius that training gave to each image, at the epoch of these weights. Images
    /// of radius 0 are left out
    #[arg(long, value_name = "LENGTH", allow_negative_numbers = true)]
    eps: Option<String>,
    /// Norm of the radius: linf or l2 [default: that of the run's training, else linf]
    #[arg(long, value_name = "NORM")]
    norm: Option<String>,
    /// Which split of the data set; training images are taken without augmentation
    #[arg(long, value_enum, default_value_t = SplitOption::Test)]
    split: SplitOption,
    /// Number of images, spread evenly over the split [default: all]
    #[arg(long, value_name = "N", value_parser = count)]
    samples: Option<NonZeroUsize>,
    /// Images by their index in the whole split, from 0, for example 3,17,42
    #[arg(long, value_name = "I,...", value_delimiter = ',', conflicts_with = "samples")]
    indices: Option<Vec<usize>>,
    /// Number of runs of each attack, each on the samples that are still classified correctly
    #[arg(long, value_name = "N", value_parser = count)]
    restarts: Option<NonZeroUsize>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Batch size
    #[arg(long, value_name = "N", default_value = "128", value_parser = count)]
    batch: NonZeroUsize,
    /// Device to run on: cpu, cuda:0, ...
    #[arg(long, default_value_t)]
    device: DeviceName,
    /// Architecture of a file of weights that does not record it, as in a pipeline; for an ONNX file, how pixels
    /// are normalised before the graph
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Accept a network whose classes have other names or another order than those of the images; only labels
    /// are compared
    #[arg(long)]
    ignore_class_names: bool,
}

/// A whole number of at least 1 that TOML can hold.
pub(crate) fn count(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse::<i64>().ok().and_then(|n| usize::try_from(n).ok()).and_then(NonZeroUsize::new);
    number.ok_or_else(|| format!("expected a whole number from 1 to {}", i64::MAX))
}

/// The parsed options.
pub(crate) struct AttackPlan {
    pub(super) data: Option<Chosen<dyn Dataset>>,
    pub(super) images: SplitOption,
    pub(super) model: Option<Chosen<dyn Model>>,
    /// The entry to evaluate. Its norm is absent if the run's is to be used.
    pub(crate) entry: Entry,
    /// Whether images have individual radii.
    pub(crate) own: bool,
    pub(crate) ignore_class_names: bool,
    pub(crate) seed: u64,
    pub(crate) batch: usize,
    pub(crate) device: DeviceName,
}

impl AttackPlan {
    /// A plan without an attack: the images of the test split as they are.
    pub(crate) fn natural(data: &str, model: Option<&str>) -> Result<Self, BadConfig> {
        let mut faults = vec![];
        let plan = Self {
            data: inline::read("data", data, &mut faults),
            images: SplitOption::Test,
            model: model.and_then(|text| inline::read("model", text, &mut faults)),
            entry: Entry { name: "natural".into(), ..Entry::default() },
            own: false,
            ignore_class_names: true,
            seed: 0,
            batch: 128,
            device: DeviceName::default(),
        };
        if faults.is_empty() { Ok(plan) } else { Err(BadConfig::of(faults)) }
    }
}

impl Shared {
    /// Parses the options. All errors are reported together.
    pub(crate) fn plan(&self) -> Result<AttackPlan, BadConfig> {
        let mut faults = vec![];
        let unattacked = matches!(&self.attacks[..], [only] if only.trim() == "none");
        let own = self.eps.as_ref().is_some_and(|eps| eps.trim() == "own");
        if self.eps.is_some() && unattacked {
            faults.push("--eps: `--attack none` has no radius: leave --eps out".into());
        }
        if self.eps.is_none() && !unattacked {
            faults.push(
                "--eps is missing: the radius within which images are attacked, for example --eps 8/255"
                    .into(),
            );
        }
        if own && self.split != SplitOption::Train {
            faults.push(
                "--eps own: images that were trained on have radii of their own: add --split train".into(),
            );
        }
        let data = self.data.as_ref().and_then(|text| inline::read("data", text, &mut faults));
        let model = self.model.as_ref().and_then(|text| inline::read("model", text, &mut faults));
        // A suite is recognised by its name, whichever option names it.
        let suite = match &self.attacks[..] {
            [only] if names_suite(only) => Some(only),
            _ => self.suite.as_ref(),
        };
        let attacks = self.attacks.iter().filter(|text| suite != Some(text) && !unattacked);
        let mut attacks: Vec<_> =
            attacks.filter_map(|text| inline::read("attack", text, &mut faults)).collect();
        let mut entry = Entry {
            norm: self.norm.as_ref().and_then(|text| inline::read::<Norm>("norm", text, &mut faults)),
            // Replaced by the largest individual radius once the run is open.
            radius: match &self.eps {
                _ if own => Some(Distance::of_255(0.0)),
                eps => eps.as_ref().and_then(|eps| inline::read("eps", eps, &mut faults)),
            },
            suite: suite.and_then(|text| inline::read("suite", text, &mut faults)),
            restarts: self.restarts,
            samples: self.samples,
            indices: self.indices.clone(),
            ..Entry::default()
        };
        match attacks.len() {
            0 => {}
            1 => entry.attack = attacks.pop(),
            _ => entry.attacks = Some(attacks),
        }
        entry.name = if unattacked { "natural".into() } else { entry.title() };
        // Without `--norm` the run's norm is used, and the entry is checked once that norm is known.
        if faults.is_empty() && (unattacked || self.norm.is_some()) {
            faults.extend(problem(&entry));
        }
        if !faults.is_empty() {
            return Err(BadConfig::of(faults));
        }
        let Self { seed, batch, device, split, ignore_class_names, .. } = *self;
        let batch = batch.get();
        Ok(AttackPlan { data, images: split, model, entry, own, ignore_class_names, seed, batch, device })
    }
}

/// Whether the value of `--attack` names a suite, with or without parameters.
fn names_suite(text: &str) -> bool {
    let name = text.trim().trim_start_matches('{').trim_start();
    let end =
        name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').unwrap_or(name.len());
    <dyn Attack>::find(&name[..end]).is_none() && <dyn Suite>::find(&name[..end]).is_some()
}

/// Why an entry is invalid, in terms of the options.
pub(super) fn problem(entry: &Entry) -> Option<String> {
    entry.problem().map(|(field, message)| in_options(field, &message))
}

/// A message about a field of an entry, in terms of the options.
pub(super) fn in_options(field: &str, message: &str) -> String {
    match field {
        "radius" => format!("--eps: {message}"),
        "attacks" => format!("--attack: {message}"),
        other => format!("--{other}: {message}"),
    }
}
