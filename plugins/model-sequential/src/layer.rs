//! A layer in TOML: a word, or a table whose first key is its kind.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess};
use serde::ser::{Serialize, Serializer};

use crate::activation::{Activation, WORDS};
use crate::sizes::{Padding, Pair};

/// A layer, with torch's defaults.
#[derive(Debug, Clone, PartialEq)]
pub enum ListedLayer {
    /// A convolution.
    Conv {
        /// Name of its parameters.
        name: String,
        /// Output channels.
        channels: usize,
        /// Kernel.
        kernel: Pair,
        /// Distance between kernel positions.
        stride: Pair,
        /// Zeros around its input.
        padding: Padding,
        /// Number of groups into which channels are divided.
        groups: usize,
        /// Distance between the kernel's taps.
        dilation: Pair,
        /// Whether it has a bias.
        bias: bool,
    },
    /// Batch norm with weight and bias.
    BatchNorm {
        /// Name of its parameters.
        name: String,
        /// Added to the variance.
        epsilon: f64,
    },
    /// A linear layer.
    Linear {
        /// Name of its parameters.
        name: String,
        /// Outputs; left out, the number of classes.
        features: Option<usize>,
        /// Whether it has a bias.
        bias: bool,
    },
    /// Maximum over windows.
    MaxPool(Window),
    /// Mean over windows; zeros of the padding count.
    AveragePool(Window),
    /// Mean over height and width.
    GlobalAveragePool,
    /// All numbers as channels, in the order (channel, row, column).
    Flatten,
    /// An elementwise function without trained parameters.
    Activation(Activation),
    /// `x` above 0, a trained slope times `x` elsewhere.
    PRelu {
        /// Name of its parameter.
        name: String,
        /// Whether all channels have one slope.
        shared: bool,
    },
    /// The sum of the outputs of some layers and of a shortcut.
    Residual {
        /// The layers.
        layers: Vec<ListedLayer>,
        /// Layers of the shortcut; if empty, the shortcut is the input itself.
        shortcut: Vec<ListedLayer>,
        /// Function that is applied to the sum.
        after: Option<Activation>,
    },
}

/// A pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: Pair,
    /// Distance between windows.
    pub stride: Pair,
    /// Positions added on each side.
    pub padding: Pair,
}

/// A layer's table as it is written in TOML.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    conv: Option<String>,
    batch_norm: Option<String>,
    linear: Option<String>,
    prelu: Option<String>,
    max_pool: Option<Pair>,
    average_pool: Option<Pair>,
    leaky_relu: Option<f64>,
    elu: Option<f64>,
    residual: Option<Vec<ListedLayer>>,
    channels: Option<usize>,
    kernel: Option<Pair>,
    stride: Option<Pair>,
    padding: Option<Padding>,
    groups: Option<usize>,
    dilation: Option<Pair>,
    bias: Option<bool>,
    epsilon: Option<f64>,
    features: Option<usize>,
    shared: Option<bool>,
    shortcut: Option<Vec<ListedLayer>>,
    after: Option<Box<ListedLayer>>,
}

/// The kinds of tables, and the options that belong to each.
const KINDS: [(&str, &[&str]); 9] = [
    ("conv", &["channels", "kernel", "stride", "padding", "groups", "dilation", "bias"]),
    ("batch_norm", &["epsilon"]),
    ("linear", &["features", "bias"]),
    ("prelu", &["shared"]),
    ("max_pool", &["stride", "padding"]),
    ("average_pool", &["stride", "padding"]),
    ("leaky_relu", &[]),
    ("elu", &[]),
    ("residual", &["shortcut", "after"]),
];

/// Batch norm's epsilon in torch.
const EPSILON: f64 = 1e-5;

fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    all.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// Whether each kind is given.
    fn kinds(&self) -> [bool; KINDS.len()] {
        [
            self.conv.is_some(),
            self.batch_norm.is_some(),
            self.linear.is_some(),
            self.prelu.is_some(),
            self.max_pool.is_some(),
            self.average_pool.is_some(),
            self.leaky_relu.is_some(),
            self.elu.is_some(),
            self.residual.is_some(),
        ]
    }

    /// The options that are given.
    fn options(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("channels", self.channels.is_some()),
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("padding", self.padding.is_some()),
            ("groups", self.groups.is_some()),
            ("dilation", self.dilation.is_some()),
            ("bias", self.bias.is_some()),
            ("epsilon", self.epsilon.is_some()),
            ("features", self.features.is_some()),
            ("shared", self.shared.is_some()),
            ("shortcut", self.shortcut.is_some()),
            ("after", self.after.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The layer. An error unless it has exactly one kind, or if an option does not belong to it.
    fn layer(self) -> Result<ListedLayer, String> {
        let given: Vec<_> =
            KINDS.iter().zip(self.kinds()).filter(|(_, given)| *given).map(|(kind, _)| kind).collect();
        let [(kind, known)] = given[..] else {
            let said = match given.len() {
                0 => "a layer that does not say what it is".into(),
                _ => format!("one layer that is several ({})", names(given.iter().map(|(kind, _)| *kind))),
            };
            return Err(format!("{said}; expected exactly one of {}", names(KINDS.map(|(kind, _)| kind))));
        };
        if let Some(other) = self.options().find(|option| !known.contains(option)) {
            let has = if known.is_empty() { "no options".into() } else { names(known.iter().copied()) };
            return Err(format!("`{other}` does not belong to `{kind}`, which has {has}"));
        }
        self.of_kind()
    }

    fn of_kind(self) -> Result<ListedLayer, String> {
        let window = |size: Pair| {
            let padding = match self.padding.unwrap_or(Padding::Even(Pair::of(0))) {
                Padding::Even(padding) => padding,
                Padding::Same => {
                    return Err("`padding = \"same\"` is for convolutions; give a number".to_string());
                }
            };
            Ok(Window { size, stride: self.stride.unwrap_or(size), padding })
        };
        Ok(match self {
            Self { conv: Some(name), .. } => ListedLayer::Conv {
                channels: self.channels.ok_or_else(|| format!("`conv` `{name}` needs `channels`"))?,
                kernel: self.kernel.ok_or_else(|| format!("`conv` `{name}` needs `kernel`"))?,
                name,
                stride: self.stride.unwrap_or(Pair::of(1)),
                padding: self.padding.unwrap_or(Padding::Even(Pair::of(0))),
                groups: self.groups.unwrap_or(1),
                dilation: self.dilation.unwrap_or(Pair::of(1)),
                bias: self.bias.unwrap_or(true),
            },
            Self { batch_norm: Some(name), .. } => {
                ListedLayer::BatchNorm { name, epsilon: self.epsilon.unwrap_or(EPSILON) }
            }
            Self { linear: Some(name), .. } => {
                ListedLayer::Linear { name, features: self.features, bias: self.bias.unwrap_or(true) }
            }
            Self { prelu: Some(name), .. } => {
                ListedLayer::PRelu { name, shared: self.shared.unwrap_or(false) }
            }
            Self { max_pool: Some(size), .. } => ListedLayer::MaxPool(window(size)?),
            Self { average_pool: Some(size), .. } => ListedLayer::AveragePool(window(size)?),
            Self { leaky_relu: Some(slope), .. } => ListedLayer::Activation(Activation::LeakyRelu(slope)),
            Self { elu: Some(alpha), .. } => ListedLayer::Activation(Activation::Elu(alpha)),
            Self { residual, shortcut, after, .. } => ListedLayer::Residual {
                layers: residual.unwrap_or_default(),
                shortcut: shortcut.unwrap_or_default(),
                after: match after.map(|after| *after) {
                    None => None,
                    Some(ListedLayer::Activation(activation)) => Some(activation),
                    Some(_) => return Err(format!("`after` must be one of {}", activations())),
                },
            },
        })
    }

    fn of(layer: &ListedLayer) -> Self {
        let layer = layer.clone();
        let none = Self::default();
        match layer {
            ListedLayer::Conv { name, channels, kernel, stride, padding, groups, dilation, bias } => Self {
                conv: Some(name),
                channels: Some(channels),
                kernel: Some(kernel),
                stride: Some(stride),
                padding: Some(padding),
                groups: Some(groups),
                dilation: Some(dilation),
                bias: Some(bias),
                ..none
            },
            ListedLayer::BatchNorm { name, epsilon } => {
                Self { batch_norm: Some(name), epsilon: Some(epsilon), ..none }
            }
            ListedLayer::Linear { name, features, bias } => {
                Self { linear: Some(name), features, bias: Some(bias), ..none }
            }
            ListedLayer::MaxPool(Window { size, stride, padding }) => {
                let (stride, padding) = (Some(stride), Some(Padding::Even(padding)));
                Self { max_pool: Some(size), stride, padding, ..none }
            }
            ListedLayer::AveragePool(Window { size, stride, padding }) => {
                let (stride, padding) = (Some(stride), Some(Padding::Even(padding)));
                Self { average_pool: Some(size), stride, padding, ..none }
            }
            ListedLayer::Activation(Activation::LeakyRelu(slope)) => Self { leaky_relu: Some(slope), ..none },
            ListedLayer::Activation(Activation::Elu(alpha)) => Self { elu: Some(alpha), ..none },
            ListedLayer::PRelu { name, shared } => Self { prelu: Some(name), shared: Some(shared), ..none },
            ListedLayer::Residual { layers, shortcut, after } => Self {
                residual: Some(layers),
                shortcut: (!shortcut.is_empty()).then_some(shortcut),
                after: after.map(|after| Box::new(ListedLayer::Activation(after))),
                ..none
            },
            // Words, which have no table.
            ListedLayer::GlobalAveragePool | ListedLayer::Flatten | ListedLayer::Activation(_) => none,
        }
    }
}

/// The words and tables of functions.
fn activations() -> String {
    let words = ["relu"].into_iter().chain(WORDS.map(|(word, _)| word)).map(|word| format!("\"{word}\""));
    let words: Vec<String> = words.collect();
    format!("{}, {{ leaky_relu = 0.01 }}, {{ elu = 1.0 }}", words.join(", "))
}

struct Entry;

impl<'de> de::Visitor<'de> for Entry {
    type Value = ListedLayer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a layer: a word such as \"relu\", or a table such as { linear = \"fc\", features = 10 }")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<ListedLayer, E> {
        match word {
            "global_average_pool" => Ok(ListedLayer::GlobalAveragePool),
            "flatten" => Ok(ListedLayer::Flatten),
            word => Activation::of(word).map(ListedLayer::Activation).ok_or_else(|| {
                let known = activations();
                let known = format!("\"flatten\", \"global_average_pool\", {known}");
                match KINDS.iter().any(|(kind, _)| *kind == word) {
                    true => E::custom(format_args!("`{word}` needs a table, as in {{ {word} = .. }}")),
                    false => {
                        E::custom(format_args!("no layer is called `{word}`; expected {known}, or a table"))
                    }
                }
            }),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListedLayer, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map))?.layer().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ListedLayer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entry)
    }
}

impl Serialize for ListedLayer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::GlobalAveragePool => serializer.serialize_str("global_average_pool"),
            Self::Flatten => serializer.serialize_str("flatten"),
            Self::Activation(Activation::Relu) => serializer.serialize_str("relu"),
            Self::Activation(Activation::Word(word, _)) => serializer.serialize_str(word),
            layer => Table::of(layer).serialize(serializer),
        }
    }
}
