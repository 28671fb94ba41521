"""Packages of npm, for clients that are written in JavaScript."""

import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "build"


def installed(folder, package, version):
    """The folder below build/ with the package in it; without Node.js or the registry the test is skipped."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not on this machine")
    place = BUILD / folder
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "node_modules" / package).exists():
        command = [
            "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--legacy-peer-deps",
            f"{package}@{version}",
        ]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=240)
        if done.returncode:
            pytest.skip(f"the npm registry is out of reach: {done.stderr[-200:]}")
    return place
