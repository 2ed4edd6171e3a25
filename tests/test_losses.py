"""The GAN loss as a function of logits."""

import math

import pytest
import torch

from revgan.training.losses import adversarial_loss


def test_least_squares_is_the_mean_squared_distance_to_the_label():
    logits = torch.tensor([[1.0, -1.0]])
    assert adversarial_loss(logits, real=True, form="least-squares") == 2.0
    assert adversarial_loss(logits, real=False, form="least-squares") == 1.0


def test_the_papers_sigmoid_stands_before_its_least_squares():
    logits = torch.tensor([[0.0]])
    assert adversarial_loss(logits, real=True, form="least-squares-sigmoid") == 0.25


def test_cross_entropy_is_the_negative_logarithm_of_the_labels_probability():
    logits = torch.tensor([[math.log(3)]])  # the probability of "real" is 3/4
    for real, probability in ((True, 3 / 4), (False, 1 / 4)):
        loss = adversarial_loss(logits, real=real, form="cross-entropy")
        assert loss.item() == pytest.approx(-math.log(probability), rel=1e-6)  # in float32


@pytest.mark.parametrize("real", [True, False])
def test_cross_entropy_of_extreme_logits_is_finite_and_has_a_gradient(real):
    # A separate Sigmoid and logarithm return infinity here.
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = adversarial_loss(logits, real=real, form="cross-entropy")
    loss.backward()
    assert loss == 100.0
    assert logits.grad.abs().max() == 0.5


def test_an_unknown_form_is_named():
    with pytest.raises(ValueError, match="hinge"):
        adversarial_loss(torch.zeros(1), real=True, form="hinge")
