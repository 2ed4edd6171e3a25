"""The page of a shared model: what it is, what it learned from, how good it is, and its limits.

After Mitchell et al., Model cards for model reporting (2019).
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from revgan.data.formats import KINDS
from revgan.data.intensity import IntensityMapping, PerScan
from revgan.data.mappings import TypeRange
from revgan.data.preparation import WITHOUT_FILE, Preparation
from revgan.data.sets import BUILT_IN
from revgan.errors import notice
from revgan.evaluation.rows import rows_from_json
from revgan.evaluation.table_files import format_tables
from revgan.evaluation.tables import Row
from revgan.networks import TwoWayGenerator
from revgan.plain_yaml import read_yaml
from revgan.text import markdown
from revgan.training.runs import RunFolder

if TYPE_CHECKING:
    from revgan.evaluation.report import ClassTable  # which imports Matplotlib

CLASSES = "class_iou"
"""The key of the scores that are no table of rows, see `Evaluation.to_json`."""

METHODS = {
    "revgan": "RevGAN",
    "resnet": "a ResNet generator for each direction",
    "unet": "a U-Net for each direction",
}


def model_card(
    name: str,
    generator: TwoWayGenerator,
    preparation: Preparation | None,
    run: RunFolder | None,
    *,
    about: str = "",
    license: str = "",
) -> str:
    """The README.md of a model on the hub. It has no path or name from this machine.

    Args:
        name: user/name.
        generator: the model.
        preparation: how its scans are prepared.
        run: the run that it is from, if any: its configuration and scores.
        about: what the user says of the data.
        license: of the model, such as "cc-by-4.0".
    """
    config = _plain_config(run)
    parts = [
        _front_matter(generator, config, license),
        f"# {name}",
        _summary(generator, config),
        _usage(name, generator),
        f"## Data\n\n{_data(config, about)}\n\n{_values(generator, preparation)}",
        f"## Scores\n\n{_scores(run)}",
        _limits(generator, config),
        _training(generator, config),
        f"## Licence\n\n{license or 'The author has not said under which licence this model is.'}",
    ]
    return "\n\n".join(parts) + "\n"


def _plain_config(run: RunFolder | None) -> Mapping[str, Any]:
    """A run's configuration, or nothing."""
    if run is not None:
        with suppress(OSError, ValueError):
            content = read_yaml(run.config)
            if isinstance(content, dict):
                return content
    return {}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _front_matter(generator: TwoWayGenerator, config: Mapping[str, Any], license: str) -> str:
    """What the hub reads."""
    objective = str(config.get("objective", ""))
    tags = ["image-to-image", "gan", generator.config.model, KINDS[generator.spatial_dims].many]
    content: dict[str, Any] = {
        "library_name": "revgan",
        "pipeline_tag": "image-to-image",
        "tags": [*tags, *filter(None, [objective])],
    }
    if license:
        content["license"] = license
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---"


def _summary(generator: TwoWayGenerator, config: Mapping[str, Any]) -> str:
    from revgan import __version__

    trained = {"paired": ", trained on aligned pairs", "unpaired": ", trained without pairs"}
    count = sum(weight.numel() for weight in generator.parameters())
    return (
        f"Translates {KINDS[generator.spatial_dims].many} {' and '.join(generator.directions)}: "
        f"{METHODS.get(generator.config.model, generator.config.model)} of "
        f"{generator.config.size}, {count:,} parameters"
        f"{trained.get(str(config.get('objective')), '')}. Made with revgan {__version__}."
    )


def _usage(name: str, generator: TwoWayGenerator) -> str:
    direction = generator.directions[0]
    return (
        f"## Use\n\n    pip install revgan\n    revgan translate {name} INPUT OUTPUT --direction "
        f"{direction}\n\n```python\nfrom revgan import Translator\n\n"
        f'translator = Translator.from_pretrained("{name}")\n'
        f'translated = translator(image, direction="{direction}")\n```'
    )


