"""A model as a MONAI bundle: a folder that `python -m monai.bundle run` runs on volumes."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revgan.data.preparation import SIDES, WITHOUT_FILE, fill_in_unit
from revgan.directions import Direction
from revgan.errors import require_package
from revgan.exporting.checking import Run
from revgan.exporting.graph import OneWay
from revgan.inference import Windows, translate_padded
from revgan.inference.exported import Label
from revgan.networks.pretrained import MODELS, parse_architecture
from revgan.plain_yaml import parse_yaml

WINDOWS = Windows(128)
"""Larger volumes are run in parts, with the result of one pass."""

CONFIGS, WEIGHTS = "configs", "models/model.pt"
"""Where a bundle has its configurations and its weights."""


class BundleNetwork(OneWay):
    """One direction of a generator, from values of files to values of files, of any size.

    A bundle's configuration calls it.

    Args:
        direction: "AtoB" or "BtoA".
        architecture: a model folder's config.yaml.
        intensities: its intensity.yaml; "" if it has none.
    """

    def __init__(self, direction: Direction, architecture: str, intensities: str = "") -> None:
        label = Label(direction, "file", architecture, intensities)
        kind, arguments = parse_architecture(architecture)
        generator = MODELS[kind](**arguments)
        preparation = label.preparation or WITHOUT_FILE[generator.spatial_dims]
        assert label.ranges is not None
        fill = fill_in_unit(
            label.ranges[0],
            preparation.fill,
            generator.channels(direction)[0],
            generator.spatial_dims,
        )
        super().__init__(generator, direction, label.ranges, torch.from_numpy(fill))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.as_tensor(x)
        unit = self.before(x).to(self.generator.dtype)
        # A clone, as the rest of the bundle doesn't run in inference mode.
        y = translate_padded(self.generator, unit, self.direction, windows=WINDOWS).clone()
        return self.after(y)


def _without_comments(text: str) -> str:
    """YAML as JSON, as MONAI takes a # in any text for one of its references."""
    return json.dumps(parse_yaml(text)) if text else ""


def require_bundle() -> None:
    """Refuses to begin where a package is missing.

    Raises:
        UserError: names it.
    """
    for package, name in (("fire", "fire"), ("ignite", "pytorch-ignite")):
        require_package(package, "bundle", "a bundle", name)


def write_bundle(folder: Path, label: Label, weights: dict[str, Tensor]) -> Run:
    """Writes a bundle.

    Args:
        folder: to make.
        label: of the model, with values "file".
        weights: of its generator.

    Returns:
        Runs what was written.
    """
    network = BundleNetwork(label.direction, label.architecture, label.intensities)
    network.generator.load_state_dict(weights)
    for name, content in (("metadata", _metadata(label)), ("inference", _inference(label))):
        path = folder / CONFIGS / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
    (folder / WEIGHTS).parent.mkdir()
    torch.save(network.state_dict(), folder / WEIGHTS)
    network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))

    def run(x: NDArray[np.float32]) -> NDArray[Any]:
        y: NDArray[Any] = network(torch.from_numpy(x)).numpy()
        return y

    return run


def _inference(label: Label) -> dict[str, Any]:
    """What `monai.bundle run` runs: each file of a folder into a file of another."""
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/input'",
        "output_dir": "$@bundle_root + '/output'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": f"{__name__}.{BundleNetwork.__name__}",
            "direction": label.direction,
            "architecture": _without_comments(label.architecture),
            "intensities": _without_comments(label.intensities),
        },
        "network": "$@network_def.to(@device)",
        "datalist": "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/*'))]",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(label)},
        "dataset": {
            "_target_": "Dataset",
            "data": "@datalist",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},  # the network cuts volumes itself
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": label.direction,
                    "separate_folder": False,
                },
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": f"$@bundle_root + '/{WEIGHTS}'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(label: Label) -> list[dict[str, Any]]:
    """As `Grid.bring` does it; the network maps intensities itself."""
    transforms: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
    ]
    grid = None if label.preparation is None else label.preparation.grid
    if grid is not None and grid.orientation is not None:
        transforms.append(
            {
                "_target_": "Orientationd",
                "keys": "image",
                "axcodes": grid.orientation,
                "labels": [list(side) for side in SIDES],
            }
        )
    if grid is not None and grid.spacing is not None:
        transforms.append({"_target_": "Spacingd", "keys": "image", "pixdim": list(grid.spacing)})
    return [*transforms, {"_target_": "EnsureTyped", "keys": "image"}]


def _metadata(label: Label) -> dict[str, Any]:
    """What MONAI's model zoo wants to know of a bundle."""
    said, outline = label.metadata(), label.outline
    multiples = outline.config.size_multiples(outline.spatial_dims)

    def image(end: str) -> dict[str, Any]:
        return {
            "type": "image",
            "format": "magnitude",
            "num_channels": int(said[f"{end}_channels"]),
            "spatial_shape": [f"{multiple}*n" for multiple in multiples],
            "dtype": "float32",
            "value_range": json.loads(said[f"{end}_range"].replace("(", "[").replace(")", "]")),
            "is_patch_data": False,
            "channel_def": {str(n): "image" for n in range(int(said[f"{end}_channels"]))},
        }

    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "exported by revgan"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            name: version(name) for name in ("revgan", "nibabel", "pytorch-ignite")
        },
        "task": f"Translation of volumes, {label.direction}",
        "description": "An image-to-image generator, exported by revgan",
        "authors": "",
        "copyright": "",
        "network_data_format": {
            "inputs": {"image": image("input")},
            "outputs": {"pred": image("output")},
        },
    }
