"""No input makes a decoder of the wire fail, take long or keep memory: coverage-guided fuzzing by atheris."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.programs import unavailable

SCRIPT = Path(__file__).with_name("fuzz_decoder.py")
NAMES = re.findall(r'^    "([a-z-]+)": \(', SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
RUNS = 1_000_000

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", NAMES)
def test_a_million_inputs_derived_by_coverage_raise_errors_of_the_protocol_only(name: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        unavailable("no atheris here, which has wheels for CPython 3.11 to 3.13 on Linux, x86-64")
    arguments = [f"-runs={RUNS}", "-max_len=2000", "-rss_limit_mb=300", "-verbosity=0", "-seed=1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), name, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
