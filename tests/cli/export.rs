//! Networks that leave as files of other programs, and come in as ONNX: judged, attacked and trained further.

use std::fs;

use expect_test::expect;

use crate::cli::attack_command::{PGD, trained};
use crate::support::{fails, json, refuses, stderr, succeed, temper};

const DATA: &str = "fashion-mnist = { root = \"data\" }";
const MODEL: &str = "convnet = { channels = [4, 8], hidden = 16, batch_norm = true }";

#[test]
fn what_is_exported_is_judged_as_the_run_was() {
    let folder = trained();
    let at = folder.path();
    for (format, ending) in [("onnx", "onnx"), ("pth", "pth"), ("safetensors", "safetensors")] {
        let said = succeed(at, &["export", "runs/run", "--format", format]);
        assert!(said.starts_with(&format!("written to model.{ending}, ")), "{said}");
        assert!(said.contains("classes: T-shirt/top, Trouser, "), "{said}");
    }
    let measured = |network: &str, more: &[&str]| {
        let out = format!("out-{network}").replace('/', "-");
        let args = ["attack", network, "--attack", PGD, "--eps", "0.1", "--seed", "1", "--save", &out];
        succeed(at, &[&args[..], more].concat());
        let results = json(&at.join(&out).join("results.json"));
        [0, 1].map(|i| results["evaluations"][i]["accuracy"].clone())
    };
    let of_run = measured("runs/run", &[]);
    assert_eq!(measured("model.onnx", &["--data", DATA]), of_run);
    for weights in ["model.pth", "model.safetensors"] {
        assert_eq!(measured(weights, &["--data", DATA, "--model", MODEL]), of_run, "{weights}");
    }
    // The natural accuracy alone, without a radius.
    let said = succeed(at, &["attack", "model.onnx", "--data", DATA, "--attack", "none"]);
    assert!(said.contains("attack  none: images are judged as they are"), "{said}");
    assert!(said.contains("\nnatural ") && !said.contains("radius"), "{said}");
}

