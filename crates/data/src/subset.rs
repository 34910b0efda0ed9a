//! A part of a source.

use std::sync::Arc;

use crate::error::Result;
use crate::source::{Image, Source};

/// `n` images of a source, spread evenly over it, so that one sorted by class gives all of its classes.
pub struct Subset {
    whole: Arc<dyn Source>,
    n: usize,
}

impl Subset {
    /// At most all of them.
    pub fn new(whole: Arc<dyn Source>, n: usize) -> Self {
        let n = n.min(whole.len());
        Self { whole, n }
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
        self.whole.read((index as u128 * self.whole.len() as u128 / self.n as u128) as usize)
    }

    fn origin(&self) -> String {
        format!("{}, {} of {}", self.whole.origin(), self.n, self.whole.len())
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
            Ok((Image { shape: [1, 1, 1], bytes: vec![index as u8] }, 0))
        }
        fn origin(&self) -> String {
            "numbers".into()
        }
    }

    #[test]
    fn a_part_is_spread_over_the_whole_and_never_more_than_it() {
        let read = |n| {
            let part = Subset::new(Arc::new(Numbers), n);
            let read: Vec<u8> = (0..part.len()).map(|i| part.read(i).unwrap().0.bytes[0]).collect();
            (read, part.origin())
        };
        assert_eq!(read(4), (vec![0, 2, 5, 7], "numbers, 4 of 10".into()));
        assert_eq!(read(99).0, (0..10).collect::<Vec<u8>>());
    }
}
