"""Do whole volumes train with the gradients of stored activations, in the memory that is predicted?

    OMP_NUM_THREADS=1 python benchmarks/whole_volumes.py

For the preset volumes, on fresh networks and evenly drawn noise, without pools of older fakes. The
blocks of a fresh core add nothing, and most of their weights have no gradient; here, their last
convolutions have small weights instead of zeros.

- pass: by the planner, bytes a voxel that one generator pass takes at its peak, forwards and
  backwards, at 128^3 in float32; with slabs in encoders and decoders alone, and everywhere;
- gradients: one unpaired training step in naive, lean, and lean with 16 slabs, at 96^3 in float64
  and at 128^3 in float32. The gradients of generator and discriminators beside those of naive:
  relative L2 distances, weight by weight (a bias counts relative to its convolution's gradient, as
  it has none but rounding before a norm), and the median relative difference of single numbers.
  Measured peaks beside predicted ones (which are for float32);
- rounding: at 24^3, what makes float32's differences: distances from float64's gradients, of naive
  and in slabs, and from naive's with slabs in the generator alone. Sums in another order change
  norms by rounding, and a leaky ReLU behind it gets another slope where a value is next to 0;
- tipping: at 128^3, the gradients of one discriminator (width 16) and of what it judges, in 16
  slabs beside naive: with the slope of its leaky ReLUs, and with a slope of 1, where none can tip;
- step: one real training step at 256^3, paired and unpaired, in lean with 16 slabs.

Steps take 2 to 40 minutes each on one core. Each is recorded as it ends in
results/whole-volumes-cpu.json and is not done again; naive's gradients wait in --scratch for those
of the other modes. Times are those of a profiled step on a machine that may be shared.
"""

import argparse
import gc
import json
import statistics
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import torch
import yaml
from torch.optim.optimizer import register_optimizer_step_pre_hook

from revgan.benchmark.variants import random_batch
from revgan.data.config import DataConfig
from revgan.environment import cpu_model, library_versions
from revgan.files import write_text
from revgan.memory import measure_step, predict_step
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    RevGenerator,
)
from revgan.training import (
    LossConfig,
    RunConfig,
    RuntimeConfig,
    Workload,
    make_accelerator,
    make_trainer,
    predict_training,
    preset_path,
)

OUTPUT = Path(__file__).parent / "results" / "whole-volumes-cpu.json"
SCRATCH = Path("runs") / "whole-volumes"
MODES = {
    "naive": {"memory": "naive"},
    "reversible": {"memory": "reversible"},
    "lean": {"memory": "lean", "slabs": 0},
    "lean, 8 slabs": {"memory": "lean", "slabs": 8},
    "lean, 16 slabs": {"memory": "lean", "slabs": 16},
}
LARGE = "lean, 16 slabs"
COMPARED = "naive", LARGE, "lean"
NETWORKS = "generator", "judge_a", "judge_b"


def preset(objective, pool_size=0, **generator):
    """The preset volumes, with changes to its generator."""
    content = yaml.safe_load(preset_path("volumes").read_text())
    return RunConfig(
        objective=objective,
        data=DataConfig(**content["data"]),
        generator=GeneratorConfig(**content["generator"] | generator),
        discriminator=DiscriminatorConfig(**content["discriminator"]),
        losses=LossConfig(**content["losses"], pool_size=pool_size),
        runtime=RuntimeConfig("cpu", "float32"),
    )


def bytes_a_voxel(size, generator, whole_core=False):
    """The planner's peak of a pass through the generator and back, above what is held."""

    def make():
        net = _generator(generator)
        if whole_core:  # slabs in encoders and decoders alone
            net.core = _generator(generator | {"slabs": 0}).core
        x = torch.empty(1, 1, size, size, size)

        def step():
            net(x).mean().backward()
            net.zero_grad()

        step()
        return step

    return round(predict_step(make).peak / size**3, 1)


def _generator(changes):
    return RevGenerator.from_config(preset("unpaired", **changes).generator, 3, 1, 1)


def one_pass(size, network):
    """The part called pass."""
    rows = {mode: bytes_a_voxel(size, network | changes) for mode, changes in MODES.items()}
    rows |= {
        f"{mode} in encoders and decoders alone": bytes_a_voxel(size, network | changes, True)
        for mode, changes in MODES.items()
        if changes.get("slabs")
    }
    return {"size": size, "bytes_a_voxel": rows}


