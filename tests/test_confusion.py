"""Scores of label maps, against counts by hand and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

from revgan.data.labels import IGNORED
from revgan.scores.confusion import class_iou, confusion, segmentation_scores

# Ratios of the same whole numbers in float64.
SAME = {"rtol": 0, "atol": 1e-12}


def test_a_case_counted_by_hand():
    truth = torch.tensor([[0, 0, 0, 1], [1, 1, 2, IGNORED]])
    predicted = torch.tensor([[0, 0, 1, 1], [1, 2, 2, 0]])
    counts = confusion(predicted, truth, 3)
    assert counts.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 1]]
    expected = torch.tensor(
        [5 / 7, (2 / 3 + 2 / 3 + 1) / 3, (2 / 3 + 2 / 4 + 1 / 2) / 3], dtype=torch.float64
    )
    torch.testing.assert_close(segmentation_scores(counts), expected, **SAME)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    truth, predicted = random.integers(0, 5, (2, 16, 16))
    counts = confusion(torch.from_numpy(predicted), torch.from_numpy(truth), 5)
    t, p = truth.ravel(), predicted.ravel()
    assert counts.tolist() == confusion_matrix(t, p, labels=range(5)).tolist()
    expected = [
        accuracy_score(t, p),
        balanced_accuracy_score(t, p),
        jaccard_score(t, p, average="macro"),
    ]
    torch.testing.assert_close(
        segmentation_scores(counts), torch.tensor(expected, dtype=torch.float64), **SAME
    )
    iou = torch.from_numpy(jaccard_score(t, p, average=None))
    torch.testing.assert_close(class_iou(counts), iou, **SAME)


def test_a_class_that_is_nowhere_is_left_out_of_means():
    counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    without = counts[:2, :2]
    assert torch.equal(segmentation_scores(counts), segmentation_scores(without))


def test_a_class_that_is_only_predicted_costs_intersection_over_union_alone():
    counts = torch.tensor([[3, 1], [0, 0]])
    scores = segmentation_scores(counts)
    assert scores.tolist() == [3 / 4, 3 / 4, (3 / 4 + 0) / 2]


def test_without_a_pixel_that_counts_there_is_no_score():
    counts = confusion(torch.zeros(2, 2).long(), torch.full((2, 2), IGNORED), 3)
    assert segmentation_scores(counts).isnan().all()


def test_many_confusions_are_scored_at_once():
    counts = torch.randint(0, 9, (4, 2, 3, 3), generator=torch.Generator().manual_seed(0))
    scores = segmentation_scores(counts)
    assert scores.shape == (4, 2, 3)
    assert torch.equal(scores[1, 0], segmentation_scores(counts[1, 0]))


def test_class_maps_of_different_size_are_refused():
    with pytest.raises(ValueError, match="can't be scored against"):
        confusion(torch.zeros(2, 2).long(), torch.zeros(2, 3).long(), 2)
