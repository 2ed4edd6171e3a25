"""Is a folder that was killed half-way, and continued, the folder that it would have been?

    OMP_NUM_THREADS=1 python benchmarks/many_files.py

Makes a folder of 200 images (PNG, JPEG, TIFF, OME-TIFF, GeoTIFF, WebP, BMP, JPEG XL, .npy,
OME-Zarr) and one of 60 volumes (NIfTI, MetaImage, NRRD, TIFF stacks, .npy, OME-Zarr, DICOM series),
three of each damaged in ways of their own, and translates both by `revgan translate`, in processes
of its own:

- undisturbed: 197 (57) translations, three reasons, exit status 1;
- killed by SIGKILL as soon as 1, 40, 120 (1, 25) of them are there and a random while has passed,
  each time continued with `--skip-existing`: after each kill, all that is there is whole; in the
  end it is the same folder, bit for bit.

Only derived DICOM is compared without its identifiers and times, which are new in each translation.
Writes results/many-files-cpu.json.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from conditions import conditions
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from revgan.data import formats
from revgan.data.formats import Header
from revgan.data.formats.contract import Ground
from revgan.data.formats.physical import place
from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator

IMAGES = {
    **{".png": "u1", ".jpg": "u1", ".webp": "u1", ".bmp": "u1", ".jxl": "u1", ".tif": "u1"},
    **{".deep.png": "u2", ".deep.tif": "u2", ".geo.tif": "u2", ".ome.tif": "u2", ".npy": "u1"},
    ".ome.zarr": "u1",
}
VOLUMES = (".nii.gz", ".nii", ".mha", ".nrrd", ".npy", ".tif", ".ome.zarr", "")
"""The last one is a folder of DICOM."""

COUNTS = {2: 200, 3: 60}
SIZES = {2: (96, 128), 3: (32, 28, 16)}
KILLS = {2: (1, 40, 120), 3: (1, 25)}
DAMAGED = 3
GROUND = Ground(np.array([[0.0, 10, 500_000], [-10, 0, 5_000_000], [0, 0, 1]]), "EPSG:32633")
MOMENT = 0.3
"""Seconds that pass at most between the file that is waited for and a kill."""

FRESH = ("UID", "Date", "Time")
"""How keywords end of what is new in each derived DICOM instance."""


def values_of(shape, channels, dtype, seed):
    draws = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    waves = sum(np.sin(axis / draws.uniform(2, 9)) for axis in axes) * 40 + 120
    noise = draws.integers(-9, 10, (channels, *shape))
    return ((waves + noise) * (1 if dtype == "u1" else 250)).astype(dtype)


def make_images(folder):
    kinds = list(IMAGES)
    for number in range(COUNTS[2]):
        suffix = kinds[number % len(kinds)]
        values = values_of(SIZES[2], 3, IMAGES[suffix], number)
        header = Header(3, SIZES[2], values.dtype)
        if suffix == ".geo.tif":
            header = Header(3, SIZES[2], values.dtype, ground=GROUND)
        elif suffix.startswith(".ome"):
            header = Header(3, SIZES[2], values.dtype, place([1e-3, 1e-3], [0, 0]))
        with formats.create(folder / f"{number:03d}{suffix}", header) as file:
            file.write(values)
    cut(folder / "024.png")
    (folder / "049.jpg").write_bytes(b"")
    (folder / "101.tif").write_text("this is text")


def make_volumes(folder):
    for number in range(COUNTS[3]):
        suffix = VOLUMES[number % len(VOLUMES)]
        values = values_of(SIZES[3], 1, "i2", number) // 250
        if not suffix:
            make_series(folder / f"{number:03d}", values[0])
            continue
        if suffix == ".tif":
            tifffile.imwrite(folder / f"{number:03d}.tif", values[0].T, photometric="minisblack")
            continue
        axes = np.diag([0.7, 0.7, 2, 1]) if suffix != ".npy" else None
        header = Header(1, SIZES[3], values.dtype, axes)
        with formats.create(folder / f"{number:03d}{suffix}", header) as file:
            file.write(values)
    cut(folder / "016.nii.gz")
    (folder / "034.mha").write_bytes(b"")
    (folder / "047" / "05.dcm").unlink()  # a gap


def make_series(folder, volume):
    folder.mkdir()
    series = generate_uid()
    for z in range(volume.shape[2]):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        del dataset.PixelPaddingValue
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, 2 * z], z + 1
        dataset.Rows, dataset.Columns = volume.shape[1::-1]
        dataset.PixelData = np.ascontiguousarray(volume[..., z].T, "<i2").tobytes()
        dataset.save_as(folder / f"{z:02d}.dcm", enforce_file_format=True)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def make_model(folder, dims):
    channels = 3 if dims == 2 else 1
    save_generator(RevGenerator(dims, channels, channels, width=4, depth=1), folder)
    if dims == 3:
        Preparation(Intensity(0, 400), Intensity(0, 400)).write(folder)


def begin(model, source, target, log, *options):
    command = [sys.executable, "-m", "revgan", "translate", model, source, target, *options]
    with log.open("w") as file:
        return subprocess.Popen([*map(str, command), "--device=cpu"], stdout=file, stderr=file)


def digests(folder):
    """What is in a folder: by name, a digest of its bytes, or of those of all files in it."""
    found = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if not path.name.startswith("."):
            files = sorted(each for each in path.rglob("*") if each.is_file()) or [path]
            data = [str(each.relative_to(path)).encode() + content(each) for each in files]
            found[path.name] = hashlib.sha256(b"".join(data)).hexdigest()
    return found


def content(path):
    if path.suffix != ".dcm":
        return path.read_bytes()
    dataset = pydicom.dcmread(path)
    known = [each for each in dataset.iterall() if not each.keyword.endswith(FRESH)]
    return repr([(each.tag, each.value) for each in known if each.VR != "SQ"]).encode()


def check(truth, message):
    if not truth:
        raise SystemExit(message)


def measure(root, dims, draws):
    source, model = root / f"{dims}D", root / f"model-{dims}D"
    source.mkdir()
    {2: make_images, 3: make_volumes}[dims](source)
    make_model(model, dims)
    whole, log = root / f"whole-{dims}D", root / "log"
    began = time.perf_counter()
    status = begin(model, source, whole, log).wait()
    seconds = time.perf_counter() - began
    reasons = [line for line in log.read_text().splitlines() if line.startswith("Not translated:")]
    expected = digests(whole)
    check(status == 1, f"ended with {status}, not 1: {log.read_text()}")
    check(len(reasons) == DAMAGED, f"{len(reasons)} reasons, not {DAMAGED}: {log.read_text()}")
    check(len(expected) == COUNTS[dims] - DAMAGED, f"{len(expected)} translations")
    killed, kills = root / f"killed-{dims}D", []
    for least in KILLS[dims]:
        process = begin(model, source, killed, log, "--skip-existing")
        while process.poll() is None and len(visible(killed)) < least:
            time.sleep(0.002)
        time.sleep(draws.uniform(0, MOMENT))
        process.send_signal(signal.SIGKILL)
        ended = process.wait()
        there = digests(killed)
        check(ended == -signal.SIGKILL, f"ended with {ended} before it was killed")
        torn = [name for name, digest in there.items() if expected.get(name) != digest]
        check(not torn, f"torn by a kill: {torn}")
        kills.append({"there": len(there), "unfinished": len(hidden(killed))})
    before = {path: path.stat().st_mtime_ns for path in visible(killed)}
    check(begin(model, source, killed, log, "--skip-existing").wait() == 1, "ended otherwise")
    check(digests(killed) == expected, "the folders differ")
    same = all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    check(same, "what was there was written again")
    return {
        "files": COUNTS[dims],
        "damaged": DAMAGED,
        "translations": len(expected),
        "reasons": [line.replace(f"{root}/", "") for line in reasons],
        "seconds": round(seconds, 1),
        "kills": kills,
        "same": "bit for bit" if dims == 2 else "bit for bit; DICOM but for identifiers and times",
    }


def visible(folder):
    names = folder.iterdir() if folder.is_dir() else ()
    return [path for path in names if not path.name.startswith(".")]


def hidden(folder):
    """What kills left of files that were being written."""
    return list(folder.glob(".*")) if folder.is_dir() else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    name = Path(__file__).parent / "results" / "many-files-cpu.json"
    parser.add_argument("--output", type=Path, default=name)
    options = parser.parse_args()
    draws, root = random.Random(options.seed), Path(tempfile.mkdtemp(prefix="revgan-many-"))
    try:
        results = {f"{dims}D": measure(root, dims, draws) for dims in COUNTS}
    finally:
        shutil.rmtree(root)
    content = {
        **conditions("python benchmarks/many_files.py"),
        "results": results,
    }
    options.output.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
