//! Finds the dictionary of weights in a pickled object: training scripts save it within other dictionaries,
//! beside many other entries.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Fault, Found, Result};
use crate::names::listed;
use crate::pickle::{Pickle, Plain, Storage, Value, class};
use crate::source::Source;
use crate::tensor::Tensor;

/// Maximum depth of nested dictionaries that is searched.
const DEPTH: usize = 3;

/// Entries under which weights are saved, the likeliest first.
const PLAIN: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "weights",
    "module",
    "classifier",
];

/// Entries under which the running average of weights is saved.
const AVERAGED: [&str; 8] = [
    "state_dict_ema",
    "ema_state_dict",
    "ema_model_state_dict",
    "model_state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "params_ema",
];

/// Advice for a file without weights.
const SAVE: &str =
    "save the state dictionary alone, in Python: torch.save(model.state_dict(), \"weights.pth\")";

/// Weights, and sentences for the user about how they were found.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tensors: BTreeMap<String, Tensor>,
    pub(crate) told: Vec<String>,
}

impl State {
    /// The weights of the object that is pickled in a file, or in its entry `entry`. `place` returns
    /// the offset of a storage.
    pub(crate) fn of(
        pickle: &Pickle,
        source: &Source,
        entry: Option<&str>,
        place: impl Fn(&Storage) -> Result<u64>,
    ) -> Result<Self> {
        let fault = |fault: Fault| {
            source.malformed(match entry {
                Some(entry) => fault.within(entry),
                None => fault,
            })
        };
        let (dictionary, mut told) = Search { pickle, seen: HashMap::new() }.found().map_err(fault)?;
        let (mut tensors, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in pickle.entries(dictionary).into_iter().flatten() {
            let Some(view) = pickle.tensor(value) else {
                tensors.remove(name);
                others.insert(name, value);
                continue;
            };
            let named = |error: Fault| fault(Fault { what: format!("`{name}`: {}", error.what), ..error });
            let (storage, view) = view.map_err(named)?;
            // Of two entries with the same name, Python keeps the later one.
            others.remove(name);
            // A tensor without elements needs no storage in the file.
            let at = if storage.bytes == 0 { 0 } else { place(&storage)? };
            let (first, bytes) = storage.part;
            tensors.insert(name.to_string(), view.placed(0, at + first, bytes, false).map_err(named)?);
        }
        if !others.is_empty() {
            let (n, are) = (
                others.len(),
                if others.len() == 1 {
                    "entry that is no tensor is"
                } else {
                    "entries that are no tensors are"
                },
            );
            let names = others.iter().map(|(name, value)| format!("`{name}` ({})", kind(*value)));
            told.push(format!("{n} {are} not read: {}", listed(names)));
        }
        Ok(Self { tensors, told })
    }
}

/// The search for the dictionary of weights.
struct Search<'p, 'b> {
    pickle: &'p Pickle<'b>,
    /// Whether a dictionary contains weights, by its id and the depth. Results are cached because a file may refer to
    /// one dictionary any number of times.
    seen: HashMap<(u32, usize), bool>,
}

impl Search<'_, '_> {
    /// Returns the dictionary, and sentences for the user about the path to it.
    fn found(&mut self) -> Found<(Value, Vec<String>)> {
        let (mut at, mut path, mut told) = (self.pickle.root, String::new(), vec![]);
        for depth in (0..DEPTH).rev() {
            let Some((key, value)) = self.inner(at, depth, &mut told)? else { break };
            let dot = if path.is_empty() { "" } else { "." };
            path = format!("{path}{dot}{key}");
            let others: BTreeMap<&str, Value> =
                self.pickle.entries(at).into_iter().flatten().filter(|(other, _)| *other != key).collect();
            let beside = match others.len() {
                0 => String::new(),
                1 => {
                    format!("; the entry {} is not read", listed(others.keys().map(|key| format!("`{key}`"))))
                }
                n => format!(
                    "; {n} other entries are not read: {}",
                    listed(others.keys().map(|key| format!("`{key}`")))
                ),
            };
            told.push(format!("its weights are those of the entry `{path}`{beside}"));
            at = value;
        }
        match self.direct(at) {
            true => Ok((at, told)),
            false => Err(self.nothing(at)),
        }
    }