def step_of(size, objective, dtype, changes, *, whole_judges=False):
    """Runs one training step; its gradients as NumPy's, its losses, and what it took."""
    config = preset(objective, **changes)
    predicted = predict_training(Workload(config, size, 3, (1, 1), "cpu")).peak
    accelerator = make_accelerator(config.runtime)
    trainer = make_trainer(config, 3, (1, 1), accelerator, total=1)
    networks = {name: getattr(trainer.players, name) for name in NETWORKS}
    if whole_judges:
        for judge in (trainer.players.judge_a, trainer.players.judge_b):
            judge.layers = torch.nn.Sequential(*judge.layers)
    _wake(trainer.players.generator)
    for network in networks.values():
        network.to(dtype)
    bring_moments_to_life(trainer)
    batch = random_batch((1, 1, size, size, size), accelerator.device, dtype)
    gradients, losses = {}, {}

    def keep(optimizer, args, kwargs):
        own = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        for network, module in networks.items():
            for name, weight in module.named_parameters():
                if id(weight) in own:  # NumPy's copies are not among what is measured
                    gradients[f"{network}.{name}"] = weight.grad.numpy().copy()

    hook = register_optimizer_step_pre_hook(keep)
    start = time.perf_counter()
    try:
        taken = measure_step(lambda: losses.update(trainer.step(batch, 0)))
    finally:
        hook.remove()
    row = {
        "seconds": round(time.perf_counter() - start, 1),
        "losses": {name: float(loss) for name, loss in losses.items()},
        "measured_peak": taken.peak,
        "measured_bytes_a_voxel": round(taken.peak / size**3, 1),
    }
    if dtype == torch.float32:
        row |= {
            "predicted_peak": predicted,
            "measured_over_predicted": round(taken.peak / predicted, 4),
        }
    return gradients, row


def _wake(generator):
    """Gives the last convolutions of f and g, whose weights are zeros, some of a usual size."""
    draws = torch.Generator().manual_seed(1)
    for weight in generator.core.parameters():
        if weight.ndim > 1 and not weight.any():
            weight.data.normal_(0, 0.02, generator=draws)


def bring_moments_to_life(trainer):
    """As a first step would, with gradients of 0, which change no weight."""
    for optimizer in trainer._optimizers.values():
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = torch.zeros_like(weight)
        optimizer.step()
        optimizer.zero_grad()


def differences(ours, naive, networks=NETWORKS):
    """How far gradients are from naive's, by network."""
    found = {}
    for network in networks:
        names = [name for name in naive if name.startswith(f"{network}.")]
        of_weights, numbers, errors, norms = {}, [], 0.0, 0.0
        for name in names:
            error, truth = (torch.from_numpy(x).double() for x in (ours[name], naive[name]))
            error = error - truth
            same_layer = naive.get(name.removesuffix("bias") + "weight", naive[name])
            scale = max(float(truth.norm()), float(torch.from_numpy(same_layer).double().norm()))
            of_weights[name] = float(error.norm()) / scale
            seen = truth != 0
            numbers.append((error[seen] / truth[seen]).abs().flatten())
            errors, norms = errors + float(error.square().sum()), norms + float(truth.norm() ** 2)
        worst = max(of_weights, key=of_weights.get)
        found[network] = {
            "equal_bit_for_bit": all((ours[name] == naive[name]).all() for name in names),
            "all_weights_in_one_vector": (errors / norms) ** 0.5,
            "median_of_weights": statistics.median(of_weights.values()),
            "largest_of_weights": of_weights[worst],
            "largest_is": worst,
            "median_of_numbers": float(torch.cat(numbers).median()),
        }
    return found


class Record:
    """What is measured so far, in a file."""

    def __init__(self, path):
        self.path = path
        self.parts = json.loads(path.read_text())["parts"] if path.exists() else {}

    def put(self, part, row, content):
        """Takes a row of a part in, and writes the file."""
        self.parts.setdefault(part, {})[row] = content | {"date": date.today().isoformat()}
        whole = {
            "command": "OMP_NUM_THREADS=1 python benchmarks/whole_volumes.py",
            "machine": f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}",
            "threads": torch.get_num_threads(),
            "versions": library_versions(),
            "preset": asdict(preset("unpaired")),
            "parts": self.parts,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(whole, indent=1) + "\n")
        print(part, row, json.dumps(content), flush=True)

    def has(self, part, row):
        """Whether a row was measured."""
        return row in self.parts.get(part, {})


