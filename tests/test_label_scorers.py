"""Scores of label maps and of photos made from them, on images whose scores are known."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from revgan.cli import main
from revgan.data.config import DataConfig
from revgan.data.labels import IGNORED, LabelClass, Palette
from revgan.data.sets import open_data_set
from revgan.errors import UserError
from revgan.evaluation.label_scorers import LabelScorer, SegmenterScorer, true_classes
from revgan.evaluation.runs import evaluate
from revgan.evaluation.scorers import Sample
from revgan.evaluation.scoring import ScoreOptions, Scoring
from revgan.training.config import RunConfig
from revgan.training.runs import RunFolder

ROAD, SKY, VOID = (128, 64, 128), (70, 130, 180), (0, 0, 0)
PALETTE = Palette(
    "B", (LabelClass("road", ROAD), LabelClass("sky", SKY), LabelClass("void", VOID, void=True))
)
SIZE = 32


def stripes(*colours):
    """Vertical stripes of equal width, (SIZE, SIZE, 3)."""
    return np.repeat(np.tile(np.array(colours, np.uint8), (SIZE, 1, 1)), SIZE // len(colours), 1)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Photos that are darker label maps; half of each is sky, a quarter road, a quarter void."""
    root = tmp_path / "images"
    labels = stripes(SKY, SKY, ROAD, VOID)
    for split in ("train", "test"):
        for number in range(3):
            save(root / f"{split}A" / f"{number}.png", labels // 2)
            save(root / f"{split}B" / f"{number}.png", labels)
    PALETTE.write(root)
    return root


class Brightens:
    """Stands in for a model: twice as bright towards B, half as bright towards A."""

    def __call__(self, image, direction):
        return (image + 1) * (2 if direction == "AtoB" else 0.5) - 1


def evaluated(folder, tmp_path, paired=True, **options):
    config = RunConfig("paired" if paired else "unpaired", DataConfig(path=str(folder), crop=32))
    data = open_data_set(config.data, paired=paired)
    console = Console(quiet=True)
    scoring = Scoring(ScoreOptions(**options), data, config, torch.device("cpu"), console)
    return evaluate(Brightens(), data, RunFolder(tmp_path / "run"), console, scoring)


def scores(evaluation, table):
    return {
        row.method: {key: estimate.value for key, estimate in row.scores.items()}
        for row in evaluation.tables[table]
    }


def test_the_nearest_label_colour_is_scored_beside_the_most_frequent_class(folder, tmp_path):
    evaluation = evaluated(folder, tmp_path)
    found = scores(evaluation, "labels")
    # Halved and doubled, a colour is at most one grey level off: all classes are right.
    assert found["RevGAN"] == {"pixel_accuracy": 1, "class_accuracy": 1, "class_iou": 1}
    # Of what counts, two thirds are sky; void pixels are no mistakes.
    everywhere = {"pixel_accuracy": 2 / 3, "class_accuracy": 1 / 2, "class_iou": 1 / 3}
    assert found["sky everywhere"] == pytest.approx(everywhere)
    assert {row.direction for row in evaluation.tables["labels"]} == {"AtoB"}
    assert evaluation.classes["labels"]["sky everywhere"] == {"road": 0.0, "sky": 2 / 3}
    assert "segmenter" not in evaluation.tables


class SeesSkyWhereItIsBlue:
    """Stands in for a segmenter."""

    def __call__(self, photo):
        return (photo[2] > photo[0]).long()


def test_a_segmenter_judges_made_photos_beside_real_ones(folder):
    data = open_data_set(DataConfig(path=str(folder), crop=32), paired=True)
    scorer = SegmenterScorer("BtoA", data, PALETTE, "RevGAN", SeesSkyWhereItIsBlue())
    for number in range(3):
        label, photo = data.b.load(data.b.test[number]), data.a.load(data.a.test[number])
        red = torch.tensor([1.0, -1.0, -1.0]).view(3, 1, 1).expand_as(photo)
        scorer.add(Sample(number, label, red, photo, label))
    made, real = scorer.rows()
    assert real.method == "real photos"
    assert real.kind == "ceiling"
    assert real.scores["pixel_accuracy"].value == 1
    assert made.scores["pixel_accuracy"].value == pytest.approx(1 / 3)  # all road


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_label_maps_of_any_channels_have_their_own_classes(folder, channels):
    config = DataConfig(path=str(folder), crop=32, channels_b=channels)
    data = open_data_set(config, paired=True)
    scorer = LabelScorer("AtoB", data, PALETTE, "RevGAN")
    label, photo = data.b.load(data.b.test[0]), data.a.load(data.a.test[0])
    scorer.add(Sample(0, photo, label, label, photo))
    assert scorer.rows()[0].scores["pixel_accuracy"].value == 1


def test_a_single_run_has_the_name_that_it_was_given(folder, tmp_path, capsys):
    run, table = tmp_path / "run", tmp_path / "t.csv"
    tiny = ["--training.steps=1", "--generator.width=2", "--generator.depth=1", "--data.crop=32"]
    tiny += ["--discriminator.width=2", "--runtime.device=cpu", f"--run={run}"]
    assert main(["train", str(folder), *tiny]) == 0
    assert main(["evaluate", str(run), "--names=mine", f"--table={table}"]) == 0
    assert ",mine," in table.read_text()
    assert "mine" in capsys.readouterr().out


def test_a_class_that_the_test_has_not_is_left_out(folder, tmp_path):
    for number in range(3):
        save(folder / "testA" / f"{number}.png", stripes(SKY) // 2)
        save(folder / "testB" / f"{number}.png", stripes(SKY))
    evaluation = evaluated(folder, tmp_path)
    assert scores(evaluation, "labels")["RevGAN"]["class_iou"] == 1
    assert evaluation.classes["labels"]["RevGAN"] == {"road": None, "sky": 1.0}


def test_a_test_without_a_pixel_that_counts_is_refused_rather_than_scored(folder, tmp_path):
    for number in range(3):
        save(folder / "testB" / f"{number}.png", stripes(VOID))
    with pytest.raises(UserError, match=r"of testB has a class that counts in labels\.yaml"):
        evaluated(folder, tmp_path)


def test_classes_follow_the_size_that_networks_see(folder):
    config = DataConfig(path=str(folder), resize=48, crop=32)
    data = open_data_set(config, paired=True)
    classes = true_classes(data.b, data.b.test[0], PALETTE)
    assert classes.shape == (48, 48)
    assert classes.unique().tolist() == [0, 1, IGNORED]


def test_unknown_label_colours_end_an_evaluation_before_it_starts(folder, tmp_path):
    pixels = stripes(SKY, ROAD)
    pixels[0, 0] = (1, 2, 3)
    save(folder / "testB" / "2.png", pixels)
    with pytest.raises(UserError, match=r"2\.png has 1 colour .*\(1, 2, 3\) at 1 pixel;"):
        evaluated(folder, tmp_path)
    assert not (tmp_path / "run" / "results").exists()


def test_labels_without_photos_are_named_as_the_reason_for_no_score(folder, tmp_path, capsys):
    (folder / "testB" / "0.png").unlink()
    run = tmp_path / "run"
    tiny = ["--training.steps=1", "--generator.width=2", "--generator.depth=1", "--data.crop=32"]
    tiny += ["--discriminator.width=2", "--runtime.device=cpu", f"--run={run}"]
    assert main(["train", str(folder), *tiny]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    assert (
        "labels aren't scored, as the test images of A and B don't pair" in capsys.readouterr().out
    )
    assert main(["evaluate", str(run), "--segmenter=unet"]) == 1
    assert "--segmenter needs a photo for each label map" in capsys.readouterr().err


def test_a_label_map_of_another_size_than_its_photo_is_named(folder, tmp_path):
    save(folder / "testB" / "1.png", np.pad(stripes(SKY), ((0, 0), (0, 4), (0, 0)), mode="edge"))
    with pytest.raises(UserError, match=r"1\.png is 32 x 32 pixels and .*1\.png 36 x 32"):
        evaluated(folder, tmp_path)


def test_test_images_can_be_scored_at_another_size_than_training_crops_from(folder, tmp_path):
    run = tmp_path / "run"
    tiny = ["--training.steps=1", "--generator.width=2", "--generator.depth=1", "--data.crop=32"]
    tiny += ["--discriminator.width=2", "--runtime.device=cpu", f"--run={run}"]
    assert main(["train", str(folder), "--objective=paired", "--data.resize=36", *tiny]) == 0
    for options, side in (([], 36), (["--resize=32"], 32)):
        assert main(["evaluate", str(run), *options]) == 0
        with Image.open(run / "results" / "AtoB" / "0.png") as picture:
            assert picture.size == (side, side)
