"""Threads are told to wait in peace before PyTorch starts them, unless the user has told them."""

import os
import subprocess
import sys

import pytest

PRINT = "import os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
AFTER_MAIN = f"from revgan.cli import main; main(['--version']); {PRINT}"


@pytest.mark.parametrize(
    ("own", "then"),
    [
        ({}, "3000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
def test_openmp_spins_for_a_bounded_time_unless_the_user_says_otherwise(own, then):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN],
        env=clean | own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == then


def test_the_command_line_does_not_import_torch_before_threads_are_calm():
    code = "import sys; import revgan.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
