//! The messages of event files: protocol buffers with the field numbers of TensorFlow's `event.proto` and
//! `summary.proto`. They are few, and `prost` would double the time that this crate takes to build.

use temper_files::protobuf::{bytes, double, float, number};

use crate::histogram::Histogram;

/// The format's name and version, which the first event of a file states.
const VERSION: &str = "brain.Event:2";

/// A value of a step.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    /// A number.
    Scalar(f32),
    /// A distribution.
    Histogram(&'a Histogram),
    /// A PNG file: its width and height in pixels, and its channels.
    Image { png: &'a [u8], size: [usize; 3] },
}

/// The event that states the version of the format. Times are in seconds since 1970.
pub(crate) fn version(time: f64) -> Vec<u8> {
    let mut event = vec![];
    double(1, time, &mut event);
    bytes(3, VERSION.as_bytes(), &mut event);
    event
}

/// The event of one value.
pub(crate) fn summary(time: f64, step: usize, tag: &str, value: &Value) -> Vec<u8> {
    let (mut tagged, mut summary, mut event) = (vec![], vec![], vec![]);
    bytes(1, tag.as_bytes(), &mut tagged);
    match value {
        Value::Scalar(scalar) => float(2, *scalar, &mut tagged),
        Value::Histogram(histogram) => bytes(5, &distribution(histogram), &mut tagged),
        Value::Image { png, size: [width, height, channels] } => {
            let mut image = vec![];
            for (field, side) in [(1, height), (2, width), (3, channels)] {
                number(field, *side as u64, &mut image);
            }
            bytes(4, png, &mut image);
            bytes(4, &image, &mut tagged);
        }
    }
    bytes(1, &tagged, &mut summary);
    double(1, time, &mut event);
    number(2, step as u64, &mut event);
    bytes(5, &summary, &mut event);
    event
}

/// The message of a histogram.
fn distribution(histogram: &Histogram) -> Vec<u8> {
    let Histogram { min, max, count, sum, sum_of_squares, limits, counts } = histogram;
    let mut all = vec![];
    for (field, value) in (1..).zip([min, max, count, sum, sum_of_squares]) {
        double(field, *value, &mut all);
    }
    for (field, values) in [(6, limits), (7, counts)] {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes(field, &packed, &mut all);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: f64 = 1_700_000_000.5;

    /// The bytes of hexadecimal digits. The digits of these tests are those of `SerializeToString` of the messages in
    /// `tensorboard.compat.proto` with the same fields (tensorboard 2.21.0, protobuf 7.36.2).
    fn unhex(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_version_has_the_bytes_of_protobuf() {
        assert_eq!(version(TIME), unhex("0900002040fc54d9411a0d627261696e2e4576656e743a32"));
    }

    #[test]
    fn scalars_have_the_bytes_of_protobuf() {
        let event = summary(TIME, 300, "loss/train", &Value::Scalar(0.25));
        let told = "0900002040fc54d94110ac022a130a110a0a6c6f73732f747261696e150000803e";
        assert_eq!(event, unhex(told));
    }

    #[test]
    fn histograms_have_the_bytes_of_protobuf() {
        let histogram = Histogram {
            min: -1.0,
            max: 2.0,
            count: 3.0,
            sum: 1.5,
            sum_of_squares: 5.25,
            limits: vec![0.5, 2.0],
            counts: vec![1.0, 2.0],
        };
        let told = concat!(
            "0900002040fc54d94110072a5c0a5a0a0572616469692a51",
            "09000000000000f0bf110000000000000040190000000000000840",
            "21000000000000f83f290000000000001540",
            "3210000000000000e03f0000000000000040",
            "3a10000000000000f03f0000000000000040",
        );
        assert_eq!(summary(TIME, 7, "radii", &Value::Histogram(&histogram)), unhex(told));
    }

    #[test]
    fn images_have_the_bytes_of_protobuf() {
        let image = Value::Image { png: b"\x89PNG", size: [3, 2, 3] };
        let told = "0900002040fc54d94110012a130a110a0178220c080210031803220489504e47";
        assert_eq!(summary(TIME, 1, "x", &image), unhex(told));
    }
}
