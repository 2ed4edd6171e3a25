"""Models go to the Hugging Face hub and come back, or end in one sentence.

The hub is a local stand-in that speaks its HTTP interface; the real one was not tried.
"""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

import hub as stand_in
from revgan import Translator
from revgan.cli import main
from revgan.errors import Notice
from revgan.networks.hub import is_hub_name
from revgan.sharing import PushOptions, card_of

try:
    from huggingface_hub.utils import close_session
except ImportError:  # before version 1.0
    from huggingface_hub.utils import reset_sessions as close_session

# Of huggingface_hub's own upload.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

BEFORE = Path(__file__).parent / "fixtures" / "before"
RUN = BEFORE / "images" / "run"


@pytest.fixture(scope="module")
def running():
    with stand_in.running() as hub:
        yield hub


@pytest.fixture
def hub(running, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    connect(monkeypatch, running.address, tmp_path / "cache")
    monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
    for kept in (running.files, running.commits, running.asked):
        kept.clear()
    return running


def connect(monkeypatch, address, cache):
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)  # since 0.31
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()


def refusal(capsys, *arguments):
    assert main(list(map(str, arguments))) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


def test_a_pushed_model_comes_back_with_its_card(hub, capsys):
    assert main(["push", str(RUN), "user/name", "--license", "mit"]) == 0
    assert f"{hub.address}/user/name/commit/" in capsys.readouterr().out
    files = hub.files["user/name"]
    assert sorted(files) == ["README.md", "config.yaml", "model.safetensors"]
    assert ("user/name", "model.safetensors") in hub.large_files
    assert b"license: mit" in files["README.md"]
    translator = Translator.from_pretrained("user/name")
    expected = Translator.from_pretrained(RUN)(pixels(), "BtoA")
    assert np.array_equal(translator(pixels(), "BtoA"), expected)


def test_nothing_but_a_model_is_fetched(hub):
    assert main(["push", str(BEFORE / "volumes" / "run"), "user/name"]) == 0
    hub.files["user/name"] |= {"pytorch_model.bin": b"pickle", "code.py": b"print()"}
    translator = Translator.from_pretrained("user/name@main")
    assert translator.preparation is not None
    fetched = {line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line}
    assert fetched == {"model.safetensors", "config.yaml", "intensity.yaml"}


def test_a_model_that_was_fetched_needs_no_hub(hub, tmp_path, monkeypatch):
    assert main(["push", str(RUN), "user/name"]) == 0
    Translator.from_pretrained("user/name")
    with socket.socket() as taken:  # nothing listens there
        taken.bind(("127.0.0.1", 0))
        connect(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "cache")
        assert Translator.from_pretrained("user/name").generator.in_channels == 3
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Translator.from_pretrained("user/name").generator.in_channels == 3


def test_a_folder_of_the_same_name_wins(hub, tmp_path):
    shutil.copytree(RUN, tmp_path / "user" / "name")
    Translator.from_pretrained("user/name")
    assert not hub.asked
    assert not is_hub_name("user/other")  # a path, as there is a folder user


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user/none", "neither here nor on the Hugging Face hub"),
        (stand_in.GATED, "ask for access on its page"),
        ("user/name@v9", "has no version v9"),
        ("none", "does not exist"),
    ],
)
def test_models_that_cannot_be_had_end_in_a_sentence(hub, capsys, name, message):
    hub.files["user/name"], hub.commits["user/name"] = {}, "0" * 40
    Path("photos").mkdir()
    assert message in refusal(capsys, "translate", name, "photos", "out")


def test_a_repository_without_a_model_is_none(hub, capsys):
    hub.files["user/name"], hub.commits["user/name"] = {"model.pt": b""}, "1" * 40
    Path("photos").mkdir()
    assert "model.safetensors" in refusal(capsys, "translate", "user/name", "photos", "out")


def test_without_a_connection_or_a_login_nothing_is_pushed(hub, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "log in with hf auth login" in refusal(capsys, "push", RUN, "user/name")
    for name in ("name", "user/é", "user/-x", f"user/{'x' * 200}", "user/x.git", "user/x\n"):
        assert "is no name on the Hugging Face hub" in refusal(capsys, "push", RUN, name)
    assert "isn't a model folder" in refusal(capsys, "push", tmp_path, "user/name")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        connect(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "cache")
        assert "can't be reached" in refusal(capsys, "push", RUN, "user/name")
        assert "can't be reached" in refusal(capsys, "translate", "user/name", tmp_path, "out")
    assert not hub.files


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: [],
        lambda content: {"test": 5},
        lambda content: {"test": [{}]},
        lambda content: {"test": [content["test"][0] | {"psnr": "=1+1"}]},
        lambda content: {"test": [content["test"][0] | {"mae": {}}]},
        lambda content: {"test": [content["test"][0] | {"mae": True}]},
        lambda content: {"test": [content["test"][0] | {"ssim_low": "x"}]},
        lambda content: {"test": [content["test"][0] | {"direction": None}]},
        lambda content: {"test": [content["test"][0] | {"count": "2"}]},
        lambda content: content | {"class_iou": 5},
        lambda content: content | {"class_iou": {"labels": {}}},
        lambda content: content | {"class_iou": {"labels": {"RevGAN": {"sea": "much"}}}},
    ],
)
def test_a_card_of_damaged_scores_has_none_and_says_so(tmp_path, damage):
    run = shutil.copytree(RUN, tmp_path / "run")
    content = json.loads((BEFORE / "images" / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps(damage(content)))
    with pytest.warns(Notice, match=r"scores\.json is damaged, so the card has no scores"):
        assert "None were measured." in card_of(run, "user/name", PushOptions())


def test_a_card_of_label_maps_has_the_scores_and_each_class(tmp_path):
    run = shutil.copytree(RUN, tmp_path / "run")
    content = json.loads((BEFORE / "images" / "scores.json").read_text())
    classes = {
        "RevGAN": {"sea": 0.5, "lake|river": None},
        "sea everywhere": {"sea": 0.25, "lake|river": 0},
    }
    (run / "scores.json").write_text(json.dumps(content | {"class_iou": {"labels": classes}}))
    card = card_of(run, "user/name", PushOptions())
    assert "15.24 [15.21, 15.26]" in card
    assert "| class | RevGAN | sea everywhere |" in card
    assert "| sea | 0.500 | 0.250 |" in card
    assert r"| lake\|river |  | 0.000 |" in card


def test_a_card_tells_scores_with_intervals_and_no_paths(tmp_path):
    run = shutil.copytree(RUN, tmp_path / "run")
    shutil.copy(BEFORE / "images" / "scores.json", run)
    card = card_of(run, "user/name", PushOptions(about="Tiles of a town.", license="mit"))
    assert "15.24 [15.21, 15.26]" in card
    assert "Tiles of a town." in card
    assert "A GAN invents what is plausible" in card
    assert str(tmp_path) not in card
    assert "images/data" not in card
