//! Whether a network can be trained in the memory of this machine.

use std::fs;

use temper_core::nn::{Layer, Network};

const GIB: f64 = (1u64 << 30) as f64;

/// Why a network cannot be trained here in batches of so many images: what it takes at least, and what there is. `None`: it can, or
/// the system does not tell.
pub(crate) fn refused(network: &Network, batch: usize) -> Option<String> {
    let (least, memory) = (least(network, batch), memory()?);
    (least > memory).then(|| {
        format!(
            "the network is too large for this machine: its weights, their gradients and momentum and one batch of {batch} images \
             take at least {:.1} GiB, there are {:.1} GiB of memory",
            least / GIB,
            memory / GIB
        )
    })
}

/// Bytes that a training step takes at least: weights, gradients and momentum, and the inputs of all convolutions, which the
/// backward pass needs.
fn least(network: &Network, batch: usize) -> f64 {
    let numbers = |sides: &[usize]| sides.iter().map(|side| *side as f64).product::<f64>();
    let weights: f64 = network.parameters().iter().map(|parameter| numbers(&parameter.shape)).sum();
    let convolutions = network.nodes().iter().filter(|node| matches!(node.layer, Layer::Conv { .. }));
    let inputs: f64 = convolutions.map(|node| numbers(&network.shape(node.inputs[0]))).sum();
    4.0 * (3.0 * weights + batch as f64 * inputs)
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

    #[test]
    fn a_network_beyond_the_memory_is_refused_with_its_size() {
        let mut network = Network::new([1, 32, 32]);
        let hidden = network.linear(network.input(), "fc1", 1 << 20).unwrap();
        network.linear(hidden, "fc2", 10).unwrap();
        // 2^30 and 10 * 2^20 weights and 2^20 + 10 biases, three times; 2^10 + 2^20 numbers an image.
        let want = 4.0 * (3.0 * (GIB + 11.0 * 1_048_576.0 + 10.0) + 128.0 * (1024.0 + 1_048_576.0));
        assert_eq!(least(&network, 128), want);
        let memory = memory().unwrap();
        assert!(memory > 1e8, "{memory}");
        let batch = (memory / 4.0 / 1_048_576.0) as usize;
        let said = refused(&network, batch).unwrap();
        assert!(
            said.starts_with("the network is too large for this machine: ") && said.contains(" GiB"),
            "{said}"
        );
        let mut small = Network::new([1, 8, 8]);
        small.linear(small.input(), "fc", 10).unwrap();
        assert_eq!(refused(&small, 128), None);
    }
}
