//! Frost: textures of ice, from pictures or drawn by temper.

use std::f32::consts::{FRAC_PI_3, TAU};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use temper_data::{Image, Rng};

use crate::parameters::Parameters;
use crate::planes::{Planes, Size};
use crate::refusal::Refusal;
use crate::weather::plasma;

/// The names of the five photos that the authors use, without extensions. Their code never uses a sixth one.
const AUTHORS: [&str; 5] = ["frost1", "frost2", "frost3", "frost4", "frost5"];
/// Number of drawn textures, the same as in the published code.
const DRAWN: usize = AUTHORS.len();
/// Maximum size of all textures of a folder in bytes, which stay in memory; those of the authors have 14
/// million.
const LARGEST: usize = 1 << 30;
/// Side of a drawn texture in pixels.
const SIDE: usize = 512;
/// Number of crystals of a drawn texture.
const CRYSTALS: usize = 22;

/// Textures of ice.
///
/// The published images were made with five photos, which are not part of temper. [`Frost::from_folder`]
/// reads these or any others. [`Frost::drawn`] draws textures: crystals that branch at 60 degrees, on clouds
/// of blue.
#[derive(Debug, Clone)]
pub struct Frost {
    textures: Vec<Texture>,
    /// Where they come from, for the run's output.
    origin: String,
}

/// One RGB texture.
#[derive(Debug, Clone)]
struct Texture {
    file: PathBuf,
    image: Image,
    /// Whether it is periodic.
    endless: bool,
}

impl Frost {
    /// Five textures that temper draws, the same for every seed.
    pub fn drawn() -> Self {
        let texture =
            |n| Texture { file: PathBuf::from(format!("drawn texture {n}")), image: draw(n), endless: true };
        Self { textures: (1..=DRAWN as u64).map(texture).collect(), origin: "drawn frost".into() }
    }

    /// Reads the pictures of a folder. If the folder contains one file of each of the authors' names
    /// (`frost1.png`, `frost2.png`, `frost3.png`, `frost4.jpg`, `frost5.jpg`, with any extension), only these
    /// five are used. Otherwise all JPEG and PNG files of the folder and its subfolders are used, sorted by
    /// name. The error names the file or folder that cannot be used.
    pub fn from_folder(folder: &Path) -> Result<Self, Refusal> {
        Self::within(folder, LARGEST)
    }

    /// The same with a maximum size of the pixels in bytes.
    fn within(folder: &Path, largest: usize) -> Result<Self, Refusal> {
        let all = temper_data::list(folder)?.images;
        let authors = theirs(&all);
        let what = match (&authors, all.len()) {
            (Some(_), _) => "frost1 to frost5".into(),
            (None, 1) => "one texture".into(),
            (None, n) => format!("{n} textures"),
        };
        let (mut textures, mut left) = (vec![], largest);
        for file in authors.unwrap_or(all) {
            let file = folder.join(file);
            let image = match temper_data::decode_file(&file)? {
                Ok(image) => image,
                Err(what) => return Err(temper_data::Error::Malformed { file, at: None, what }.into()),
            };
            left = left.checked_sub(image.len()).ok_or_else(|| Refusal::ManyTextures {
                folder: folder.to_path_buf(),
                read: textures.len(),
                largest,
            })?;
            textures.push(Texture { file, image, endless: false });
        }
        match textures.is_empty() {
            true => Err(Refusal::NoTexture { folder: folder.to_path_buf() }),
            false => Ok(Self { textures, origin: format!("frost of {}, {what}", folder.display()) }),
        }
    }

