"""Teaches the last layer of a network new classes, from a folder with one folder of images for each class.

python python/examples/fine_tune_folder.py models/sparsenet-abc-v0.snet photos tuned.snet
"""

import sys
from pathlib import Path

import numpy as np

import sparsenet as sn

if len(sys.argv) != 4:
    sys.exit("usage: fine_tune_folder.py MODEL.snet FOLDER OUT.snet")
source, folder, output = sys.argv[1:]

classes = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
files = [(path, index) for index, name in enumerate(classes) for path in sorted(Path(folder, name).iterdir())]
if len(classes) < 2 or len(files) < 10:
    sys.exit(f"{folder}: expected 10 images or more in a folder for each class, found {len(files)} of {len(classes)}")

model = sn.load(source)
images = model.preprocess([path for path, _ in files])  # resized and normalised as the model states
labels = np.array([index for _, index in files])
order = np.random.default_rng(0).permutation(len(files))
held_out, rest = order[: len(order) // 5], order[len(order) // 5 :]

trainer = sn.Trainer(
    model.replace_head(len(classes), labels=classes),
    batch=min(16, len(rest)),
    freeze="all-but-head",
    optimizer="adam",
    memory_budget="64M",
)
print(f"{len(rest)} images of {', '.join(classes)}; {trainer.memory.arena_bytes:,} bytes of activations and parameters")
history = trainer.fit(
    images[rest],
    labels[rest],
    epochs=20,
    lr=0.01,
    validation=(images[held_out], labels[held_out]),
    progress=True,
)
print(history)
trainer.model.save(output, test_vectors=1)
print(f"{output}: {trainer.model.classify(files[0][0], top=1)[0][0]} for {files[0][0]}")
