"""Fine-tuning: a new training that starts from a trained model's weights."""

from rich.console import Console

from revgan.errors import UserError, visible
from revgan.networks import TwoWayGenerator
from revgan.networks.places import StoredModel
from revgan.training.step import Trainer


def start_from_model(trainer: Trainer, where: str, console: Console) -> None:
    """Gives a new trainer's generator, and the average that follows it, a trained model's weights.

    Discriminators start afresh. So do a generator's ends towards a domain whose channels aren't the
    model's, and a direction that the model doesn't translate; the user is told of both.

    Args:
        trainer: before its first step.
        where: the model, see `StoredModel.find`.
        console: where to tell it.

    Raises:
        UserError: there is no such model, or its networks are others.
    """
    model, generator = StoredModel.find(where).load(), trainer.players.generator
    _require_alike(model, generator, where)
    theirs, mine = model.state_dict(), generator.state_dict()
    taken = {
        name: weight
        for name, weight in theirs.items()
        if name in mine and weight.shape == mine[name].shape
    }
    generator.load_state_dict({**mine, **taken})
    if trainer.average is not None:
        trainer.average.start(generator.state_dict())
    fresh = dict.fromkeys(_part(name) for name in mine if name not in taken)
    but = f", but {', '.join(fresh)}, which start afresh" if fresh else ""
    console.print(f"The weights are those of {visible(where)}{but}", soft_wrap=True)


def _require_alike(model: TwoWayGenerator, generator: TwoWayGenerator, where: str) -> None:
    if model.spatial_dims != generator.spatial_dims:
        raise UserError(
            f"{visible(where)} is a model of {model.spatial_dims}D data; set data.spatial_dims "
            f"{model.spatial_dims}, or start from another model"
        )
    theirs = model.config.architecture
    for name, value in generator.config.architecture.items():
        if value != theirs[name]:
            raise UserError(
                f"generator.{name} is {theirs[name]} in {visible(where)}, not {value}; omit "
                f"--generator.{name}, or train without --from"
            )


def _part(name: str) -> str:
    """What a weight belongs to, such as encoder_a, or AtoB's encoder in a pair of generators."""
    first, second, *more = name.split(".")
    return f"{second}'s {more[0]}" if first == "generators" else first