    /// Where they come from, for the run's output: a folder and the number of its pictures, or "drawn frost".
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A hash (SHA-256) of the textures in order, independent of their source. It identifies the textures of
    /// stored results.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for Texture { image, endless, .. } in &self.textures {
            for side in image.shape {
                hash.update((side as u64).to_le_bytes());
            }
            hash.update([u8::from(*endless)]);
            hash.update(image.bytes());
        }
        temper_files::hex(&hash.finalize())
    }

    /// Checks that each texture is at least as large as the image. The error names the first smaller texture.
    pub(crate) fn check(&self, parameters: Parameters, size: Size) -> Result<(), Refusal> {
        let needed = size.map(|side| side * stride(parameters));
        for Texture { file, image: Image { shape: [_, h, w], .. }, endless } in &self.textures {
            if !endless && (*h < needed[0] || *w < needed[1]) {
                return Err(Refusal::SmallTexture { file: file.clone(), size: [*h, *w], needed });
            }
        }
        Ok(())
    }

    /// `image` times the image plus `ice` times a random crop of a random texture.
    pub(crate) fn lay(
        &self,
        planes: &mut Planes,
        [image, ice]: [f32; 2],
        parameters: Parameters,
        rng: &mut ChaCha8Rng,
    ) {
        let Some(texture) =
            self.textures.get(rng.random_range(0..self.textures.len().max(1) as u32) as usize)
        else {
            return;
        };
        let ([h, w], stride) = (planes.size, stride(parameters));
        let part = texture.part([h, w], stride, rng);
        // On a grey image the mean of the colours is used.
        let ice = match planes.channels {
            1 => part.chunks_exact(h * w).fold(vec![0.0; h * w], |mut grey, plane| {
                grey.iter_mut().zip(plane).for_each(|(sum, value)| *sum += ice / 3.0 * value);
                grey
            }),
            _ => part.iter().map(|value| ice * value).collect(),
        };
        planes.values.iter_mut().zip(ice).for_each(|(value, ice)| *value = image * *value + ice);
    }
}

/// The files with the authors' names, one of each, if a folder contains all of them.
fn theirs(files: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let one = |name| {
        // Only in the folder itself, not in subfolders.
        let mut named = files.iter().filter(|file| *file == Path::new(file.file_name().unwrap_or_default()));
        let found = named.find(|file| file.file_stem().is_some_and(|stem| stem == name))?;
        named.all(|file| file.file_stem().is_none_or(|stem| stem != name)).then(|| found.clone())
    };
    AUTHORS.into_iter().map(one).collect()
}

/// For images as small as CIFAR's the texture is reduced to a fifth of its size by taking every fifth pixel.
fn stride(parameters: Parameters) -> usize {
    match parameters {
        Parameters::Cifar => 5,
        Parameters::ImageNet => 1,
    }
}

impl Texture {
    /// A random crop, `[3, h, w]`.
    fn part(&self, [h, w]: Size, stride: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let [_, tall, wide] = self.image.shape;
        let mut start = |side: usize, needed: usize| {
            let last = if self.endless { side - 1 } else { (side / stride).saturating_sub(needed) };
            rng.random_range(0..=last as u32) as usize
        };
        let (top, left) = (start(tall, h), start(wide, w));
        // A periodic texture can start at any pixel.
        let begin = |at: usize| if self.endless { at } else { at * stride };
        let place = |begin: usize, at: usize, side: usize| (begin + at * stride + stride / 2) % side;
        let mut part = Vec::with_capacity(3 * h * w);
        for plane in self.image.bytes().chunks_exact(tall * wide) {
            for y in 0..h {
                let row = &plane[place(begin(top), y, tall) * wide..][..wide];
                part.extend((0..w).map(|x| f32::from(row[place(begin(left), x, wide)]) / 255.0));
            }
        }
        part
    }
}

