"""Networks that judge photos: from files of others, and trained here."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from revgan.data.config import DataConfig
from revgan.data.labels import LabelClass, Palette
from revgan.data.sets import open_data_set
from revgan.errors import UserError
from revgan.evaluation import segmenter_training
from revgan.evaluation.segmenter import (
    MULTIPLE,
    Segmenter,
    UNetSegmenter,
    build_unet,
    load_segmenter,
)
from revgan.evaluation.segmenter_training import trained_segmenter

PALETTE = Palette("B", (LabelClass("dark", (0, 0, 0)), LabelClass("light", (255, 255, 255))))
CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Scores two classes by brightness, at half the size."""

    def __init__(self, classes=2):
        super().__init__()
        self.convolution = nn.Conv2d(3, classes, 2, stride=2)
        with torch.no_grad():
            self.convolution.weight.fill_(1)
            self.convolution.weight[0] *= -1
            self.convolution.bias.zero_()

    def forward(self, x):
        return self.convolution(x)


def scripted(path, network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, but files of it are around
        torch.jit.save(torch.jit.script(network), path)
    return path


def exported(path, network):
    example = (torch.zeros(1, 3, 12, 16),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network.eval(), example), path)
    return path


def as_onnx(path, network):
    """`Brightness` by hand, as PyTorch's own export needs more packages."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    values = {name: value.numpy() for name, value in network.convolution.state_dict().items()}
    node = helper.make_node("Conv", ["x", "weight", "bias"], ["y"], strides=[2, 2])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    weights = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph([node], "brightness", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("save", "name", "trust"),
    [(scripted, "net.pt", True), (exported, "net.pt2", True), (as_onnx, "net.onnx", False)],
)
def test_networks_of_the_user_label_photos_at_their_size(tmp_path, save, name, trust):
    path = save(tmp_path / name, Brightness())
    segmenter = load_segmenter(path, PALETTE, 3, [(12, 16)], CPU, trust=trust)
    photo = torch.full((3, 12, 16), -0.5)
    photo[:, :, 8:] = 0.5
    classes = segmenter(photo)
    assert classes.shape == (12, 16)
    assert classes[:, :7].eq(0).all()
    assert classes[:, 9:].eq(1).all()


def test_a_network_of_other_classes_is_refused(tmp_path):
    path = scripted(tmp_path / "net.pt", Brightness(5))
    with pytest.raises(UserError, match=r"has 5 classes, but the data set has 2: dark, light"):
        load_segmenter(path, PALETTE, 3, [(8, 8)], CPU, trust=True)


def test_a_network_of_other_channels_is_refused(tmp_path):
    path = scripted(tmp_path / "net.pt", Brightness())
    with pytest.raises(UserError, match=r"does not take images \(1, 4, 8, 8\)"):
        load_segmenter(path, PALETTE, 4, [(8, 8)], CPU, trust=True)


def test_a_network_must_take_photos_of_every_size(tmp_path):
    path = exported(tmp_path / "net.pt2", Brightness())  # for 12 x 16 alone
    with pytest.raises(UserError, match=r"does not take images \(1, 3, 16, 16\)"):
        load_segmenter(path, PALETTE, 3, [(12, 16), (16, 16)], CPU, trust=True)


def test_a_unet_in_safetensors_pads_photos_of_any_size(tmp_path):
    network = build_unet(3, 2).eval()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    (tmp_path / "net.yaml").write_text(
        "{spatial_dims: 2, in_channels: 3, out_channels: 2, channels: [16, 32, 64, 128],"
        " strides: [2, 2, 2], num_res_units: 1, norm: batch}"
    )
    segmenter = load_segmenter(tmp_path / "net.safetensors", PALETTE, 3, [(13, 9)], CPU)
    photo = torch.rand(3, 13, 9)
    assert torch.equal(segmenter.scores(photo), UNetSegmenter(network, CPU).scores(photo))


def test_sizes_that_are_no_multiple_are_padded_and_cropped():
    seen = []

    def network(batch):
        seen.append(tuple(batch.shape[2:]))
        return torch.cat([-batch[:, :1], batch[:, :1]], 1)

    image = torch.linspace(-1, 1, 13).view(1, 1, 13).expand(3, 9, 13)
    classes = Segmenter(network, CPU, multiple=8)(image)
    assert seen == [(16, 16)]
    assert torch.equal(classes, (image[0] > 0).long())


@pytest.fixture
def data(tmp_path):
    """Squares, light on dark, and their label maps."""
    draws = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(4):
            label = np.zeros((24, 20, 3), np.uint8)
            top, left = draws.integers(4, 10, size=2)
            label[top : top + 9, left : left + 9] = 255
            photo = (60 + label // 2 + draws.integers(40, size=label.shape)).astype(np.uint8)
            for name, pixels in (("A", photo), ("B", label)):
                folder = tmp_path / "images" / f"{split}{name}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    PALETTE.write(tmp_path / "images")
    return open_data_set(DataConfig(path=str(tmp_path / "images"), crop=16), paired=True)


def test_a_trained_segmenter_knows_its_classes_and_is_kept(data, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter_training, "STEPS", 30)
    steps = []
    trained = trained_segmenter(data, tmp_path / "cache", CPU, lambda done, _: steps.append(done))
    assert steps == list(range(1, 31))
    photo, label = data.a.load(data.a.test[0]), data.b.load(data.b.test[0])
    right = (trained(photo) == PALETTE.nearest(label)).double().mean()
    assert right > 0.9
    again = trained_segmenter(data, tmp_path / "cache", CPU, steps.append)
    assert steps == list(range(1, 31))
    assert torch.equal(trained.scores(photo), again.scores(photo))


def test_a_damaged_cached_segmenter_is_trained_anew(data, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter_training, "STEPS", 1)
    trained_segmenter(data, tmp_path / "cache", CPU)
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.warns(UserWarning, match=r"the segmenter .* is damaged, and trained again"):
        trained_segmenter(data, tmp_path / "cache", CPU)
    assert path.read_bytes() == whole


def test_label_maps_without_a_class_that_counts_train_no_segmenter(data, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter_training, "STEPS", 2)
    grey = LabelClass("grey", (9, 9, 9))
    void = (LabelClass(c.name, c.colour, void=True) for c in PALETTE.classes)
    palette = Palette("B", (*void, grey, LabelClass("paler", (10, 10, 10))))
    with pytest.raises(UserError, match="no pixel of the training label maps has a class"):
        trained_segmenter(replace(data, palette=palette), tmp_path / "cache", CPU)
    assert not (tmp_path / "cache").exists()


def test_other_class_ids_have_a_segmenter_of_their_own(data, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter_training, "STEPS", 1)
    trained_segmenter(data, tmp_path / "cache", CPU)
    ids = tmp_path / "images" / "trainLabels"
    ids.mkdir()
    for number in range(4):
        Image.fromarray(np.ones((24, 20), np.uint8)).save(ids / f"{number}.png")
    trained_segmenter(data, tmp_path / "cache", CPU)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_training_a_segmenter_leaves_the_random_state_alone(data, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter_training, "STEPS", 1)
    before = torch.get_rng_state()
    trained_segmenter(data, tmp_path / "cache", CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_features_have_one_length_and_scale_whatever_the_size():
    unet = UNetSegmenter(build_unet(3, 2), CPU)
    for size in ((16, 16), (33, 21)):
        features = unet.features(torch.rand(3, *size))
        assert features.square().mean() == pytest.approx(1, abs=1e-3)
    assert 24 % MULTIPLE == 0
