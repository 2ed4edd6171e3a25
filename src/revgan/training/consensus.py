"""Consensus optimization (Mescheder, Nowozin and Geiger, "The Numerics of GANs", 2017).

Every player of a game follows the gradient of its own loss. Together these gradients form a vector
field v over all weights that need not be the gradient of anything: it can circle an equilibrium
instead of leading to it. Consensus optimization adds ``gamma * grad R`` with ``R = 1/2 ||v||^2`` to
the gradients of all players; R is minimal where v is 0.

The gradient of R needs second derivatives of each loss, including mixed ones, which memory-saving
modes don't support. All losses are alive at once, which takes several times the memory (numbers in
docs/paper.md). The paper (Section 3) tried it and found it too slow.

R is large here because the losses' weights are, so gamma must be far below the reference's 10.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from revgan.directions import DOMAINS
from revgan.networks.recomputing import FrozenStatistics
from revgan.training.batch import Batch
from revgan.training.losses import Terms, total
from revgan.training.objectives import Objective, Players


def consensus_term(objective: Objective, players: Players, batch: Batch) -> Terms:
    """Gamma times R, named ``consensus``, for the generator and the judges.

    The generator's loss is the sum of its terms, the judges' the sum of theirs, as training
    minimises them, but with two differences. R depends on both through both: the judges see the
    translations with their graph, and no network is frozen. The judges see only these translations,
    not the image pool, whose images have no graph. Running statistics of batch norms don't change.
    Training computes R in float32, with separate dropout masks.

    With several processes, each computes R from its own gradients on its share of the batch; the
    mean of their gradients isn't the gradient of R for the joined batch.

    Args:
        objective: gives the losses, and gamma.
        players: the networks, all of which get gradients from the term.
        batch: the images.

    Raises:
        RuntimeError: the generator's memory mode has no second derivatives.
    """
    networks = players.generator, nn.ModuleList((players.judge_a, players.judge_b))
    with FrozenStatistics(nn.ModuleList(networks)):
        generator_terms, fakes = objective.joint_terms(players, batch)
        judges_terms: Terms = {}
        for domain in DOMAINS:
            judges_terms |= objective.tell_apart(domain, players, batch, fakes.of(domain))
    losses = total(generator_terms), total(judges_terms)
    regulariser = consensus_regulariser(losses, [network.parameters() for network in networks])
    return {"consensus": objective.config.consensus_weight * regulariser}


def consensus_regulariser(losses: Sequence[Tensor], weights: Sequence[Iterable[Tensor]]) -> Tensor:
    """R of any game: half the squared norm of the players' gradients, differentiable again.

    Args:
        losses: one scalar per player, which it minimises.
        weights: each player's; its loss must depend on all of them.
    """
    squares = [
        gradient.square().sum()
        for loss, own in zip(losses, weights, strict=True)
        for gradient in torch.autograd.grad(loss, list(own), create_graph=True)
    ]
    return 0.5 * torch.stack(squares).sum()
