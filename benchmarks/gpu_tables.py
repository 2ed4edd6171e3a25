"""What gpu.py found, as tables in Markdown."""

import json

from gpu_parts import OURS, predicted_key
from gpu_record import PartRecord

from revgan.benchmark.cases import Case
from revgan.benchmark.recording import markdown_table

MIB, GIB = 2**20, 2**30


def tables(folder, predicted):
    """All tables of a folder of results.

    Args:
        folder: with the parts' files.
        predicted: the planner's peaks, by `predicted_key`.
    """
    sections = ["# What a GPU says", _states(folder)]
    sections += [_peers(path, predicted) for path in sorted(folder.glob("peers-*/results.json"))]
    sections += [_fits(folder / "fits.json", predicted), _exactness(folder / "exactness.json")]
    sections += [_graphs(folder / "graphs.json")]
    if (folder / "paper" / "table.md").exists():
        sections.append("The paper's tables are in [paper/table.md](paper/table.md).")
    return "\n\n".join(section for section in sections if section) + "\n"


def _states(folder):
    rows = []
    for path in sorted(folder.glob("*.json")):
        content, record = json.loads(path.read_text()), PartRecord(path)
        errors = "; ".join(f"{key}: {why.splitlines()[-1]}" for key, why in record.errors.items())
        state = "complete" if record.complete else "not complete"
        seconds = f"{content['seconds']:.0f}"
        rows.append([path.stem, state, seconds, str(len(record.rows)), _cell(errors)])
        if path.stem == "tests":
            counts = {name: sum(row[name] for row in record.rows.values())
                      for name in ("passed", "skipped")}  # fmt: skip
            failed = [name for row in record.rows.values() for name in row["failed"]]
            rows[-1][-1] += (
                f" {counts['passed']} tests passed, {counts['skipped']} skipped, failed: "
                f"{', '.join(failed) or 'none'}"
            )
    return markdown_table(
        ["part", "state", "seconds", "rows", "notes"], rows, left={"part", "state", "notes"}
    )


def _cell(text):
    return text.replace("|", "/").replace("\n", " ")


def _peers(path, predicted):
    content, lines = json.loads(path.read_text()), []
    for row in content["rows"]:
        row = {"preset": "default", **row}
        case = Case(*(row[name] for name in Case.__dataclass_fields__))
        key = predicted_key(case, row["variant"], content["precision"])
        cells = [case.title, str(case.depth), row["variant"]]
        if row["failure"]:
            lines.append([*cells, _cell(row["failure"]), "", "", "", ""])
            continue
        peak = predicted.get(key, {}).get("peak") if row["variant"] in OURS else None
        lines.append(
            [
                *cells,
                f"{row['median_s'] * 1000:.1f}",
                f"{row['peak_bytes'] / MIB:.1f}",
                "" if peak is None else f"{peak / MIB:.1f}",
                "" if peak is None else f"{row['peak_bytes'] / peak:.3f}",
                "" if row["gradient_error"] is None else f"{row['gradient_error']:.1e}",
            ]
        )
    heads = ["step", "depth", "variant", "ms", "peak MiB", "predicted", "ratio", "float64 error"]
    title = f"{path.parent.name}, {content['machine']['device']}"
    return _section(title, heads, lines, left={"step", "variant"})


def _fits(path, predicted):
    lines = []
    for precision, row in _rows(path):
        peak = predicted.get(f"fits, {row['size']}, {precision}", {}).get("peak")
        lines.append(
            [
                f"{row['size']}^3",
                precision,
                f"{row['seconds']:.1f}",
                f"{row['peak'] / GIB:.2f}",
                "" if peak is None else f"{peak / GIB:.2f}",
                f"{row.get('reserved', 0) / GIB:.2f}",
                f"{row['allocator_limit'] / GIB:.1f}",
                "yes" if row["fits"] else "no",
            ]
        )
    heads = ["cube", "precision", "s", "peak GiB", "predicted", "reserved", "limit", "fits"]
    return _section("On a card of 24 GiB", heads, lines, left={"precision"})


def _exactness(path):
    lines = []
    for key, row in _rows(path):
        returns = "yes" if row["core"]["returns_its_input"] else "no"
        for mode, found in row.items():
            if mode == "core" or not isinstance(found, dict):
                continue
            if "failure" in found:
                lines.append([key, mode, _cell(found["failure"].splitlines()[-1]), "", "", ""])
                continue
            equal = {True: "yes", False: "no", None: ""}[found.get("equal_to_naive")]
            distances = (found.get(f"distance_to_{of}") for of in ("naive", "float64"))
            numbers = ["" if d is None else f"{d:.1e}" for d in distances]
            lines.append([key, mode, equal, *numbers, returns if mode == "naive" else ""])
    heads = ["setting", "mode", "naive's bits", "from naive", "from float64", "core returns"]
    return _section("Exactness", heads, lines, left={"setting", "mode"})


def _graphs(path):
    lines = []
    for key, row in _rows(path):
        ordinary, other = (seconds * 1000 for seconds in row["median_s"].values())
        equal = "equal" if row["losses_equal"] else f"{row['largest_difference']:.1e}"
        twice = row["ordinary_twice_largest_difference"]
        repeated = "equal" if row["ordinary_twice_equal"] else f"{twice:.1e}"
        lines.append([key, f"{ordinary:.1f}", f"{other:.1f}", equal, repeated])
    heads = ["step", "ordinary ms", "so ms", "losses", "losses of ordinary steps, twice"]
    return _section("Whole steps as graphs, and compiled", heads, lines, left={"step"})


def _rows(path):
    """A part's rows by name, as far as it came."""
    return PartRecord(path).rows.items()


def _section(title, heads, lines, left):
    """A table below its title; nothing where no row was measured."""
    return f"## {title}\n\n{markdown_table(heads, lines, left=left)}" if lines else ""
