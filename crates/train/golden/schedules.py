"""Prints the factors of the learning rate that crates/train/src/schedule.rs tests, by PyTorch's schedulers.

Four epochs of three steps; the rate is 1, so that it is its own factor. Run it
with torch installed: `python schedules.py`.
"""

import torch
from torch.optim import lr_scheduler as lr

EPOCHS, STEPS = 4, 3


def factors(name, schedule):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer)
    rates = []
    for step in range(EPOCHS * STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < EPOCHS * STEPS:
            scheduler.step()
    print(f"{name}: {[float(f'{rate:.12g}') for rate in rates]}")


def warm(optimizer, after):
    rise = lr.LinearLR(optimizer, start_factor=0.01, total_iters=STEPS)
    return lr.SequentialLR(optimizer, [rise, after(optimizer)], milestones=[STEPS])


all_steps = EPOCHS * STEPS
factors("cosine", lambda o: lr.CosineAnnealingLR(o, all_steps, eta_min=0.1))
factors("warm cosine", lambda o: warm(o, lambda o: lr.CosineAnnealingLR(o, all_steps - STEPS)))
factors("warm steps", lambda o: warm(o, lambda o: lr.MultiStepLR(o, [2 * STEPS], gamma=0.2)))
for anneal in ["cos", "linear"]:
    factors(f"one cycle, {anneal}", lambda o: lr.OneCycleLR(
        o, max_lr=1.0, total_steps=all_steps, anneal_strategy=anneal, cycle_momentum=False))
factors("one cycle without a rise", lambda o: lr.OneCycleLR(
    o, max_lr=1.0, total_steps=all_steps, pct_start=0.0, cycle_momentum=False))
