//! The state of the search of one sample.

use std::ops::Range;

use crate::blocks::Blocks;

/// The effect of a query on the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The direction stays as it is.
    Keep,
    /// The flip is part of the direction from now on.
    Flip,
}

/// The radius of the best direction, and the flip that is tried next.
#[derive(Debug, Clone)]
pub(crate) struct Ray {
    /// Smallest radius at which an image in the direction was misclassified; before the first such image 1, the
    /// largest distance of two images.
    pub(crate) radius: f64,
    /// Whether any image was misclassified.
    pub(crate) found: bool,
    /// Values whose signs are flipped for the next query.
    pub(crate) flip: Range<usize>,
    /// While a radius is bisected: the largest one known to be too small. The smallest sufficient one is `radius`.
    low: Option<f64>,
    next: Blocks,
    /// Flips of single values that were tried in a row and not kept.
    fruitless: usize,
    /// Values in an image.
    len: usize,
    /// Tolerance of radii.
    tolerance: f64,
}

impl Ray {
    /// The direction without any flip, of an image of `len` values.
    pub(crate) fn new(len: usize, tolerance: f64) -> Self {
        Self {
            radius: 1.0,
            found: false,
            flip: 0..0,
            low: None,
            next: Blocks::new(len),
            fruitless: 0,
            len,
            tolerance,
        }
    }

    /// Whether the search is over: the radius is within the tolerance, or a flip of every single value was tried on
    /// the current direction.
    pub(crate) fn is_over(&self) -> bool {
        (self.found && self.radius <= self.tolerance) || self.fruitless >= self.len
    }

    /// The radius of the next query.
    pub(crate) fn asks(&self) -> f64 {
        match self.low {
            Some(low) => f64::midpoint(low, self.radius),
            None => self.radius,
        }
    }

    /// Records the answer to that query.
    pub(crate) fn hear(&mut self, broken: bool) -> Verdict {
        let asked = self.asks();
        let mut verdict = Verdict::Keep;
        match (self.low, broken) {
            (None, false) => self.advance(),
            (Some(_), false) => self.low = Some(asked),
            (None, true) => {
                self.low = Some(0.0);
                // A flip that only keeps the radius is no progress, unless its image is the first misclassified one.
                if !self.found {
                    verdict = self.keep();
                }
            }
            (Some(_), true) => {
                self.radius = asked;
                verdict = self.keep();
            }
        }
        // Eventually the midpoint may round to one of the bounds, whatever the tolerance.
        if let Some(low) = self.low
            && (self.radius - low <= self.tolerance || [low, self.radius].contains(&self.asks()))
        {
            self.advance();
        }
        verdict
    }

    fn keep(&mut self) -> Verdict {
        (self.found, self.fruitless) = (true, 0);
        // The flip is now part of the direction.
        self.flip = 0..0;
        Verdict::Flip
    }

    /// Goes on to the next flip.
    fn advance(&mut self) {
        self.fruitless += usize::from(self.flip.len() == 1);
        self.low = None;
        self.flip = self.next.range();
        self.next.advance();
    }
}
