"""Makes a wheel of the package's files and the libraries that were built for one machine, and checks it."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from scikit_build_core.build import prepare_metadata_for_build_wheel
from wheel.wheelfile import WheelFile

HERE = Path(__file__).resolve().parent
LARGEST = 6_000_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True, help="3.11, or 3.12 and later for the stable interface")
    parser.add_argument("--arch", required=True)
    parser.add_argument("--libc", required=True)
    parser.add_argument("--package", type=Path, required=True, help="folder with the libraries")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    output, package = given.output.resolve(), given.package.resolve()

    tag = "cp311-cp311" if given.python == "3.11" else "cp312-abi3"
    tag += f"-manylinux_{given.libc.replace('.', '_')}_{given.arch}"
    libraries = sorted(package.glob("*.so"))
    modules = [path.name for path in libraries if path.name.startswith("_core.")]
    wanted = f"_core.cpython-311-{given.arch}-linux-gnu.so" if given.python == "3.11" else "_core.abi3.so"
    if modules != [wanted]:
        sys.exit(f"error: {package}: expected {wanted}, found {modules or 'no module'}")

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(HERE.parent)  # where pyproject.toml is
        info = Path(folder, prepare_metadata_for_build_wheel(folder))
        name, version = info.name.removesuffix(".dist-info").split("-")
        (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nGenerator: {HERE.name}\nRoot-Is-Purelib: false\nTag: {tag}\n")
        target = output / f"{name}-{version}-{tag}.whl"
        target.unlink(missing_ok=True)
        with WheelFile(target, "w") as wheel:
            for path in sorted((HERE.parent / "src" / "sparsenet").iterdir()):
                if path.suffix in (".py", ".pyi") or path.name == "py.typed":
                    wheel.write(path, f"sparsenet/{path.name}")
            for path in libraries:
                wheel.write(path, f"sparsenet/{path.name}")
            for path in sorted(info.rglob("*")):
                if path.is_file():
                    wheel.write(path, str(path.relative_to(folder)))
    size = target.stat().st_size
    report = subprocess.run([sys.executable, "-m", "auditwheel", "show", str(target)], capture_output=True, text=True)
    policy = f"manylinux_{given.libc.replace('.', '_')}_{given.arch}"
    print(f"{target.name}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"error: {target.name}: expected at most {LARGEST:,} bytes, found {size:,}")
    # "... is consistent with the following platform tag: ..."; an older one than claimed is even better.
    found = re.search(r'platform\s+tag:\s+"manylinux_(\d+)_(\d+)_(\w+)"', report.stdout)
    wanted_libc = tuple(int(part) for part in given.libc.split("."))
    if found is None or (int(found[1]), int(found[2])) > wanted_libc or found[3] != given.arch:
        sys.exit(f"error: {target.name}: expected {policy}, auditwheel says: {report.stdout}{report.stderr}")


if __name__ == "__main__":
    main()
