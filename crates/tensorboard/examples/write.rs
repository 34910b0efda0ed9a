//! Writes the event file that `tests/read_back.py` reads: `cargo run -p temper-tensorboard --example write -- FOLDER`.

use std::error::Error;
use std::path::Path;

use temper_tensorboard::EventFile;

/// An RGB image of 3 x 2 pixels: red, green, blue; black, grey, white.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0\x12\x16\xf1M\0\0\0\x1aIDATx\xda\
    \x05\xc1\x81\x01\0 \x08\xc0 \xecr\xbd|\x81\x10z\xc3\xde\x96\x0f9\x84\x06\x80\x10Q\xe7.\0\0\0\0IEND\xaeB`\x82";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("expected FOLDER")?;
    let mut file = EventFile::create(Path::new(&folder))?;
    for epoch in 0..3 {
        file.scalar("loss/train", epoch, 1.0 / (epoch as f64 + 1.0))?;
        let radii: Vec<f64> = (0..=60).map(|i| f64::from(i) * epoch as f64 / 255.0).collect();
        file.histogram("radii", epoch, &radii)?;
    }
    file.scalar("loss/train", 3, f64::NAN)?;
    file.image("images/adversarial", 3, PNG)?;
    Ok(())
}
