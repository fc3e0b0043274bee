"""What an installation with the required dependencies only takes: its size, and the time to import it.

python -m benchmarks.footprint
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from .imports import import_seconds

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1e6
PACKAGES = "import sysconfig; print(sysconfig.get_path('platlib'))"


def size(path: Path) -> int:
    """Bytes of a file, or of all files under a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory, "Scripts" if sys.platform == "win32" else "bin", "python"))
        packages = Path(subprocess.check_output([python, "-c", PACKAGES], text=True).strip())
        before = set(packages.iterdir())
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
        sizes = {path.name: size(path) / MEGABYTE for path in set(packages.iterdir()) - before}
        for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
            print(f"{sizes[name]:8.1f} MB  {name}")
        print(f"{sum(sizes.values()):8.1f} MB  in all\n")
        seconds = import_seconds("numpy", "retrograd", python=python)
    print(f"import retrograd takes {seconds['retrograd'] / seconds['numpy']:.2f} times as long as import numpy")


if __name__ == "__main__":
    main()
