//! A sheet of corrupted pictures: a row for each kind, the clean image and five severities in each.
//!
//! `cargo run --release -p temper-corruptions --example sheet -- OUT.png PARAMETERS PICTURE [SCALE]`, where
//! PARAMETERS is `cifar` or `imagenet`, PICTURE is a JPEG or PNG file, or `FILE.bin:N` for image N of a
//! binary batch of CIFAR-10, and every pixel is drawn SCALE times as large. It prints the milliseconds that
//! each kind takes.

use std::fs::{self, File};
use std::io::BufWriter;
use std::process::ExitCode;
use std::time::Instant;

use temper_corruptions::{CorruptionKind, CorruptionSeverity, Frost, Generator, Parameters};
use temper_data::Image;

/// Bytes of a record of CIFAR-10: a label, then three planes of 32 x 32.
const RECORD: usize = 1 + 3 * 32 * 32;
/// Images of a kind and severity that are timed.
const TIMED: u64 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [out, parameters, picture] => sheet(out, parameters, picture, "1"),
        [out, parameters, picture, scale] => sheet(out, parameters, picture, scale),
        _ => Err("usage: sheet OUT.png cifar|imagenet PICTURE [SCALE]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn sheet(out: &str, parameters: &str, picture: &str, scale: &str) -> Result<(), String> {
    let scale = scale.parse::<usize>().map_err(|fault| format!("SCALE is {scale}: {fault}"))?;
    let parameters = match parameters {
        "cifar" => Parameters::Cifar,
        "imagenet" => Parameters::ImageNet,
        other => return Err(format!("PARAMETERS is {other}, expected cifar or imagenet")),
    };
    let clean = read(picture)?;
    let started = Instant::now();
    let generator = Generator::new(parameters, 0, Frost::drawn());
    println!("{:<18} {:>6.1} ms", "drawing frost", 1e3 * started.elapsed().as_secs_f64());
    let mut rows = vec![];
    for kind in CorruptionKind::ALL {
        let mut row = vec![clean.clone()];
        print!("{:<18}", kind.name());
        for severity in CorruptionSeverity::ALL {
            let corrupt =
                |id| generator.corrupt(&clean, kind, severity, id).map_err(|fault| fault.to_string());
            row.push(corrupt(0)?);
            let started = Instant::now();
            for id in 1..=TIMED {
                corrupt(id)?;
            }
            print!(" {:>7.2}", 1e3 * started.elapsed().as_secs_f64() / TIMED as f64);
        }
        println!(" ms an image");
        rows.push(row);
    }
    write(out, &rows, scale).map_err(|fault| format!("{out}: {fault}"))
}

fn read(picture: &str) -> Result<Image, String> {
    let bytes = |file: &str| fs::read(file).map_err(|fault| format!("{file}: {fault}"));
    match picture.rsplit_once(".bin:") {
        Some((file, n)) => {
            let (file, n) =
                (format!("{file}.bin"), n.parse::<usize>().map_err(|fault| format!("{n}: {fault}"))?);
            let batch = bytes(&file)?;
            let record =
                batch.chunks_exact(RECORD).nth(n).ok_or_else(|| format!("{file} has no image {n}"))?;
            Ok(Image::of_bytes([3, 32, 32], record[1..].to_vec()))
        }
        None => temper_data::decode(&bytes(picture)?).map_err(|fault| format!("{picture}: {fault}")),
    }
}

/// Pictures side by side and below each other, with a line of white between them.
fn write(out: &str, rows: &[Vec<Image>], scale: usize) -> Result<(), Box<dyn std::error::Error>> {
    let Some(first) = rows.first().and_then(|row| row.first()) else { return Ok(()) };
    let [_, h, w] = first.shape;
    let (tall, wide) = (h * scale + 2, w * scale + 2);
    let (height, width) = (tall * rows.len(), wide * rows.iter().map(Vec::len).max().unwrap_or(0));
    let mut pixels = vec![255; 3 * height * width];
    for (top, row) in rows.iter().enumerate() {
        for (left, image) in row.iter().enumerate() {
            let bytes = image.bytes();
            for at in 0..h * w * scale * scale {
                let (y, x) = (at / (w * scale), at % (w * scale));
                let to = 3 * ((top * tall + y) * width + left * wide + x);
                for c in 0..3 {
                    pixels[to + c] = bytes[(c * h + y / scale) * w + x / scale];
                }
            }
        }
    }
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(out)?), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(())
}
