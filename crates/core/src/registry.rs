//! Registries of plugins, and how TOML selects a plugin.
//!
//! Plugin crates register themselves with [`plugin!`](macro@crate::plugin). The registries contain only data and
//! function pointers. In TOML the plugin's name is the key: `attack.pgd = { steps = 20 }`, or `attack =
//! "pgd"` for all defaults.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};
use toml::Table;

use crate::{Attack, Dataset, Epsilon, Field, Loss, Model, Suite};

/// One documented parameter of a plugin.
#[derive(Debug)]
pub struct Param {
    /// Key in TOML.
    pub name: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
    /// A description of its values.
    pub expects: fn() -> String,
    /// The JSON Schema of its values.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The result of a plugin's parser: the plugin, and all its parameters including defaults.
pub type Parsed<T> = (Box<T>, Table);

/// An entry of a registry.
pub struct Plugin<T: ?Sized + 'static> {
    /// Name in TOML.
    pub name: &'static str,
    /// Name of the Cargo package that registers it.
    pub package: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
    /// Parameters in the order of declaration.
    pub params: &'static [Param],
    /// The defaults of the parameters. A parameter that is absent by default is not included.
    pub defaults: fn() -> Table,
    /// Parses parameters; missing ones get their defaults.
    pub parse: fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Parsed<T>, erased_serde::Error>,
}

impl<T: ?Sized> fmt::Debug for Plugin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.package)
    }
}

/// A kind of plugin: a trait with a registry of implementations.
pub trait Kind: 'static {
    /// Its name in messages and commands.
    const WORD: &'static str;
    /// The key in a pipeline under which a plugin of this kind is written.
    const PLACE: &'static str;
    /// All plugins linked into the binary, sorted by name.
    fn plugins() -> Vec<&'static Plugin<Self>>;

    /// The plugin of this name.
    fn find(name: &str) -> Option<&'static Plugin<Self>> {
        Self::plugins().into_iter().find(|plugin| plugin.name == name)
    }
}

macro_rules! kind {
    ($($kind:ident, $word:literal, $place:literal;)*) => {
        $(
            inventory::collect!(Plugin<dyn $kind>);
            impl Kind for dyn $kind {
                const WORD: &'static str = $word;
                const PLACE: &'static str = $place;
                fn plugins() -> Vec<&'static Plugin<dyn $kind>> {
                    let mut all: Vec<_> = inventory::iter::<Plugin<dyn $kind>>.into_iter().collect();
                    all.sort_by_key(|plugin| (plugin.name, plugin.package));
                    all
                }
            }
        )*

        /// The names of all kinds, in the order in which they are listed.
        pub const KINDS: &[&str] = &[$($word),*];

        /// Every plugin of every registry, sorted by kind and name.
        pub fn summaries() -> Vec<Summary> {
            let mut all = vec![];
            $(all.extend(<dyn $kind>::plugins().into_iter().map(Summary::of));)*
            all
        }
    };
}
kind! {
    Dataset, "dataset", "dataset";
    Model, "model", "model";
    Attack, "attack", "train.attack";
    Loss, "loss", "train.loss";
    Epsilon, "epsilon", "train.epsilon";
    Suite, "suite", "evaluate.suite";
}

/// An entry of a registry, of any kind.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Name of its kind.
    pub kind: &'static str,
    /// The key in a pipeline under which it is written.
    pub place: &'static str,
    /// Name in TOML.
    pub name: &'static str,
    /// Cargo package.
    pub package: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
    /// Parameters.
    pub params: &'static [Param],
    /// The parameters' defaults.
    pub defaults: Table,
}

impl Summary {
    fn of<T: ?Sized + Kind>(plugin: &'static Plugin<T>) -> Self {
        let Plugin { name, package, doc, params, .. } = *plugin;
        Self { kind: T::WORD, place: T::PLACE, name, package, doc, params, defaults: (plugin.defaults)() }
    }
}

/// Messages about names that two packages register. Empty if the registries are valid.
pub fn duplicates() -> Vec<String> {
    let all = summaries();
    let same = all.windows(2).filter(|pair| pair[0].kind == pair[1].kind && pair[0].name == pair[1].name);
    same.map(|pair| {
        let (kind, name) = (pair[0].kind, pair[0].name);
        format!("{kind} `{name}` is registered by both {} and {}", pair[0].package, pair[1].package)
    })
    .collect()
}

/// A plugin selected by a pipeline, with its parameters.
pub struct Chosen<T: ?Sized + Kind> {
    plugin: &'static Plugin<T>,
    value: Arc<T>,
    params: Table,
}

impl<T: ?Sized + Kind> Chosen<T> {
    /// The plugin of this name with default parameters. An error if no such plugin exists, or if it has
    /// required parameters.
    pub fn by_name(name: &str) -> Result<Self, String> {
        let empty =
            de::value::MapDeserializer::<_, de::value::Error>::new(std::iter::empty::<(&str, &str)>());
        let plugin = find::<T, de::value::Error>(name).map_err(|e| e.to_string())?;
        parse(plugin, empty).map_err(|e: de::value::Error| e.to_string())
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.plugin.name
    }

    /// Its parameters, including defaults.
    pub fn params(&self) -> &Table {
        &self.params
    }
}

/// Clones share the plugin's value.
impl<T: ?Sized + Kind> Clone for Chosen<T> {
    fn clone(&self) -> Self {
        Self { plugin: self.plugin, value: self.value.clone(), params: self.params.clone() }
    }
}

impl Chosen<dyn Attack> {
    /// Its name in results: the plugin's name and its variant, if it has one, as in `pgd-100x5`.
    pub fn label(&self) -> String {
        match self.variant() {
            Some(variant) => format!("{}-{variant}", self.name()),
            None => self.name().into(),
        }
    }
}

