"""What rooms hand out, and that handing it out is cheap."""

import subprocess
import sys
from importlib import import_module

import pytest

ROOMS = ["training", "benchmark", "figures", "data"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_face_is_there(room):
    face = import_module(f"revgan.{room}")
    for name in face.__all__:
        assert getattr(face, name) is not None
    assert not hasattr(face, "no_such_name")


def test_faces_and_configurations_need_no_heavy_library():
    names = ", ".join([*(f"revgan.{room}" for room in ROOMS), "revgan.training.config"])
    heavy = "{'torch', 'accelerate', 'monai', 'matplotlib', 'torchmetrics'}"
    program = f"import sys, {names}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
