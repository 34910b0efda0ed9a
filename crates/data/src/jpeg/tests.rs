//! Tests with modified copies of `fixtures/*.jpg`.

use std::fs;
use std::path::Path;

use super::Jpeg;
use crate::image::Image;

/// The segments of a fixture, each with its marker; scans include their data.
fn parts(name: &str) -> Vec<Vec<u8>> {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap();
    let (mut parts, mut at) = (vec![bytes[..2].to_vec()], 2);
    while at < bytes.len() {
        let mut end = at + 2;
        if bytes[at + 1] != 0xd9 {
            end += usize::from(u16::from_be_bytes([bytes[end], bytes[end + 1]]));
        }
        if bytes[at + 1] == 0xda {
            end += bytes[end..]
                .windows(2)
                .position(|two| two[0] == 0xff && !matches!(two[1], 0 | 0xd0..=0xd7))
                .unwrap();
        }
        parts.push(bytes[at..end].to_vec());
        at = end;
    }
    parts
}

fn decoded(bytes: &[u8]) -> Result<Image, String> {
    Jpeg::new(bytes).and_then(Jpeg::image).map_err(|fault| fault.to_string())
}

fn image(parts: &[Vec<u8>]) -> Result<Image, String> {
    decoded(&parts.concat())
}

/// The indices of the segments with a marker.
fn places(parts: &[Vec<u8>], marker: u8) -> Vec<usize> {
    (0..parts.len()).filter(|at| parts[*at][1] == marker).collect()
}

const FILES: [&str; 4] = ["halved.jpg", "progressive.jpg", "restarts.jpg", "cmyk.jpg"];

#[test]
fn tables_that_a_file_leaves_out_are_the_usual_ones() {
    let mut parts = parts("halved.jpg");
    let whole = image(&parts).unwrap();
    parts.retain(|part| part[1] != 0xc4);
    assert!(image(&parts).unwrap() == whole);
}

#[test]
fn missing_bits_are_an_error_though_the_file_ends_as_it_should() {
    for name in FILES {
        let parts = parts(name);
        for scan in places(&parts, 0xda) {
            for cut in 1..40.min(parts[scan].len() / 2) {
                let mut parts = parts.clone();
                let len = parts[scan].len();
                parts[scan].truncate(len - cut);
                assert!(image(&parts).is_err(), "{name}: scan in part {scan} without its last {cut} bytes");
            }
        }
    }
    let mut parts = parts("halved.jpg");
    let scan = places(&parts, 0xda)[0];
    parts[scan].truncate(60);
    assert_eq!(image(&parts).unwrap_err(), "damaged JPEG: its data end too soon");
}

#[test]
fn bytes_between_parts_are_an_error_and_after_the_image_nothing() {
    for name in FILES {
        let parts = parts(name);
        let whole = image(&parts).unwrap();
        for at in 1..parts.len() {
            let with = |stray: &[u8]| {
                let mut parts = parts.clone();
                parts.insert(at, stray.to_vec());
                image(&parts)
            };
            // Anything after the last scan is ignored; after other scans it could be data.
            let last = at + 1 == parts.len();
            let behind = parts[at - 1][1] == 0xda;
            for stray in [&[0x12, 0x34, 0x56][..], &[0; 40]] {
                match with(stray) {
                    Ok(image) => assert!(last && image == whole, "{name}: part {at}"),
                    Err(what) => {
                        assert!(!last && what == "damaged JPEG: stray bytes between its parts", "{what}");
                    }
                }
            }
            assert_eq!(with(&[0]).is_ok(), last || !behind, "{name}: part {at}");
            assert!(with(&[0xff; 9]).unwrap() == whole, "{name}: part {at}");
        }
    }
}

#[test]
fn restarts_must_come_where_they_are_due() {
    let file = parts("restarts.jpg").concat();
    let places: Vec<usize> =
        (0..file.len() - 1).filter(|at| file[*at] == 0xff && file[at + 1] & 0xf8 == 0xd0).collect();
    assert_eq!(places.len(), 2);
    for (restart, at) in places.iter().enumerate() {
        let mut other = file.clone();
        other[at + 1] ^= 1;
        let mut stray = file.clone();
        stray.insert(*at, 0x55);
        let without = [&file[..*at], &file[at + 2..]].concat();
        for bytes in [other, stray, without] {
            let what = decoded(&bytes).unwrap_err();
            assert!(what.starts_with("damaged JPEG: "), "{restart}: {what}");
        }
        let filled = [&file[..*at], &[0xff; 3], &file[*at..]].concat();
        assert!(decoded(&filled).is_ok(), "{restart}");
    }
}

#[test]
fn what_is_not_read_is_named() {
    let parts = parts("halved.jpg");
    let frame = places(&parts, 0xc0)[0];
    let with = |at: usize, value: u8| {
        let mut parts = parts.clone();
        parts[frame][at] = value;
        image(&parts).unwrap_err()
    };
    assert_eq!(with(1, 0xc3), "a JPEG file with lossless coding, which is not read");
    assert_eq!(with(1, 0xc9), "a JPEG file with arithmetic coding, which is not read");
    assert_eq!(with(4, 12), "a JPEG file with samples of other than 8 bits, which is not read");
    assert_eq!(with(9, 2), "damaged JPEG: a frame that does not list its components");
    assert_eq!(with(11, 0x50), "damaged JPEG: a component with impossible numbers");
    // Luma is three blocks wide, chroma two.
    let mut odd = parts.clone();
    (odd[frame][11], odd[frame][14]) = (0x31, 0x21);
    assert_eq!(
        image(&odd).unwrap_err(),
        "a JPEG file with components whose sizes are no whole parts of the image's, which is not read"
    );
    let mut two = parts.clone();
    two[frame].truncate(16);
    (two[frame][3], two[frame][9]) = (14, 2);
    assert_eq!(
        image(&two).unwrap_err(),
        "a JPEG file with other than one, three or four components, which is not read"
    );
    assert_eq!(decoded(b"\xff\xd8\xff\xd9").unwrap_err(), "damaged JPEG: it ends before its image begins");
}

#[test]
fn a_progressive_file_that_leaves_out_scans_is_taken_as_it_is() {
    let mut parts = parts("progressive.jpg");
    let whole = image(&parts).unwrap();
    let last = *places(&parts, 0xda).last().unwrap();
    parts.remove(last);
    let coarse = image(&parts).unwrap();
    let sum: u32 = coarse.bytes().iter().zip(&*whole.bytes()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(coarse != whole && sum < 5 * whole.len() as u32, "{sum}");
    // Without its first scan the file contains no image.
    let first = places(&parts, 0xda)[0];
    parts.truncate(first);
    parts.push(vec![0xff, 0xd9]);
    assert!(image(&parts).is_err());
}
