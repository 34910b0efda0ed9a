//! Wide residual networks (Zagoruyko & Komodakis, BMVC 2016, <https://arxiv.org/abs/1605.07146>): pre-activation blocks
//! (He, Zhang, Ren & Sun, ECCV 2016) in three groups. There are two variants.
//!
//! `textbook` is the paper's network, with the parameter names of the `PyTorch` code that is common in
//! adversarial training (xternalz's; TRADES): `conv1`, `block1.layer.0.bn1`, `block1.layer.0.convShortcut`,
//! `bn1`, `fc`. Where the number of channels changes, the shortcut is a 1 x 1 convolution of the activations.
//!
//! `authors-code` is the network of the authors of IAAT (<https://arxiv.org/abs/1910.08051>; their code of
//! 2020). Batch norm has no weight and bias. The first convolution has 16 `width` channels instead of 16.
//! Shortcuts have no weights: where shapes change, they are a 3 x 3 average pooling with stride 2 followed by
//! channels of zeros. Instead of a linear layer the network ends with `ReLU`, a 1 x 1 convolution to the
//! classes, batch norm with weight and bias, and the average over all positions. Names are those of their
//! code: `conv0`, `group0.block0.bn0`, `group0.block0.conv0`, `conv_last`, `bn_last`. A convolution is a bare
//! parameter there (`conv0`) and a layer here (`conv0.weight`).
//!
//! Initial weights of convolutions are normal with variance 2 / fan out, as in both codes. Dropout, which the
//! paper tries and IAAT does not use, is not available.

use temper_core::nn::{Init, NodeId};
use temper_core::prelude::*;

options! {
    /// Which network of the name.
    pub enum Variant {
        /// That of Zagoruyko & Komodakis.
        Textbook = "textbook",
        /// That of the authors of IAAT.
        AuthorsCode = "authors-code",
    }
}

plugin! { Model "wide-resnet";
    /// Wide residual network (Zagoruyko & Komodakis 2016): three groups of
    /// pre-activation blocks. The defaults are IAAT's WRN-32-10.
    pub struct WideResNet {
        /// Layers: 6 n + 4 for n blocks a group, which counts shortcuts (WRN-28-10, WRN-34-10), or 6 n + 2,
        /// which does not (IAAT's WRN-32-10). 32 and 34 are thus one network, of 5 blocks a group. From 8 to
        /// 1000.
        pub depth: NonZeroUsize = nonzero(32),
        /// Factor of the channels: the groups have 16, 32 and 64 times as many.
        pub width: NonZeroUsize = nonzero(10),
        /// `textbook`: the network of Zagoruyko & Komodakis. `authors-code`: IAAT's authors' own, with batch
        /// norm without weight and bias, a wide first convolution, shortcuts without weights, and a 1 x 1
        /// convolution at the end.
        pub variant: Variant = Variant::Textbook,
        /// Subtracted from the pixels inside the network, in pixel values of [0, 1]: one value, or one a channel. The
        /// default is (125.3, 123, 113.9)/255, the mean of CIFAR-10 in both codes.
        pub mean: Vec<f64> = vec![125.3 / 255.0, 123.0 / 255.0, 113.9 / 255.0],
        /// What the pixels are then divided by: one value, or one a channel. The default is (63, 62.1, 66.7)/255, the
        /// deviation of CIFAR-10 in both codes.
        pub std: Vec<f64> = vec![63.0 / 255.0, 62.1 / 255.0, 66.7 / 255.0],
    }
}

impl WideResNet {
    /// Number of blocks per group.
    fn blocks(&self) -> Result<usize> {
        match self.depth.get() {
            depth @ 8..=1000 if depth % 6 == 4 => Ok((depth - 4) / 6),
            depth @ 8..=1000 if depth % 6 == 2 => Ok((depth - 2) / 6),
            depth => Err(Error::refused(format!(
                "`depth` of wide-resnet is {depth}; it must be 6 n + 4 or 6 n + 2 for n blocks a group, from 8 to 1000, \
                 such as 28, 32 or 34"
            ))),
        }
    }
}

