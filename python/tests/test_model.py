"""Models: files, metadata, copies, images."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from conftest import SOURCE, relative_difference


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sparsenet", *map(str, arguments)], capture_output=True, text=True, errors="replace"
    )


def test_version_is_that_of_the_project() -> None:
    assert f"VERSION {sn.__version__}" in (SOURCE / "CMakeLists.txt").read_text()
    assert f'version = "{sn.__version__}"' in (SOURCE / "python" / "pyproject.toml").read_text()


def test_info_is_what_the_command_line_prints(trained: sn.Model, trained_path: Path) -> None:
    printed = json.loads(command("info", trained_path, "--json", "--threads", 1, "--batch", 2).stdout)
    info = trained.info(batch=2, threads=1).to_dict()
    printed.pop("model")
    info["memory"].pop("total_bytes")
    assert info == json.loads(json.dumps(info))  # plain values
    for key, value in printed["metadata"].items():
        assert info["metadata"][key] == value or np.allclose(info["metadata"][key], value)
    info["metadata"] = printed["metadata"]
    assert info == printed


def test_info_shows_itself(trained: sn.Model) -> None:
    assert "86,954" in str(trained.info())
    assert "<table>" in trained._repr_html_() and "86,954" in trained._repr_html_()
    assert "sparsenet-abc-v0" in repr(trained)


def test_saving_and_loading_give_the_same_bytes(small: sn.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.snet"
    small.save(path)
    assert path.read_bytes() == small.to_bytes()
    assert sn.load(path).to_bytes() == small.to_bytes()
    assert sn.load(path, copy=True).to_bytes() == small.to_bytes()
    assert sn.Model.from_bytes(path.read_bytes()).to_bytes() == small.to_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_models_can_be_pickled_and_copied(trained: sn.Model) -> None:
    for again in (pickle.loads(pickle.dumps(trained)), copy.copy(trained), copy.deepcopy(trained)):
        assert again.to_bytes() == trained.to_bytes()
        assert again.metadata == trained.metadata
    changed = copy.copy(trained)
    changed.metadata = dataclasses.replace(changed.metadata, name="another")
    assert trained.name == "sparsenet-abc-v0"


def test_constants_are_views_that_outlive_their_model(small: sn.Model) -> None:
    constants = small.constants()
    expected = {name: array.copy() for name, array in constants.items()}
    assert sum(a.size for a in constants.values()) >= small.parameters
    with pytest.raises(ValueError):
        next(iter(constants.values()))[...] = 0
    del small
    for name, array in constants.items():
        assert np.array_equal(array, expected[name])


def test_metadata_is_checked(small: sn.Model) -> None:
    small.metadata = dataclasses.replace(small.metadata, labels=("a", "b", "c"), mean=(1, 2, 3), std=(4, 5, 6))
    assert small.labels == ("a", "b", "c")
    assert sn.Model.from_bytes(small.to_bytes()).metadata == small.metadata
    with pytest.raises(sn.Error, match="expected 3 names, one for each class, found 2"):
        small.metadata = dataclasses.replace(small.metadata, labels=("a", "b"))
    with pytest.raises(sn.Error, match="color_order"):
        small.metadata = dataclasses.replace(small.metadata, color_order="BRG")


def test_the_same_seed_gives_the_same_network() -> None:
    assert sn.create("resnet20", seed=3).to_bytes() == sn.create("resnet20", seed=3).to_bytes()
    assert sn.create("resnet20", seed=3).to_bytes() != sn.create("resnet20", seed=4).to_bytes()
    assert sn.create("resnet20", classes=7).classes == 7
    assert "sparsenet-abc-v1" in sn.architectures()


@pytest.mark.parametrize(
    ("call", "code", "text"),
    [
        (lambda: sn.load("nowhere.snet"), "not_found", "nowhere.snet"),
        (lambda: sn.load(SOURCE / "samples" / "cat-0000.png"), "invalid_model", "PNG"),
        (lambda: sn.Model.from_bytes(b"12345678" * 20, "x.snet"), "invalid_model", "x.snet"),
        (lambda: sn.Model.from_bytes(b""), "invalid_model", ""),
        (lambda: sn.create("sparsenet-xyz"), "invalid_argument", "sparsenet-xyz"),
        (lambda: sn.create("resnet20", classes=0), "invalid_argument", "classes"),
        (lambda: sn.create("resnet20", labels=["one"]), "invalid_argument", "expected 10 names"),
    ],
)
def test_errors_say_what_is_wrong(call: object, code: str, text: str) -> None:
    with pytest.raises(sn.Error) as caught:
        call()  # type: ignore[operator]
    assert caught.value.code == code
    assert text in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).code == code


def test_damaged_files_are_refused(small: sn.Model) -> None:
    data = bytearray(small.to_bytes())
    for place in range(0, len(data), len(data) // 40):
        damaged = data.copy()
        damaged[place] ^= 0x55
        with pytest.raises(sn.Error):
            sn.Model.from_bytes(bytes(damaged))
    for size in (0, 1, 100, len(data) - 1):
        with pytest.raises(sn.Error):
            sn.Model.from_bytes(bytes(data[:size]))


def test_classify_is_what_the_command_line_prints(trained: sn.Model, trained_path: Path, samples: list[Path]) -> None:
    printed = json.loads(command("classify", trained_path, *samples, "--top", 3, "--json").stdout)
    answers = trained.classify(samples, top=3)
    right = 0
    for path, line, answer in zip(samples, printed, answers):
        assert [p.label for p in answer] == [p["label"] for p in line["predictions"]]
        assert np.allclose([p.probability for p in answer], [p["probability"] for p in line["predictions"]], atol=1e-5)
        right += path.name.startswith(answer[0].label)
    assert right >= len(samples) - 2


def test_images_of_all_kinds(trained: sn.Model, samples: list[Path]) -> None:
    image = pytest.importorskip("PIL.Image")
    array = np.asarray(image.open(samples[0]).convert("RGB"))
    expected = trained.preprocess(samples[0])
    assert expected.shape == (1, 3, 32, 32) and expected.dtype == np.float32
    for same in (str(samples[0]), samples[0].read_bytes(), image.open(samples[0]), array, [array], array[None]):
        assert np.array_equal(trained.preprocess(same), expected)
    mean, std = np.array(trained.metadata.mean), np.array(trained.metadata.std)
    assert relative_difference(expected[0], ((array - mean) / std).transpose(2, 0, 1)) < 1e-6
    several = trained.preprocess([samples[0], np.zeros((50, 40, 3), np.uint8), np.zeros((9, 9), np.uint8)])
    assert several.shape == (3, 3, 32, 32)
    assert trained.preprocess(np.zeros((5, 20, 20), np.uint8)).shape == (5, 3, 32, 32)  # grey
    assert trained.preprocess([]).shape == (0, 3, 32, 32) and trained.classify([]) == []
    assert np.array_equal(trained.preprocess(path for path in samples[:2]), trained.preprocess(samples[:2]))
    rgba = np.dstack([array, np.full(array.shape[:2], 9, np.uint8)])
    for same in (rgba, [rgba], rgba[None], image.fromarray(rgba)):
        assert np.array_equal(trained.preprocess(same), expected)
    for count in (2, 3, 4, 5):  # a batch of four has the size of the channels in front
        assert np.array_equal(trained.preprocess(np.stack([rgba] * count)), np.concatenate([expected] * count))


def test_images_of_16_bits(trained: sn.Model, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = (np.arange(1024).reshape(32, 32) * 64).astype(np.uint16)
    image.fromarray(pixels).save(tmp_path / "grey.png")
    assert np.array_equal(
        trained.preprocess(tmp_path / "grey.png"), trained.preprocess(image.open(tmp_path / "grey.png"))
    )
    with pytest.raises(sn.Error, match="mode F"):
        trained.preprocess(image.fromarray(pixels.astype(np.float32)))


def test_names_of_files(small: sn.Model, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/x\xff.snet"
    for name in (odd, os.fsdecode(odd)):
        small.save(name)
        assert sn.load(name).to_bytes() == small.to_bytes()
    assert command("info", os.fsdecode(odd)).returncode == 0
    with pytest.raises(sn.Error, match="zero byte"):
        sn.load(str(tmp_path / "a.snet") + "\0.png")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.session(threads=1.5), "threads: expected a whole number, found 1.5"),
        (lambda m: m.session(batch="2"), "batch: expected a whole number, found '2'"),
        (lambda m: m.session(strict="no"), "strict: expected True or False"),
        (lambda m: m.session(backend=None), "backend: expected a text"),
        (lambda m: m.predict(np.zeros((1, 3, 8, 8)), batch=2.0), "batch"),
        (lambda m: m.predict(["a.png"]), "classify"),
        (lambda m: m.classify(np.zeros((8, 8, 3), np.uint8), batch=1), "batch"),
        (lambda m: m.replace_head(3.0), "classes: expected a whole number"),
        (lambda m: m.replace_head(3, labels="cat"), "labels: expected a list of texts"),
        (lambda m: sn.create("resnet20", seed=-1), "seed"),
        (lambda m: sn.create(Path("resnet20")), "arch: expected a text"),
        (lambda m: sn.load(3), "expected a path"),
        (lambda m: sn.Trainer("net.snet"), "sparsenet.Model"),
        (lambda m: setattr(m, "metadata", dataclasses.replace(m.metadata, mean=1.0)), "mean"),
    ],
)
def test_arguments_that_are_no_such_thing(small: sn.Model, call: object, text: str) -> None:
    with pytest.raises(sn.Error) as caught:
        call(small)  # type: ignore[operator]
    assert text in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), "expected uint8 pixels"),
        (np.zeros((2, 3, 32, 32), np.uint8), "transpose"),
        (np.zeros((3, 32, 32), np.uint8)[None], "transpose"),
        ([np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), np.uint8)], "image 0"),
        (["missing.png"], "missing.png"),
        (b"no image", "image"),
        (np.zeros((3, 32, 32), np.uint8), "transpose"),
        (None, "expected images"),
        ({"a": 1}, "expected images"),
    ],
)
def test_images_that_are_none(trained: sn.Model, images: object, text: str) -> None:
    with pytest.raises(sn.Error, match=text):
        trained.preprocess(images)


def test_classify_warns_if_normalisation_is_missing(small: sn.Model) -> None:
    with pytest.warns(sn.EngineWarning, match="no mean and std"):
        answers = small.classify(np.zeros((8, 8, 3), np.uint8), top=9)
    assert len(answers[0]) == 3
    assert sum(p.probability for p in answers[0]) == pytest.approx(1)
    assert answers[0][0].label.startswith("class ")


def test_verify_compares_with_test_vectors(trained: sn.Model, small: sn.Model, tmp_path: Path) -> None:
    result = trained.verify(threads=1)
    assert result and result.passed and "ok" in str(result)
    with pytest.raises(sn.Error, match="no test vectors"):
        small.verify()
    small.save(tmp_path / "net.snet", test_vectors=2)
    kept = sn.load(tmp_path / "net.snet")
    assert len(kept.verify().results) == 2 and kept.verify(backend="reference").passed


def test_saving_for_devices(small: sn.Model, tmp_path: Path) -> None:
    small.save(
        tmp_path / "d.snet", plan="portable-f32", test_vectors=1, c_array=tmp_path / "c", select_ops=tmp_path / "c"
    )
    model = sn.load(tmp_path / "d.snet")
    assert model.info().stored_plan and model.info().plans == ({"target": "portable-f32", "batch": 1, "trains": False},)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["d.c", "d.h", "sparsenet_kernels.cpp"]
    with pytest.raises(sn.Error, match="portable-f32"):
        small.save(tmp_path / "e.snet", plan="risc")
    small.save(tmp_path / "f.snet", precision="f16")
    assert sn.load(tmp_path / "f.snet").info().parameter_type == "float16"
    assert not (tmp_path / "e.snet").exists()


def test_replace_head(trained: sn.Model) -> None:
    model = trained.replace_head(4, labels=["a", "b", "c", "d"])
    assert model.classes == 4 and model.labels == ("a", "b", "c", "d") and trained.classes == 10
    assert "classes=4" in model.metadata.architecture


def test_quantize(trained: sn.Model, samples: list[Path], tmp_path: Path) -> None:
    done: list[int] = []
    model = sn.quantize(trained, samples, progress=lambda now, all: done.append(now))
    assert done and model.report is not None and model.report["integer_nodes"] > 100  # type: ignore[index]
    model.save(tmp_path / "q.snet")
    assert (tmp_path / "q.snet").stat().st_size < 0.5 * len(trained.to_bytes())
    pixels = trained.preprocess(samples)
    assert (model.predict(pixels).argmax(1) == trained.predict(pixels).argmax(1)).mean() > 0.8

    def stop(now: int, all: int) -> None:
        raise RuntimeError("enough")

    done.clear()
    with pytest.raises(RuntimeError, match="enough"):
        sn.quantize(trained, samples, progress=lambda now, all: (done.append(now), stop(now, all)))
    assert done == [1]  # it ended there
    with pytest.raises(sn.Error, match="any number of images"):
        sn.quantize(trained, np.zeros((3, 3, 8, 8), np.float32))
