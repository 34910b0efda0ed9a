//! Finds images that two splits of a data set have in common.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::source::Source;

/// Number of images of `other` that are also images of `one`, whatever their labels. Images are compared by
/// value, or by file if each has its own file.
pub fn shared_images(one: &dyn Source, other: &dyn Source) -> usize {
    let sizes = |source: &dyn Source| -> Vec<Option<u64>> {
        (0..source.len()).into_par_iter().map(|i| source.file_size(i)).collect()
    };
    // Files and values have different kinds of hashes.
    if one.is_empty() || other.is_empty() || one.file_size(0).is_some() != other.file_size(0).is_some() {
        return 0;
    }
    let (sizes_of_one, sizes_of_other) = (sizes(one), sizes(other));
    // Files of different sizes are different and need not be opened.
    let known: HashSet<Option<u64>> = sizes_of_other.iter().copied().collect();
    let candidates = (0..one.len()).into_par_iter().filter(|i| known.contains(&sizes_of_one[*i]));
    let digests: HashSet<u64> = candidates.filter_map(|i| one.digest(i)).collect();
    let copies = (0..other.len())
        .into_par_iter()
        .filter(|i| !digests.is_empty() && other.digest(*i).is_some_and(|digest| digests.contains(&digest)));
    copies.count()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::error::Result;
    use crate::image::Image;
    use crate::{Fit, Photo, Photos};

    struct Bytes(&'static [u8]);
    impl Source for Bytes {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn classes(&self) -> &[String] {
            &[]
        }
        fn read(&self, index: usize) -> Result<(Image, u32)> {
            Ok((Image::of_bytes([1, 1, 1], vec![self.0[index]]), index as u32))
        }
        fn origin(&self) -> String {
            "bytes".into()
        }
    }

    #[test]
    fn copies_are_counted_whatever_their_place_and_label() {
        assert_eq!(shared_images(&Bytes(&[1, 2, 3]), &Bytes(&[3, 3, 4, 1])), 3);
        assert_eq!(shared_images(&Bytes(&[1, 2, 3]), &Bytes(&[4, 5])), 0);
        assert_eq!(shared_images(&Bytes(&[]), &Bytes(&[4, 5])), 0);
    }

    #[test]
    fn copies_of_files_are_known_without_decoding_them() {
        let folder = tempfile::tempdir().unwrap();
        let photos = |names: &[&str]| Photos {
            root: folder.path().into(),
            photos: names.iter().map(|name| Photo { file: Path::new(name).into(), label: 0 }).collect(),
            classes: vec![],
            fit: Fit::new(4, 2).unwrap(),
            skip_unreadable: false,
            origin: "photos".into(),
        };
        for (name, bytes) in [("a", "no image"), ("b", "no image"), ("c", "no imagE"), ("d", "short")] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let long: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        fs::write(folder.path().join("e"), &long).unwrap();
        fs::write(folder.path().join("f"), &long).unwrap();
        assert_eq!(shared_images(&photos(&["a", "d", "e"]), &photos(&["b", "c", "f", "missing"])), 2);
        assert_eq!(shared_images(&photos(&["c", "missing"]), &photos(&["b", "missing"])), 0);
    }
}
