"""A network of torchvision on a Cortex-M7: from PyTorch to C sources, in int8, with a test vector for the board.

    python python/examples/torch_to_cortex_m.py firmware
    cmake --preset cortex-m7 -DSPARSENET_MODEL=firmware/net.snet -DSPARSENET_TRAINING=OFF
    cmake --build build/cortex-m7 --target run

The weights are random here; load your own into the module. docs/board.md tells the rest of the way.
"""

import sys
from pathlib import Path

import torch
import torchvision

import sparsenet as sn

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "firmware")
folder.mkdir(exist_ok=True)

torch.manual_seed(1)
module = torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=10)
example = torch.randn(1, 3, 32, 32)
model = sn.from_torch(module, example, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
print(model)  # its outputs have been compared with those of the module

small = sn.quantize(model, torch.randn(64, 3, 32, 32))  # better: a hundred images of your training set
small.save(folder / "net.snet", plan="portable-f32", test_vectors=1, c_array=folder, select_ops=folder)
print(small.info())
for path in sorted(folder.iterdir()):
    print(f"{path}: {path.stat().st_size:,} bytes")