def gradients(record, part, size, dtype, network, scratch, modes):
    """A part that compares modes with naive."""
    kept = scratch / f"{part}.pt"
    for mode in modes:
        if record.has(part, mode) and (mode != "naive" or kept.exists()):
            continue
        ours, row = step_of(size, "unpaired", dtype, network | MODES[mode])
        if mode == "naive":
            scratch.mkdir(parents=True, exist_ok=True)
            torch.save({name: torch.from_numpy(x) for name, x in ours.items()}, kept)
        else:
            naive = {name: x.numpy() for name, x in torch.load(kept).items()}
            row["beside_naive"] = differences(ours, naive)
        record.put(part, mode, {"size": size, "dtype": str(dtype), "changes": network} | row)
        del ours
        gc.collect()


def rounding(record, size, network):
    """The part of this name."""
    if record.has("rounding", "float32"):
        return
    in_slabs = network | MODES[LARGE]

    def found(dtype, changes, **how):
        return step_of(size, "unpaired", dtype, changes, **how)[0]

    naive = network | MODES["naive"]
    exact, stored = found(torch.float64, naive), found(torch.float32, naive)
    slabs = found(torch.float32, in_slabs)
    whole = found(torch.float32, in_slabs, whole_judges=True)
    rows = {
        "naive beside float64": differences(stored, exact),
        f"{LARGE} beside float64": differences(slabs, exact),
        f"{LARGE} beside naive": differences(slabs, stored),
        f"{LARGE} in the generator alone beside naive": differences(whole, stored),
    }
    record.put("rounding", "float32", {"size": size, "changes": network} | rows)


def tipping(record, size, width):
    """The part of this name."""
    config = replace(preset("unpaired").discriminator, width=width)
    for slope in (0.2, 1.0):
        row = f"leaky ReLUs of slope {slope}"
        if record.has("tipping", row):
            continue
        slabs, naive = (_of_judge(config, size, count, slope) for count in (16, 0))
        found = differences(slabs, naive, ["judge"])["judge"]
        record.put("tipping", row, {"size": size, "width": width, "16 slabs beside naive": found})


def _of_judge(config, size, slabs, slope):
    """Gradients of a discriminator that takes noise for a fake, and of the noise, as NumPy's."""
    torch.manual_seed(0)
    judge = PatchDiscriminator.from_config(config, 3, 1, slabs=slabs)
    for layer in judge.modules():
        if isinstance(layer, torch.nn.LeakyReLU):
            layer.negative_slope = slope
    volume = random_batch((1, 1, size, size, size), torch.device("cpu")).a.requires_grad_()
    (judge(volume) - 1).square().mean().backward()
    tensors = {"volume": volume, **dict(judge.named_parameters())}
    return {f"judge.{name}": x.grad.numpy() for name, x in tensors.items()}


def parts(scale, network, modes=COMPARED):
    """The parts by name, each a function of record and scratch folder."""

    def of_pass(record, scratch):
        if not record.has("pass", "planned"):
            record.put("pass", "planned", one_pass(128 // scale, network))

    def of_gradients(name, size, dtype):
        return lambda record, scratch: gradients(
            record, name, size // scale, dtype, network, scratch, modes
        )

    def of_step(objective):
        def run(record, scratch):
            if not record.has(f"step-{objective}", LARGE):
                size = 256 // scale
                _, row = step_of(size, objective, torch.float32, network | MODES[LARGE])
                record.put(f"step-{objective}", LARGE, {"size": size, "changes": network} | row)

        return run

    return {
        "pass": of_pass,
        "gradients-float64": of_gradients("gradients-float64", 96, torch.float64),
        "gradients-float32": of_gradients("gradients-float32", 128, torch.float32),
        "rounding": lambda record, scratch: rounding(record, 24, network),
        "tipping": lambda record, scratch: tipping(record, 128 // scale, 16),
        "step-paired": of_step("paired"),
        "step-unpaired": of_step("unpaired"),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--parts", nargs="+", choices=list(parts(1, {})), default=list(parts(1, {}))
    )
    parser.add_argument(
        "--modes", nargs="+", choices=COMPARED, default=COMPARED, help="whose gradients"
    )
    parser.add_argument("--scale", type=int, default=1, help="divides all sides")
    parser.add_argument("--width", type=int, help="of the generator; by default the preset's")
    parser.add_argument("--depth", type=int, help="of the generator; by default the preset's")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--scratch", type=Path, default=SCRATCH)
    options = parser.parse_args(arguments)
    network = {n: v for n in ("width", "depth") if (v := getattr(options, n)) is not None}
    record = Record(options.output)
    for name in options.parts:
        parts(options.scale, network, options.modes)[name](record, options.scratch)


if __name__ == "__main__":
    main()
