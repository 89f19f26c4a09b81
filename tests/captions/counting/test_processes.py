"""Work in several processes: what goes wrong in them reaches the caller."""

import subprocess
import sys
from pathlib import Path

UNGUARDED = """
from functools import partial
from catclip.captions.counting.processes import run_in_processes

def work(much, piece, progress):
    return piece

list(run_in_processes(partial(work, bytes(1 << 20)), [1, 2], workers=2))
"""


def test_a_script_without_a_main_guard_ends_and_says_why(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "if __name__ == '__main__':" in ended.stderr