impl<T: ?Sized + Kind> Deref for Chosen<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized + Kind> fmt::Debug for Chosen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name(), self.params)
    }
}

impl<T: ?Sized + Kind> Field for Chosen<T> {
    fn expects() -> String {
        format!("{}, by name or as a table {{ name = {{ .. }} }}", T::WORD)
    }
}

/// The name of a plugin, or a table of one plugin's name with its parameters.
impl<T: ?Sized + Kind> JsonSchema for Chosen<T> {
    fn schema_name() -> Cow<'static, str> {
        T::WORD.into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let plugins = T::plugins();
        let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name).collect();
        let tables: serde_json::Map<_, _> = plugins
            .iter()
            .map(|plugin| (plugin.name.to_string(), plugin.schema(generator).to_value()))
            .collect();
        json_schema!({
            "description": Self::expects(),
            "oneOf": [
                { "enum": names },
                {
                    "type": "object",
                    "properties": tables,
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        })
    }
}

impl<T: ?Sized> Plugin<T> {
    /// The JSON Schema of its table of parameters.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let defaults = (self.defaults)();
        let parameter = |param: &Param| {
            let mut schema = (param.schema)(generator);
            let doc: Vec<&str> = param.doc.iter().map(|line| line.trim()).collect();
            schema.insert("description".into(), doc.join(" ").into());
            // A default that JSON cannot represent, such as an infinite number, is left out.
            if let Some(default) = defaults.get(param.name).and_then(|value| serde_json::to_value(value).ok())
            {
                schema.insert("default".into(), default);
            }
            (param.name.to_string(), schema.to_value())
        };
        let parameters: serde_json::Map<_, _> = self.params.iter().map(parameter).collect();
        let doc: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        json_schema!({
            "description": doc.join("\n"),
            "type": "object",
            "properties": parameters,
            "additionalProperties": false,
        })
    }
}

impl<T: ?Sized + Kind> Serialize for Chosen<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.name(), &self.params)?;
        map.end()
    }
}

impl<'de, T: ?Sized + Kind> de::Deserialize<'de> for Chosen<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Choice(PhantomData))
    }
}

struct Choice<T: ?Sized>(PhantomData<T>);

impl<'de, T: ?Sized + Kind> de::Visitor<'de> for Choice<T> {
    type Value = Chosen<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one {}: its name, or a table `{{ name = {{ .. }} }}`", T::WORD)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Chosen<T>, E> {
        let empty = de::value::MapDeserializer::<_, E>::new(std::iter::empty::<(&str, &str)>());
        parse(find::<T, E>(name)?, empty)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Chosen<T>, A::Error> {
        let Some(name) = map.next_key::<Name<T>>()? else {
            return Err(de::Error::invalid_length(0, &self));
        };
        let chosen = map.next_value_seed(ParameterSeed(name.0))?;
        if let Some(extra) = map.next_key::<Name<T>>()? {
            let (word, first, second) = (T::WORD, chosen.name(), extra.0.name);
            return Err(de::Error::custom(format_args!("more than one {word}: `{first}` and `{second}`")));
        }
        Ok(chosen)
    }
}

fn find<T: ?Sized + Kind, E: de::Error>(name: &str) -> Result<&'static Plugin<T>, E> {
    let plugins = T::plugins();
    if let Some(plugin) = plugins.iter().find(|plugin| plugin.name == name) {
        return Ok(plugin);
    }
    // Close enough to be a typing error.
    let distance = |plugin: &&&Plugin<T>| strsim::damerau_levenshtein(plugin.name, name);
    let nearest = plugins.iter().min_by_key(distance).filter(|p| distance(p) <= 1 + name.len() / 3);
    let other = summaries().into_iter().find(|summary| summary.name == name);
    let hint = match (other, nearest) {
        (Some(other), _) => format!("it is a name of the kind {}, for `{}`; ", other.kind, other.place),
        (None, Some(plugin)) => format!("did you mean `{}`? ", plugin.name),
        (None, None) => String::new(),
    };
    let known: Vec<_> = plugins.iter().map(|plugin| format!("`{}`", plugin.name)).collect();
    Err(E::custom(format_args!("unknown {} `{name}`; {hint}known: {}", T::WORD, known.join(", "))))
}

fn parse<'de, T: ?Sized + Kind, D: Deserializer<'de>>(
    plugin: &'static Plugin<T>,
    deserializer: D,
) -> Result<Chosen<T>, D::Error> {
    let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
    let (value, params) = (plugin.parse)(&mut erased).map_err(de::Error::custom)?;
    Ok(Chosen { plugin, value: value.into(), params })
}

/// A key that must be a plugin's name.
struct Name<T: ?Sized + 'static>(&'static Plugin<T>);

impl<'de, T: ?Sized + Kind> de::Deserialize<'de> for Name<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key<T: ?Sized>(PhantomData<T>);
        impl<T: ?Sized + Kind> de::Visitor<'_> for Key<T> {
            type Value = Name<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "the name of one {}", T::WORD)
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name<T>, E> {
                find::<T, E>(name).map(Name)
            }
        }
        deserializer.deserialize_str(Key(PhantomData))
    }
}

/// The parameter table of a plugin.
struct ParameterSeed<T: ?Sized + 'static>(&'static Plugin<T>);

impl<'de, T: ?Sized + Kind> DeserializeSeed<'de> for ParameterSeed<T> {
    type Value = Chosen<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Chosen<T>, D::Error> {
        parse(self.0, deserializer)
    }
}
