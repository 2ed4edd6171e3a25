"""From a trained model to files that other programs run, each checked against the model."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from revgan.data.formats import Scan
from revgan.data.preparation import fill_in_unit
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.exporting.bundle import require_bundle, write_bundle
from revgan.exporting.checking import Difference, Run, compare, run_onnx, run_pt2
from revgan.exporting.graph import OneWay, program, quiet
from revgan.exporting.onnx_file import require_onnx, write_onnx
from revgan.files import replacing, writing
from revgan.inference import Translator
from revgan.inference.exported import ExportedGenerator, GraphValues, Label
from revgan.networks.meaning import ADAPTIVE
from revgan.networks.pretrained import architecture

Format = Literal["onnx", "pt2", "bundle"]
Precision = Literal["float32", "float16"]

TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "float16": 2e-2}
"""By which share of the output's range a file may differ from the model in float32."""


@dataclass(frozen=True)
class ExportOptions:
    """What kind of file is wanted.

    Attributes:
        format: "onnx", PyTorch's "pt2", or a folder that is a MONAI "bundle", for volumes, in
            float32 and with values of files.
        precision: of weights and activations; inputs and outputs are float32.
        values: what the file takes and gives, see `GraphValues`.
    """

    format: Format = "onnx"
    precision: Precision = "float32"
    values: GraphValues = "unit"


def export_model(
    translator: Translator,
    path: Path,
    direction: Direction,
    options: ExportOptions,
    samples: Sequence[Scan] = (),
) -> Difference:
    """Writes one direction of a model to a file, and checks it against the model.

    Args:
        translator: has the model, in float32 on the CPU.
        path: the file or folder, whole or not at all.
        direction: "AtoB" or "BtoA".
        options: what kind of file.
        samples: real images or volumes of the direction's domain, to check it with.

    Returns:
        How much the file differs from the model.

    Raises:
        UserError: the model can't be exported like this, or differs too much.
        OSError: the file can't be written.
    """
    label = _label(translator, direction, options)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            run = _write(unfinished, translator, label, options)
            any_size = options.format != "pt2"
            difference = compare(run, translator, label, samples, any_size=any_size)
            if not difference.largest <= TOLERANCES[options.precision]:  # nor is it NaN
                raise UserError(
                    f"{path} was not written, as it differs from the model by "
                    f"{difference.largest:.1e} of the output's range, more than "
                    f"{TOLERANCES[options.precision]:g}; {_remedy(options)}"
                )
    return difference


def _write(path: Path, translator: Translator, label: Label, options: ExportOptions) -> Run:
    """Writes a file, and returns what runs it."""
    generator = translator.generator
    if options.format == "bundle":
        return write_bundle(path, label, generator.state_dict())
    graph = program(_one_way(translator, label, options))
    if options.format == "onnx":
        write_onnx(path, graph, generator.config, generator.spatial_dims, label.metadata())
        return run_onnx(path)
    with quiet():
        torch.export.save(graph, path, extra_files=label.metadata())
    return run_pt2(path)


def _label(translator: Translator, direction: Direction, options: ExportOptions) -> Label:
    """What the file is to say of the model.

    Raises:
        UserError: the model can't be exported so.
    """
    generator = translator.generator
    if options.format == "onnx":
        require_onnx()
    elif options.format == "bundle":
        require_bundle()
        if generator.spatial_dims == 2:
            raise UserError("bundles are for models of volumes; give --format onnx")
    if isinstance(generator, ExportedGenerator):
        raise UserError("the model is exported already; give the run or model folder it came from")
    if direction not in generator.directions:
        raise UserError(
            f"the model does not translate {direction}; give --direction {generator.directions[0]}"
        )
    config = generator.config
    if config.core == "ode" and config.ode_solver in ADAPTIVE:
        raise UserError(
            f"a core ode whose solver, {config.ode_solver}, chooses its steps by the data can't be "
            "written as a graph; translate with the model itself"
        )
    intensities = "" if translator.preparation is None else translator.preparation.to_yaml()
    label = Label(direction, options.values, architecture(generator), intensities)
    try:
        label.ranges  # noqa: B018  # which may be unknown
    except ValueError as error:
        raise UserError(
            f"values of files can't go in, as {error}; export an ONNX or pt2 file with --values "
            "unit, and map intensities outside"
        ) from error
    return label


def _one_way(translator: Translator, label: Label, options: ExportOptions) -> OneWay:
    generator = translator.generator
    if options.precision == "float16":
        generator = copy.deepcopy(generator).half()
    if label.ranges is None:
        return OneWay(generator, label.direction).eval()
    assert translator.preparation is not None
    channels = generator.channels(label.direction)[0]
    fill = fill_in_unit(
        label.ranges[0], translator.preparation.fill, channels, generator.spatial_dims
    )
    return OneWay(generator, label.direction, label.ranges, torch.from_numpy(fill)).eval()


def _remedy(options: ExportOptions) -> str:
    if options.precision == "float16":
        return "export it in float32"
    return "please report this with the output of revgan env"
