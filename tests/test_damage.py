"""A run's own files, damaged: repaired or named, and nothing dropped in silence."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from revgan import Translator
from revgan.data.intensity import TypeRange
from revgan.data.preparation import Preparation
from revgan.errors import Notice, UserError
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_tensors
from revgan.options.runs import stored_config
from revgan.training.best import Best, BestModel, forget_best_after
from revgan.training.checkpoint import load_checkpoint, save_checkpoint
from revgan.training.runs import RunFolder
from small_runs import configuration, run, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def trained(folder, tmp_path):
    """A run of two steps, with a checkpoint of each."""
    run(configuration(folder, steps=2, checkpoint_every=1, log_every=1), tmp_path)
    return tmp_path


def first_key(tensors, *parts):
    return next(key for key in tensors if all(part in key for part in parts))


CHANGES = {
    "without a moment": (
        lambda all_: all_.pop(first_key(all_, "adam_a", "exp_avg_sq")),
        "is damaged: Adam's 0.exp_avg_sq of a is missing or unknown",
    ),
    "an odd name": (
        lambda all_: all_.update({"evil": torch.zeros(1)}),
        "is damaged: nothing of a training is called evil",
    ),
    "an odd moment": (
        lambda all_: all_.update({"adam_b.99.exp_avg": torch.zeros(1)}),
        "is damaged: Adam's 99.exp_avg of b is missing or unknown",
    ),
    "infinite": (
        lambda all_: all_[first_key(all_, "generator", "weight")].fill_(float("inf")),
        "holds numbers that aren't finite",
    ),
    "a moment of another shape": (
        lambda all_: all_.update({first_key(all_, "adam_a", "exp_avg"): torch.zeros(2, 7)}),
        "belongs to different networks",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_that_training_can_not_have_written_is_refused(folder, trained, change):
    alter, told = CHANGES[change]
    path = trained / "checkpoints" / "step-2" / "state.safetensors"
    tensors = load_file(path)
    alter(tensors)
    save_tensors(path, tensors)
    (path.parent / "progress.json").write_text('{"step": 2, "scaler": {}}')  # without a checksum
    with pytest.raises(UserError, match=told):
        run(configuration(folder, steps=3), trained, resume=True)


@pytest.mark.parametrize("steps", [2, 3])  # of which 2 are done
def test_what_a_kill_left_unfinished_is_removed_at_the_next_start(folder, trained, steps):
    part = ".0123456789abcdef.part"
    leftovers = [
        trained / "checkpoints" / ".step-abcd" / f"{part}.safetensors",
        trained / "model" / f"{part}.safetensors",
        trained / "model" / f"{part}.yaml",
        trained / f"{part}.jsonl",
    ]
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    run(configuration(folder, steps=steps), trained, resume=True)
    assert not list(trained.rglob(".*"))


def test_a_run_resumes_from_before_a_damaged_checkpoint_and_replaces_it(folder, trained):
    (trained / "checkpoints" / "step-2" / "state.safetensors").write_bytes(b"x")
    config = configuration(folder, steps=2, checkpoint_every=1)
    with pytest.warns(Notice, match="step-2 can't be read .* the one of step 1 is taken"):
        assert run(config, trained, resume=True)[0].finished
    assert load_checkpoint(trained / "checkpoints")[0] == 2


def test_a_damaged_line_of_metrics_is_named_and_the_others_kept(folder, trained):
    metrics = trained / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(lines[0] + b"\xff\x00{\n[1]\n" + lines[1] + b'{"step": 2, "ga')
    with pytest.warns(
        Notice, match=r"2 lines of .*jsonl, the first of them line 2, are damaged, and"
    ):
        run(configuration(folder, steps=3, log_every=1), trained, resume=True)
    assert [line["step"] for line in RunFolder(trained).history()] == [
        1,
        2,
        3,
        3,
    ]  # the last is a validation


@pytest.mark.parametrize(("first", "last"), [(2, 4), (0, 2), (0, 4)])  # the end, a part, all
def test_lines_of_metrics_that_are_lost_without_a_trace_are_counted(
    folder, tmp_path, first, last, recwarn
):
    config = configuration(folder, steps=2, checkpoint_every=2, log_every=1, validate_every=1)
    run(config, tmp_path)
    metrics = tmp_path / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    assert len(lines) == 4  # of two steps, and of the scores after each
    left = lines[:first] + lines[last:]
    metrics.write_text("".join(left)) if left else metrics.unlink()
    run(replace(config, training=replace(config.training, steps=3)), tmp_path, resume=True)
    (told,) = [str(each.message) for each in recwarn if "metrics" in str(each.message)]
    assert f"has {len(left)} of the 4 lines that were written until step 2" in told
    assert f"the last is of step {1 if first else 2}" in told or not left
    assert len(RunFolder(tmp_path).history()) == len(left) + 2
    recwarn.clear()
    run(replace(config, training=replace(config.training, steps=4)), tmp_path, resume=True)
    assert not [each for each in recwarn if "metrics" in str(each.message)]  # it was said


def test_many_damaged_lines_of_metrics_are_told_in_one_sentence(tmp_path, recwarn):
    odd = ['{"step": 1, "gan_a": "x"}', '{"step": 1.5}', "{", '{"step": 2, "mae": [1]}', "null"]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*odd * 99, '{"step": 7, "mae": 1.0}\n']))
    assert RunFolder(tmp_path).history() == [{"step": 7, "mae": 1.0}]
    (told,) = [str(each.message) for each in recwarn]
    assert "495 lines of" in told
    assert "the first of them line 1, are damaged, and left out" in told


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"step": 1}'])
def test_a_damaged_record_of_the_best_model_is_named(tmp_path, content):
    (tmp_path / "best.json").write_bytes(content)
    with pytest.warns(Notice, match="best.json is damaged, so the run has no best model"):
        assert Best.read(tmp_path) is None


def torn(path):
    """Beginnings of a file, as after a power cut, above all between its last lines."""
    content = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(content) if byte == ord("\n")]
    for end in (0, len(content) // 2, *ends[-6:-1], len(content) - 3):
        path.write_bytes(content[:end])
        yield end
    path.write_bytes(content)


def test_a_torn_configuration_of_a_model_or_run_never_means_its_defaults(folder, tmp_path):
    # What is missing at the end of YAML is YAML still. Each of these options would be lost.
    config = configuration(folder, steps=1)
    generator = replace(config.generator, skip=True)
    run(replace(config, generator=generator), tmp_path)
    model = tmp_path / "model"
    for name in ("config.yaml", "intensity.yaml"):
        for _ in torn(model / name):
            with pytest.raises(UserError):
                Translator.from_pretrained(model)
    for _ in torn(tmp_path / "config.yaml"):
        with pytest.raises(UserError):
            stored_config(tmp_path / "config.yaml")
    assert Translator.from_pretrained(model).generator.config.skip


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "intensity.yaml"])
def test_a_damaged_best_model_is_named_and_counts_no_more(tmp_path, name):
    best = BestModel(tmp_path / "best", "psnr", "val", Preparation(TypeRange(), TypeRange()))
    scores = {"mae": 9.0, "psnr": 20.0, "ssim": 0.5}
    generator = RevGenerator(in_channels=1, out_channels=1, width=4, depth=1)
    assert best.offer(generator, 3, scores)
    assert Best.read(tmp_path / "best").step == 3
    path = tmp_path / "best" / name
    content = path.read_bytes()

    for damaged in (content[:-1], content[:-9] + b"x" + content[-8:], None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.warns(Notice, match=f"{name} is damaged, so the run has no best model"):
            assert Best.read(tmp_path / "best") is None
    with pytest.warns(Notice):
        forget_best_after(tmp_path / "best", 5)
    assert not (tmp_path / "best").exists()


def test_counts_that_json_lacks_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(tmp_path, 1, {"a.b": torch.ones(1)}, {"x": {"y": float("nan")}}, keep=1)
    assert list(tmp_path.iterdir()) == []