def _data(config: Mapping[str, Any], about: str) -> str:
    if about:
        return about
    path = _section(config, "data").get("path")
    if path in BUILT_IN:
        return f"The sample set `{path}` of revgan."
    return "The author has not said what the model was trained on."


def _values(generator: TwoWayGenerator, preparation: Preparation | None) -> str:
    preparation = preparation or WITHOUT_FILE.get(generator.spatial_dims)
    lines = ["| domain | channels | values |", "| --- | --- | --- |"]
    domains = {"A": generator.in_channels, "B": generator.out_channels}
    mappings = (None, None) if preparation is None else (preparation.a, preparation.b)
    for (name, channels), mapping in zip(domains.items(), mappings, strict=True):
        lines.append(f"| {name} | {channels} | {_range(mapping)} |")
    if preparation is not None and preparation.grid.orientation:
        lines += ["", f"Volumes are turned to {preparation.grid.orientation} first, and back."]
    if preparation is not None and preparation.grid.spacing:
        millimetres = " x ".join(f"{side:g}" for side in preparation.grid.spacing)
        lines += ["", f"They are resampled to {millimetres} mm."]
    return "\n".join(lines)


def _range(mapping: IntensityMapping | None) -> str:
    if mapping is None:
        return "-1 to 1"
    if isinstance(mapping, TypeRange):
        return f"the range of {mapping.dtype or 'uint8 or uint16'}"
    if isinstance(mapping, PerScan):
        return f"{mapping.config.kind} of each scan"
    return f"{mapping.low} to {mapping.high}"


def _scores(run: RunFolder | None) -> str:
    """The tables of a run's scores, as Markdown, and each class's IoU."""
    tables: dict[str, list[Row]] = {}
    classes: list[str] = []
    if run is not None:
        try:
            content = json.loads(run.scores.read_text(encoding="utf-8"))
            by_class = content.pop(CLASSES, {})
            tables = {
                title.replace("_", " "): rows_from_json(rows) for title, rows in content.items()
            }
            classes = [
                _class_iou(title.replace("_", " "), table) for title, table in by_class.items()
            ]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            tables, classes = {}, []
            notice(f"{run.scores} is damaged, so the card has no scores; run revgan evaluate again")
    if not tables:
        return "None were measured."
    return "\n\n".join([format_tables(Path("scores.md"), tables).strip(), *classes])


def _class_iou(title: str, table: "ClassTable") -> str:
    """The IoU of each class, by method."""
    methods = list(table)
    if not methods:
        raise ValueError("no method")
    lines = [["class", *map(markdown, methods)], ["---", *["---:"] * len(methods)]]
    for name in table[methods[0]]:
        values = (table[method][name] for method in methods)
        lines.append([markdown(name), *("" if v is None else f"{v:.3f}" for v in values)])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{title}: IoU of each class**\n\n{body}"


def _limits(generator: TwoWayGenerator, config: Mapping[str, Any]) -> str:
    many = KINDS[generator.spatial_dims].many
    limits = [
        f"The scores hold for {many} like those of the test; of others nothing is known.",
        "A GAN invents what is plausible: details in a translation need not be in the scene. Do "
        "not measure, diagnose or decide by translations alone.",
    ]
    if crop := _section(config, "data").get("crop"):
        limits.append(f"It was trained on crops of {crop}, at the resolution of the training data.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _training(generator: TwoWayGenerator, config: Mapping[str, Any]) -> str:
    wanted = {
        "training": ("steps", "epochs", "batch_size", "seed", "ema"),
        "optimizer": ("lr", "beta1", "beta2"),
        "losses": ("adversarial", "cycle_weight", "identity_weight", "l1_weight"),
    }
    lines = [f"| generator | {generator.config.summary} |"]
    for section, names in wanted.items():
        values = dict(_section(config, section))
        if values.get("steps") is not None:
            values.pop("epochs", None)  # which then does nothing
        shown = [f"{name} {values[name]}" for name in names if values.get(name) is not None]
        if shown:
            lines.append(f"| {section} | {', '.join(shown)} |")
    return "\n".join(["## Training", "", "| | |", "| --- | --- |", *lines])
