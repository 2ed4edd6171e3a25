"""Many files: failures, interruptions, parts of a folder, types, sizes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from revgan.cli import main
from revgan.data import formats
from revgan.data.formats import Header
from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.errors import UsageError, UserError
from revgan.inference import Translator
from revgan.inference.shares import Share, share
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator

COUNT = 9
DAMAGED = ("2.png", "5.png", "7.png")
OBLONG = (12, 20)


def make_model(folder, spatial_dims=2):
    save_generator(RevGenerator(spatial_dims, 1, 1, width=2, depth=1), folder)
    return folder


def save(path, shape=OBLONG, dtype="u1", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 200, (1, *shape)).astype(dtype)
    place = np.eye(4) if len(shape) == 3 else None
    formats.write(path, values, Header(1, shape, values.dtype, place))
    return path


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def folder(tmp_path):
    """Nine images, of which three are damaged in ways of their own."""
    for number in range(COUNT):
        save(tmp_path / "in" / f"{number}.png", seed=number)
    first, second, third = (tmp_path / "in" / name for name in DAMAGED)
    first.write_bytes(first.read_bytes()[:-60])
    second.write_bytes(b"")
    third.write_bytes(b"this is text")
    return tmp_path / "in"


def translate(*arguments):
    return main(["translate", *map(str, arguments)])


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_damaged_files_are_told_at_the_end_and_all_others_translated(capsys, model, folder):
    out = folder.parent / "out"
    assert translate(model, folder, out) == 1
    assert sorted(content(out)) == [f"{n}.png" for n in range(COUNT) if f"{n}.png" not in DAMAGED]
    said, error = capsys.readouterr()
    reasons = [line for line in said.splitlines() if line.startswith("Not translated: ")]
    assert len(reasons) == len(DAMAGED)
    assert all(name in line for name, line in zip(DAMAGED, reasons, strict=True))
    assert error.count("\n") == 1
    assert "3 of 9 files were not translated" in error


def test_an_interrupted_folder_is_continued_to_the_same_bits(capsys, monkeypatch, model, folder):
    out, again = folder.parent / "out", folder.parent / "again"
    assert translate(model, folder, out) == 1
    whole, scans = Translator.translate_scan, []

    def interrupted(self, scan, *arguments):
        scans.append(scan)
        if len(scans) == 4:
            raise KeyboardInterrupt
        return whole(self, scan, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "translate_scan", interrupted)
        assert translate(model, folder, again) == 130
    assert len(content(again)) == 3
    before = {path: path.stat().st_mtime_ns for path in again.iterdir()}
    capsys.readouterr()
    assert translate(model, folder, again, "--skip-existing") == 1
    assert "Skipped 3 of 9 files, whose translations are there" in capsys.readouterr().out
    assert content(again) == content(out)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_parts_share_a_folder_and_make_what_one_process_makes(capsys, monkeypatch, model, folder):
    out, shared = folder.parent / "out", folder.parent / "shared"
    translate(model, folder, out)
    for task in range(4):
        environment = {"ID": task + 10, "COUNT": 4, "MIN": 10, "MAX": 13, "STEP": 1}
        for name, value in environment.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        capsys.readouterr()
        translate(model, folder, shared, "--part=auto")
        assert f"Part {task + 1}/4: {3 if task == 0 else 2} of 9 files" in capsys.readouterr().out
    assert content(shared) == content(out)
    assert translate(model, folder, folder.parent / "none", "--part=20/20") == 0


def page_code(language):
    page = Path(__file__).parent.parent / "docs" / "large.md"
    return re.search(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)[1]


def test_the_job_array_of_the_docs_translates_a_folder(model, folder):
    command = folder.parent / "bin" / "revgan"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m revgan "$@"\n')
    command.chmod(0o755)
    given = {"RUN": model, "INPUT": folder, "OUTPUT": folder.parent / "shared"}
    tasks = []
    for task in range(2):
        array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": 2}
        environment = {name: str(value) for name, value in (given | array).items()}
        path = f"{command.parent}:{os.environ['PATH']}"
        environment = {**os.environ, **environment, "PATH": path, "CUDA_VISIBLE_DEVICES": ""}
        shell = ["bash", "-c", page_code("bash")]
        tasks.append(subprocess.Popen(shell, env=environment, stdout=subprocess.DEVNULL))
    assert [task.wait() for task in tasks] == [1, 1]  # each has damaged files
    translate(model, folder, folder.parent / "out")
    assert content(folder.parent / "shared") == content(folder.parent / "out")


def test_the_actor_of_the_docs_translates_files_and_tells_failures(model, folder):
    names = {}
    exec(page_code("python").replace("import ray\n", ""), names)
    out = folder.parent / "out"
    out.mkdir()
    actor = names["Translate"](model, out)
    rows = [actor({"item": str(path)}) for path in sorted(folder.iterdir())]
    assert [row["file"] for row in rows if row["error"]] == list(DAMAGED)
    assert len(content(out)) == COUNT - len(DAMAGED)


@pytest.mark.parametrize(
    ("wish", "environment", "expected"),
    [
        (None, {"RANK": "1", "WORLD_SIZE": "2"}, Share(1, 1)),
        ("3/64", {}, Share(3, 64)),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2"}, Share(2, 2)),
        ("auto", {"ID": "0", "COUNT": "4"}, Share(1, 4)),
        ("auto", {"ID": "7", "COUNT": "3", "MIN": "3", "MAX": "7", "STEP": "2"}, Share(3, 3)),
        ("auto", {"ID": "1", "COUNT": "2", "RANK": "2", "WORLD_SIZE": "3"}, Share(6, 6)),
    ],
)
def test_a_part_is_given_or_taken_from_the_environment(wish, environment, expected):
    slurm = ("ID", "COUNT", "MIN", "MAX", "STEP")
    named = {f"SLURM_ARRAY_TASK_{k}" if k in slurm else k: v for k, v in environment.items()}
    assert share(wish, named) == expected


SLURM, RANKS = ("ID", "COUNT", "MIN", "MAX", "STEP"), ("RANK", "WORLD_SIZE")


@pytest.mark.parametrize("wish", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/4", "", "\uff11/4"])
def test_what_is_no_part_is_refused(wish):
    with pytest.raises(UsageError, match="--part must be auto or"):
        share(wish, {})


def test_a_part_that_the_environment_does_not_tell_is_refused():
    with pytest.raises(UserError, match="RANK and WORLD_SIZE"):
        share("auto", {})
    gaps = {"ID": "7", "COUNT": "3", "MIN": "1", "MAX": "7", "STEP": "1"}  # of --array=1,3,7
    with pytest.raises(UserError, match="numbers have gaps"):
        share("auto", {f"SLURM_ARRAY_TASK_{name}": value for name, value in gaps.items()})


@pytest.mark.parametrize("odd", ["x", "nan", "1.5", "-1", "9" * 5000, "\uff11", " "])
@pytest.mark.parametrize("name", [*(f"SLURM_ARRAY_TASK_{each}" for each in SLURM), *RANKS])
def test_a_part_by_variables_that_hold_no_numbers_is_refused_by_name(name, odd):
    environment = dict.fromkeys(RANKS, "3")
    if name not in RANKS:
        environment = {f"SLURM_ARRAY_TASK_{each}": "1" for each in SLURM}
    with pytest.raises(UserError, match=f"the environment variable {name} must be a whole") as said:
        share("auto", environment | {name: odd})
    assert len(str(said.value)) < 200


@pytest.mark.parametrize(("name", "least"), [("SLURM_ARRAY_TASK_STEP", 1), ("WORLD_SIZE", 1)])
def test_a_part_of_none_is_refused(name, least):
    environment = {f"SLURM_ARRAY_TASK_{each}": "1" for each in SLURM} | {"RANK": "0"}
    with pytest.raises(UserError, match=f"{name} must be a whole number from {least} up, not 0"):
        share("auto", environment | {"WORLD_SIZE": "2", name: "0"})
    with pytest.raises(UserError, match="RANK must be below WORLD_SIZE"):
        share("auto", {"RANK": "2", "WORLD_SIZE": "2"})


def volumes(folder, types):
    for name, dtype in types.items():
        save(folder / name, (8, 9, 10), dtype)
    return folder


@pytest.mark.parametrize(
    ("types", "low_high", "options", "expected"),
    [
        (("u2", "u2"), (0, 3000), [], "uint16"),
        (("u2", "u2"), (-100, 2900), [], "float32"),  # no uint16 is negative
        (("u2", "i2"), (-100, 2900), [], "int16"),
        (("u1", "i2"), (0, 255), [], "uint8"),
        (("i2", "f4"), (0, 3000), [], "float32"),
        (("i2", "i2"), (0, 1), [], "float32"),  # whole numbers would leave nothing
        (("i2", "i2"), (-100, 2900), ["--dtype=float32"], "float32"),
        (("f4", "f4"), (-100, 2900), ["--dtype=int16"], "int16"),
    ],
)
def test_all_translations_of_a_folder_have_one_type(tmp_path, types, low_high, options, expected):
    model = make_model(tmp_path / "model", 3)
    Preparation(Intensity(0, 200), Intensity(*low_high)).write(model)
    source = volumes(tmp_path / "in", dict(zip(("a.nii", "b.nii"), types, strict=True)))
    assert translate(model, source, tmp_path / "out", *options) == 0
    found = {str(formats.probe(path).dtype) for path in (tmp_path / "out").iterdir()}
    assert found == {expected}
    # A part of the folder decides alike.
    assert translate(model, source, tmp_path / "part", "--part=2/2", *options) == 0
    assert str(formats.probe(tmp_path / "part" / "b.nii").dtype) == expected


def test_images_are_scaled_as_in_training(capsys, model, tmp_path):
    source = save(tmp_path / "x.png", (40, 60))
    assert translate(model, source, tmp_path / "y.png", "--resize=20") == 0
    assert formats.probe(tmp_path / "y.png").shape == (20, 30)
    assert translate(model, source, tmp_path / "z.png", "--resize=40") == 0
    assert translate(model, source, tmp_path / "w.png") == 0
    assert (tmp_path / "z.png").read_bytes() == (tmp_path / "w.png").read_bytes()
    volume = make_model(tmp_path / "volume", 3)
    assert translate(volume, save(tmp_path / "x.nii", (8, 8, 8)), "y.nii", "--resize=8") == 1
    assert "--resize is for images" in capsys.readouterr().err
    assert translate(model, source, tmp_path / "y.png", "--resize=0") == 2
    capsys.readouterr()
    for size in (10**6, 10**9):  # no memory holds the first, no tensor the second
        assert translate(model, source, tmp_path / "big.png", f"--resize={size}") == 1
        assert "are free; give a --resize below" in capsys.readouterr().err


def test_folders_inside_are_named_or_descended_into(capsys, model, tmp_path):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "more" / "b.png")
    (tmp_path / "in" / "notes.txt").write_text("text")
    assert translate(model, tmp_path / "in", tmp_path / "flat") == 0
    said = capsys.readouterr()
    assert re.search(r"more", said.err)
    assert "notes.txt" in said.err
    assert sorted(content(tmp_path / "flat")) == ["a.png"]
    assert translate(model, tmp_path / "in", tmp_path / "deep", "--recursive") == 0
    found = {
        path.relative_to(tmp_path / "deep").as_posix() for path in tmp_path.rglob("deep/**/*.png")
    }
    assert found == {"a.png", "more/b.png"}
