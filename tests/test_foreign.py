"""Networks of strangers: what is loaded, and that nothing of theirs runs."""

import pickle
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from revgan.errors import UserError
from revgan.networks.foreign import load_network

CPU = torch.device("cpu")

UNET = (
    "{spatial_dims: 2, in_channels: 3, out_channels: 2, channels: [4, 8], strides: [2],"
    " num_res_units: 1}"
)


@pytest.fixture
def unet(tmp_path):
    from monai.networks.nets import UNet

    network = UNet(2, 3, 2, (4, 8), (2,), num_res_units=1)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    (tmp_path / "net.yaml").write_text(UNET)
    return tmp_path / "net.safetensors"


def refused(path, **options):
    with pytest.raises(UserError) as error:
        load_network(path, CPU, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


class Writes(torch.nn.Module):
    """Writes into a file, wherever it runs."""

    def forward(self, x):
        y = torch.from_file("written", True, 1, dtype=torch.uint8)
        return x + y.fill_(33).float().sum()


class Runs:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def scripted(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writes()).save(path)


def pickled(path):
    path.write_bytes(pickle.dumps(Runs()))


def archived(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/models/model.json", "{}")
        archive.writestr("net/data/weights/model.pt", pickle.dumps(Runs()))


@pytest.mark.parametrize("save", [scripted, pickled, archived])
@pytest.mark.parametrize("name", ["net.pt", "net.pt2", "net.pth", "net", "net.PT"])
def test_files_that_can_run_code_are_not_loaded_without_trust(tmp_path, monkeypatch, save, name):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / name)
    assert "add --trust" in refused(tmp_path / name)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("save", [scripted, pickled, archived])
@pytest.mark.parametrize("name", ["net.safetensors", "net.onnx"])
def test_a_suffix_does_not_make_a_file_be_run(tmp_path, monkeypatch, save, name):
    if name == "net.onnx":
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    save(tmp_path / name)
    (tmp_path / "net.yaml").write_text(UNET)
    refused(tmp_path / name)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("content", [b"", b"not a network", pickle.dumps({})])
def test_trusted_files_must_be_networks_too(tmp_path, content):
    (tmp_path / "net.pt").write_bytes(content)
    assert "is not a TorchScript or torch.export file" in refused(tmp_path / "net.pt", trust=True)
    assert "is not a file" in refused(tmp_path / "none.pt", trust=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("channels: [4, 8]", "channels: [4, 4096]"), r"in net.safetensors, not"),
        (("channels: [4, 8]", "channels: [4, 1000000000]"), "channels must be 16384 or less"),
        (("num_res_units: 1", "num_res_units: 1000000000"), "num_res_units must be 16 or less"),
        (("strides: [2]", "strides: [2, 2, 2]"), "strides must list 1"),
        (("in_channels: 3", "in_channels: many"), "in_channels must be of the type int"),
        (("in_channels: 3, ", ""), "lacks in_channels"),
        (("num_res_units: 1", "norm: __import__"), "can't be loaded as a network"),
        (("num_res_units: 1", "target: os.system"), "may only hold spatial_dims"),
        (("strides: [2]", "strides: *all"), "has an alias"),
    ],
)
def test_a_description_must_fit_the_weights_before_anything_is_built(unet, change, said):
    unet.with_suffix(".yaml").write_text(UNET.replace(*change))
    assert said in refused(unet)


def test_weights_without_a_description_are_refused_with_an_example(unet):
    unet.with_suffix(".yaml").unlink()
    assert "write into it the arguments of MONAI's UNet" in refused(unet)


@pytest.mark.parametrize("place", ["../weights", "/etc/hostname", "link"])
def test_onnx_takes_no_weights_from_elsewhere(tmp_path, place):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights").write_bytes(bytes(4))
    (folder / "link").symlink_to(tmp_path / "weights")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], bytes(4), raw=True)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", place
    # In an attribute of a node in a branch of another: all places count.
    constant = helper.make_node("Constant", [], ["y"], value=weights)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    branch = helper.make_graph([constant], "branch", [], ends[1:])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    (folder / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert onnx.load(folder / "net.onnx", load_external_data=False)
    assert "isn't a file in its folder" in refused(folder / "net.onnx")
