"""Does every run end in the same bytes or in one sentence, whatever happens to it?

    OMP_NUM_THREADS=1 python benchmarks/chaos.py
    OMP_NUM_THREADS=1 python benchmarks/chaos.py --kills 5 --parts kills --output /tmp/chaos.json

Trains generators of width 4 on images and volumes, with 0 and 2 loader processes, an average of the
weights, the best model and image pools, and meanwhile

- kills: sends SIGKILL, at any moment or, every other time, while a file is being written; resumes;
- full disks: lets the disk (a tmpfs, which takes root) be full at 20 sizes; makes room and resumes;
- torn files: cuts each file of a run at random places, as a power cut may; resumes;
- two writers: starts a second process in the folder of a run that is being trained;
- a dead rank: kills one of two processes that train together.

In the end, weights, moments, pools, best model and metrics must equal those of an undisturbed run.
What can't be resumed must say so in one sentence; no traceback is printed, and no torn model
translates otherwise than the whole one. Each case is recorded at once, so that the same command
continues an interrupted record, case by case, and tries again what failed. Processes are forked
from this one, which saves them the import of PyTorch, but they run the command line's `main`.
Writes results/chaos-cpu.json.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import torch  # noqa: F401 - before the forks
from conditions import conditions
from PIL import Image
from tensorboard.compat.proto import event_pb2  # noqa: F401

from revgan.cli import main as revgan
from revgan.training import session  # noqa: F401

STEPS, EVERY = 12, 2
CASES = {f"{dims}D-{workers}": (dims, workers) for dims in (2, 3) for workers in (0, 2)}
WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
TORN = ("2D-0", "3D-2")
"""Whose files are cut."""

LATEST = 160
"""Changes of files in an undisturbed run of `STEPS`, about."""

PATIENCE = 1200
"""Seconds after which a process counts as hanging."""

SHORT = 1000
"""The most characters of a sentence, which names files."""


class ChaosError(Exception):
    """What must not happen."""


def write_data(root):
    draws = np.random.default_rng(0)
    for folder in ("trainA", "trainB", "testA", "testB"):
        for dims in (2, 3):
            place = root / f"{dims}D" / folder
            place.mkdir(parents=True)
            for number in range(3):
                values = draws.integers(256, size=(24,) * dims, dtype=np.uint8)
                if dims == 2:
                    Image.fromarray(values).save(place / f"{number}.png")
                else:
                    np.save(place / f"{number}.npy", values)


def options(case, steps=STEPS):
    dims, workers = CASES[case]
    values = {
        "data.spatial_dims": dims,
        "data.crop": 24,
        "data.aligned": "true",  # else there is no best model
        "generator.width": 4,
        "generator.depth": 1,
        "generator.memory": "reversible",
        "discriminator.width": 4,
        "losses.pool_size": 4,
        "training.steps": steps,
        "training.ema": 0.9,
        "training.log_every": 1,
        "training.sample_every": 5,
        "training.validate_every": 3,
        "training.validation_images": 1,
        "training.checkpoint_every": EVERY,
        "runtime.device": "cpu",
        "runtime.workers": workers,
    }
    return [f"--{name}={value}" for name, value in values.items()]


class Process:
    """A `revgan` of its own, forked from here.

    Args:
        arguments: of the command line.
        log: the file for what it prints.
        changes: after how many changes of files it says so through `changed`; None for never.
        environment: more variables.
    """

    def __init__(self, arguments, log, changes=None, environment=None):
        self.log, (self.changed, told) = log, os.pipe()
        sys.stdout.flush()
        self.id = os.fork()
        if self.id == 0:
            self._become(arguments, told, changes, environment or {})
        os.close(told)
        self._ended = False

    def _become(self, arguments, told, changes, environment):
        os.environ |= environment
        with self.log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if changes is not None:
            left = [changes]

            def count(event, details):
                writes = event != "open" or (isinstance(details[1], str) and details[1] != "r")
                if event in WRITES and writes:
                    left[0] -= 1
                    if left[0] == 0:
                        os.write(told, b"!")

            sys.addaudithook(count)
        try:
            code = revgan(arguments)
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 99
        self.log.with_suffix(".modules").write_text("\n".join(sys.modules))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def kill(self):
        if not self._ended:
            with suppress(ProcessLookupError):
                os.kill(self.id, signal.SIGKILL)

    def wait(self, patience=PATIENCE):
        """The exit status; negative for a signal."""
        end = time.monotonic() + patience
        while True:
            done, status = os.waitpid(self.id, os.WNOHANG)
            if done:
                self._ended = True
                os.close(self.changed)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                self.kill()
                os.waitpid(self.id, 0)
                raise ChaosError(f"a process hung: {self.said()[-SHORT:]}")
            time.sleep(0.002)

    def said(self):
        return self.log.read_text(errors="replace")


def require_sentence(process, status):
    """The sentence with which a process ended; no traceback."""
    said = process.said()
    if "Traceback" in said or status not in (0, 1, 2, 143):
        raise ChaosError(f"status {status}: {said[-2000:]}")
    lines = [line for line in said.splitlines() if line.startswith("revgan: ")]
    if status == 0:
        return ""
    if not lines or len(lines[-1]) > SHORT:
        raise ChaosError(f"status {status} without a sentence: {said[-2000:]}")
    return lines[-1]


def outcome(run):
    """What must be the same: digests of files, and the metrics without times."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        kept = name.startswith(("model/", "best/", "checkpoints/", "samples/"))
        if path.is_file() and kept:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [{k: v for k, v in line.items() if k != "images_per_s"} for line in lines]
    return found


