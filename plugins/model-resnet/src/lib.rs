//! Residual networks (He, Zhang, Ren & Sun, CVPR 2016, <https://arxiv.org/abs/1512.03385>) in the CIFAR variant that the
//! robustness literature trains: for images of about 32 x 32, with the layout and the parameter names of the widespread
//! `PyTorch` implementation by Kuang Liu, so that its state dictionaries fit.

use temper_core::nn::NodeId;
use temper_core::prelude::*;

plugin! { Model "resnet";
    /// Residual network for 32 x 32 images: a 3 x 3 stem, four stages of basic blocks, average pooling, a linear layer.
    pub struct ResNet {
        /// Layers with weights: 18 or 34.
        pub depth: NonZeroUsize = nonzero(18),
        /// Channels of the first stage; each of the other three has twice those of the one before. 64 is the published network.
        pub width: NonZeroUsize = nonzero(64),
        /// Subtracted from the pixels inside the network: one value, or one a channel.
        pub mean: Vec<f64> = vec![0.5],
        /// What the pixels are then divided by: one value, or one a channel.
        pub std: Vec<f64> = vec![0.5],
    }
}

/// Blocks of each stage (table 1 of the paper).
fn blocks(depth: usize) -> Option<[usize; 4]> {
    match depth {
        18 => Some([2, 2, 2, 2]),
        34 => Some([3, 4, 6, 3]),
        _ => None,
    }
}

impl Model for ResNet {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let depth = self.depth.get();
        let stages = blocks(depth)
            .ok_or_else(|| Error::refused(format!("`depth` of resnet is {depth}; known: 18, 34")))?;
        let mut network = Network::new(input);
        let x = network.normalize(network.input(), &self.mean, &self.std)?;
        let mut x = conv(&mut network, x, ("conv1", "bn1"), self.width.get(), (3, 1))?;
        x = network.relu(x);
        for (stage, blocks) in stages.into_iter().enumerate() {
            let channels = self.width.get().saturating_mul(1 << stage);
            for block in 0..blocks {
                // The first block of each stage but the first halves height and width.
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = basic_block(&mut network, x, &format!("layer{}.{block}", stage + 1), channels, stride)?;
            }
        }
        x = network.global_average_pool(x);
        network.linear(x, "linear", classes)?;
        Ok(network)
    }
}

/// Two 3 x 3 convolutions beside a shortcut (figure 5, left): the identity, or where shapes change a 1 x 1 convolution
/// (option B of section 3.3).
fn basic_block(net: &mut Network, x: NodeId, name: &str, channels: usize, stride: usize) -> Result<NodeId> {
    let part = |part: &str| format!("{name}.{part}");
    let y = conv(net, x, (&part("conv1"), &part("bn1")), channels, (3, stride))?;
    let y = net.relu(y);
    let y = conv(net, y, (&part("conv2"), &part("bn2")), channels, (3, 1))?;
    let shortcut = match stride != 1 || net.shape(x)[0] != channels {
        true => conv(net, x, (&part("shortcut.0"), &part("shortcut.1")), channels, (1, stride))?,
        false => x,
    };
    let sum = net.add(y, shortcut)?;
    Ok(net.relu(sum))
}

/// A convolution without bias that keeps height and width but for its stride, and its batch norm.
fn conv(
    net: &mut Network,
    x: NodeId,
    (conv, norm): (&str, &str),
    channels: usize,
    (kernel, stride): (usize, usize),
) -> Result<NodeId> {
    let options = Conv2d { channels, kernel, stride, padding: kernel / 2, bias: false };
    let y = net.conv(x, conv, options)?;
    Ok(net.batch_norm(y, norm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(depth: usize, width: usize) -> Result<Network> {
        let resnet = ResNet { depth: nonzero(depth), width: nonzero(width), ..ResNet::default() };
        resnet.build([3, 32, 32], 10)
    }

    fn trained(network: &Network) -> usize {
        let parameters = network.parameters();
        let trained = parameters.iter().filter(|p| p.role.is_trained());
        trained.map(|p| p.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn sizes_are_the_published_ones() {
        // tests/golden/resnet.py counts the same in torch.
        assert_eq!(trained(&build(18, 64).unwrap()), 11_173_962);
        assert_eq!(trained(&build(34, 64).unwrap()), 21_282_122);
    }

    #[test]
    fn names_stand_in_the_order_of_torch() {
        // The modules that have weights, as torch's state dictionary orders them.
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
        let ours: Vec<String> = build(18, 2).unwrap().parameters().into_iter().map(|p| p.name).collect();
        assert_eq!(ours, torch);
    }

    #[test]
    fn other_sizes_and_channels_fit() {
        // One pixel, odd sides, and sides that differ: the average is over what the strides leave.
        for (input, left) in [([1, 1, 1], [1, 1]), ([1, 28, 28], [4, 4]), ([4, 33, 64], [5, 8])] {
            let resnet = ResNet { width: nonzero(2), ..ResNet::default() };
            let network = resnet.build(input, 7).unwrap();
            assert_eq!(network.classes(), 7);
            let averaged = network.nodes().iter().rev().nth(2).unwrap();
            assert_eq!(averaged.shape, [16, left[0], left[1]]);
        }
    }

    #[test]
    fn other_depths_are_refused_by_name() {
        assert_eq!(build(20, 4).unwrap_err().to_string(), "`depth` of resnet is 20; known: 18, 34");
    }
}
