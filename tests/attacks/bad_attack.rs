//! Attacks that cannot work with the parameters or the norm that a pipeline gives them.

use expect_test::expect;

use crate::cli::bad_input::bad;

#[test]
fn attacks_that_cannot_work_are_refused_before_anything_is_trained() {
    bad(
        "attack.pgd = { steps = 5, step = 0.04, restarts = 2 }",
        "norm = \"l2\"\nattack = \"cw-ball\"",
        &expect![[r"
            error: run.toml:19:1: attack `cw-ball` searches l-inf balls only; for l2 there is `cw-l2`, which ignores the radius
              at evaluate[1].attack
        "]],
    );
    bad(
        "attack.pgd = { steps = 5, step = 0.04, restarts = 2 }",
        "attack.cw-linf = { initial_const = 30 }",
        &expect![[r"
            error: run.toml:18:1: attack `cw-linf` gives up at `largest_const`, 20, before it tries anything: `initial_const` must be below that, not 30
              at evaluate[1].attack
        "]],
    );
    bad(
        "attack.pgd = { steps = 2, step = 0.05 }",
        "norm = \"l2\"\nattack = \"cw-ball\"",
        &expect![[r"
        error: run.toml:9:1: attack `cw-ball` searches l-inf balls only; for l2 there is `cw-l2`, which ignores the radius
          at train.attack
    "]],
    );
}
