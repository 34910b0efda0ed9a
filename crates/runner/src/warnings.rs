//! What speaks against numbers, as the terminal tells it before they are there. Results hold the same words.

use crate::catalogue::wrap;

/// Warnings in lines that fit a terminal; nothing where there are none.
pub(crate) fn told(warnings: &[String]) -> String {
    let mut text = String::new();
    for warning in warnings {
        for (i, line) in warning.lines().enumerate() {
            wrap(&mut text, if i == 0 { "warning" } else { "       " }, "       ", line);
        }
    }
    text
}
