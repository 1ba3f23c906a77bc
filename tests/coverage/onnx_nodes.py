#!/usr/bin/env python3
"""Converts the ONNX project's own test of every operator (package onnx), runs it and compares the outputs.

    onnx_nodes.py [--only PATTERN] [--build BUILD] [--expanded]

Taken are the tests of operators that the converter imports (its table, converter/onnx/operator_table.cpp) whose
outputs are float32 and that have a float32 input of rank 1 or more; not those with empty tensors, which no classifier
has, nor those of training. With --expanded also the forms in which ONNX writes its functions out.

A test gives every operand as an input of the graph. Here integers and booleans (axes, shapes, indices) are constants of
the file. Floats stay inputs; where the converter refuses that, all but the first become constants, as weights are.

The outcome is equal (within 1e-4 of the largest expected value), refused, wrong, or fails: it converts and does not run. Needs NumPy and onnx. The exit code is 1 if a test is wrong or fails.
"""
import argparse
import fnmatch
import pathlib
import re
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import onnx.numpy_helper

import common

TOLERANCE = 1e-4
TABLE = pathlib.Path(__file__).resolve().parents[2] / "converter/onnx/operator_table.cpp"


def imported_operators():
    """The names in the table, but for those behind the comment that they are evaluated only."""
    text = TABLE.read_text()
    evaluated = text.index("// Only evaluated where all inputs are constants.")
    names = re.compile(r'^    \{"([A-Z]\w*)"', re.MULTILINE)
    return set(names.findall(text[:evaluated]))


def floats(array):
    return isinstance(array, np.ndarray) and array.dtype == np.float32


def suits(case, known, expanded):
    graph = case.model.graph
    if "expanded" in case.name and not expanded or "train" in case.name:
        return False
    if any(node.op_type not in known or node.domain for node in graph.node):
        return False
    inputs, outputs = case.data_sets[0]
    arrays = list(inputs) + list(outputs)
    if not all(isinstance(array, np.ndarray) and array.size > 0 for array in arrays):
        return False
    return all(floats(array) for array in outputs) and any(floats(array) and array.ndim > 0 for array in inputs)


def few_digits(array):
    """Whether somebody has typed the expected values, with four digits after the point."""
    return array.size < 64 and np.abs(array - np.round(array, 4)).max() < 1e-6


def with_constants(case, keep_all):
    """The model with constants in place of inputs, and the inputs that are left."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    arrays, left = case.data_sets[0][0], {}
    present = [info for info in model.graph.input]
    for info, array in zip(present, arrays):
        if floats(array) and array.ndim > 0 and (keep_all or not left):
            left[info.name] = array
            continue
        model.graph.input.remove(info)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    return model, left


def check(case, programs, folder):
    """(outcome, remark)"""
    reason = None
    for keep_all in (True, False):
        model, inputs = with_constants(case, keep_all)
        if not keep_all and reason is not None and len(inputs) == reason[1]:
            break  # nothing is different
        source, stored = folder / "net.onnx", folder / "net.snet"
        source.write_bytes(model.SerializeToString())
        try:
            common.convert(programs, source, stored)
        except common.Refused as error:
            reason = (str(error), len(inputs))
            continue
        found = common.compute(programs, stored, inputs, folder)
        expected = dict(zip([info.name for info in model.graph.output], case.data_sets[0][1]))
        worst = 0.0
        for name, array in expected.items():
            if name not in found or found[name].shape != (array.shape or (1,)):
                return "wrong", f"{name}: expected {array.shape}, found {found[name].shape if name in found else 'none'}"
            error = common.relative_error(found[name], array)
            if error > TOLERANCE and few_digits(array) and np.abs(found[name] - array).max() <= 1e-4:
                error = 0.0  # one unit of the last digit
            worst = max(worst, error)
        return ("equal" if worst <= TOLERANCE else "wrong"), f"{worst:.1e}"
    return "refused", reason[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="tests that match this pattern, * for any text")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--expanded", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, help="file of results to continue")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    from onnx.backend.test.case.node import collect_testcases  # computes them all
    known = imported_operators()
    results = common.Results(arguments.results, False)
    seen = set()
    for case in collect_testcases(None):
        name = case.name.removeprefix("test_")
        if name in seen or not suits(case, known, arguments.expanded):
            continue
        seen.add(name)
        if arguments.only and not any(fnmatch.fnmatch(name, pattern) for pattern in arguments.only):
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome, remark = check(case, arguments.build / "bin", pathlib.Path(folder))
            except common.Failed as error:
                outcome, remark = "fails", str(error)
        results.add(name, outcome, remark, start)
    return results.summary()


if __name__ == "__main__":
    sys.exit(main())
