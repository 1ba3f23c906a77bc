"""Training: steps, loops, checkpoints, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from conftest import shapes


@pytest.fixture
def data(random: np.random.Generator, small: sn.Model) -> tuple[np.ndarray, np.ndarray]:
    images, labels = shapes(random, 60)
    return ((images.transpose(0, 3, 1, 2).astype(np.float32) - 80) / 60), labels


def test_a_step(small: sn.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    trainer = sn.Trainer(small, batch=20, threads=1)
    first = trainer.step(X[:20], y[:20], lr=0.1)
    scores = small.predict(X[:20])
    assert isinstance(first, float) and 0 <= first.correct <= 20 and first.images == 20 and first.updated
    # The loss of a network in training mode is that of batch statistics; that of a frozen body is the network's own.
    head = sn.Trainer(small, batch=20, freeze="all-but-head")
    log = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    log -= np.log(np.exp(log).sum(axis=1, keepdims=True))
    assert float(head.step(X[:20], y[:20], lr=0.0)) == pytest.approx(-log[np.arange(20), y[:20]].mean(), rel=1e-4)
    losses = [trainer.step(X[:20], y[:20], lr=0.1) for _ in range(20)]
    assert losses[-1] < 0.5 * first


def test_the_gradient_is_that_of_the_loss(small: sn.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data[0][:20], data[1][:20]
    trainer = sn.Trainer(small, batch=20, freeze="all-but-head", weight_decay=0, momentum=0)
    name = trainer.trained_names[-1]
    before = trainer.parameter(name)
    loss = trainer.step(X, y, lr=1e-3)
    gradient, after = trainer.gradient(name), trainer.parameter(name)
    assert np.allclose(after, before - 1e-3 * gradient, rtol=1e-4, atol=1e-6)
    # To first order, a step of plain gradient descent lowers the loss by the rate times the gradients' squares.
    squares = sum(float((trainer.gradient(n).astype(np.float64) ** 2).sum()) for n in trainer.trained_names)
    lowered = float(loss) - float(trainer.step(X, y, lr=0.0))
    assert lowered == pytest.approx(1e-3 * squares, rel=0.05)


def test_fit_learns(small: sn.Model, random: np.random.Generator) -> None:
    images, labels = shapes(random, 120)
    small.metadata = sn.Metadata(mean=(80,) * 3, std=(60,) * 3)
    trainer = sn.Trainer(small, batch=20)
    history = trainer.fit(images[:80], labels[:80], epochs=15, lr=0.05, validation=(images[80:], labels[80:]))
    assert len(history) == 15 and len(history.step_losses) == 60
    assert history[-1].train_error_percent < 10
    assert history[-1].test_error_percent == trainer.evaluate(images[80:], labels[80:]) < 20
    model = trainer.model
    assert (model.predict(images[80:]).argmax(1) != labels[80:]).mean() * 100 == pytest.approx(
        history[-1].test_error_percent
    )
    assert "trained for 60 steps" in model.metadata.provenance
    assert history.plot_svg()._repr_svg_().startswith("<svg") and "<table>" in history._repr_html_()
    assert "train error %" in str(history) and history.to_dict()["epochs"][0]["epoch"] == 1


def test_results_do_not_depend_on_threads(small: sn.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
    made = []
    for threads in (1, 2):
        trainer = sn.Trainer(small, batch=20, threads=threads)
        trainer.fit(*data, epochs=2, lr=0.05, seed=3, augment="crop-flip")
        made.append(trainer.model.to_bytes())
    assert made[0] == made[1]


def test_fit_is_what_the_command_line_does(
    small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    X, y = data
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", y.astype(np.int64))
    small.save(tmp_path / "a.snet")
    run = subprocess.run(
        [sys.executable, "-m", "sparsenet", "train", "a.snet", "--data", "npy:x.npy,y.npy", "-o", "b.snet"]
        + ["--epochs", "3", "--batch", "16", "--lr", "0.05", "--schedule", "cosine", "--seed", "5"]
        + ["--augment", "crop-flip", "--log-steps", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    trainer = sn.Trainer(small, batch=16)
    history = trainer.fit(X, y, epochs=3, lr=0.05, seed=5, augment="crop-flip")
    assert history.step_losses == pytest.approx(json.loads(run.stdout)["step_losses"], rel=1e-6)
    ours, theirs = trainer.model.constants(), sn.load(tmp_path / "b.snet").constants()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_training_that_was_resumed_is_the_same(
    small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "t.ckpt"
    whole = sn.Trainer(small, batch=20)
    whole.fit(*data, epochs=4, lr=0.05)
    first = sn.Trainer(small, batch=20)
    first.fit(*data, epochs=4, lr=0.05, checkpoint=path, callback=lambda trainer, epoch: epoch.epoch == 2)
    second = sn.Trainer(small, batch=20, threads=1)
    history = second.fit(*data, epochs=4, lr=0.05, checkpoint=path, resume=True)
    assert second.model.to_bytes().hex() == whole.model.to_bytes().hex()
    assert history.step_losses == whole.history.step_losses and len(history) == 4
    other = sn.Trainer(small, batch=20)
    with pytest.raises(sn.Error, match="lr"):
        other.fit(*data, epochs=4, lr=0.06, checkpoint=path, resume=True)
    with pytest.raises(sn.Error, match="momentum"):
        sn.Trainer(small, batch=20, momentum=0.5).load_checkpoint(path)
    third = sn.Trainer(small, batch=20)
    third.load_checkpoint(path)
    assert third.model.to_bytes() == whole.model.to_bytes()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(sn.Error, match="t.ckpt"):
        third.load_checkpoint(path)


def test_memory_budget(small: sn.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
    free = sn.Trainer(small, batch=60, threads=1)
    need = free.memory.arena_bytes + free.memory.scratch_bytes + free.memory.packed_bytes
    tight = sn.Trainer(small, batch=60, threads=1, memory_budget=int(need * 0.7))
    assert tight.memory.micro_batch < 60 or tight.memory.recomputed > 0
    assert float(tight.step(*data, 0.1)) == pytest.approx(float(free.step(*data, 0.1)), rel=0.2)
    with pytest.raises(sn.Error, match="bytes or more"):
        sn.Trainer(small, batch=60, memory_budget="1K")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t, X, y: t.step(X[:19], y[:20], 0.1), "expected shape"),
        (lambda t, X, y: t.step(X[:20], y[:19], 0.1), "labels"),
        (lambda t, X, y: t.step(X[:20], y[:20] + 7, 0.1), "label"),
        (lambda t, X, y: t.step(X[:20], y[:20] * 1.0, 0.1), "expected integers"),
        (lambda t, X, y: t.step(X[:20], y[:20] * 2**40, 0.1), "expected int32"),
        (lambda t, X, y: t.step(X[:20], y[:20], -1), "rate"),
        (lambda t, X, y: t.step(X[:20] * np.nan, y[:20], 0.1), "finite"),
        (lambda t, X, y: t.fit(X[:5], y[:5], epochs=1), "at least as many images"),
        (lambda t, X, y: t.fit(X, y[:5], epochs=1), "one for each image"),
        (lambda t, X, y: t.fit(X, y + 1, epochs=1), "labels from 0 to 2, found 3"),
        (lambda t, X, y: t.fit(X, y, epochs=0), "epochs"),
        (lambda t, X, y: t.fit(X, y, epochs=1, schedule="linear"), "schedule"),
        (lambda t, X, y: t.fit(X, y, epochs=1, augment="cutout"), "augment"),
        (lambda t, X, y: t.fit(X, y, epochs=1, resume=True), "checkpoint"),
        (lambda t, X, y: t.fit(X[:, :, :4], y, epochs=1), "expected shape"),
        (lambda t, X, y: t.fit((X * 50).astype(np.int64), y, epochs=1), "expected float32, found int64"),
        (lambda t, X, y: t.fit(X, y, epochs=1, validation=(X[:0], y[:0])), "validation: expected at least one image"),
        (lambda t, X, y: t.fit(X, y, epochs=1, validation=0.2), "validation: expected a pair"),
        (lambda t, X, y: t.fit(X, y, epochs=2.5), "epochs: expected a whole number, found 2.5"),
        (lambda t, X, y: t.fit(X, y, epochs=1, lr="0.1"), "lr: expected a number"),
        (lambda t, X, y: t.fit(X, y, epochs=1, checkpoint="/nonexistent/t.ckpt"), "/nonexistent/t.ckpt"),
        (lambda t, X, y: t.step(X[:20], [], 0.1), r"'labels': expected shape \[20\], found \[0\]$"),
        (lambda t, X, y: t.parameter("nothing"), "nothing"),
    ],
)
def test_what_cannot_be_trained_on(
    small: sn.Model, data: tuple[np.ndarray, np.ndarray], call: object, text: str
) -> None:
    trainer = sn.Trainer(small, batch=20)
    before = trainer.model.to_bytes()
    with pytest.raises(sn.Error, match=text):
        call(trainer, *data)  # type: ignore[operator]
    assert trainer.model.to_bytes() == before


def test_trainers_that_make_no_sense(small: sn.Model) -> None:
    for options, text in (
        ({"optimizer": "lion"}, "lion"),
        ({"backend": "opencl"}, "CPU"),
        ({"batch": 0}, "batch"),
        ({"batch": "2"}, "batch: expected a whole number, found '2'"),
        ({"weight_decay": "1e-4"}, "weight_decay: expected a number"),
        ({"nesterov": "yes"}, "nesterov: expected True or False"),
        ({"freeze": None}, "freeze: expected a text"),
        ({"memory_budget": "inf"}, "memory_budget"),
        ({"freeze": "nothing-matches-*-this"}, "freeze"),
    ):
        with pytest.raises(sn.Error, match=text):
            sn.Trainer(small, **options)


def test_a_network_can_be_tuned_for_other_classes(trained: sn.Model, random: np.random.Generator) -> None:
    images, labels = shapes(random, 96, size=32)
    trainer = sn.Trainer(trained.replace_head(3), batch=16, freeze="all-but-head", optimizer="adam")
    assert 0 < len(trainer.trained_names) < len(trainer.parameter_names)
    assert trainer.fit(images, labels, epochs=15, lr=0.02)[-1].train_error_percent < 20


def test_int8_networks_can_be_tuned(trained: sn.Model, samples: list[Path]) -> None:
    model = sn.quantize(trained, samples)
    trainer = sn.Trainer(model, batch=4)
    assert np.isfinite(trainer.step(trained.preprocess(samples[:4]), [0, 1, 2, 3], 3e-5))
    assert trainer.model.info().parameter_type == "int8"


def test_ctrl_c_ends_a_training_cleanly(small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=data[0], y=data[1])
    small.save(tmp_path / "net.snet")
    script = textwrap.dedent(
        """
        import numpy as np, sparsenet as sn
        data = np.load("data.npz")
        trainer = sn.Trainer(sn.load("net.snet"), batch=20)
        print("ready", flush=True)
        try:
            trainer.fit(data["X"], data["y"], epochs=1_000_000, lr=0.01, checkpoint="t.ckpt")
        except KeyboardInterrupt:
            steps = len(trainer.history.step_losses)
            trainer.model.save("out.snet")
            print("interrupted", steps, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(600):  # until the training has begun
        if (tmp_path / "t.ckpt").exists():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    words = process.stdout.read().split()
    assert process.wait(60) == 0 and words[0] == "interrupted"
    again = sn.Trainer(small, batch=20)
    again.load_checkpoint(tmp_path / "t.ckpt")
    assert len(again.history.step_losses) == int(words[1]) > 0
    saved, kept = sn.load(tmp_path / "out.snet").constants(), again.model.constants()
    assert all(np.array_equal(saved[name], kept[name]) for name in kept)
    assert not [name for name in os.listdir(tmp_path) if ".tmp" in name]


def test_updates_of_several_batches(small: sn.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
    trainer = sn.Trainer(small, batch=20, accumulate=2)
    assert [trainer.step(data[0][:20], data[1][:20], 0.1).updated for _ in range(4)] == [False, True, False, True]
    with pytest.raises(sn.Error, match="nothing would be learnt"):
        sn.Trainer(small, batch=20, accumulate=4).fit(*data, epochs=1)


def test_all_steps_are_counted(small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    trainer = sn.Trainer(small, batch=20)
    for _ in range(2):
        trainer.step(data[0][:20], data[1][:20], 0.01)
    trainer.fit(*data, epochs=1, lr=0.01)
    trainer.fit(*data, epochs=1, lr=0.01, checkpoint=tmp_path / "t.ckpt")
    assert "8 steps" in repr(trainer) and "trained for 8 steps" in trainer.model.metadata.provenance
    again = sn.Trainer(small, batch=20)
    again.load_checkpoint(tmp_path / "t.ckpt")
    assert "8 steps" in repr(again)


def test_numbers_of_numpy_are_numbers(small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "t.ckpt"
    sn.Trainer(small, batch=20).fit(*data, epochs=1, lr=1, checkpoint=path)
    trainer = sn.Trainer(small, batch=np.int64(20), momentum=np.float64(0.9))
    trainer.fit(*data, epochs=np.int64(1), lr=np.float64(1), seed=np.int32(0), checkpoint=path, resume=True)
    assert len(trainer.history.step_losses) == 3


def test_going_back_to_the_best_epoch(small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"

    def keep(trainer: sn.Trainer, epoch: sn.Epoch) -> bool:
        if epoch.epoch == 1:
            trainer.save_checkpoint(path)
        if epoch.epoch == 3:
            trainer.load_checkpoint(path)
        return epoch.epoch == 3

    first = sn.Trainer(small, batch=20)
    first.fit(*data, epochs=5, lr=0.05, callback=lambda trainer, epoch: True)
    trainer = sn.Trainer(small, batch=20)
    assert len(trainer.fit(*data, epochs=5, lr=0.05, callback=keep)) == 1
    assert trainer.model.to_bytes() == first.model.to_bytes()
    with pytest.raises(sn.Error, match="has to end the training"):
        sn.Trainer(small, batch=20).fit(*data, epochs=5, callback=lambda t, e: keep(t, e) and False)


def test_a_checkpoint_is_not_replaced_without_a_word(
    small: sn.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    sn.Trainer(small, batch=20).fit(*data, epochs=1, checkpoint=tmp_path / "t.ckpt")
    with pytest.warns(sn.EngineWarning, match="t.ckpt: is replaced; resume=True"):
        sn.Trainer(small, batch=20).fit(*data, epochs=1, checkpoint=tmp_path / "t.ckpt")
