//! The graph of a list of layers.

use std::collections::BTreeMap;

use temper_core::nn::{Axis, ConvAxes, Gather, NodeId, Pool};
use temper_core::prelude::*;

use crate::layer::{ListedLayer, Window};
use crate::sizes::Padding;

/// A network under construction.
pub(crate) struct Builder<'n> {
    network: &'n mut Network,
    classes: usize,
    /// Number of linear layers still to be built.
    linears: usize,
    /// Names of parameters, and the entry in which each was given.
    names: BTreeMap<String, String>,
    /// Whether a `flatten` is pending: the value is flattened only when a layer follows that needs it.
    flat: bool,
}

/// Linear layers in a list, and in all lists within it.
fn linears(layers: &[ListedLayer]) -> usize {
    let of = |layer: &ListedLayer| match layer {
        ListedLayer::Linear { .. } => 1,
        ListedLayer::Residual { layers, shortcut, .. } => linears(layers) + linears(shortcut),
        _ => 0,
    };
    layers.iter().map(of).sum()
}

/// The error about an entry.
fn refused(place: &str, what: impl std::fmt::Display) -> Error {
    Error::refused(format!("{place}: {what}"))
}

/// Adds layers to a network whose last value is `x`. An error if they do not end in one number per class.
pub(crate) fn build(network: &mut Network, x: NodeId, layers: &[ListedLayer], classes: usize) -> Result<()> {
    let linears = linears(layers);
    let mut builder = Builder { network, classes, linears, names: BTreeMap::new(), flat: false };
    let x = builder.list(x, layers, "layers")?;
    let [c, h, w] = builder.network.shape(x);
    match layers.len() {
        0 => Err(Error::refused("`layers` of sequential is empty, expected at least one layer")),
        n if [c, h, w] != [classes, 1, 1] => {
            let what = format!("the network ends with {c} x {h} x {w} (channels x height x width)");
            let hint = "end with a linear layer, whose `features` may be left out";
            Err(refused(
                &format!("layers[{}]", n - 1),
                format!("{what}, expected {classes} x 1 x 1: one number a class; {hint}"),
            ))
        }
        _ => Ok(()),
    }
}