def require_counted(run):
    """Checkpoints must say how many lines metrics.jsonl has, until their step."""
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    for checkpoint in (run / "checkpoints").glob("step-*"):
        progress = json.loads((checkpoint / "progress.json").read_text())
        counted = sum(step <= progress["step"] for step in steps)
        if progress["metrics"]["lines"] != counted:
            raise ChaosError(f"{checkpoint} counts other lines than {counted}: {progress}")


def require_same(run, reference):
    found = outcome(run)
    different = [name for name in reference if found.get(name) != reference[name]]
    different += [name for name in found if name not in reference]
    left = [str(path) for path in run.rglob(".*")]
    if different or left:
        raise ChaosError(f"{run.name}: other than undisturbed: {different}; left behind: {left}")


class Chaos:
    """The cases, on data and reference runs in a folder of their own."""

    def __init__(self, folder, content, output):
        self.folder, self.content, self.output = folder, content, output
        self.references, self.times = {}, {}
        write_data(folder / "data")

    def train(self, case, run, **how):
        data = self.folder / "data" / f"{CASES[case][0]}D"
        arguments = ["train", str(data), "--run", str(run), *options(case)]
        return Process(arguments, self._log(run), **how)

    def resume(self, run, *more, **how):
        arguments = ["train", "--resume", str(run), *more]
        return Process(arguments, self._log(run), **how)

    def _log(self, run):
        """What a run's process prints, not on the run's disk, which may be full."""
        return self.folder / f"{'-'.join(run.relative_to(self.folder).parts)}.log"

    def reference(self, case):
        if case not in self.references:
            run = self.folder / f"reference-{case}"
            start = time.monotonic()
            process = self.train(case, run)
            require_sentence(process, process.wait())
            self.times[case] = time.monotonic() - start
            for name in process.log.with_suffix(".modules").read_text().splitlines():
                with suppress(Exception):  # so that later processes needn't
                    import_module(name)
            self.references[case] = outcome(run)
        return self.references[case]

    def go_on(self, case, run, **how):
        """A process that continues, or begins anew where nothing can be continued."""
        if (run / "config.yaml").exists() and any((run / "checkpoints").glob("step-*")):
            return self.resume(run, **how)
        shutil.rmtree(run, ignore_errors=True)  # as the sentence says
        return self.train(case, run, **how)

    def kills(self, number, count):
        """Kills a run several times, then lets it end."""
        draws = random.Random(number)
        case = list(CASES)[number % len(CASES)]
        reference = self.reference(case)
        run = self.folder / f"kills-{number}"
        writing = 0
        for kill in range(count):
            while_writing = (number + kill) % 2 == 0
            if while_writing:
                process = self.go_on(case, run, changes=draws.randint(1, LATEST))
                threading.Thread(target=self._kill_at_change, args=(process, draws)).start()
            else:
                process = self.go_on(case, run)
                threading.Timer(draws.uniform(0, self.times[case]), process.kill).start()
            status = process.wait()
            if status not in (0, -signal.SIGKILL):
                require_sentence(process, status)
                raise ChaosError(f"status {status}: {process.said()[-1000:]}")
            writing += while_writing and status < 0
            if status == 0:
                require_same(run, reference)
                shutil.rmtree(run)
        process = self.go_on(case, run)
        status = process.wait()
        if require_sentence(process, status):
            raise ChaosError(process.said()[-1000:])
        require_same(run, reference)
        shutil.rmtree(run)
        return {"case": case, "kills": count, "while writing": writing}

    @staticmethod
    def _kill_at_change(process, draws):
        try:
            if os.read(process.changed, 1):
                time.sleep(draws.choice((0, 0, 0.0005, 0.002, 0.005)))
                process.kill()
        except OSError:  # it has ended
            pass

    def full_disk(self, number, count):
        case = list(CASES)[number % len(CASES)]
        reference = self.reference(case)
        whole = sum(f.stat().st_size for f in (self.folder / f"reference-{case}").rglob("*"))
        size = int(4096 + 1.1 * whole * (number + 0.5) / count)
        disk = self.folder / f"disk-{number}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            process = self.train(case, disk / "run")
            said = require_sentence(process, process.wait())
            subprocess.run(["mount", "-o", "remount,size=1G", str(disk)], check=True)
            process = self.go_on(case, disk / "run")
            if require_sentence(process, process.wait()):
                raise ChaosError(process.said()[-1000:])
            require_same(disk / "run", reference)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        return {"case": case, "size": size, "said": said.replace(str(self.folder), "")}

    def half(self, case):
        """A run that was killed when it had a checkpoint and a best model."""
        run = self.folder / f"half-{case}"
        if not run.exists():
            self.reference(case)
            process = self.train(case, run)
            while not (run / "checkpoints" / "step-8").exists():
                time.sleep(0.001)
            process.kill()
            process.wait()
            if not (run / "best" / "best.json").exists():
                raise ChaosError(f"{case} has no best model at step 8")
        return run

    def torn(self, number):
        """Cuts one file of a run that was killed, translates by it, and resumes."""
        case = TORN[number % len(TORN)]
        reference, half = self.reference(case), self.half(case)
        files = sorted(path for path in half.rglob("*") if path.is_file())
        files = [path for path in files if "tensorboard" not in path.parts]
        path = files[number // len(TORN) % len(files)].relative_to(half)
        draws = random.Random(number)
        run = self.folder / f"torn-{number}"
        shutil.copytree(half, run)
        content = (half / path).read_bytes()
        # Every other time between two lines, where what is left may look whole.
        ends = [place + 1 for place, byte in enumerate(content[:-1]) if byte == ord("\n")]
        between = bool(ends) and draws.random() < 0.5
        size = draws.choice(ends) if between else draws.randrange(len(content) or 1)
        os.truncate(run / path, size)
        translated = None
        if path.parts[0] in ("model", "best") and path.name != "best.json":
            translated = self.same_translation(case, half, run, path.parts[0])
        process = self.resume(run)
        said = require_sentence(process, process.wait())
        told = said or "\n".join(
            line for line in process.said().splitlines() if line.startswith("revgan: ")
        )
        if not said:
            found = outcome(run)
            wrong = {
                name for name in {*found, *reference} if found.get(name) != reference.get(name)
            }
            # What is gone for good: pictures, lines of metrics, and, with a word, the best model.
            wrong -= {str(path)} if path.parts[0] == "samples" else set()
            if path.name == "metrics.jsonl":  # checkpoints count its lines
                require_counted(run)
                wrong = {name for name in wrong if not name.endswith(("metrics", "progress.json"))}
            if "so the run has no best model" in told:
                wrong = {name for name in wrong if not name.startswith("best/")}
                if (run / "best").exists():
                    self.require_model(case, run / "best")
            if wrong:
                raise ChaosError(f"{path} cut at {size}: other {sorted(wrong)}")
        shutil.rmtree(run)
        return {
            "case": case,
            "file": str(path),
            "at": size,
            "said": told.replace(str(self.folder), ""),
            **({} if translated is None else {"translated": translated}),
        }

    def translate(self, case, model, output):
        suffix = "png" if CASES[case][0] == 2 else "npy"
        image = self.folder / "data" / f"{CASES[case][0]}D" / "testA" / f"0.{suffix}"
        out = output.with_suffix(f".{suffix}")
        arguments = ["translate", str(model), str(image), str(out), "--device", "cpu"]
        process = Process(arguments, output.with_suffix(".log"))
        return require_sentence(process, process.wait()), out

    def require_model(self, case, model):
        said, out = self.translate(case, model, self.folder / "kept")
        if said:
            raise ChaosError(said)
        out.unlink()

    def same_translation(self, case, half, run, name):
        """Translates by a torn model: the same bytes as by the whole one, or a sentence."""
        said, torn = self.translate(case, run / name, self.folder / "torn-output")
        if said:
            if torn.exists():
                raise ChaosError(f"{said}, yet there is {torn.name}")
            return said.replace(str(self.folder), "")
        whole_said, whole = self.translate(case, half / name, self.folder / "whole-output")
        if whole_said or torn.read_bytes() != whole.read_bytes():
            raise ChaosError(f"a torn {name}/ translates otherwise: {whole_said}")
        torn.unlink()
        whole.unlink()
        return "the same"

    def two_writers(self, number):
        case = list(CASES)[number % len(CASES)]
        reference = self.reference(case)
        run = self.folder / f"writers-{number}"
        first = self.train(case, run)
        while not (run / "checkpoints").exists():
            time.sleep(0.001)
        arguments = ["train", "--resume", str(run)]
        second = Process(arguments, self.folder / f"second-{number}.log")
        status = second.wait()
        said = require_sentence(second, status)
        require_sentence(first, first.wait())
        if status == 1 and f"is being trained by process {first.id}" not in said:
            raise ChaosError(said)
        require_same(run, reference)
        return {"case": case, "said": said.replace(str(self.folder), "")}

    def dead_rank(self, number):
        run = self.folder / f"ranks-{number}"
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        of_all = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        of_all["ACCELERATE_USE_CPU"] = "true"
        case = ("2D-0", "3D-2")[number // 2 % 2]
        data = self.folder / "data" / f"{CASES[case][0]}D"
        arguments = ["train", str(data), "--run", str(run), *options(case, 10**6)]
        ranks = [
            Process(
                arguments,
                self.folder / f"rank-{number}-{rank}.log",
                environment={**of_all, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in (0, 1)
        ]
        while not any((run / "checkpoints").glob("step-*")):
            time.sleep(0.001)
        time.sleep(random.Random(number).uniform(0, 1))
        dead, left = ranks[number % 2], ranks[1 - number % 2]
        dead.kill()
        dead.wait()
        said = require_sentence(left, left.wait())
        if "has lost another process" not in said:
            raise ChaosError(said)
        return {"case": case, "killed": number % 2, "said": said.replace(str(self.folder), "")}

    def do(self, part, key, action, *arguments):
        """One case, unless it is recorded."""
        cases = self.content["results"].setdefault(part, {})
        if key in cases and "failed" not in cases[key]:
            return
        try:
            cases[key] = action(*arguments)
        except ChaosError as failure:
            cases[key] = {"failed": str(failure)}
        self.output.write_text(json.dumps(self.content, indent=1) + "\n")
        print(part, key, json.dumps(cases[key])[:200], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60, help="when to stop")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    place = Path(__file__).parent / "results" / "chaos-cpu.json"
    parser.add_argument("--output", type=Path, default=place)
    given = parser.parse_args()
    content = json.loads(given.output.read_text()) if given.output.is_file() else {"results": {}}
    content |= {
        **conditions("python benchmarks/chaos.py"),
    }
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory(prefix="revgan-chaos-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        chaos = Chaos(Path(folder), content, given.output)
        for part in given.parts:
            for key, action, *arguments in PARTS[part](chaos, given.kills):
                if time.monotonic() < end:
                    chaos.do(part, key, action, *arguments)
            left = [
                f"{part} {key}"
                for part in given.parts
                for key, *_ in PARTS[part](chaos, given.kills)
                if key not in content["results"].get(part, {})
            ]
    cases = [case for part in content["results"].values() for case in part.values()]
    failed = [case["failed"] for case in cases if "failed" in case]
    print(f"{len(cases)} cases, {len(failed)} failed, {len(left)} left for the same command")
    sys.exit(bool(failed))


def _kills(chaos, total, each=5):
    for number in range(-(-total // each)):
        yield str(number), chaos.kills, number, min(each, total - each * number)


PARTS = {
    "kills": _kills,
    "full disks": lambda chaos, _: [(str(n), chaos.full_disk, n, 20) for n in range(20)],
    "torn files": lambda chaos, _: [(str(n), chaos.torn, n) for n in range(80)],
    "two writers": lambda chaos, _: [(str(n), chaos.two_writers, n) for n in range(4)],
    "a dead rank": lambda chaos, _: [(str(n), chaos.dead_rank, n) for n in range(4)],
}


if __name__ == "__main__":
    main()
