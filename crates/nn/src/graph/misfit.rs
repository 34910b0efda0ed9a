//! Explains why tensors are not the weights of a network, with lists of names.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::parameter::Parameter;

/// Maximum number of names in each list.
const SHOWN: usize = 6;
/// Length of a name above which it is not compared with others.
const LONGEST: usize = 200;

/// Explains why `weights` do not match `parameters`; `None` if they do.
pub(crate) fn misfit(parameters: &[Parameter], weights: &BTreeMap<String, Tensor>) -> Option<String> {
    let wanted: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let unknown: Vec<&str> =
        weights.keys().map(String::as_str).filter(|name| !wanted.contains(name)).collect();
    let missing: Vec<&Parameter> =
        parameters.iter().filter(|parameter| !weights.contains_key(&parameter.name)).collect();
    let near = |(i, parameter): (usize, &&Parameter)| {
        // Names that the list does not show need no suggestion.
        let near = (i < SHOWN).then(|| nearest(parameter, &unknown, weights)).flatten();
        let near = near.map_or_else(String::new, |name| format!(", in the file perhaps `{name}`"));
        format!("`{}` {:?}{near}", parameter.name, parameter.shape)
    };
    let missing: Vec<String> = missing.iter().enumerate().map(near).collect();
    let told: Vec<String> =
        unknown.iter().map(|name| format!("`{name}` {:?}", weights[*name].dims())).collect();
    let other = parameters.iter().filter_map(|parameter| {
        let got = weights.get(&parameter.name)?.dims();
        let differs = got != parameter.shape;
        differs.then(|| format!("`{}` {got:?}, expected {:?}", parameter.name, parameter.shape))
    });
    let other: Vec<String> = other.collect();
    let lists =
        [("missing", missing), ("in the file, but not in the network", told), ("of another shape", other)];
    let lists: Vec<String> =
        lists.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| list(what, names)).collect();
    (!lists.is_empty()).then(|| format!("{}{}", lists.concat(), prefix(&wanted, &unknown)))
}

/// A list of names under its heading.
fn list(what: &str, names: &[String]) -> String {
    let mut lines: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = format!("and {} more", names.len().saturating_sub(SHOWN));
    if names.len() > SHOWN {
        lines.push(&more);
    }
    format!("\n  {what} ({}):\n    {}", names.len(), lines.join("\n    "))
}

/// The unknown tensor that may be the missing one: of the same shape and with the nearest name, if that name is
/// near enough.
fn nearest<'n>(
    parameter: &Parameter,
    unknown: &[&'n str],
    weights: &BTreeMap<String, Tensor>,
) -> Option<&'n str> {
    let last = |name: &str| name.rsplit('.').next().map(String::from);
    // Number of changed letters above which names have nothing in common. `fc.bias` and `linear.bias` differ in 6
    // of 11.
    let far = |longer: usize| longer * 2 / 3;
    let own = &parameter.name;
    let alike = unknown.iter().filter(|name| {
        // A bias is not a weight. The distance of two names is at least the difference of their lengths.
        let longer = name.len().max(own.len());
        longer <= LONGEST && last(name) == last(own) && name.len().abs_diff(own.len()) <= far(longer)
    });
    let alike = alike.filter(|name| weights[**name].dims() == parameter.shape);
    let (distance, name) = alike.map(|name| (strsim::damerau_levenshtein(name, own), *name)).min()?;
    (distance <= far(name.len().max(own.len()))).then_some(name)
}

/// Suggests removing a common prefix if all unknown names would be known without it.
fn prefix(wanted: &BTreeSet<&str>, unknown: &[&str]) -> String {
    let Some(first) = unknown.first() else { return String::new() };
    let stems = first.match_indices('.').map(|(dot, _)| &first[..=dot]);
    let fits = |stem: &&str| {
        unknown.iter().all(|name| name.strip_prefix(stem).is_some_and(|rest| wanted.contains(rest)))
    };
    match stems.into_iter().find(fits) {
        Some(stem) => format!("\n  without `{stem}` before each name they would be known: rename them"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::graph::{Conv2d, Network};

    /// The message for these names and shapes, for a network of a convolution, a batch norm and a linear layer.
    fn said(file: &[(&str, &[usize])]) -> Option<String> {
        let mut net = Network::new([1, 3, 3]);
        let options = Conv2d { channels: 2, kernel: 3, stride: 1, padding: 1, bias: false };
        let x = net.conv(net.input(), "layer1.0.conv1", options).unwrap();
        let x = net.batch_norm(x, "layer1.0.bn1");
        net.linear(x, "linear", 5).unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let file = file.iter().map(|(name, shape)| (name.to_string(), zeros(shape))).collect();
        misfit(&net.parameters(), &file)
    }

    #[test]
    fn a_missing_name_stands_beside_the_nearest_one_of_its_shape_and_kind() {
        let conv: (&str, &[usize]) = ("layer1.0.conv1.weight", &[2, 1, 3, 3]);
        let norm = ["weight", "bias", "running_mean", "running_var"];
        let names = norm.map(|part| format!("layer1.0.norm1.{part}"));
        let mut file: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[2][..])).collect();
        file.extend([conv, ("fc.weight", &[5, 18]), ("fc.bias", &[5]), ("other.weight", &[2])]);
        let want = "\n  missing (6):\
            \n    `layer1.0.bn1.weight` [2], in the file perhaps `layer1.0.norm1.weight`\
            \n    `layer1.0.bn1.bias` [2], in the file perhaps `layer1.0.norm1.bias`\
            \n    `layer1.0.bn1.running_mean` [2], in the file perhaps `layer1.0.norm1.running_mean`\
            \n    `layer1.0.bn1.running_var` [2], in the file perhaps `layer1.0.norm1.running_var`\
            \n    `linear.weight` [5, 18], in the file perhaps `fc.weight`\
            \n    `linear.bias` [5], in the file perhaps `fc.bias`\
            \n  in the file, but not in the network (7):";
        let told = said(&file).unwrap();
        assert!(told.starts_with(want), "{told}");
        // Another shape, another kind, or a name that has nothing in common.
        for (name, shape) in [
            ("fc.weight", &[5, 17][..]),
            ("linear.gain", &[5, 18]),
            ("a.name.that.is.far.from.everything.in.it.weight", &[5, 18]),
        ] {
            let told = said(&[conv, (name, shape)]).unwrap();
            assert!(!told.contains("perhaps"), "{told}");
        }
        // A very long name costs no time, because it is not compared.
        let long = format!("{}.weight", "linear".repeat(1 << 16));
        assert!(!said(&[conv, (&long, &[5, 18])]).unwrap().contains("perhaps"));
    }
}
