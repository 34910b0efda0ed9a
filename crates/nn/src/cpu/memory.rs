//! Where a program's values stand in memory: values that are never needed together share a place.

use std::ops::Range;

use candle_core::{Error, Result};

use super::kernel::{Addend, Real};
use super::schedule::Access;

/// Numbers of a cache line.
const LINE: usize = 16;

/// Places of values, per sample: one layout serves every batch.
#[derive(Debug)]
pub(crate) struct Layout {
    /// First number and length of each value; a value that no instruction touches has no length.
    places: Vec<(usize, usize)>,
    len: usize,
}

impl Layout {
    /// Places values of these sizes for these instructions, by first fit. A value that is last read as an
    /// addend gives its place to the result. `keep` are still wanted at the end.
    pub(crate) fn of(code: &[Access], sizes: &[usize], keep: impl IntoIterator<Item = usize>) -> Self {
        let mut last = vec![0; sizes.len()];
        for (i, access) in code.iter().enumerate() {
            for value in [access.src, access.add].into_iter().flatten() {
                last[value] = i;
            }
        }
        for keep in keep {
            last[keep] = code.len();
        }
        let mut layout = Self { places: vec![(0, 0); sizes.len()], len: 0 };
        let mut live: Vec<usize> = vec![];
        for (i, access) in code.iter().enumerate() {
            // What nothing wrote before is given from outside.
            for value in [access.src, access.add].into_iter().flatten() {
                if layout.places[value].1 == 0 {
                    layout.place(&mut live, value, sizes[value]);
                }
            }
            if let Some(dst) = access.dst {
                match access
                    .add
                    .filter(|add| last[*add] == i && Some(*add) != access.src && sizes[*add] == sizes[dst])
                {
                    Some(add) => {
                        layout.places[dst] = layout.places[add];
                        live.retain(|value| *value != add);
                        live.push(dst);
                    }
                    None => layout.place(&mut live, dst, sizes[dst]),
                }
            }
            live.retain(|value| last[*value] > i || Some(*value) == access.dst);
        }
        layout
    }

    fn place(&mut self, live: &mut Vec<usize>, value: usize, size: usize) {
        let room = size.next_multiple_of(LINE);
        live.sort_unstable_by_key(|value| self.places[*value]);
        let mut start = 0;
        for other in live.iter() {
            let (at, length) = self.places[*other];
            if start + room <= at {
                break;
            }
            start = start.max(at + length.next_multiple_of(LINE));
        }
        self.places[value] = (start, size);
        self.len = self.len.max(start + room);
        live.push(value);
    }

    /// Numbers of one sample.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where a value of `n` samples stands.
    pub(crate) fn range(&self, value: usize, n: usize) -> Range<usize> {
        let (at, size) = self.places[value];
        at * n..(at + size) * n
    }

    /// What an instruction reads, adds and writes.
    pub(crate) fn slices<'m, T: Real>(
        &self,
        memory: &'m mut [T],
        access: Access,
        n: usize,
    ) -> Result<(&'m [T], Addend<'m, T>, &'m mut [T])> {
        let src = access.src.map_or(0..0, |src| self.range(src, n));
        let dst = access.dst.map_or(0..0, |dst| self.range(dst, n));
        let add = access.add.map(|add| self.range(add, n)).filter(|add| *add != dst);
        // A layout keeps what an instruction reads and writes apart.
        let apart = |_| Error::Msg("a layout that lets an instruction write what it reads".into());
        Ok(match add {
            None => {
                let [src, dst] = memory.get_disjoint_mut([src, dst]).map_err(apart)?;
                (src, if access.add.is_some() { Addend::Output } else { Addend::None }, dst)
            }
            Some(add) if add == src => {
                let [src, dst] = memory.get_disjoint_mut([src, dst]).map_err(apart)?;
                let src = &*src;
                (src, Addend::Value(src), dst)
            }
            Some(add) => {
                let [src, add, dst] = memory.get_disjoint_mut([src, add, dst]).map_err(apart)?;
                (src, Addend::Value(add), dst)
            }
        })
    }
}
