"""A graph as an ONNX file that takes images or volumes of any size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from revgan.errors import UserError, require_package
from revgan.exporting.graph import AXES, quiet
from revgan.inference.exported import INPUT, OUTPUT
from revgan.networks import GeneratorConfig

LARGEST = 2**31 - 2**20
"""Bytes of weights in an ONNX file: it is one message of Protobuf, which ends at 2 GiB."""


def require_onnx() -> None:
    """Refuses to begin where a package is missing.

    Raises:
        UserError: names it.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require_package(package, "export", "ONNX")


def write_onnx(
    path: Path,
    program: ExportedProgram,
    config: GeneratorConfig,
    spatial_dims: int,
    metadata: Mapping[str, str],
) -> None:
    """Writes a graph.

    Args:
        path: the file.
        program: the graph, which takes multiples of the generator's sizes.
        config: of the generator; the file pads other sizes as `translate_padded` does.
        spatial_dims: 2 or 3.
        metadata: what the file says of the model in it.

    Raises:
        UserError: the weights are larger than an ONNX file can be.
        onnx.checker.ValidationError: what was made breaks ONNX's rules.
    """
    import onnx

    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > LARGEST:
        raise UserError(
            f"the weights take {size / 2**30:.1f} GiB, but an ONNX file ends at 2 GiB; give "
            "--format pt2, or --dtype float16"
        )
    with quiet():
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    model = exported.model_proto
    _pad_inside(model.graph, config.size_multiples(spatial_dims))
    _name_axes(model.graph, AXES[spatial_dims])
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _pad_inside(graph: Any, multiples: Sequence[int]) -> None:
    """Lets a graph take any size: it mirrors borders up to the next multiples, and cuts them off.

    As `padding_for` has it: of n more positions, n // 2 are in front.
    """
    from onnx import TensorProto, helper

    (before,), (after,) = graph.input, graph.output
    inner_in, inner_out = before.name, after.name
    _rename(graph, inner_in, "padded")
    _rename(graph, inner_out, "translated")
    before.name, after.name = INPUT, OUTPUT

    def constant(name: str, numbers: list[int]) -> str:
        name = f"padding/{name}"
        graph.initializer.append(
            helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers)
        )
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(
            operator, inputs, [output], name=f"padding/{operator}/{output}", **attributes
        )

    axes = constant("axes", list(range(2, 2 + len(multiples))))
    sides, two = constant("multiples", list(multiples)), constant("two", [2])
    none = constant("none", [0, 0])
    first = [
        node("Shape", [INPUT], "sizes", start=2),
        node("Neg", ["sizes"], "negative"),
        node("Mod", ["negative", sides], "more"),
        node("Div", ["more", two], "front"),
        node("Sub", ["more", "front"], "back"),
        node("Concat", [none, "front", none, "back"], "amounts", axis=0),
        node("Pad", [INPUT, "amounts"], "padded", mode="reflect"),
    ]
    last = [
        node("Add", ["front", "sizes"], "end"),
        node("Slice", ["translated", "front", "end", axes], OUTPUT),
    ]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *nodes, *last])


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _name_axes(graph: Any, spatial: tuple[str, ...]) -> None:
    """Names the axes of inputs and outputs, of which only the channels are fixed."""
    del graph.value_info[:]  # it has other names for them
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        dims = value.type.tensor_type.shape.dim
        for dim, name in zip((dims[0], *dims[2:]), ("batch", *spatial), strict=True):
            dim.dim_param = name
