"""ONNX files, run by onnxruntime."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from revgan.errors import UserError, one_line, optional, out_of_memory

CPU = "CPUExecutionProvider"
"""onnxruntime's name for the processor."""


def open_session(path: Path, providers: Sequence[str] = (CPU,)) -> Any:
    """An onnxruntime session for a file, with as many threads as PyTorch has.

    Args:
        path: the file, which may be a stranger's.
        providers: what to run it on, by onnxruntime's names.

    Raises:
        UserError: a package isn't there, or the file can't be loaded.
    """
    onnx, onnxruntime = (optional(each, "export", str(path)) for each in ("onnx", "onnxruntime"))
    try:
        for message in _messages(onnx.load(path, load_external_data=False)):
            if isinstance(message, onnx.TensorProto):
                _require_beside(path, message)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # failures are raised too
        options.intra_op_num_threads = torch.get_num_threads()
        return onnxruntime.InferenceSession(path, options, providers=list(providers))
    except (UserError, OSError):
        raise
    except Exception as error:  # of kinds that neither package lists
        raise UserError(
            f"{path} is damaged or no ONNX file that onnxruntime can run: {one_line(error, 200)}"
        ) from error


def run_session(session: Any, path: Path, name: str, values: NDArray[Any]) -> list[Any]:
    """What a session returns for one input.

    Args:
        session: the session.
        path: its file, for errors.
        name: of its input.
        values: the input.

    Raises:
        UserError: it can't be run on it.
    """
    try:
        outputs: list[Any] = session.run(None, {name: values})
    except MemoryError:
        raise
    except Exception as error:  # of kinds that onnxruntime doesn't list
        if out_of_memory(error) or "allocat" in str(error):
            raise MemoryError from error
        raise UserError(
            f"{path} can't be run on values of size {' x '.join(map(str, values.shape))}: "
            f"{one_line(error, 200)}"
        ) from error
    return outputs


def _messages(message: Any) -> Iterator[Any]:
    """A message of Protobuf, and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(part)


def _require_beside(path: Path, tensor: Any) -> None:
    """Refuses weights in files outside an ONNX file's folder, which may be any of the user's."""
    for entry in tensor.external_data:
        beside = path.parent / entry.value
        if entry.key == "location" and (beside.name != entry.value or beside.is_symlink()):
            raise UserError(
                f"{path} takes weights from {entry.value}, which isn't a file in its folder; save "
                "it with its weights inside"
            )
