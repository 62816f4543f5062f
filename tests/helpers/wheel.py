"""Build the wheel from a copy of the sources, and install it where the packages of this environment can be imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path, sources: Path) -> Path:
    """Build the wheel without the network, and return its path.

    Args:
        folder: An empty folder for the wheel.
        sources: An empty folder for the copy of the sources: a build writes beside them.
    """
    for name in ("gli", "configs"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docs/scores.md", "completions/gli.sh"):
        (sources / name).parent.mkdir()
        shutil.copy(ROOT / name, sources / name)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--wheel-dir", str(folder), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment that borrows the other packages of this one; return its ``bin``.

    Args:
        wheel: The wheel.
        folder: Folder of the environment.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A line of a .pth file adds a folder after those of the environment, and ignores the .pth files in it: an editable
    # gli there is not seen.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    code = "import gli, torch; print(gli.__file__)"
    found = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(packages)
    return folder / "bin"
