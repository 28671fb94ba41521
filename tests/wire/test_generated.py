"""What is generated is what the installed service model says today."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_shapes_are_those_of_the_installed_model():
    done = subprocess.run([sys.executable, "tools/gen.py", "--check"], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "generated files are current\n")


def test_no_prose_of_the_model_is_copied():
    text = (ROOT / "src/repoint/wire/service.json").read_text() + (ROOT / "src/repoint/wire/shapes.py").read_text()

    assert "<p>" not in text