impl Model for WideResNet {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let blocks = self.blocks()?;
        let mut network = Network::new(input);
        let x = network.normalize(network.input(), &self.mean, &self.std)?;
        let groups = [16, 32, 64].map(|channels: usize| channels.saturating_mul(self.width.get()));
        match self.variant {
            Variant::Textbook => textbook(&mut network, x, groups, blocks, classes)?,
            Variant::AuthorsCode => authors_code(&mut network, x, groups, blocks, classes)?,
        }
        Ok(network)
    }
}

fn textbook(net: &mut Network, x: NodeId, groups: [usize; 3], blocks: usize, classes: usize) -> Result<()> {
    let mut x = conv(net, x, "conv1", 16, 3, 1)?;
    for (group, channels) in groups.into_iter().enumerate() {
        for i in 0..blocks {
            // The first block of each group except the first halves height and width.
            let stride = if group > 0 && i == 0 { 2 } else { 1 };
            x = textbook_block(net, x, &format!("block{}.layer.{i}", group + 1), channels, stride)?;
        }
    }
    x = net.batch_norm(x, "bn1");
    x = net.relu(x);
    x = net.global_average_pool(x);
    let logits = net.linear(x, "fc", classes)?;
    Ok(net.init(logits, Init::Uniform, Init::Zeros)?)
}

/// Twice batch norm, `ReLU` and a 3 x 3 convolution, with a shortcut.
fn textbook_block(
    net: &mut Network,
    x: NodeId,
    name: &str,
    channels: usize,
    stride: usize,
) -> Result<NodeId> {
    let part = |part: &str| format!("{name}.{part}");
    let a = net.batch_norm(x, &part("bn1"));
    let a = net.relu(a);
    let y = conv(net, a, &part("conv1"), channels, 3, stride)?;
    let y = net.batch_norm(y, &part("bn2"));
    let y = net.relu(y);
    let y = conv(net, y, &part("conv2"), channels, 3, 1)?;
    let shortcut = match net.shape(x)[0] == channels {
        true => x,
        false => conv(net, a, &part("convShortcut"), channels, 1, stride)?,
    };
    Ok(net.add(y, shortcut)?)
}

fn authors_code(
    net: &mut Network,
    x: NodeId,
    groups: [usize; 3],
    blocks: usize,
    classes: usize,
) -> Result<()> {
    let mut x = conv(net, x, "conv0", groups[0], 3, 1)?;
    for (group, channels) in groups.into_iter().enumerate() {
        for i in 0..blocks {
            let down = group > 0 && i == 0;
            x = authors_block(net, x, &format!("group{group}.block{i}"), channels, down)?;
        }
    }
    x = net.bare_batch_norm(x, "bn");
    x = net.relu(x);
    x = conv(net, x, "conv_last", classes, 1, 1)?;
    x = net.batch_norm(x, "bn_last");
    net.global_average_pool(x);
    Ok(())
}

/// Like [`textbook_block`], but batch norm and shortcut have no weights.
fn authors_block(net: &mut Network, x: NodeId, name: &str, channels: usize, down: bool) -> Result<NodeId> {
    let part = |part: &str| format!("{name}.{part}");
    // The shortcut comes first, so that the last convolution can add it to its sums.
    let shortcut = match down {
        true => {
            let pooled = net.average_pool(x, Pool2d { size: 3, stride: 2, padding: 1 })?;
            net.pad_channels(pooled, 0, channels - net.shape(pooled)[0])?
        }
        false => x,
    };
    let y = net.bare_batch_norm(x, &part("bn0"));
    let y = net.relu(y);
    let y = conv(net, y, &part("conv0"), channels, 3, if down { 2 } else { 1 })?;
    let y = net.bare_batch_norm(y, &part("bn1"));
    let y = net.relu(y);
    let y = conv(net, y, &part("conv1"), channels, 3, 1)?;
    Ok(net.add(y, shortcut)?)
}

