//! The places of a program's values in memory: values that are never needed at the same time share a place.

use std::ops::Range;

use candle_core::{Error, Result};

use super::kernel::{Addend, Real};
use super::schedule::Access;

/// Count of numbers in a cache line.
const LINE: usize = 16;

/// Places of values, per sample, so that one layout serves every batch.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Offset and length of each value; the length is 0 if no instruction uses the value.
    places: Vec<(usize, usize)>,
    len: usize,
}

impl Layout {
    /// Places values of these sizes for these instructions, by first fit. The result of an instruction takes the
    /// place of its addend if both have the same size and nothing else still reads the addend. The values in `keep`
    /// are needed until the end.
    pub(crate) fn of(code: &[Access], sizes: &[usize], keep: impl IntoIterator<Item = usize>) -> Self {
        let mut last = vec![0; sizes.len()];
        for (i, access) in code.iter().enumerate() {
            for value in access.read() {
                last[value] = i;
            }
        }
        for keep in keep {
            last[keep] = code.len();
        }
        let mut layout = Self { places: vec![(0, 0); sizes.len()], len: 0 };
        let mut live: Vec<usize> = vec![];
        for (i, access) in code.iter().enumerate() {
            // A value that no earlier instruction wrote comes from outside.
            for value in access.read() {
                if layout.places[value].1 == 0 {
                    layout.place(&mut live, value, sizes[value]);
                }
            }
            if let Some(dst) = access.dst {
                let free = |add: &usize| {
                    last[*add] == i
                        && ![access.src, access.factor].contains(&Some(*add))
                        && sizes[*add] == sizes[dst]
                };
                match access.add.filter(free) {
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

    /// Count of numbers for one sample.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The range in memory of a value of `n` samples.
    pub(crate) fn range(&self, value: usize, n: usize) -> Range<usize> {
        let (at, size) = self.places[value];
        at * n..(at + size) * n
    }

    /// The memory that an instruction reads (its source and its factor), adds and writes.
    pub(crate) fn slices<'m, T: Real>(
        &self,
        memory: &'m mut [T],
        access: Access,
        n: usize,
    ) -> Result<Slices<'m, T>> {
        let range = |value: Option<usize>| value.map_or(0..0, |value| self.range(value, n));
        let dst = range(access.dst);
        let (before, rest) = memory.split_at_mut(dst.start);
        let (out, after) = rest.split_at_mut(dst.len());
        let (before, after): (&'m [T], &'m [T]) = (before, after);
        // In a layout, the values that an instruction reads do not overlap the value that it writes.
        let read = |range: Range<usize>| {
            let apart = match range.start >= dst.end {
                true => after.get(range.start - dst.end..range.end - dst.end),
                false => before.get(range),
            };
            apart.ok_or_else(|| Error::Msg("a layout that lets an instruction write what it reads".into()))
        };
        let addend = match access.add.map(|add| self.range(add, n)) {
            None => Addend::None,
            Some(add) if add == dst => Addend::Output,
            Some(add) => Addend::Value(read(add)?),
        };
        Ok(Slices { src: read(range(access.src))?, factor: read(range(access.factor))?, addend, out })
    }
}

/// The memory of one instruction.
pub(crate) struct Slices<'m, T> {
    pub(crate) src: &'m [T],
    pub(crate) factor: &'m [T],
    pub(crate) addend: Addend<'m, T>,
    pub(crate) out: &'m mut [T],
}
