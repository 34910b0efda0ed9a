//! The report of what commands left: one page, from verdict to details.

mod beside;
mod classes;
mod facts;
mod matrix;
mod pictures;
mod robustness;
mod training;
mod verdict;

use crate::measured::Measured;
use crate::page::Page;

/// The page of one run, attack or transfer matrix, or of several side by side.
pub fn report_of(all: &[Measured]) -> Page {
    let [one] = all else {
        let mut page = Page::new(format!("{} runs side by side", all.len()));
        beside::sections(&mut page, all);
        return page;
    };
    let mut page = Page::new(format!("{} {}", facts::kind(one), one.name));
    facts::introduction(&mut page, one);
    if one.is_matrix() {
        matrix::section(&mut page, one);
    } else {
        verdict::section(&mut page, one);
        robustness::section(&mut page, one);
        classes::section(&mut page, one);
        pictures::section(&mut page, one);
        training::section(&mut page, one);
    }
    facts::section(&mut page, one);
    page
}

/// The sections of one of several: verdict and evaluations, which the comparison rests on, and what was run.
fn single_sections(page: &mut Page, one: &Measured, name: &str) {
    page.heading(name);
    facts::introduction(page, one);
    if one.is_matrix() {
        matrix::parts(page, one);
        return;
    }
    verdict::parts(page, one);
    robustness::parts(page, one);
    training::parts(page, one);
}
