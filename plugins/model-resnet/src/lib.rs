//! Residual networks (He, Zhang, Ren & Sun, CVPR 2016, <https://arxiv.org/abs/1512.03385>). Layouts,
//! parameter names and initial weights are those of common `PyTorch` code, so that its state dictionaries can
//! be loaded:
//!
//! - stem `imagenet`, depths 18 to 152: torchvision's networks. The stride of a bottleneck is in its 3 x 3
//!   convolution, not in the first 1 x 1 as in the paper. Initial weights of convolutions are normal with
//!   variance 2 / fan out.
//! - stem `cifar`, depths 18 to 152: the variant for 32 x 32 images that is common in the robustness
//!   literature (Kuang Liu's code). It is not in the paper. Initial weights are torch's defaults.
//! - stem `cifar`, depths 20 to 110: the paper's networks for CIFAR-10 (section 4.2), whose shortcuts have no
//!   weights (option A), with the names of Yerlan Idelbayev's code. Initial weights are normal with variance
//!   2 / fan in.

use temper_core::nn::{Init, NodeId};
use temper_core::prelude::*;

options! {
    /// What stands before the first stage.
    pub enum Stem {
        /// A 3 x 3 convolution.
        Cifar = "cifar",
        /// A 7 x 7 convolution and a 3 x 3 max pooling, each with stride 2.
        ImageNet = "imagenet",
    }
}

plugin! { Model "resnet";
    /// Residual network (He et al. 2016): a stem, stages of residual blocks, average pooling, a linear layer.
    /// Images may have any size.
    pub struct ResNet {
        /// Layers with weights, those of shortcuts not counted. 18, 34 (basic blocks), 50, 101, 152 (bottlenecks): four
        /// stages, with either stem. 20, 32, 44, 56, 110: three stages whose shortcuts have no weights (option A), with
        /// the stem `cifar` only. IAAT has 18 for CIFAR, and 50, 101 and 152 for ImageNet.
        pub depth: NonZeroUsize = nonzero(18),
        /// Beginning of the network. `cifar`: a 3 x 3 convolution, for images of about 32 x 32. `imagenet`: a 7 x 7
        /// convolution and a 3 x 3 max pooling, each with stride 2, for images of about 224 x 224.
        pub stem: Stem = Stem::Cifar,
        /// Channels of the first stage, before a bottleneck's factor of 4; each later stage has twice those of the one
        /// before. Left out, those of the published network: 16 at depths 20, 32, 44, 56 and 110, else 64.
        pub width: Option<NonZeroUsize> = None,
        /// Subtracted from the pixels inside the network, in pixel values of [0, 1]: one value, or one a
        /// channel. Left out, 0.5 with the stem `cifar`, and [0.485, 0.456, 0.406] (torchvision) with
        /// `imagenet`.
        pub mean: Option<Vec<f64>> = None,
        /// What the pixels are then divided by: one value, or one a channel. Left out, 0.5 with the stem `cifar`, and
        /// [0.229, 0.224, 0.225] (torchvision) with `imagenet`.
        pub std: Option<Vec<f64>> = None,
    }
}

/// Kinds of residual blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Two 3 x 3 convolutions (figure 5, left); where shapes change, the shortcut is a 1 x 1 convolution (option B).
    Basic,
    /// The same with shortcuts that have no weights (option A).
    BasicA,
    /// 1 x 1, 3 x 3 and 1 x 1 convolutions (figure 5, right); the last has four times the channels.
    Bottleneck,
}

/// Number of blocks of each stage: table 1 of the paper, and section 4.2.
fn stages(depth: usize) -> Option<(Block, &'static [usize])> {
    Some(match depth {
        18 => (Block::Basic, &[2, 2, 2, 2]),
        34 => (Block::Basic, &[3, 4, 6, 3]),
        50 => (Block::Bottleneck, &[3, 4, 6, 3]),
        101 => (Block::Bottleneck, &[3, 4, 23, 3]),
        152 => (Block::Bottleneck, &[3, 8, 36, 3]),
        20 => (Block::BasicA, &[3; 3]),
        32 => (Block::BasicA, &[5; 3]),
        44 => (Block::BasicA, &[7; 3]),
        56 => (Block::BasicA, &[9; 3]),
        110 => (Block::BasicA, &[18; 3]),
        _ => return None,
    })
}

