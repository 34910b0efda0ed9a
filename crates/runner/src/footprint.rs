//! Checks whether a network can be trained in the memory of this machine.

use std::fs;

use temper_core::nn::{Layer, Network};

const GIB: f64 = (1u64 << 30) as f64;

/// The part of a pipeline that needs too much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryPart {
    /// The network, whatever the batch size.
    Network,
    /// The batch size.
    Batch,
}

/// Why a network cannot be trained here with this batch size: the memory that it needs at least, and the
/// memory available. `None` if it can, or if the system does not report its memory.
pub(crate) fn refused(network: &Network, batch: usize) -> Option<(MemoryPart, String)> {
    let ([weights, image], memory) = (least(network), memory()?);
    let there = memory / GIB;
    if weights > memory {
        let weights = weights / GIB;
        return Some((
            MemoryPart::Network,
            format!(
                "too large for this machine: its weights, their gradients and momentum take {weights:.1} GiB, there are {there:.1} GiB \
                 of memory"
            ),
        ));
    }
    let all = weights + batch as f64 * image;
    (all > memory).then(|| {
        let all = all / GIB;
        (
            MemoryPart::Batch,
            format!(
                "a batch of {batch} images is too large for this machine: with the network it takes at least {all:.1} GiB, there are \
                 {there:.1} GiB of memory"
            ),
        )
    })
}

/// A lower bound for the memory of a training step in bytes: weights, gradients and momentum, and per image
/// the inputs of all convolutions, which the backward pass needs.
fn least(network: &Network) -> [f64; 2] {
    let numbers = |sides: &[usize]| sides.iter().map(|side| *side as f64).product::<f64>();
    let weights: f64 = network.parameters().iter().map(|parameter| numbers(&parameter.shape)).sum();
    let convolutions = network.nodes().iter().filter(|node| matches!(node.layer, Layer::Conv { .. }));
    let inputs: f64 = convolutions.map(|node| numbers(&network.shape(node.inputs[0]))).sum();
    [4.0 * 3.0 * weights, 4.0 * inputs]
}

/// Bytes of memory that this process may use: those of the machine, or the limit of its control group.
fn memory() -> Option<f64> {
    let table = fs::read_to_string("/proc/meminfo").ok()?;
    let total = table.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<f64>().ok());
    Some(limit.map_or(total, |limit| limit.min(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_network_or_a_batch_beyond_the_memory_is_refused_with_its_size() {
        let network = |hidden: usize| {
            let mut network = Network::new([1, 32, 32]);
            let hidden = network.linear(network.input(), "fc1", hidden).unwrap();
            network.linear(hidden, "fc2", 10).unwrap();
            network
        };
        // 2^30 and 10 * 2^20 weights and 2^20 + 10 biases, three times; 2^10 + 2^20 numbers per image.
        let million = 1_048_576.0;
        assert_eq!(
            least(&network(1 << 20)),
            [12.0 * (GIB + 11.0 * million + 10.0), 4.0 * (1024.0 + million)]
        );
        let memory = memory().unwrap();
        assert!(memory > 1e8, "{memory}");
        let small = network(16);
        assert_eq!(refused(&small, 128), None);
        let (part, said) = refused(&small, (memory / 4000.0) as usize).unwrap();
        assert!(part == MemoryPart::Batch && said.contains("images is too large for this machine"), "{said}");
        let mut wide = Network::new([1, 32, 32]);
        let mut x = wide.input();
        // At least 2^30 weights per layer.
        for i in 0..(memory / 12.0 / f64::from(1u32 << 30)) as usize + 2 {
            x = wide.linear(x, &format!("a{i}"), if i == 0 { 1 << 15 } else { 1 << 16 }).unwrap();
            x = wide.linear(x, &format!("b{i}"), 1 << 15).unwrap();
        }
        let (part, said) = refused(&wide, 1).unwrap();
        assert!(
            part == MemoryPart::Network && said.contains("its weights, their gradients and momentum take"),
            "{said}"
        );
    }
}
