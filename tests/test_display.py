"""What a person sees while training runs."""

from io import StringIO

from rich.console import Console

from revgan.scores.metrics import Scores
from revgan.training import display
from revgan.training.display import Clock, Display, summary


def lines(every: int, shown: list[int], *, total: int = 10) -> list[str]:
    output = StringIO()
    with Display(Console(file=output, width=200), 0, total, every) as shows:
        for step in shown:
            shows.advance(step)
            shows.show(step, {"gan_AtoB": 1.0, "gan_BtoA": 0.5, "d_a_real": 0.25}, 3.0)
    return output.getvalue().splitlines()


def test_without_a_terminal_lines_come_at_intervals_and_at_the_end():
    assert [line.split()[1] for line in lines(4, [2, 4, 6, 8, 10])] == ["4/10", "8/10", "10/10"]


def test_an_interval_that_no_log_line_hits_is_rounded_up():
    assert [line.split()[1] for line in lines(3, [2, 4, 6, 8, 10])] == ["4/10", "8/10", "10/10"]


def test_a_line_tells_losses_by_kind_and_speed():
    assert lines(1, [10]) == ["step 10/10  3.0 images/s  gan 1.5  d 0.25"]


def test_scores_are_told_whatever_the_interval_and_whether_they_are_the_best():
    scores = {"AtoB": Scores(8.0, 25.25, 0.5, 4), "BtoA": Scores(16.0, 20.0, 0.25, 4)}
    output = StringIO()
    with Display(Console(file=output, width=200), 0, 10, 10) as shows:
        shows.show_scores(3, scores, best=True)
        shows.show_scores(6, scores, best=False)
    told = "AtoB 25.25 dB, SSIM 0.500, MAE 8.00;  BtoA 20.00 dB, SSIM 0.250, MAE 16.00"
    assert output.getvalue().splitlines() == [
        f"step 3/10  validation  {told}  best so far",
        f"step 6/10  validation  {told}",
    ]


def test_losses_are_summed_by_kind():
    assert summary({"l1_AtoB": 2.0, "l1_BtoA": 3.0, "d_a_real": 1.0}) == {"l1": 5.0, "d": 1.0}


def test_speed_counts_every_step_since_the_last_question(monkeypatch):
    times = iter([0.0, 2.0, 3.0])
    monkeypatch.setattr(display.time, "perf_counter", lambda: next(times))
    clock = Clock(images_per_step=4, first=100)
    assert clock.images_per_second(110) == 20.0
    assert clock.images_per_second(115) == 20.0