impl Builder<'_> {
    fn list(&mut self, mut x: NodeId, layers: &[ListedLayer], list: &str) -> Result<NodeId> {
        for (i, layer) in layers.iter().enumerate() {
            x = self.layer(x, layer, &format!("{list}[{i}]"))?;
        }
        Ok(x)
    }

    fn layer(&mut self, x: NodeId, layer: &ListedLayer, place: &str) -> Result<NodeId> {
        // A linear layer flattens its input, and elementwise functions do not depend on the shape.
        let x = match layer {
            ListedLayer::Linear { .. } | ListedLayer::Activation(_) | ListedLayer::Flatten => x,
            _ => self.flattened(x, place)?,
        };
        let at = |error: temper_core::nn::Error| refused(place, error);
        match layer {
            ListedLayer::Conv { .. } => self.conv(x, layer, place),
            ListedLayer::BatchNorm { name, epsilon } => {
                self.named(name, place)?;
                self.network.batch_norm_with(x, name, true, *epsilon).map_err(at)
            }
            ListedLayer::Linear { name, features, bias } => self.linear(x, name, *features, *bias, place),
            ListedLayer::MaxPool(window) => self.network.max_pool(x, pool(window, place)?).map_err(at),
            ListedLayer::AveragePool(window) => {
                self.network.average_pool(x, pool(window, place)?).map_err(at)
            }
            ListedLayer::GlobalAveragePool => Ok(self.network.global_average_pool(x)),
            ListedLayer::Flatten => {
                self.flat = true;
                Ok(x)
            }
            ListedLayer::Activation(activation) => activation.build(self.network, x).map_err(at),
            ListedLayer::PRelu { name, shared } => {
                self.named(name, place)?;
                Ok(self.network.prelu(x, name, *shared))
            }
            ListedLayer::Residual { layers, shortcut, after } => {
                let y = self.branch(x, layers, &format!("{place}.residual"))?;
                let shortcut = self.branch(x, shortcut, &format!("{place}.shortcut"))?;
                let sum = self.network.add(y, shortcut).map_err(|_| {
                    let [y, shortcut] =
                        [y, shortcut].map(|x| self.network.shape(x).map(|size| size.to_string()).join(" x "));
                    refused(
                        place,
                        format!("its layers give {y} (channels x height x width), its shortcut {shortcut}"),
                    )
                })?;
                match after {
                    Some(after) => after
                        .build(self.network, sum)
                        .map_err(|error| refused(&format!("{place}.after"), error)),
                    None => Ok(sum),
                }
            }
        }
    }

    /// One side of a residual block.
    fn branch(&mut self, x: NodeId, layers: &[ListedLayer], list: &str) -> Result<NodeId> {
        let x = self.list(x, layers, list)?;
        self.flattened(x, list)
    }

    fn conv(&mut self, x: NodeId, layer: &ListedLayer, place: &str) -> Result<NodeId> {
        let ListedLayer::Conv { name, channels, kernel, stride, padding, groups, dilation, bias } = layer
        else {
            return Ok(x);
        };
        self.named(name, place)?;
        let axis = |i: usize| {
            let (kernel, stride, dilation) = (kernel.0[i], stride.0[i], dilation.0[i]);
            let [before, after] = match padding {
                Padding::Even(padding) => [padding.0[i]; 2],
                Padding::Same => {
                    let all = dilation.saturating_mul(kernel.saturating_sub(1));
                    [all / 2, all - all / 2]
                }
            };
            Axis { kernel, stride, before, after, dilation }
        };
        let axes = [axis(0), axis(1)];
        if *padding == Padding::Same && axes.iter().any(|axis| axis.stride != 1) {
            return Err(refused(
                place,
                "`padding = \"same\"` needs a stride of 1, as in torch; give numbers",
            ));
        }
        let options = ConvAxes { channels: *channels, axes, bias: *bias };
        self.network.grouped_conv(x, name, options, *groups).map_err(|error| refused(place, error))
    }

    fn linear(
        &mut self,
        x: NodeId,
        name: &str,
        features: Option<usize>,
        bias: bool,
        place: &str,
    ) -> Result<NodeId> {
        self.named(name, place)?;
        self.linears -= 1;
        let features = match features {
            Some(features) => features,
            None if self.linears == 0 => self.classes,
            None => {
                let what = "`features` is left out, which only the last linear layer may; its number is that of classes";
                return Err(refused(place, what));
            }
        };
        self.flat = false;
        let linear = match bias {
            true => self.network.linear(x, name, features),
            false => self.network.linear_without_bias(x, name, features),
        };
        linear.map_err(|error| refused(place, error))
    }

    /// The value, with all numbers as channels if a `flatten` is pending.
    fn flattened(&mut self, x: NodeId, place: &str) -> Result<NodeId> {
        let [c, h, w] = self.network.shape(x);
        if !std::mem::take(&mut self.flat) || h * w == 1 {
            return Ok(x);
        }
        let order: Vec<Option<usize>> = (0..c * h * w).map(Some).collect();
        let gather = Gather::of([c * h * w, 1, 1], &order);
        self.network.gather(x, gather).map_err(|error| refused(place, error))
    }

    /// Records a name of parameters. An error if it is empty or was given before.
    fn named(&mut self, name: &str, place: &str) -> Result<()> {
        if name.is_empty() {
            return Err(refused(place, "an empty name, expected that of the layer in the file of weights"));
        }
        match self.names.insert(name.into(), place.into()) {
            None => Ok(()),
            Some(other) => Err(refused(place, format!("the name `{name}` is that of {other} already"))),
        }
    }
}

/// A pooling window. Padding of more than half of it is an error, as in torch.
fn pool(window: &Window, place: &str) -> Result<Pool> {
    if (0..2).any(|i| window.padding.0[i] > window.size.0[i] / 2) {
        return Err(refused(place, "padding is at most half the window's size"));
    }
    let axis = |i: usize| Axis::even(window.size.0[i], window.stride.0[i], window.padding.0[i]);
    Ok(Pool { axes: [axis(0), axis(1)] })
}
