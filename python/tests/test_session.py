"""Sessions: arrays in and out, results, threads, lifetimes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import sparsenet as sn
from conftest import relative_difference, torch_or_skip


@pytest.fixture
def x(random: np.random.Generator) -> np.ndarray:
    return random.standard_normal((1, 3, 8, 8)).astype(np.float32)


def test_calling_and_running_are_the_same(small: sn.Model, x: np.ndarray) -> None:
    session = small.session(threads=1)
    y = session(x)
    assert y.shape == (1, 3) and y.dtype == np.float32 and y.flags.owndata and y.flags.writeable
    assert np.array_equal(session.run({"input": x})["logits"], y)
    assert relative_difference(y, small.session(backend="reference")(x)) < 1e-5
    assert np.array_equal(session(x), y)


def test_outputs_are_new_arrays_or_those_that_are_given(small: sn.Model, x: np.ndarray) -> None:
    session = small.session(threads=1)
    first = session(x)
    kept = first.copy()
    session(np.zeros_like(x))
    assert np.array_equal(first, kept)
    out = np.full((1, 3), np.nan, np.float32)
    assert session(x, out) is out and np.array_equal(out, first)
    for wrong in (np.empty((3,), np.float32), np.empty((1, 3)), np.empty((1, 6), np.float32)[:, ::2], "text"):
        with pytest.raises(sn.Error, match="expected a writable, C-contiguous array"):
            session(x, wrong)
    frozen = np.empty((1, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(sn.Error, match="writable"):
        session(x, frozen)


def test_inputs_of_other_types_and_orders(small: sn.Model, x: np.ndarray) -> None:
    session = small.session(threads=1)
    y = session(x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(
        0, 3, 1, 2
    )  # a view whose channels are last in memory
    big = x.astype(">f4")
    for same in (x.astype(np.float64), last, np.asfortranarray(x), x.tolist(), big, memoryview(x)):
        assert np.array_equal(session(same), y)
    assert relative_difference(session(x.astype(np.float16)), y) < 1e-2
    frozen = x.copy()
    frozen.flags.writeable = False
    assert np.array_equal(session(frozen), y)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: x[0], r"expected shape \[1, 3, 8, 8\], found \[3, 8, 8\]; x\[None\]"),
        (lambda x: np.concatenate([x, x]), "a session with batch=2"),
        (lambda x: x.transpose(0, 2, 3, 1), "channels come first"),
        (lambda x: x.astype(np.uint8), "preprocess"),
        (lambda x: x.astype(np.int64), "expected float32, found int64"),
        (lambda x: x > 0, "expected float32, found bool"),
        (lambda x: x.astype(complex), "expected numbers"),
        (lambda x: "text", "expected numbers"),
        (lambda x: None, "expected numbers"),
        (lambda x: [[1, 2], [3]], "expected an array"),
    ],
)
def test_inputs_that_do_not_fit(small: sn.Model, x: np.ndarray, wrong: object, text: str) -> None:
    with pytest.raises(sn.Error, match=text):
        small.session()(wrong(x))  # type: ignore[operator]


def test_names_of_inputs(small: sn.Model, x: np.ndarray) -> None:
    with pytest.raises(sn.Error, match="expected the inputs 'input', found 'image'"):
        small.session().run({"image": x})
    with pytest.raises(sn.Error, match="found none"):
        small.session().run({})
    for wrong in (x, [x], None):
        with pytest.raises(sn.Error, match="expected a dict"):
            small.session().run(wrong)  # type: ignore[arg-type]


def test_tensors_of_other_frameworks(small: sn.Model, x: np.ndarray) -> None:
    torch = torch_or_skip()
    session = small.session()
    assert np.array_equal(session(torch.from_numpy(x)), session(x))
    assert np.array_equal(session(torch.from_numpy(x).requires_grad_()), session(x))
    assert np.array_equal(session(torch._neg_view(torch.from_numpy(x))), session(-x))
    with pytest.raises(sn.Error, match="expected an array"):
        session(torch.from_numpy(x).to(torch.bfloat16))
    y = torch.from_dlpack(session(x))
    assert y.shape == (1, 3)


def test_anything_with_dlpack(small: sn.Model, x: np.ndarray) -> None:
    class Tensor:
        def __dlpack__(self, **options: object) -> object:
            return x.__dlpack__(**options)  # type: ignore[arg-type]

        def __dlpack_device__(self) -> object:
            return x.__dlpack_device__()

    session = small.session()
    assert np.array_equal(session(Tensor()), session(x))


def test_any_number_of_images(small: sn.Model, random: np.random.Generator) -> None:
    many = random.standard_normal((11, 3, 8, 8)).astype(np.float32)
    one = small.session(threads=1)
    expected = np.concatenate([one(image[None]) for image in many])
    for batch in (1, 4, 11, 32):
        assert relative_difference(small.predict(many, batch=batch, threads=1), expected) < 1e-5
    assert small.predict(many[:0]).shape == (0, 3)
    with pytest.raises(sn.Error, match="expected shape"):
        small.predict(many[0])


def test_batches(small: sn.Model, random: np.random.Generator) -> None:
    x = random.standard_normal((4, 3, 8, 8)).astype(np.float32)
    session = small.session(batch=4, images_at_once=2)
    assert session.images_at_once == 2 and session.inputs[0].shape == (4, 3, 8, 8)
    assert relative_difference(session(x), small.predict(x, batch=1)) < 1e-5


def test_sessions_describe_themselves(small: sn.Model) -> None:
    session = small.session(threads=1)
    assert session.memory.total_bytes >= session.memory.arena_bytes >= session.memory.lower_bound_bytes > 0
    assert "arena_bytes" in str(session.memory) and "logits [1, 3]" in repr(session)
    drawing = session.plan_svg()
    assert drawing._repr_svg_().startswith("<svg") and "</svg>" in drawing
    profile = session.profile(runs=3)
    assert len(profile.steps) == len(session.steps) and profile.total_ms > 0 and profile.runs == 3
    assert "GFLOP/s" in str(profile) and "<table>" in profile._repr_html_()
    assert profile.to_dict()["steps"][0].keys() == {"name", "op", "kernel", "backend", "ms", "macs"}


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"backend": "gpu"}, "invalid_argument", "gpu"),
        ({"threads": -1}, "invalid_argument", "threads"),
        ({"batch": 0}, "invalid_argument", "batch"),
        ({"precision": "f8"}, "invalid_argument", "f8"),
        ({"precision": "f16"}, "unsupported", "f16"),
        ({"max_memory": 1000}, "out_of_memory", "bytes"),
        ({"max_memory": "1x"}, "invalid_argument", "max_memory"),
        ({"device_check": "maybe"}, "invalid_argument", "device_check"),
        ({"backend": "cuda:7", "strict": True}, "unsupported", "cuda"),
    ],
)
def test_options_that_make_no_sense(small: sn.Model, options: dict, code: str, text: str) -> None:
    with pytest.raises(sn.Error) as caught:
        small.session(**options)
    assert text in str(caught.value)
    assert caught.value.code == code


def test_integers(trained: sn.Model, samples: list) -> None:
    model = sn.quantize(trained, samples)
    x = trained.preprocess(samples)
    portable = model.predict(x, backend="portable", batch=1)
    assert np.array_equal(portable, model.predict(x, backend="reference", batch=4))


def test_a_session_outlives_its_model(small: sn.Model, x: np.ndarray, tmp_path: object) -> None:
    path = tmp_path / "net.snet"  # type: ignore[operator]
    small.save(path)
    expected = small.session()(x)
    session = sn.load(path).session()
    os.unlink(path)
    gc.collect()
    assert np.array_equal(session(x), expected)
    session = sn.Model.from_bytes(small.to_bytes()).session()
    gc.collect()
    assert np.array_equal(session(x), expected)


def test_threads_may_share_a_session(small: sn.Model, random: np.random.Generator) -> None:
    session = small.session(threads=1)
    inputs = [random.standard_normal((1, 3, 8, 8)).astype(np.float32) for _ in range(4)]
    expected = [session(x) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(300):
            if not np.array_equal(session(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_gil_is_released(trained: sn.Model) -> None:
    session = trained.session(batch=64, threads=1)
    x = np.zeros((64, 3, 32, 32), np.float32)
    session(x)
    count = 0
    done = threading.Event()

    def work() -> None:
        for _ in range(5):
            session(x)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        count += 1
    thread.join()
    assert count > 1000  # this thread would have waited for all five runs otherwise


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sessions_work_after_fork(small: sn.Model, x: np.ndarray) -> None:
    session = small.session(backend="portable", threads=2)
    expected = session(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(session(x), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(session(x), expected)


def resident_kilobytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_leaks(small: sn.Model, x: np.ndarray) -> None:
    session = small.session(threads=1)
    wrong = x[0]

    def work(runs: int) -> None:
        for i in range(runs):
            session(x)
            if i % 10 == 0:
                session.run({"input": x.astype(np.float64)})
                with pytest.raises(sn.Error):
                    session(wrong)
            if i % 500 == 0:
                sn.Model.from_bytes(small.to_bytes()).session(threads=1)(x)
                sn.Trainer(small, batch=2).step(np.zeros((2, 3, 8, 8), np.float32), [0, 1], 0.1)

    references = sys.getrefcount(x)
    work(1500)
    gc.collect()
    before = resident_kilobytes()
    work(10000)
    gc.collect()
    assert resident_kilobytes() - before < 2048
    assert sys.getrefcount(x) == references


def test_a_plugin_runs_the_network(trained: sn.Model, samples: list) -> None:
    backends = {backend.name: backend for backend in sn.devices()}
    assert {"auto", "portable", "reference"} <= set(backends) and "portable" in repr(sn.devices())
    if not (backends.get("opencl") and backends["opencl"].devices):
        pytest.skip("no OpenCL device")
    assert backends["opencl"].devices[0].memory_bytes > 0
    x = trained.preprocess(samples[0])
    session = trained.session(backend="opencl", strict=True)
    assert relative_difference(session(x), trained.session(backend="portable")(x)) < 1e-4
    assert {step["backend"] for step in session.steps} == {"opencl"}


def test_threads_that_run_when_the_interpreter_ends(trained_path: object) -> None:
    script = f"""
import threading, time, numpy as np, sparsenet as sn
session = sn.load({str(trained_path)!r}).session(threads=1)
x = np.zeros((1, 3, 32, 32), np.float32)
def loop():
    while True:
        session(x)
for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.2)
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == ""
