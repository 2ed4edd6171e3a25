"""The sample set of satellite tiles and a flat map."""

import numpy as np
import pytest

from revgan.data.datasets.earth_map import LAND, LINES, WATER, flat_map

SIZE = 1080, 540


@pytest.fixture(scope="module")
def drawn():
    return flat_map(SIZE)


@pytest.mark.parametrize(
    ("latitude", "longitude", "colour"),
    [
        (30, -40, WATER),  # the Atlantic
        (42, 51, WATER),  # the Caspian Sea
        (23, 10, LAND),  # the Sahara
        (-80, 0, LAND),  # Antarctica
    ],
)
def test_known_places_are_land_or_water(drawn, latitude, longitude, colour):
    row, column = round((90 - latitude) * 3), round((longitude + 180) * 3)
    assert tuple(drawn[row, column]) == colour


@pytest.mark.parametrize(
    ("kind", "latitudes", "longitudes"),
    [
        ("gshhs", (38, 44), (-10, -8)),  # Portugal's shore
        ("rivers", (24, 30), (30, 34)),  # the Nile
        ("countries", (49, 49), (-110, -105)),  # between Canada and the USA
    ],
)
def test_lines_are_where_they_are_on_earth(drawn, kind, latitudes, longitudes):
    rows = slice(round((90 - latitudes[1]) * 3) - 1, round((90 - latitudes[0]) * 3) + 2)
    columns = slice(*(round((longitude + 180) * 3) for longitude in longitudes))
    there = drawn[rows, columns].reshape(-1, 3).astype(int)
    assert np.abs(there - LINES[kind]).sum(1).min() < 60


def test_no_line_runs_across_the_map_where_it_leaves_its_edge(drawn):
    """Shores and borders cross the date line in Siberia, Fiji and Antarctica."""
    assert (drawn[240:390, 465:480] == WATER).all()  # the Atlantic, 10 north to 40 south
    assert (drawn[505:530, 520:560] == LAND).all()  # Antarctica at the meridian of Greenwich
