"""The sample set of satellite tiles and what covers them."""

import numpy as np
import pytest

from revgan.data.config import DataConfig
from revgan.data.datasets import earth_labels
from revgan.data.datasets.earth import world_picture
from revgan.data.labels import class_map
from revgan.data.sets import open_data_set


@pytest.fixture(scope="module")
def classes():
    return earth_labels.land_cover(world_picture("shadedrelief.jpg"))


def at(classes, latitude, longitude):
    row, column = round((90 - latitude) * 3), round((longitude + 180) * 3)
    return earth_labels.PALETTE.names[classes[row, column]]


@pytest.mark.parametrize(
    ("latitude", "longitude", "name"),
    [
        (30, -40, "ocean"),  # the Atlantic
        (42, 51, "lake"),  # the Caspian Sea
        (-5, -60, "green land"),  # the Amazon
        (23, 10, "dry land"),  # the Sahara
        (75, -40, "ice and heights"),  # Greenland
        (-80, 0, "ice and heights"),  # Antarctica
    ],
)
def test_known_places_have_their_class(classes, latitude, longitude, name):
    assert at(classes, latitude, longitude) == name


def test_shores_in_the_tropics_are_no_ice(classes):
    tropics = slice(*(round((90 - latitude) * 3) for latitude in (20, -20)))
    _, columns = np.nonzero(classes[tropics] == earth_labels.ICE)
    longitudes = columns / 3 - 180
    # Heights are white too, but only the Andes' are as large as a pixel.
    assert len(longitudes) > 0
    assert ((longitudes > -80) & (longitudes < -60)).all()


def test_label_maps_have_flat_colours_that_are_all_known():
    data = open_data_set(DataConfig(path="earth-labels-small", crop=64), paired=True)
    assert data.palette == earth_labels.PALETTE
    counts = sum(
        np.bincount(class_map(ref, data.palette).flatten(), minlength=5)
        for ref in (*data.b.train, *data.b.test)
    )
    assert counts.min() > 0  # every class is somewhere


def test_tiles_are_those_of_the_set_earth():
    labels, photos = (
        open_data_set(DataConfig(path=name, crop=64), paired=False)
        for name in ("earth-labels-small", "earth-small")
    )
    for domain in ("a", "b"):
        for part in ("train", "test"):
            names = [
                [ref.name for ref in getattr(getattr(data, domain), part)]
                for data in (labels, photos)
            ]
            assert names[0] == names[1]
