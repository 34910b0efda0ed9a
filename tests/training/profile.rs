//! `temper run --profile`.

use crate::support::{STRIPES, playground, succeed};

/// The tables of `--profile` come after the results, and their sums are the time of the run.
#[test]
fn a_profile_tells_where_time_went() {
    let folder = playground(STRIPES);
    let said = succeed(folder.path(), &["run", "run.toml", "--profile"]);
    let table = said.split("\nwork ").nth(1).unwrap();
    let row = |name: &str| -> Vec<f64> {
        let row =
            table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}\n{said}"));
        row[name.len()..].split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let shares =
        table.lines().filter(|line| line.ends_with('%')).take_while(|line| !line.starts_with("all "));
    let sum: f64 = shares.filter_map(|line| line.split_whitespace().rev().nth(1)?.parse::<f64>().ok()).sum();
    assert!((sum - 100.0).abs() < 1.0, "{sum}\n{said}");
    for work in
        ["products of convolutions", "batch norm", "pooling", "attacks, besides", "optimiser", "packing"]
    {
        row(work);
    }
    // Seconds are rounded to hundredths, shares of them to tenths of a per cent.
    assert!(row("products of convolutions and linear layers")[1] > 0.0, "{said}");
    assert!(row("conv2")[0] + row("conv2")[1] + row("conv2")[3] > 0.0, "{said}");
    for layer in ["conv1", "bn1", "conv2", "fc1", "fc2"] {
        assert_eq!(row(layer).len(), 4, "{layer}\n{said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let plain = succeed(folder.path(), &["run", "run.toml", "--force"]);
    assert!(!plain.contains("weight gradient"), "{plain}");
}
