//! `temper radii --save`: the pictures, and the folder that they are in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use expect_test::expect;
use temper_results::RadiiFile;

use super::radii::{always_three, radii, trained};
use crate::data::photos;
use crate::support::{fails, json, numbers, refuses, succeed};

/// The pixels of a PNG file of one channel, in [0, 1].
fn pixels(file: &Path) -> Vec<f64> {
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(fs::File::open(file).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.color_type, info.width, info.height), (png::ColorType::Grayscale, 12, 12));
    bytes.iter().map(|byte| f64::from(f32::from(*byte) / 255.0)).collect()
}

/// What is beside the pictures.
const OTHERS: [&str; 4] = ["lock", "radii.json", "radii.png", "radii.svg"];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn pictures_are_those_of_the_data_set() {
    let folder = trained();
    let folder = folder.path();
    always_three(&folder.join("runs/run"));
    let said = radii(folder, &["--smallest", "3", "--largest", "1", "--save", "out"]);
    let written = "written to out: 4 images, radii.svg and radii.png with all of them, radii.json\n        with the table\n";
    assert!(said.ends_with(written), "{said}");
    let out = folder.join("out");
    let pictures =
        ["00000-t-shirt-top.png", "00001-trouser.png", "00077-sneaker.png", "00319-ankle-boot.png"];
    assert_eq!(names(&out), [&pictures[..], &OTHERS].concat());
    let table = json(&out.join("radii.json"));
    expect![[r#"
        [
          {
            "sample": 77,
            "picture": "00077-sneaker.png",
            "label": 7,
            "prediction": 3,
            "radius": 0.0,
            "radii": {
              "1": 0.0,
              "2": 0.0,
              "3": 0.0
            }
          },
          {
            "sample": 0,
            "picture": "00000-t-shirt-top.png",
            "label": 0,
            "prediction": 3,
            "radius": 0.011764705882352941,
            "radii": {
              "1": 0.00392156862745098,
              "2": 0.00784313725490196,
              "3": 0.011764705882352941
            }
          },
          {
            "sample": 1,
            "picture": "00001-trouser.png",
            "label": 1,
            "prediction": 3,
            "radius": 0.01215686274509804,
            "radii": {
              "1": 0.004313725490196079,
              "2": 0.00823529411764706,
              "3": 0.01215686274509804
            }
          }
        ]"#]]
    .assert_eq(&format!("{:#}", table["smallest"]));
    assert_eq!((&table["epoch"], &table["norm"]), (&3.into(), &"linf".into()));
    // The images of the attack command are those of the data set.
    let attack = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.01", "--split", "train"];
    succeed(folder, &[&attack[..], &["--indices", "0,1,77,319", "--save", "attacked"]].concat());
    let images: BTreeMap<String, Tensor> =
        safetensors::load(folder.join("attacked/images.safetensors"), &Device::Cpu)
            .unwrap()
            .into_iter()
            .collect();
    for (i, picture) in pictures.iter().enumerate() {
        assert_eq!(pixels(&out.join(picture)), numbers(&images["clean"].get(i).unwrap()), "{picture}");
    }
    let sheet = fs::read_to_string(out.join("radii.svg")).unwrap();
    assert_eq!(sheet.matches("<image ").count(), 4);
    for word in ["smallest", "largest", "77: Sneaker, taken for", "Dress, radius 0"] {
        assert!(sheet.contains(word), "{word}: {sheet}");
    }
}

#[test]
fn pictures_of_before_are_replaced_and_files_of_others_are_left_alone() {
    let folder = trained();
    let folder = folder.path();
    let out = folder.join("out");
    radii(folder, &["--smallest", "3", "--save", "out"]);
    assert!(out.join("00077-sneaker.png").exists());
    fs::write(out.join("00005-mine.png"), "mine").unwrap();
    radii(folder, &["--largest", "2", "--save", "out"]);
    let kept = ["00005-mine.png", "00318-bag.png", "00319-ankle-boot.png"];
    assert_eq!(names(&out), [&kept[..], &OTHERS].concat());
    fails(
        folder,
        &["radii", "runs/run", "--save", "data"],
        &expect![[r"
        error: data is not empty and holds no pictures of `temper radii`; choose another place with --save DIR
    "]],
    );
    fails(
        folder,
        &["radii", "runs/run", "--save", "runs/run"],
        &expect![[r"
        error: runs/run is not empty and holds no pictures of `temper radii`; choose another place with --save DIR
    "]],
    );
    fails(
        folder,
        &["radii", "runs/run", "--save", "run.toml"],
        &expect![[r"
        error: run.toml is a file, not a folder: choose another place with --save DIR
    "]],
    );
    // Nothing was created for a command that is refused later.
    refuses(
        folder,
        &["radii", "runs/run", "--epoch", "9", "--save", "new"],
        &expect![[r"
        error: --epoch 9: runs/run has no radii of that epoch, those of 1 to 3 are there
    "]],
    );
    assert!(!folder.join("new").exists());
}

#[test]
fn files_of_images_are_named_and_those_that_cannot_be_decoded_are_left_out() {
    let pipeline = photos::PIPELINE.replace("size = 12", "skip_unreadable = true, size = 12");
    let folder = photos::playground(&pipeline, 10, 4);
    let folder = folder.path();
    fs::write(folder.join("set/train/green/empty.png"), "").unwrap();
    succeed(folder, &["run", "run.toml"]);
    let run = folder.join("runs/run");
    let last = RadiiFile::of(&run).unwrap().pop().unwrap();
    let mut known = last.read().unwrap();
    let torn = 20;
    known.radii = (0..31).map(|i| if i == torn { 0.0 } else { f64::from(i + 1) / 255.0 }).collect();
    known.write(&last.file).unwrap();
    let said = radii(folder, &["--smallest", "2", "--largest", "1", "--save", "out"]);
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    for (index, class, radius, file) in
        [("0", "blue", "1.0", "000"), ("1", "blue", "2.0", "001"), ("30", "red", "31.0", "009")]
    {
        let found = |row: &&Vec<&str>| row.first() == Some(&index) && row.last() == Some(&file);
        let row = rows.iter().find(found).unwrap_or_else(|| panic!("{index}: {said}"));
        assert_eq!((row[2], row[4]), (class, radius), "{said}");
    }
    assert!(said.contains("note    images left out because they cannot be decoded: 1\n"), "{said}");
    // The picture is what the network sees.
    let picture = image_size(&folder.join("out/00030-red.png"));
    assert_eq!(picture, (png::ColorType::Rgb, 12, 12));
    assert_eq!(json(&folder.join("out/radii.json"))["largest"][0]["file"], "009");
    let shown = succeed(folder, &["show", "runs/run", "--sample", "20", "--split", "train"]);
    let told = "no step used it, because it could not be decoded (a radius is the one that it began with): \
                set/train/green/empty.png: an empty file l-inf radius after";
    assert!(shown.starts_with("training sample 20, of class 1 (green), file empty\n"), "{shown}");
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(told), "{shown}");
}

fn image_size(file: &Path) -> (png::ColorType, u32, u32) {
    let reader =
        png::Decoder::new(std::io::BufReader::new(fs::File::open(file).unwrap())).read_info().unwrap();
    (reader.info().color_type, reader.info().width, reader.info().height)
}