impl ResNet {
    /// The kind and the number of blocks; `None` if the depth does not exist with this stem.
    fn stages(&self) -> Result<(Block, &'static [usize])> {
        let known = match self.stem {
            Stem::Cifar => "18, 34, 50, 101, 152, and 20, 32, 44, 56, 110",
            Stem::ImageNet => "18, 34, 50, 101, 152",
        };
        let fits = |(block, _): &(Block, &[usize])| self.stem == Stem::Cifar || *block != Block::BasicA;
        stages(self.depth.get()).filter(fits).ok_or_else(|| {
            let (depth, stem) = (self.depth, if self.stem == Stem::Cifar { "cifar" } else { "imagenet" });
            let hint = if stages(depth.get()).is_some() { " (`cifar` has this depth)" } else { "" };
            Error::refused(format!(
                "`depth` of resnet is {depth}; with the stem `{stem}` there are {known}{hint}"
            ))
        })
    }
}

impl Model for ResNet {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let (block, stages) = self.stages()?;
        let imagenet = self.stem == Stem::ImageNet;
        let (mean, std): (&[f64], &[f64]) = match imagenet {
            true => (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
            false => (&[0.5], &[0.5]),
        };
        let (mean, std) = (self.mean.as_deref().unwrap_or(mean), self.std.as_deref().unwrap_or(std));
        let published = if block == Block::BasicA { 16 } else { 64 };
        let width = self.width.map_or(published, NonZeroUsize::get);
        let mut network = Network::new(input);
        let mut x = network.normalize(network.input(), mean, std)?;
        // As in the code that uses the same names.
        let init = match (imagenet, block) {
            (true, _) => Init::NormalFanOut,
            (false, Block::BasicA) => Init::NormalFanIn,
            (false, _) => Init::Uniform,
        };
        let mut layers =
            Layers { net: &mut network, init, shortcut: if imagenet { "downsample" } else { "shortcut" } };
        let (kernel, stride) = if imagenet { (7, 2) } else { (3, 1) };
        x = layers.conv(x, "conv1", "bn1", width, kernel, stride)?;
        x = layers.net.relu(x);
        if imagenet {
            x = layers.net.max_pool(x, Pool2d { size: 3, stride: 2, padding: 1 })?;
        }
        for (stage, blocks) in stages.iter().enumerate() {
            let channels = width.saturating_mul(1 << stage);
            for i in 0..*blocks {
                // The first block of each stage except the first halves height and width.
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                x = layers.block(block, x, &format!("layer{}.{i}", stage + 1), channels, stride)?;
            }
        }
        x = network.global_average_pool(x);
        let logits = network.linear(x, if imagenet { "fc" } else { "linear" }, classes)?;
        if block == Block::BasicA {
            network.init(logits, init, Init::Uniform)?;
        }
        Ok(network)
    }
}

/// A network under construction.
struct Layers<'a> {
    net: &'a mut Network,
    /// The initialisation of convolution weights.
    init: Init,
    /// Name of the shortcuts that have weights.
    shortcut: &'static str,
}

impl Layers<'_> {
    /// A residual block: convolutions and a shortcut, which is the identity if shapes are equal.
    fn block(
        &mut self,
        block: Block,
        x: NodeId,
        name: &str,
        channels: usize,
        stride: usize,
    ) -> Result<NodeId> {
        // Output channels, kernel and stride of each convolution.
        let convs = match block {
            Block::Basic | Block::BasicA => vec![(channels, 3, stride), (channels, 3, 1)],
            Block::Bottleneck => {
                vec![(channels, 1, 1), (channels, 3, stride), (channels.saturating_mul(4), 1, 1)]
            }
        };
        let after = convs.last().map_or(channels, |last| last.0);
        let changes = stride != 1 || self.net.shape(x)[0] != after;
        // The shortcut comes first, so that the last convolution can add it to its sums. The order of
        // parameters is torch's.
        let mut shortcut = x;
        if changes && block == Block::BasicA {
            shortcut = self.option_a(x, after, stride)?;
        }
        let mut y = x;
        for (i, (channels, kernel, stride)) in (1..).zip(convs) {
            if i > 1 {
                y = self.net.relu(y);
            }
            y =
                self.conv(y, &format!("{name}.conv{i}"), &format!("{name}.bn{i}"), channels, kernel, stride)?;
        }
        if changes && block != Block::BasicA {
            let name = |part: usize| format!("{name}.{}.{part}", self.shortcut);
            shortcut = self.conv(x, &name(0), &name(1), after, 1, stride)?;
        }
        let sum = self.net.add(y, shortcut)?;
        Ok(self.net.relu(sum))
    }

    /// Every `stride`-th row and column, with channels of zeros added on both sides.
    fn option_a(&mut self, x: NodeId, channels: usize, stride: usize) -> Result<NodeId> {
        let x = self.net.average_pool(x, Pool2d { size: 1, stride, padding: 0 })?;
        let zeros = channels - self.net.shape(x)[0];
        Ok(self.net.pad_channels(x, zeros / 2, zeros - zeros / 2)?)
    }

    /// A convolution without bias that keeps height and width except for its stride, followed by batch norm.
    fn conv(
        &mut self,
        x: NodeId,
        conv: &str,
        norm: &str,
        channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<NodeId> {
        let options = Conv2d { channels, kernel, stride, padding: kernel / 2, bias: false };
        let y = self.net.conv(x, conv, options)?;
        self.net.init(y, self.init, Init::Uniform)?;
        Ok(self.net.batch_norm(y, norm))
    }
}