/// A periodic texture.
fn draw(n: u64) -> Image {
    let mut rng = Rng::new(0, "texture of frost").sample(n);
    let (clouds, grain) = (plasma(SIDE, 1.5, &mut rng), plasma(SIDE, 1.1, &mut rng));
    let mut ice = vec![0.0; SIDE * SIDE];
    for _ in 0..CRYSTALS {
        let start = [0, 1].map(|_| rng.random_range(0.0..SIDE as f32));
        let (turn, arms) = (rng.random_range(0.0..TAU), rng.random_range(1..=6));
        for arm in 0..arms {
            let stem = Stem {
                start,
                angle: turn + FRAC_PI_3 * arm as f32,
                length: rng.random_range(60.0..240.0),
                width: rng.random_range(3.0..7.0),
                brightness: rng.random_range(0.5..1.0),
            };
            stem.grow(&mut ice, 0, &mut rng);
        }
    }
    let mut bytes = Vec::with_capacity(3 * SIDE * SIDE);
    // From dark over blue to white.
    for (dark, pale, white) in [(18.0, 150.0, 236.0), (34.0, 178.0, 245.0), (58.0, 205.0, 255.0)] {
        let pixels = clouds.iter().zip(&grain).zip(&ice);
        bytes.extend(pixels.map(|((cloud, grain), ice)| {
            let ground: f32 = dark + (pale - dark) * cloud * cloud;
            let ice = ice * (0.55 + 0.6 * grain);
            (ground + (white - ground) * ice).clamp(0.0, 255.0) as u8
        }));
    }
    Image::of_bytes([3, SIDE, SIDE], bytes)
}

/// A needle of ice; lengths in pixels.
struct Stem {
    start: [f32; 2],
    angle: f32,
    length: f32,
    /// Half the width at its base.
    width: f32,
    brightness: f32,
}

impl Stem {
    /// Draws the needle, and its branches on both sides, which are longer near the base.
    fn grow(self, ice: &mut [f32], depth: usize, rng: &mut ChaCha8Rng) {
        let (mut at, mut angle, mut until) = (self.start, self.angle, rng.random_range(4.0..9.0_f32));
        let bend = rng.random_range(-0.004..0.004);
        for step in 0..self.length as usize {
            let left = 1.0 - step as f32 / self.length;
            dab(ice, at, 0.8 + self.width * left, self.brightness * (0.4 + 0.6 * left));
            angle += bend;
            at = [at[0] + angle.sin(), at[1] + angle.cos()];
            until -= 1.0;
            if depth < 2 && until < 0.0 {
                until = rng.random_range(5.0..14.0);
                for side in [-FRAC_PI_3, FRAC_PI_3] {
                    let branch = Self {
                        start: at,
                        angle: angle + side,
                        length: self.length * left * rng.random_range(0.15..0.5),
                        width: self.width * left * rng.random_range(0.3..0.7),
                        brightness: self.brightness * rng.random_range(0.6..0.95),
                    };
                    branch.grow(ice, depth + 1, rng);
                }
            }
        }
    }
}

