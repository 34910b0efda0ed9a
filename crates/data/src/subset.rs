//! Subsets of a source.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::fit::Fit;
use crate::image::Image;
use crate::rng::Rng;
use crate::source::Source;

/// `n` images of a source, spread evenly over it, so that a source sorted by class contributes all classes.
pub struct Subset {
    whole: Arc<dyn Source>,
    n: usize,
}

impl Subset {
    /// Selects `n` images, or all if there are fewer.
    pub fn new(whole: Arc<dyn Source>, n: usize) -> Self {
        let n = n.min(whole.len());
        Self { whole, n }
    }

    /// The position of an image in the source.
    fn place(&self, index: usize) -> usize {
        (index as u128 * self.whole.len() as u128 / self.n as u128) as usize
    }
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.n
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        self.whole.read(self.place(index))
    }

    fn index(&self, index: usize) -> usize {
        self.whole.index(self.place(index))
    }

    fn name(&self, index: usize) -> Option<String> {
        self.whole.name(self.place(index))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.whole.label(self.place(index))
    }

    fn file_size(&self, index: usize) -> Option<u64> {
        self.whole.file_size(self.place(index))
    }

    fn digest(&self, index: usize) -> Option<u64> {
        self.whole.digest(self.place(index))
    }

    fn fit(&self) -> Option<Fit> {
        self.whole.fit()
    }

    fn origin(&self) -> String {
        format!("{}, {} of {}", self.whole.origin(), self.n, self.whole.len())
    }
}

/// Some images of a source, by index.
pub struct Part {
    whole: Arc<dyn Source>,
    indices: Vec<usize>,
    /// A description for the run's output.
    what: String,
}

impl Part {
    /// The images with these indices in the whole data set, in the order of the source. The error is the
    /// first index that the source does not contain.
    pub fn of(whole: &Arc<dyn Source>, indices: &[usize]) -> Result<Self, usize> {
        let mut missing: BTreeSet<usize> = indices.iter().copied().collect();
        let indices = (0..whole.len()).filter(|place| missing.remove(&whole.index(*place))).collect();
        match missing.first() {
            Some(first) => Err(*first),
            None => Ok(Self { whole: whole.clone(), indices, what: "by index".into() }),
        }
    }

    /// `n` images drawn at random (or all if there are fewer), and the remaining ones, each in the order of
    /// the source.
    pub fn drawn(whole: &Arc<dyn Source>, n: usize, rng: Rng) -> (Self, Self) {
        let mut order = rng.permutation(whole.len());
        let rest = order.split_off(n.min(order.len()));
        let part = |mut indices: Vec<usize>, what: &str| {
            indices.sort_unstable();
            Self { whole: whole.clone(), indices, what: what.into() }
        };
        (part(order, "drawn at random"), part(rest, "the rest of a draw"))
    }
}

impl Source for Part {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        self.whole.read(self.indices[index])
    }

    fn index(&self, index: usize) -> usize {
        self.whole.index(self.indices[index])
    }

    fn name(&self, index: usize) -> Option<String> {
        self.whole.name(self.indices[index])
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.whole.label(self.indices[index])
    }

    fn file_size(&self, index: usize) -> Option<u64> {
        self.whole.file_size(self.indices[index])
    }

    fn digest(&self, index: usize) -> Option<u64> {
        self.whole.digest(self.indices[index])
    }

    fn fit(&self) -> Option<Fit> {
        self.whole.fit()
    }

    fn origin(&self) -> String {
        format!("{}, {} of {}, {}", self.whole.origin(), self.indices.len(), self.whole.len(), self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers;
    impl Source for Numbers {
        fn len(&self) -> usize {
            10
        }
        fn classes(&self) -> &[String] {
            &[]
        }
        fn read(&self, index: usize) -> Result<(Image, u32)> {
            Ok((Image::of_bytes([1, 1, 1], vec![index as u8]), 0))
        }
        fn name(&self, index: usize) -> Option<String> {
            Some(format!("number {index}"))
        }
        fn label(&self, index: usize) -> Option<u32> {
            Some(index as u32)
        }
        fn fit(&self) -> Option<Fit> {
            Fit::new(4, 2).ok()
        }
        fn origin(&self) -> String {
            "numbers".into()
        }
    }

    #[test]
    fn a_part_is_spread_over_the_whole_and_never_more_than_it() {
        let read = |n| {
            let part = Subset::new(Arc::new(Numbers), n);
            let read: Vec<u8> = (0..part.len()).map(|i| part.read(i).unwrap().0.bytes()[0]).collect();
            (read, part.origin())
        };
        assert_eq!(read(4), (vec![0, 2, 5, 7], "numbers, 4 of 10".into()));
        assert_eq!(read(99).0, (0..10).collect::<Vec<u8>>());
        assert_eq!(Subset::new(Arc::new(Numbers), 4).fit().map(Fit::size), Some(2));
    }

    #[test]
    fn a_draw_and_its_rest_share_nothing_and_lose_nothing() {
        let whole: Arc<dyn Source> = Arc::new(Numbers);
        let read = |part: &Part| -> Vec<u8> {
            (0..part.len()).map(|i| part.read(i).unwrap().0.bytes()[0]).collect()
        };
        let (some, rest) = Part::drawn(&whole, 4, Rng::new(1, "held out"));
        assert_eq!((some.len(), rest.len()), (4, 6));
        assert!([&some, &rest].iter().all(|part| part.fit().map(Fit::size) == Some(2)));
        let mut all = [read(&some), read(&rest)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u8>>());
        assert_eq!(read(&some), read(&Part::drawn(&whole, 4, Rng::new(1, "held out")).0));
        assert_ne!(read(&some), read(&Part::drawn(&whole, 4, Rng::new(2, "held out")).0));
        assert_eq!(some.origin(), "numbers, 4 of 10, drawn at random");
    }

    #[test]
    fn a_part_by_index_speaks_of_the_whole_data_set() {
        let half: Arc<dyn Source> = Arc::new(Subset::new(Arc::new(Numbers), 5));
        let part = Part::of(&half, &[8, 2]).ok().unwrap();
        assert_eq!((part.len(), part.index(0), part.read(1).unwrap().0.bytes()[0]), (2, 2, 8));
        assert_eq!(part.origin(), "numbers, 5 of 10, 2 of 5, by index");
        // In the whole data set, but not in this half of it.
        assert_eq!(Part::of(&half, &[2, 3]).err(), Some(3));
    }

    #[test]
    fn a_part_of_a_part_knows_where_its_images_stand_in_the_whole() {
        let half: Arc<dyn Source> = Arc::new(Subset::new(Arc::new(Numbers), 5));
        let (some, rest) = Part::drawn(&half, 2, Rng::new(1, "held out"));
        for part in [&*half, &some, &rest] {
            for i in 0..part.len() {
                let place = part.index(i);
                assert_eq!(place, usize::from(part.read(i).unwrap().0.bytes()[0]));
                assert_eq!(part.name(i), Some(format!("number {place}")));
                assert_eq!(part.label(i), Some(place as u32));
            }
        }
        assert!((0..10).all(|i| Numbers.index(i) == i));
    }
}