#[test]
fn a_network_from_onnx_is_trained_further() {
    let folder = trained();
    let at = folder.path();
    succeed(at, &["export", "runs/run", "--format", "onnx", "--out", "net.onnx"]);
    let pipeline = fs::read_to_string(at.join("run.toml")).unwrap();
    let own = "model.convnet = { channels = [4, 8], hidden = 16, batch_norm = true }";
    assert!(pipeline.contains(own));
    let further =
        pipeline.replace(own, "model.onnx = { path = \"net.onnx\" }").replace("lr = 0.05", "lr = 1e-9");
    fs::write(at.join("further.toml"), further).unwrap();
    succeed(at, &["run", "further.toml", "--out", "runs/further"]);
    // Steps of almost nothing leave the weights where the file has them.
    let accuracy =
        |run: &str| json(&at.join(run).join("results.json"))["evaluations"][0]["accuracy"].as_f64();
    let (own, further) = (accuracy("runs/run").unwrap(), accuracy("runs/further").unwrap());
    assert!((own - further).abs() < 0.08, "{own} and {further}");
    // What it leaves is a run like any other.
    let attack = ["attack", "runs/further", "--attack", "fgsm", "--eps", "0.1"];
    let said = succeed(at, &attack);
    assert!(said.contains("onnx, "), "{said}");
    // Its graph may not be replaced, neither by itself nor by another one.
    let export = ["export", "runs/further", "--format", "onnx", "--out", "net.onnx", "--force"];
    refuses(
        at,
        &export,
        &expect![[r"
        error: net.onnx is a file of the run itself: choose another one with --out
    "]],
    );
    let mut other = fs::read(at.join("net.onnx")).unwrap();
    let name = other.windows(6).position(|bytes| bytes == b"temper").unwrap();
    other[name] = b'T';
    fs::write(at.join("net.onnx"), other).unwrap();
    fails(
        at,
        &attack,
        &expect![[r"
        error: net.onnx is not the graph that runs/further/model.safetensors was trained with: its hash differs
          put back the file that was there
    "]],
    );
    let resumed = temper(at, &["run", "further.toml", "--out", "runs/further", "--resume"]);
    let said = stderr(&resumed);
    assert_eq!(resumed.status.code(), Some(1), "{said}");
    // The hash is of weights, whose last bits depend on the processor.
    assert!(said.contains("belongs to another configuration\n  data.graph: was \""), "{said}");
}

/// What is kept of an attack is a command that does it again.
#[test]
fn an_attack_on_a_graph_is_done_again_by_its_own_command() {
    let folder = trained();
    let at = folder.path();
    succeed(at, &["export", "runs/run", "--format", "onnx"]);
    succeed(
        at,
        &["attack", "model.onnx", "--data", DATA, "--attack", "fgsm", "--eps", "0.1", "--save", "out"],
    );
    let images = || fs::read(at.join("out/images.safetensors")).unwrap();
    let before = images();
    let results = json(&at.join("out/results.json"));
    let words: Vec<&str> =
        results["arguments"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    fs::remove_file(at.join("out/images.safetensors")).unwrap();
    succeed(at, &[&words[..], &["--save", "out", "--force"]].concat());
    assert_eq!(images(), before);
}

/// The layers of the network that [`trained`] leaves.
const LAYERS: &str = "  layers, with channels x height x width of what they give:
    normalisation by mean [0.5], std [0.5]  1 x 12 x 12
    3 x 3 convolution conv1                 4 x 12 x 12
    batch norm bn1                          4 x 12 x 12
    relu                                    4 x 12 x 12
    max pooling of 2 x 2                    4 x 6 x 6
    3 x 3 convolution conv2                 8 x 6 x 6
    batch norm bn2                          8 x 6 x 6
    relu                                    8 x 6 x 6
    max pooling of 2 x 2                    8 x 3 x 3
    linear fc1                              16 x 1 x 1
    relu                                    16 x 1 x 1
    linear fc2                              10 x 1 x 1
";

#[test]
fn files_say_what_they_hold() {
    let folder = trained();
    let at = folder.path();
    succeed(at, &["export", "runs/run", "--format", "onnx"]);
    succeed(at, &["export", "runs/run", "--format", "pth"]);
    let said = |network: &str| succeed(at, &["inspect", network]);
    // A run and its graph are one network.
    let without_layers = |network: &str| {
        let said = said(network);
        assert!(said.contains(LAYERS), "{said}");
        said.replace(LAYERS, "")
    };
    expect![[r#"
        runs/run/model.safetensors: weights of a run of temper
          model    convnet = { batch_norm = true, channels = [4, 8], hidden = 16, kernel = 3, mean = [0.5], pool = 2, std = [0.5] }
          classes  T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot
          input    1 x 12 x 12, pixels in [0, 1]
          output   10 classes
          weights  1686 trained parameters

        to attack it:
          temper attack runs/run/model.safetensors --attack pgd --eps 8/255
        to train it further, in a pipeline:
          model.convnet = { batch_norm = true, channels = [4, 8], hidden = 16, kernel = 3, mean = [0.5], pool = 2, std = [0.5] }
          train.init = "runs/run/model.safetensors"
    "#]].assert_eq(&without_layers("runs/run"));
    expect![[r#"
        model.onnx: an ONNX graph of temper 0.1.0, opset 17
          input    1 x 12 x 12, pixels in [0, 1]
          output   10 classes
          weights  1686 trained parameters

        to judge it:
          temper attack model.onnx --data DATA --attack none
        in a pipeline, which needs no [train] to judge it:
          model.onnx = { path = "model.onnx" }
    "#]]
    .assert_eq(&without_layers("model.onnx"));
    expect![[r"
        model.pth: weights alone, 14 tensors of 1710 numbers
          bn1.bias          [4] F32
          bn1.running_mean  [4] F32
          bn1.running_var   [4] F32
          bn1.weight        [4] F32
          bn2.bias          [8] F32
          bn2.running_mean  [8] F32
          bn2.running_var   [8] F32
          bn2.weight        [8] F32
          conv1.weight      [4, 1, 3, 3] F32
          conv2.weight      [8, 4, 3, 3] F32
          fc1.bias          [16] F32
          fc1.weight        [16, 72] F32
          fc2.bias          [10] F32
          fc2.weight        [10, 16] F32

        to judge them, name their architecture:
          temper attack model.pth --model 'resnet = { depth = 18 }' --data DATA --attack none
        or describe its layers by these names: temper describe model sequential
    "]]
    .assert_eq(&said("model.pth"));
    fails(
        at,
        &["inspect", "run.toml"],
        &expect![[r"
        error: run.toml: neither safetensors nor a file of torch.save: its first bytes promise a header of 3539896516445824371 bytes, the file has 425 in all
    "]],
    );
}

#[test]
fn bad_exports_are_refused_in_words() {
    let folder = trained();
    let at = folder.path();
    fs::write(at.join("model.onnx"), "mine").unwrap();
    refuses(
        at,
        &["export", "runs/run", "--format", "onnx"],
        &expect![[r"
        error: model.onnx is there already: choose another file with --out, or replace it with --force
    "]],
    );
    assert_eq!(fs::read_to_string(at.join("model.onnx")).unwrap(), "mine");
    succeed(at, &["export", "runs/run", "--format", "onnx", "--force"]);
    let own =
        ["export", "runs/run", "--format", "safetensors", "--out", "runs/run/model.safetensors", "--force"];
    refuses(
        at,
        &own,
        &expect![[r"
        error: runs/run/model.safetensors is a file of the run itself: choose another one with --out
    "]],
    );
    fs::copy(at.join("model.onnx"), at.join("other.onnx")).unwrap();
    let other = "onnx = { path = \"other.onnx\" }";
    refuses(
        at,
        &["attack", "model.onnx", "--model", other, "--data", DATA, "--attack", "none"],
        &expect![[r#"
            error: --model: model.onnx is a graph itself: say --model 'onnx = { path = "model.onnx", mean = .., std = .. }', or leave the option out
        "#]],
    );
    refuses(
        at,
        &["export", "model.onnx", "--format", "pth"],
        &expect![[r"
        error: model.onnx is an ONNX file already
    "]],
    );
    refuses(
        at,
        &["attack", "model.onnx", "--data", DATA, "--attack", "none", "--eps", "0.1"],
        &expect![[r"
            error: --eps: `--attack none` has no radius: leave --eps out
        "]],
    );
    refuses(
        at,
        &["attack", "model.onnx", "--data", DATA, "--attack", "none", "--save", "out"],
        &expect![[r"
            error: --save: `--attack none` makes no images that could be saved
        "]],
    );
    refuses(
        at,
        &["attack", "model.onnx", "--data", DATA, "--attack", "fgsm"],
        &expect![[r"
        error: --eps is missing: the radius within which images are attacked, for example --eps 8/255
    "]],
    );
    refuses(
        at,
        &["transfer", "runs/run", "model.onnx", "--data", DATA, "--attack", "none"],
        &expect![[r"
        error: --attack: `none` makes no images that another network could judge
    "]],
    );
}

/// The network of [`trained`] normalises by 0.5 and 0.5.
#[test]
fn usual_normalisations_are_tried_on_images() {
    let folder = trained();
    let at = folder.path();
    succeed(at, &["export", "runs/run", "--format", "pth"]);
    let said = succeed(at, &["inspect", "model.pth", "--data", DATA, "--model", MODEL]);
    let (_, tried) = said.split_once("\nright of 80 test images").unwrap();
    let rows: Vec<&str> = tried.lines().skip(1).collect();
    let right = |name: &str| {
        let row = rows.iter().find(|row| row.trim_start().starts_with(name)).unwrap();
        let row = row.trim_start().strip_prefix(name).unwrap().trim_start();
        row.split_once(" %").unwrap().0.parse::<f64>().unwrap()
    };
    let natural = json(&at.join("runs/run/results.json"))["evaluations"][0]["accuracy"].as_f64().unwrap();
    assert!((right("as it is") - natural * 100.0).abs() < 0.06, "{said}");
    assert_eq!(right("as it is"), right("from -1 to 1"), "{said}");
    assert!(right("none") < right("from -1 to 1") && rows.len() > 4, "{said}");
    // A run's file says how its pixels are normalised.
    let said = succeed(at, &["inspect", "runs/run", "--data", DATA]);
    let (_, own) = said.split_once("\nright of 80 test images").unwrap();
    assert_eq!(own.lines().skip(1).collect::<Vec<_>>(), rows[..1], "{said}");
    refuses(
        at,
        &["inspect", "model.pth", "--data", DATA],
        &expect![[r"
            error: model.pth does not say what network it is of
              say it, for example with --model 'resnet = { depth = 18 }'
        "]],
    );
}