#[cfg(test)]
mod tests {
    use temper_core::nn::Layer;

    use super::*;

    fn resnet(depth: usize, stem: Stem, width: Option<usize>) -> ResNet {
        ResNet { depth: nonzero(depth), stem, width: width.map(nonzero), ..ResNet::default() }
    }

    fn trained(network: &Network) -> usize {
        let parameters = network.parameters();
        let trained = parameters.iter().filter(|p| p.role.is_trained());
        trained.map(|p| p.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn sizes_are_the_published_ones() {
        // tests/networks/golden/models.py counts the same in torch; those with the stem `imagenet` are torchvision's.
        for (depth, count) in
            [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)]
        {
            let network = resnet(depth, Stem::ImageNet, None).build([3, 224, 224], 1000).unwrap();
            assert_eq!(trained(&network), count, "{depth}");
        }
        for (depth, count) in [
            (18, 11_173_962),
            (34, 21_282_122),
            (50, 23_520_842),
            (101, 42_512_970),
            (152, 58_156_618),
            (20, 269_722),
            (32, 464_154),
            (44, 658_586),
            (56, 853_018),
            (110, 1_727_962),
        ] {
            let network = resnet(depth, Stem::Cifar, None).build([3, 32, 32], 10).unwrap();
            assert_eq!(trained(&network), count, "{depth}");
        }
    }

    #[test]
    fn a_network_has_as_many_layers_as_its_depth_says() {
        for (stem, depths) in [
            (Stem::ImageNet, vec![18, 34, 50, 101, 152]),
            (Stem::Cifar, vec![18, 34, 50, 101, 152, 20, 32, 44, 56, 110]),
        ] {
            for depth in depths {
                let network = resnet(depth, stem, Some(1)).build([3, 32, 32], 10).unwrap();
                // Matrices and kernels, without those of shortcuts.
                let counts = |name: &str| !name.contains("shortcut") && !name.contains("downsample");
                let parameters = network.parameters();
                let layers = parameters.iter().filter(|p| p.shape.len() > 1 && counts(&p.name)).count();
                assert_eq!(layers, depth);
            }
        }
    }

    #[test]
    fn names_stand_in_the_order_of_torch() {
        // The modules with weights, in the order of torch's state dictionary.
        let modules = "conv1 bn1 \
            layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2 \
            layer1.1.conv1 layer1.1.bn1 layer1.1.conv2 layer1.1.bn2 \
            layer2.0.conv1 layer2.0.bn1 layer2.0.conv2 layer2.0.bn2 layer2.0.shortcut.0 layer2.0.shortcut.1 \
            layer2.1.conv1 layer2.1.bn1 layer2.1.conv2 layer2.1.bn2 \
            layer3.0.conv1 layer3.0.bn1 layer3.0.conv2 layer3.0.bn2 layer3.0.shortcut.0 layer3.0.shortcut.1 \
            layer3.1.conv1 layer3.1.bn1 layer3.1.conv2 layer3.1.bn2 \
            layer4.0.conv1 layer4.0.bn1 layer4.0.conv2 layer4.0.bn2 layer4.0.shortcut.0 layer4.0.shortcut.1 \
            layer4.1.conv1 layer4.1.bn1 layer4.1.conv2 layer4.1.bn2 \
            linear";
        let mut torch = vec![];
        for module in modules.split_whitespace() {
            let parts: &[&str] = match module {
                "linear" => &["weight", "bias"],
                norm if norm.contains("bn") || norm.ends_with("shortcut.1") => {
                    &["weight", "bias", "running_mean", "running_var"]
                }
                _ => &["weight"],
            };
            torch.extend(parts.iter().map(|part| format!("{module}.{part}")));
        }
        let network = resnet(18, Stem::Cifar, Some(2)).build([3, 32, 32], 10).unwrap();
        let ours: Vec<String> = network.parameters().into_iter().map(|p| p.name).collect();
        assert_eq!(ours, torch);
    }

    #[test]
    fn other_sizes_and_channels_fit() {
        // One pixel, odd sides, and different sides: the average is over what remains after the strides.
        for (input, [cifar, option_a, imagenet]) in [
            ([1, 1, 1], [[1, 1], [1, 1], [1, 1]]),
            ([1, 28, 28], [[4, 4], [7, 7], [1, 1]]),
            ([4, 33, 64], [[5, 8], [9, 16], [2, 2]]),
        ] {
            for (depth, stem, channels, left) in [
                (18, Stem::Cifar, 24, cifar),
                (50, Stem::Cifar, 96, cifar),
                (20, Stem::Cifar, 12, option_a),
                (34, Stem::ImageNet, 24, imagenet),
                (50, Stem::ImageNet, 96, imagenet),
            ] {
                let resnet =
                    ResNet { mean: Some(vec![0.5]), std: Some(vec![0.5]), ..resnet(depth, stem, Some(3)) };
                let network = resnet.build(input, 7).unwrap();
                assert_eq!(network.classes(), 7);
                let averaged = network.nodes().iter().rev().nth(2).unwrap();
                assert_eq!(averaged.shape, [channels, left[0], left[1]]);
            }
        }
    }

    #[test]
    fn other_depths_are_refused_by_name() {
        let refusal =
            |depth, stem| resnet(depth, stem, Some(4)).build([3, 32, 32], 10).unwrap_err().to_string();
        assert_eq!(
            refusal(19, Stem::Cifar),
            "`depth` of resnet is 19; with the stem `cifar` there are 18, 34, 50, 101, 152, and 20, 32, 44, 56, 110"
        );
        assert_eq!(
            refusal(20, Stem::ImageNet),
            "`depth` of resnet is 20; with the stem `imagenet` there are 18, 34, 50, 101, 152 (`cifar` has this depth)"
        );
    }

    #[test]
    fn weights_start_as_in_the_code_of_the_names() {
        for (depth, stem, conv, head) in [
            (18, Stem::Cifar, Init::Uniform, Init::Uniform),
            (50, Stem::Cifar, Init::Uniform, Init::Uniform),
            (50, Stem::ImageNet, Init::NormalFanOut, Init::Uniform),
            (20, Stem::Cifar, Init::NormalFanIn, Init::NormalFanIn),
        ] {
            let network = resnet(depth, stem, Some(1)).build([3, 32, 32], 10).unwrap();
            for parameter in network.parameters() {
                let init = match parameter.shape.len() {
                    4 => conv,
                    2 => head,
                    _ => continue,
                };
                assert_eq!(parameter.init, init, "{depth}, {}", parameter.name);
            }
        }
    }

    #[test]
    fn means_are_those_of_the_stem_or_those_given() {
        let first = |resnet: ResNet| {
            let network = resnet.build([3, 32, 32], 10).unwrap();
            network.nodes()[1].layer.clone()
        };
        let normalize =
            |mean: [f64; 3], std: [f64; 3]| Layer::Normalize { mean: mean.into(), std: std.into() };
        assert_eq!(first(resnet(18, Stem::Cifar, Some(1))), normalize([0.5; 3], [0.5; 3]));
        let imagenet = || resnet(18, Stem::ImageNet, Some(1));
        assert_eq!(first(imagenet()), normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]));
        let given = ResNet { std: Some(vec![0.2]), ..imagenet() };
        assert_eq!(first(given), normalize([0.485, 0.456, 0.406], [0.2; 3]));
    }
}
