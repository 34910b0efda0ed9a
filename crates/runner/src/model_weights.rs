//! Files of weights that a pipeline names beside its model, and pipelines that train nothing.

use std::path::PathBuf;

use temper_core::{Kind, Model};
use temper_train::Plan;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::reading::Reading;

/// The key of a file of weights in the table of any model.
const KEY: &str = "weights";

/// `weights` of a model's table: `model.resnet = { weights = "w.pth" }`.
pub(crate) struct ModelWeights {
    /// Name of the model.
    model: String,
    /// The file; `None` if the value is not a text, or is empty.
    file: Option<PathBuf>,
}

/// A copy of the document without the weights in the model's table, and these weights. The other parameters of that
/// table are the plugin's own.
pub(crate) fn lifted<'d>(document: &Spanned<DeTable<'d>>) -> (Spanned<DeTable<'d>>, Option<ModelWeights>) {
    let mut document = document.clone();
    let weights = take(document.get_mut());
    (document, weights)
}

/// Whether `weights` in this model's table is the plugin's own parameter.
fn is_own(model: &str) -> bool {
    <dyn Model>::find(model).is_some_and(|plugin| plugin.params.iter().any(|param| param.name == KEY))
}

/// The key that a model's table may contain besides the plugin's parameters. `path` lists the keys to the table.
pub(crate) fn lifted_key(path: &[String]) -> Option<&'static str> {
    match path {
        [model, name] if model == "model" && !is_own(name) => Some(KEY),
        _ => None,
    }
}

/// The text about the key for `temper describe`, and an example; `None` if the key is one of the model's own
/// parameters.
pub(crate) fn described(model: &str) -> Option<[&'static str; 2]> {
    let doc = "A file of weights to start from: .pth, .pt, .th, .ckpt, .safetensors, or .onnx of the same network. \
               Every model has it, in pipelines only (text)";
    (!is_own(model)).then_some([doc, "# weights = \"net.pth\""])
}

fn take(document: &mut DeTable<'_>) -> Option<ModelWeights> {
    let DeValue::Table(models) = document.get_mut("model")?.get_mut() else { return None };
    let (name, model) = models.iter_mut().next()?;
    let model_name = name.get_ref().to_string();
    let DeValue::Table(parameters) = model.get_mut() else { return None };
    if is_own(&model_name) {
        return None;
    }
    let (_, value) = parameters.remove_entry(KEY)?;
    let file = match value.get_ref() {
        DeValue::String(path) if !path.is_empty() => Some(PathBuf::from(path.to_string())),
        _ => None,
    };
    Some(ModelWeights { model: model_name, file })
}

impl ModelWeights {
    /// The file. Adds a fault to `reading` if the value is not a path, or if `train.init` names weights, too.
    pub(crate) fn checked(self, train: Option<&Plan>, reading: &mut Reading) -> Option<PathBuf> {
        let Self { model, file } = self;
        let mut wrong = |message: &str| reading.add(&["model", &model, KEY], message.into());
        if file.is_none() {
            wrong("expected the path of a file of weights, as text");
        }
        if train.is_some_and(|train| train.init.is_some()) {
            wrong("`train.init` names weights, too: leave one of them out");
        }
        file
    }
}

/// The faults of a pipeline that trains nothing: the keys at fault, and messages. `named`: whether its model's table
/// names weights, validly or not.
pub(crate) fn nothing_to_train(
    train: &Plan,
    named: bool,
    selects: bool,
    judges_nothing: bool,
) -> Vec<(&'static [&'static str], &'static str)> {
    let mut faults: Vec<(&[_], _)> = vec![];
    if train.trains() {
        return faults;
    }
    if train.init.is_none() && !named {
        faults.push((
            &["train", "epochs"],
            "0 epochs train nothing, and there are no weights: name a file of them, as in \
             `model.resnet = { weights = \"w.pth\" }`, or train for 1 epoch or more",
        ));
    }
    if selects {
        faults.push((
            &["select"],
            "weights are selected while a network is trained, and nothing is trained here",
        ));
    }
    if judges_nothing {
        faults.push((&[], "nothing to do: no training and no `[[evaluate]]`"));
    }
    faults
}