    /// Returns the entry of a dictionary that contains the weights; `None` if the dictionary itself contains them.
    fn inner(&mut self, at: Value, depth: usize, told: &mut Vec<String>) -> Found<Option<(String, Value)>> {
        let Some(entries) = self.pickle.entries(at) else { return Ok(None) };
        let inner: BTreeMap<&str, Value> =
            entries.filter(|(_, value)| matches!(value, Value::Dict(_))).collect();
        let inner: BTreeMap<&str, Value> =
            inner.into_iter().filter(|(_, value)| self.holds(*value, depth)).collect();
        let taken = |names: &[&'static str]| names.iter().find_map(|name| inner.get_key_value(name));
        let (plain, averaged) = (taken(&PLAIN), taken(&AVERAGED));
        if let (Some((plain, _)), Some((averaged, _))) = (plain, averaged) {
            told.push(format!("it holds averaged weights too, `{averaged}`: those of `{plain}` are read"));
        }
        let chosen = plain.or(averaged);
        if chosen.is_none() && self.direct(at) {
            return Ok(None);
        }
        match (chosen, inner.len()) {
            (Some((key, value)), _) => Ok(Some(((*key).into(), *value))),
            (None, 0 | 1) => Ok(inner.iter().next().map(|(key, value)| ((*key).into(), *value))),
            (None, n) => {
                let names = listed(inner.keys().map(|key| format!("`{key}`")));
                Err(Fault::new(format!("it holds {n} dictionaries of tensors: {names}")).advising(SAVE))
            }
        }
    }

    /// Whether the value is a dictionary with tensors among its entries.
    fn direct(&self, value: Value) -> bool {
        self.pickle
            .entries(value)
            .is_some_and(|mut all| all.any(|(_, value)| matches!(value, Value::Tensor(_))))
    }

    /// Whether this dictionary contains weights, directly or in nested dictionaries under the usual names.
    fn holds(&mut self, value: Value, depth: usize) -> bool {
        let Value::Dict(id) = value else { return false };
        if let Some(known) = self.seen.get(&(id, depth)) {
            return *known;
        }
        let usual = |key: &str| PLAIN.contains(&key) || AVERAGED.contains(&key);
        let mut holds = self.direct(value);
        if !holds && depth > 0 {
            let inner: BTreeMap<&str, Value> =
                self.pickle.entries(value).into_iter().flatten().filter(|(key, _)| usual(key)).collect();
            holds = inner.into_values().any(|value| self.holds(value, depth - 1));
        }
        self.seen.insert((id, depth), holds);
        holds
    }

    fn nothing(&self, at: Value) -> Fault {
        let entries: Option<BTreeMap<&str, Value>> = self.pickle.entries(at).map(Iterator::collect);
        let what = match entries {
            Some(entries) if entries.is_empty() => {
                "it holds an empty dictionary, expected one of tensors".into()
            }
            Some(entries) => {
                let names = listed(entries.iter().map(|(key, value)| format!("`{key}` ({})", kind(*value))));
                format!("it holds no dictionary of tensors, but {names}")
            }
            None => format!("it holds {}, expected a dictionary of tensors", kind(at)),
        };
        Fault::new(what).advising(SAVE)
    }
}

/// Describes the kind of a value for people.
fn kind(value: Value) -> String {
    match value {
        Value::None => "None".into(),
        Value::Bool(_) => "a truth value".into(),
        Value::Int(_) | Value::Plain(Plain::Number) => "a number".into(),
        Value::Text(_) => "a text".into(),
        Value::Plain(Plain::Bytes) => "bytes".into(),
        Value::Plain(Plain::Set) => "a set".into(),
        Value::Opaque(opaque) => class(opaque),
        Value::Global(_) => "a class".into(),
        Value::Tuple(_) | Value::List(_) => "a list".into(),
        Value::Dict(_) => "a dictionary".into(),
        Value::Storage(_) => "a storage without a shape".into(),
        Value::Tensor(_) => "a tensor".into(),
    }
}
