"""What a person sees while training runs."""

import re
from io import StringIO

from rich.console import Console
from rich.text import Text

from revgan.scores.metrics import Scores
from revgan.training import display
from revgan.training.display import Clock, Display, summary


def lines(monkeypatch, seconds_per_step: float, shown: list[int], *, total: int) -> list[str]:
    now = [0.0]
    monkeypatch.setattr(display.time, "perf_counter", lambda: now[0])
    output = StringIO()
    with Display(Console(file=output, width=200), 0, total) as shows:
        for step in shown:
            now[0] = step * seconds_per_step
            shows.advance(step)
            shows.show(step, {"gan_AtoB": 1.0, "gan_BtoA": 0.5, "d_a_real": 0.25}, 3.0)
    return output.getvalue().splitlines()


def test_without_a_terminal_lines_come_every_half_minute_and_at_the_ends(monkeypatch):
    told = lines(monkeypatch, 5.0, list(range(1, 19)), total=18)
    assert [line.split()[1] for line in told] == ["1/18", "7/18", "13/18", "18/18"]


def test_a_line_tells_the_time_left_the_losses_by_kind_and_the_speed(monkeypatch):
    assert lines(monkeypatch, 60.0, [10], total=100) == [
        "step 10/100  1:30:00 left  3.0 images/s  gan 1.5  d 0.25"
    ]


def test_in_eighty_columns_the_bar_shows_steps_time_and_speed_and_cuts_the_losses():
    output = StringIO()
    with Display(Console(file=output, width=80, force_terminal=True), 0, 200_000) as shows:
        shows.advance(100_000)
        losses = {f"{name}_x": 0.123456 for name in ("identity", "gan", "cycle", "d", "consensus")}
        shows.show(100_000, losses, 123.45)
        shows._bar.refresh()
    line = Text.from_ansi(output.getvalue()).plain.rstrip().splitlines()[-1]
    assert len(line) <= 80
    assert "100000/200000" in line
    assert re.search(r"(\d+:\d\d:\d\d|-:--:--) 123.5 images/s ", line)
    assert "identity 0.123" in line
    assert line.rstrip().endswith("…")


def test_scores_are_told_whatever_the_interval_and_whether_they_are_the_best():
    scores = {"AtoB": Scores(8.0, 25.25, 0.5, 4), "BtoA": Scores(16.0, 20.0, 0.25, 4)}
    output = StringIO()
    with Display(Console(file=output, width=200), 0, 10) as shows:
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
