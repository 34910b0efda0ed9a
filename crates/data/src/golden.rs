//! Decoding and resizing compared with Pillow and torchvision; `fixtures/photos.py` made the files.

use std::fs;
use std::path::Path;

use crate::decode::decode;
use crate::fit::Fit;
use crate::image::Image;
use crate::resize::{Window, resize};

fn bytes(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

fn image(name: &str) -> Image {
    decode(&bytes(name)).unwrap_or_else(|what| panic!("{name}: {what}"))
}

#[test]
fn png_files_give_the_bits_of_pillow() {
    for name in ["alpha", "grey-alpha", "palette", "bits", "deep", "deep-grey"] {
        assert!(image(&format!("{name}.png")) == image(&format!("{name}.rgb.png")), "{name}");
    }
}

#[test]
fn jpeg_files_give_the_bits_of_pillow() {
    for name in ["halved", "wide", "full", "progressive", "restarts", "grey", "cmyk", "ycck", "turned"] {
        assert!(image(&format!("{name}.jpg")) == image(&format!("{name}.rgb.png")), "{name}");
    }
}

#[test]
fn jpeg_files_of_all_samplings_and_sizes_give_the_bits_of_pillow() {
    let all = bytes("jpegs.bin");
    let mut rest = &all[..];
    let mut take = |len: usize| rest.split_off(..len).unwrap_or_default();
    let mut files = 0;
    while let &[w0, w1, h0, h1, n0, n1, name] = take(7) {
        let [width, height, len] = [[w0, w1], [h0, h1], [n0, n1]].map(|two| u16::from_le_bytes(two).into());
        let name = String::from_utf8_lossy(take(name.into()));
        let got = decode(take(len)).unwrap_or_else(|what| panic!("{name}, {width} x {height}: {what}"));
        let pixels = take(3 * width * height);
        let wanted = (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3)).copied().collect();
        let wanted = Image::of_bytes([3, height, width], wanted);
        assert_eq!(got.shape, wanted.shape, "{name}");
        let most = got.bytes().iter().zip(&*wanted.bytes()).map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(most, Some(0), "{name}, {width} x {height}");
        files += 1;
    }
    assert_eq!(files, 234);
}

/// Cameras append other data, such as films, to a photo.
#[test]
fn what_follows_the_end_of_a_jpeg_file_does_not_count() {
    let bytes = bytes("halved.jpg");
    let more = [&bytes[..], b"xx\xff\xdaxx\xff\xd9 \xff\xda"].concat();
    assert!(decode(&more).unwrap() == decode(&bytes).unwrap());
    assert_eq!(decode(&bytes[..bytes.len() - 2]).unwrap_err(), "truncated JPEG: it has no end");
}

#[test]
fn resizing_gives_the_bits_of_torchvision() {
    let tall = image("tall.png");
    for (to, size) in [(24, 20), (31, 31), (40, 35)] {
        let fit = Fit::new(to, size).unwrap();
        assert!(fit.apply(&tall) == image(&format!("fit-{to}-{size}.png")), "{to} {size}");
    }
    for (top, left, height, width, size) in [(3, 5, 40, 20, 16), (10, 0, 9, 31, 24), (44, 30, 1, 1, 5)] {
        let all = Window { top: 0, left: 0, height: size, width: size };
        let got = resize(&tall, Window { top, left, height, width }, [size, size], all);
        assert!(got == image(&format!("crop-{top}-{left}-{height}-{width}-{size}.png")), "{top} {left}");
    }
}

#[test]
fn cut_and_damaged_files_are_errors_or_images_but_never_a_panic() {
    for name in ["halved.jpg", "progressive.jpg", "restarts.jpg", "cmyk.jpg", "palette.png", "deep.png"] {
        let whole = bytes(name);
        // The last bytes of a PNG file and the end marker of a JPEG file carry no pixels.
        for len in 0..whole.len() - 16 {
            assert!(decode(&whole[..len]).is_err(), "{name}: cut to {len} of {}", whole.len());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            if let Err(what) = decode(&damaged) {
                assert!(!what.contains("the decoder failed"), "{name}: byte {at}: {what}");
                assert!(!what.contains('\n') && what.len() > 10, "{name}: byte {at}: {what}");
            }
        }
    }
}
