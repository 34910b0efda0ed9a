//! The measurement of time, in a process of its own: it is of the whole process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use temper_nn::profile::{self, Account, Pass, Profile, Work};
use temper_nn::{Classifier, Conv2d, Frozen, Network};

fn wait() {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
}

/// A convolution of pixels, one by Winograd's method, and a linear layer.
fn network() -> Frozen {
    let mut network = Network::new([3, 16, 16]);
    let options = Conv2d { channels: 32, kernel: 3, stride: 1, padding: 1, bias: true };
    let first = network.conv(network.input(), "first", options).unwrap();
    let conv = network.conv(first, "conv", options).unwrap();
    network.linear(conv, "fc", 2).unwrap();
    let weights: BTreeMap<String, Tensor> = network
        .parameters()
        .iter()
        .map(|parameter| {
            (parameter.name.clone(), Tensor::ones(&parameter.shape[..], DType::F32, &Device::Cpu).unwrap())
        })
        .collect();
    Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap()
}

#[test]
fn inner_spans_are_not_counted_twice_and_convolutions_are_divided() {
    let frozen = network();
    let pixels = Tensor::ones((8, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
    profile::start();
    let all = Instant::now();
    profile::outside(Work::Attack, || {
        wait();
        frozen.logits(&pixels).unwrap();
    });
    profile::add(Work::Waiting, Duration::from_millis(1));
    let all = all.elapsed().as_secs_f64() + 1e-3;
    let profile = profile::stop();
    let seconds = |layer: Option<&str>, work| {
        let account = Account { layer: layer.map(|name| (name.into(), Pass::Forward)), work };
        profile.seconds.get(&account).copied().unwrap_or(0.0)
    };
    assert!(seconds(None, Work::Attack) >= 0.002, "{profile:?}");
    for work in [Work::Transform, Work::Product] {
        assert!(seconds(Some("conv"), work) > 0.0, "{work:?}: {profile:?}");
    }
    assert!(seconds(Some("fc"), Work::Product) > 0.0, "{profile:?}");
    assert!((seconds(None, Work::Waiting) - 1e-3).abs() < 1e-9, "{profile:?}");
    assert!(profile.seconds.values().sum::<f64>() <= all, "{profile:?} of {all}");

    // A panic ends its span, and nothing is measured without a start.
    profile::start();
    let panicked = std::panic::catch_unwind(|| profile::outside(Work::Loss, || panic!("in a span")));
    assert!(panicked.is_err());
    profile::outside(Work::Attack, wait);
    assert_eq!(profile::stop().seconds.len(), 2);
    profile::span(|| unreachable!("nothing is measured"), || ());
    assert_eq!(profile::stop(), Profile::default());
}
