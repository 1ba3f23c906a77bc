"""What the coverage scripts share: running the programs, results that outlive an interrupted run, tables."""
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np


class Refused(Exception):
    """sparsenet-convert wrote no file; the text is its reason."""


class Failed(Exception):
    """A program that should have worked did not."""


def run(command, timeout):
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=timeout)


def first_reason(text):
    """The first line that tells a cause: the one below "N problems of M causes", where there is such a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("note:", "warning:"))]
    if not lines:
        return "(no message)"
    headed = len(lines) > 1 and lines[0].startswith("error: ") and " problem" in lines[0] and "nothing was written" in lines[0]
    return lines[1] if headed else lines[0]


def convert(programs, source, target, options=(), timeout=600):
    done = run([programs / "sparsenet-convert", source, "-o", target, *options], timeout)
    if done.returncode < 0 or done.returncode > 2:
        raise Failed(f"sparsenet-convert ended with {done.returncode}")
    if done.returncode != 0:
        raise Refused(first_reason(done.stderr))


def compute(programs, model, inputs, folder, timeout=600):
    """The network's outputs by name, for inputs by name."""
    batch = next(iter(inputs.values())).shape[0]
    told = run([programs / "sparsenet", "info", model, "--json", "--batch", batch], timeout)
    if told.returncode != 0:
        raise Failed("sparsenet info: " + first_reason(told.stderr))
    info = json.loads(told.stdout)
    command = [programs / "sparsenet", "run", model]
    wanted = [entry["name"] for entry in info["inputs"]]
    for number, name in enumerate(wanted):
        np.save(folder / f"in{number}.npy", np.ascontiguousarray(inputs[name], dtype=np.float32))
        command += ["-i", f"{name}={folder}/in{number}.npy"]
    outputs = [entry["name"] for entry in info["outputs"]]
    for number, name in enumerate(outputs):
        command += ["-o", f"{name}={folder}/out{number}.npy"]
    done = run(command, timeout)
    if done.returncode != 0:
        raise Failed("sparsenet run: " + first_reason(done.stderr))
    return {name: np.load(folder / f"out{number}.npy") for number, name in enumerate(outputs)}


def tell_result(check, temporary=None):
    """For a process that does one network: check(folder) gives outcome and remark, which child_result() reads."""
    with tempfile.TemporaryDirectory(dir=temporary) as folder:
        try:
            outcome, remark = check(pathlib.Path(folder))
        except Refused as error:
            outcome, remark = "refused", str(error)
        except Failed as error:
            outcome, remark = "fails", str(error)
    print("RESULT " + json.dumps([outcome, remark]))


def child_result(command, timeout):
    """(outcome, remark) of such a process; also if it crashes or takes too long."""
    try:
        done = run(command, timeout)
    except subprocess.TimeoutExpired:
        return "late", f"no result after {timeout} s"
    told = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if told:
        return json.loads(told[-1])
    lines = done.stderr.strip().splitlines()
    return "broken", f"the script ended with {done.returncode}: {lines[-1][:160] if lines else ''}"


def relative_error(found, expected):
    """The largest difference, as a fraction of the largest expected value."""
    found, expected = np.asarray(found, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))  # infinities, and NaN where it is expected
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0, np.abs(found - expected))
    finite = expected[np.isfinite(expected)]
    largest = max(1e-6, np.abs(finite).max(initial=0))
    worst = difference.max(initial=0) / largest
    return float("inf") if np.isnan(worst) else float(worst)


class Results:
    """One line of JSON per result, so that an interrupted run goes on where it was."""

    def __init__(self, path, anew):
        self.path, self.known, self.counts = path, {}, {}
        if path and path.exists() and not anew:
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.known[entry["name"]] = entry

    def done(self, name):
        return name in self.known

    def tell(self, name, outcome, remark, seconds=None):
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        print(f"{name:44} {outcome:8} {remark}" + (f"  ({seconds:.0f} s)" if seconds is not None else ""), flush=True)

    def again(self, name):
        entry = self.known[name]
        self.tell(name, entry["outcome"], entry["remark"])

    def find(self, name, work):
        """Tells the known result, or does the work for it: work() gives outcome and remark."""
        if self.done(name):
            self.again(name)
            return
        start = time.monotonic()
        outcome, remark = work()
        self.add(name, outcome, remark, start)

    def add(self, name, outcome, remark, start):
        seconds = time.monotonic() - start
        self.tell(name, outcome, remark, seconds)
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps({"name": name, "outcome": outcome, "remark": remark}) + "\n")

    def summary(self):
        total = sum(self.counts.values())
        print(f"{total} in all: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.counts.items())))
        return 1 if any(self.counts.get(bad) for bad in ("wrong", "fails")) else 0