/// Whitens the pixels within `reach` of a point, more strongly near the point.
fn dab(ice: &mut [f32], [y, x]: [f32; 2], reach: f32, brightness: f32) {
    let around = |at: f32| (at - reach).ceil() as isize..=(at + reach).floor() as isize;
    for row in around(y) {
        for column in around(x) {
            let distance = (row as f32 - y).hypot(column as f32 - x) / reach;
            let [row, column] = [row, column].map(|at| at.rem_euclid(SIDE as isize) as usize);
            let pixel = &mut ice[row * SIDE + column];
            *pixel = pixel.max(brightness * (1.0 - distance.powi(4)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::kind::{CorruptionKind, CorruptionSeverity};

    impl Frost {
        /// For tests that need no textures.
        pub(crate) fn none() -> Self {
            Self { textures: vec![], origin: "no frost".into() }
        }
    }

    fn picture(file: &Path, width: u32, height: u32) {
        let mut encoder = png::Encoder::new(fs::File::create(file).unwrap(), width, height);
        encoder.set_color(png::ColorType::Rgb);
        // Level x of red in column x, level y of green in row y.
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 9]));
        encoder.write_header().unwrap().write_image_data(&pixels.collect::<Vec<u8>>()).unwrap();
    }

    #[test]
    fn every_fifth_pixel_of_a_picture_is_laid_on_small_images() {
        let folder = tempfile::tempdir().unwrap();
        picture(&folder.path().join("frost1.png"), 60, 50);
        let frost = Frost::from_folder(folder.path()).unwrap();
        let mut corners = std::collections::BTreeSet::new();
        for (parameters, stride, shift) in [(Parameters::Cifar, 5, 2), (Parameters::ImageNet, 1, 0)] {
            for id in 0..50 {
                let mut planes = Planes { channels: 3, size: [9, 10], values: vec![0.5; 270] };
                frost.lay(&mut planes, [0.0, 1.0], parameters, &mut Rng::new(0, "frost").sample(id));
                let bytes = planes.image().bytes().into_owned();
                let (left, top) = (usize::from(bytes[0]), usize::from(bytes[90]));
                assert!(left % stride == shift && top % stride == shift && left + 9 * stride < 60);
                assert!((0..90).all(|at| usize::from(bytes[at]) == left + at % 10 * stride));
                assert!((0..90).all(|at| usize::from(bytes[90 + at]) == top + at / 10 * stride));
                corners.insert((left, top));
            }
        }
        assert!(corners.len() > 30, "{corners:?}");
        // A grey image gets the mean of the colours.
        let mut planes = Planes { channels: 1, size: [9, 10], values: vec![0.0; 90] };
        frost.lay(&mut planes, [1.0, 1.0], Parameters::ImageNet, &mut Rng::new(0, "frost").sample(0));
        let mean = |at: usize| planes.values[at] * 255.0;
        assert!((mean(1) - mean(0) - 1.0 / 3.0).abs() < 1e-3);
    }

    #[test]
    fn a_folder_that_gives_no_frost_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let refused = || Frost::from_folder(folder.path()).unwrap_err().to_string();
        assert!(refused().starts_with(&format!("{at}: no texture of frost in this folder")));
        fs::write(folder.path().join("frost1.jpg"), "hello").unwrap();
        assert_eq!(refused(), format!("{at}/frost1.jpg: neither JPEG nor PNG"));
        fs::remove_file(folder.path().join("frost1.jpg")).unwrap();
        picture(&folder.path().join("frost2.png"), 159, 300);
        let generator =
            |parameters| crate::Generator::new(parameters, 0, Frost::from_folder(folder.path()).unwrap());
        let image = Image::of_bytes([3, 32, 32], vec![0; 3072]);
        let corrupt = |parameters| {
            generator(parameters).corrupt(&image, CorruptionKind::Frost, CorruptionSeverity::ALL[0], 0)
        };
        assert_eq!(
            corrupt(Parameters::Cifar).unwrap_err().to_string(),
            format!(
                "{at}/frost2.png: a texture of frost of 300 x 159 pixels (height x width), these images need at least 160 x 160"
            )
        );
        assert!(corrupt(Parameters::ImageNet).is_ok());
        assert!(
            Frost::from_folder(&folder.path().join("nowhere"))
                .unwrap_err()
                .to_string()
                .starts_with("cannot read ")
        );
    }

    #[test]
    fn textures_beyond_memory_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for name in ["a", "b", "c"] {
            picture(&at.join(format!("{name}.png")), 10, 10);
        }
        assert_eq!(Frost::within(at, 900).unwrap().textures.len(), 3);
        let said = Frost::within(at, 899).unwrap_err().to_string();
        assert_eq!(
            said.replace(at.to_str().unwrap(), "AT"),
            "AT: more than 899 bytes of pixels after 2 textures of frost, which stay in memory\n  name a folder with fewer \
             or smaller pictures"
        );
        // A sparse file of 20 GiB.
        fs::write(at.join("d.jpg"), [0xff, 0xd8]).unwrap();
        fs::File::options().write(true).open(at.join("d.jpg")).unwrap().set_len(20 << 30).unwrap();
        let said = Frost::from_folder(at).unwrap_err().to_string();
        assert!(said.ends_with("d.jpg: 21474836480 bytes, expected at most 268435456 of an image"), "{said}");
    }

    #[test]
    fn drawn_textures_are_dark_and_bright_and_differ() {
        let frost = Frost::drawn();
        for (n, texture) in frost.textures.iter().enumerate() {
            let share = |range: std::ops::Range<u8>| {
                let within = texture.image.bytes().iter().filter(|byte| range.contains(byte)).count();
                within as f64 / texture.image.len() as f64
            };
            assert!(
                share(0..100) > 0.1 && share(180..255) > 0.02,
                "{n}: {} {}",
                share(0..100),
                share(180..255)
            );
            assert!(frost.textures[..n].iter().all(|other| other.image != texture.image));
        }
    }

    /// A picture of one level.
    fn flat(file: &Path, level: u8) {
        let image = Image::of_bytes([3, 40, 50], vec![level; 6000]);
        fs::write(file, temper_data::encode(&image).unwrap()).unwrap();
    }

    /// How often each level is used in 1000 draws.
    fn levels_of(frost: &Frost) -> std::collections::BTreeMap<u8, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for id in 0..1000 {
            let mut planes = Planes { channels: 3, size: [8, 8], values: vec![0.5; 192] };
            frost.lay(&mut planes, [0.0, 1.0], Parameters::Cifar, &mut Rng::new(0, "choice").sample(id));
            *counts.entry(planes.image().bytes()[0]).or_default() += 1;
        }
        counts
    }

    #[test]
    fn of_the_authors_photos_five_are_laid_on_as_often_as_each_other_and_of_others_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let frost = || Frost::from_folder(at).unwrap();
        let origin = || frost().origin().replace(at.to_str().unwrap(), "AT");
        for n in 1..=6 {
            flat(&at.join(format!("frost{n}.{}", if n < 4 { "png" } else { "jpg" })), 10 * n);
        }
        let even = |levels: &[u8], least: usize, most: usize| {
            let counts = levels_of(&frost());
            assert_eq!(counts.keys().copied().collect::<Vec<_>>(), levels);
            assert!(counts.values().all(|count| (least..most).contains(count)), "{counts:?}");
        };
        even(&[10, 20, 30, 40, 50], 150, 250);
        assert_eq!(origin(), "frost of AT, frost1 to frost5");
        let five = frost().fingerprint();
        fs::rename(at.join("frost2.png"), at.join("ice2.png")).unwrap();
        even(&[10, 20, 30, 40, 50, 60], 120, 215);
        assert_eq!(origin(), "frost of AT, 6 textures");
        // Two files of the same name are not the authors'.
        flat(&at.join("frost2.png"), 20);
        flat(&at.join("frost2.jpg"), 70);
        assert_eq!(origin(), "frost of AT, 8 textures");
        // Files in another folder are not the authors' either.
        fs::create_dir(at.join("more")).unwrap();
        fs::rename(at.join("frost2.jpg"), at.join("more/frost2.jpg")).unwrap();
        assert_eq!(origin(), "frost of AT, frost1 to frost5");
        assert_eq!(frost().fingerprint(), five);
        fs::rename(at.join("more/frost2.jpg"), at.join("frost2.png")).unwrap();
        assert_ne!(frost().fingerprint(), five);
        assert_eq!(Frost::drawn().fingerprint(), Frost::drawn().fingerprint());
        for n in [1, 2, 3, 4, 5] {
            fs::remove_file(at.join(format!("frost{n}.{}", if n < 4 { "png" } else { "jpg" }))).unwrap();
        }
        fs::remove_file(at.join("ice2.png")).unwrap();
        assert_eq!(origin(), "frost of AT, one texture");
    }
}
