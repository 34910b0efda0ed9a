//! The networks of the works.

use temper_core::nn::{Conv2d, Network, NodeId, Pool2d};

type Result<T> = temper_core::nn::Result<T>;

fn conv(
    net: &mut Network,
    x: NodeId,
    name: &str,
    channels: usize,
    kernel: usize,
    stride: usize,
) -> Result<NodeId> {
    net.conv(x, name, Conv2d { channels, kernel, stride, padding: kernel / 2, bias: false })
}

/// ResNet-18 for 32 x 32 (Kuang Liu's layout and names), `width` channels in its first stage.
pub(crate) fn resnet18(width: usize) -> Result<Network> {
    let mut net = Network::new([3, 32, 32]);
    let x = net.normalize(net.input(), &[0.5], &[0.5])?;
    let x = conv(&mut net, x, "conv1", width, 3, 1)?;
    let x = net.batch_norm(x, "bn1");
    let mut x = net.relu(x);
    for stage in 0..4 {
        for block in 0..2 {
            let name = format!("layer{}.{block}", stage + 1);
            let (channels, stride) = (width << stage, if stage > 0 && block == 0 { 2 } else { 1 });
            let y = conv(&mut net, x, &format!("{name}.conv1"), channels, 3, stride)?;
            let y = net.batch_norm(y, &format!("{name}.bn1"));
            let y = net.relu(y);
            let y = conv(&mut net, y, &format!("{name}.conv2"), channels, 3, 1)?;
            let y = net.batch_norm(y, &format!("{name}.bn2"));
            if stride == 2 {
                let shortcut = conv(&mut net, x, &format!("{name}.shortcut.0"), channels, 1, 2)?;
                x = net.batch_norm(shortcut, &format!("{name}.shortcut.1"));
            }
            let sum = net.add(y, x)?;
            x = net.relu(sum);
        }
    }
    let x = net.global_average_pool(x);
    net.linear(x, "linear", 10)?;
    Ok(net)
}

/// The wide residual network "w32-10" of Madry et al.: five pre-activation blocks per stage, 160, 320 and 640
/// channels.
pub(crate) fn wrn_32_10() -> Result<Network> {
    let mut net = Network::new([3, 32, 32]);
    let x = net.normalize(net.input(), &[0.5], &[0.5])?;
    let mut x = conv(&mut net, x, "conv1", 16, 3, 1)?;
    for stage in 0..3 {
        for block in 0..5 {
            let name = format!("block{}.{block}", stage + 1);
            let (channels, stride) = (160 << stage, if stage > 0 && block == 0 { 2 } else { 1 });
            let a = net.batch_norm(x, &format!("{name}.bn1"));
            let a = net.relu(a);
            if block == 0 {
                x = conv(&mut net, a, &format!("{name}.shortcut"), channels, 1, stride)?;
            }
            let y = conv(&mut net, a, &format!("{name}.conv1"), channels, 3, stride)?;
            let y = net.batch_norm(y, &format!("{name}.bn2"));
            let y = net.relu(y);
            let y = conv(&mut net, y, &format!("{name}.conv2"), channels, 3, 1)?;
            x = net.add(y, x)?;
        }
    }
    let x = net.batch_norm(x, "bn");
    let x = net.relu(x);
    let x = net.global_average_pool(x);
    net.linear(x, "linear", 10)?;
    Ok(net)
}

/// The quickstart's network: two convolutions with pooling, two linear layers.
pub(crate) fn small_cnn() -> Result<Network> {
    let mut net = Network::new([1, 28, 28]);
    let mut x = net.normalize(net.input(), &[0.5], &[0.5])?;
    for (i, channels) in [32, 64].into_iter().enumerate() {
        let options = Conv2d { channels, kernel: 3, stride: 1, padding: 1, bias: true };
        x = net.conv(x, &format!("conv{}", i + 1), options)?;
        x = net.relu(x);
        x = net.max_pool(x, Pool2d { size: 2, stride: 2, padding: 0 })?;
    }
    let x = net.linear(x, "fc1", 128)?;
    let x = net.relu(x);
    net.linear(x, "fc2", 10)?;
    Ok(net)
}