/// A convolution without bias that keeps height and width except for its stride.
fn conv(
    net: &mut Network,
    x: NodeId,
    name: &str,
    channels: usize,
    kernel: usize,
    stride: usize,
) -> Result<NodeId> {
    let options = Conv2d { channels, kernel, stride, padding: kernel / 2, bias: false };
    let y = net.conv(x, name, options)?;
    net.init(y, Init::NormalFanOut, Init::Zeros)?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(depth: usize, width: usize, variant: Variant) -> Result<Network> {
        let model =
            WideResNet { depth: nonzero(depth), width: nonzero(width), variant, ..WideResNet::default() };
        model.build([3, 32, 32], 10)
    }

    fn trained(network: &Network) -> usize {
        let parameters = network.parameters();
        let trained = parameters.iter().filter(|p| p.role.is_trained());
        trained.map(|p| p.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn sizes_are_the_published_ones() {
        // tests/networks/golden/models.py counts the same in torch; the paper has 2.7, 2.2 and 36.5 million.
        for (depth, width, count) in [
            (16, 4, 2_748_890),
            (40, 2, 2_243_546),
            (28, 10, 36_479_194),
            (34, 10, 46_160_474),
            (32, 10, 46_160_474),
        ] {
            assert_eq!(trained(&build(depth, width, Variant::Textbook).unwrap()), count, "{depth}-{width}");
        }
        assert_eq!(trained(&build(32, 10, Variant::AuthorsCode).unwrap()), 46_090_740);
    }

    #[test]
    fn the_default_is_wrn_32_10() {
        let network = WideResNet::default().build([3, 32, 32], 10).unwrap();
        assert_eq!(network, build(34, 10, Variant::Textbook).unwrap());
    }

    #[test]
    fn other_sizes_and_channels_fit() {
        for (input, left) in [([1, 1, 1], [1, 1]), ([1, 28, 28], [7, 7]), ([4, 33, 64], [9, 16])] {
            for (variant, averaged) in [(Variant::Textbook, 64), (Variant::AuthorsCode, 7)] {
                let model = WideResNet {
                    depth: nonzero(10),
                    width: nonzero(1),
                    variant,
                    mean: vec![0.5],
                    std: vec![0.5],
                };
                let network = model.build(input, 7).unwrap();
                assert_eq!(network.classes(), 7);
                let from_the_end = if variant == Variant::Textbook { 2 } else { 1 };
                let before = network.nodes().iter().rev().nth(from_the_end).unwrap();
                assert_eq!(before.shape, [averaged, left[0], left[1]]);
            }
        }
    }

    #[test]
    fn weights_start_as_in_the_code_of_the_names() {
        for variant in [Variant::Textbook, Variant::AuthorsCode] {
            for parameter in build(10, 1, variant).unwrap().parameters() {
                let init = match parameter.name.as_str() {
                    "fc.weight" => Init::Uniform,
                    "fc.bias" => Init::Zeros,
                    _ if parameter.shape.len() == 4 => Init::NormalFanOut,
                    _ => continue,
                };
                assert_eq!(parameter.init, init, "{}", parameter.name);
            }
        }
    }

    #[test]
    fn other_depths_are_refused() {
        for depth in [1, 2, 4, 30, 1004, usize::MAX] {
            let error = build(depth, 1, Variant::Textbook).unwrap_err().to_string();
            let told =
                "it must be 6 n + 4 or 6 n + 2 for n blocks a group, from 8 to 1000, such as 28, 32 or 34";
            assert_eq!(error, format!("`depth` of wide-resnet is {depth}; {told}"));
        }
        let error = build(10, usize::MAX, Variant::AuthorsCode).unwrap_err().to_string();
        assert!(error.contains("more than 2147483648 weights"), "{error}");
    }
}
