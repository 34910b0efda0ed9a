"""Prints the averages that crates/train/src/average.rs tests, by PyTorch's AveragedModel.

One weight that SGD would leave at 1, -1, 0.5, 2 after four steps. Run it with
torch installed: `python average.py`.
"""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

net = torch.nn.Linear(1, 1, bias=False).double()
averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
for value in [1.0, -1.0, 0.5, 2.0]:
    with torch.no_grad():
        net.weight.fill_(value)
    averaged.update_parameters(net)
    print(f"{averaged.module.weight.item():.12g}")
