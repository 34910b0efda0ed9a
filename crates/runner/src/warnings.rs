//! Warnings on the terminal, printed before the numbers that they are about. Results contain the same text.

use crate::catalogue::wrap;

/// Warnings, wrapped for a terminal; empty if there are none.
pub(crate) fn told(warnings: &[String]) -> String {
    let mut text = String::new();
    for warning in warnings {
        for (i, line) in warning.lines().enumerate() {
            wrap(&mut text, if i == 0 { "warning" } else { "       " }, "       ", line);
        }
    }
    text
}
