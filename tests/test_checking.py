"""Every scan is read once before training, and what is wrong with one is said of the first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from revgan.data import checking
from revgan.data.checking import inspect_all
from revgan.data.config import DataConfig
from revgan.data.recipe import Recipe
from revgan.data.refs import ScanRef
from revgan.data.store import FileStore
from test_folders import refusal, save


def check(refs, crop=1, channels=None, progress=None):
    return inspect_all(
        FileStore(Recipe(DataConfig(crop=crop), channels)), refs, len(refs), progress, True
    )


def refs_of(folder, count, **options):
    paths = [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        save(path, **options)
    return [ScanRef(path) for path in paths]


def test_good_images_have_one_format_and_report_progress(tmp_path):
    refs = refs_of(tmp_path, 5, channels=2, dtype=np.uint16)
    done = []
    found = check(refs, crop=8, progress=done.append)
    assert {(scan.channels, scan.dtype) for scan in found} == {(2, np.dtype(np.uint16))}
    assert done == [1, 2, 3, 4, 5]


def test_checking_resizes_with_one_thread_an_image_and_restores_torchs_threads(tmp_path):
    before, during = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:

        class Counting(FileStore):
            def inspect(self, ref):
                during.append(torch.get_num_threads())
                return super().inspect(ref)

        inspect_all(Counting(Recipe(DataConfig(crop=1))), refs_of(tmp_path, 2), 2)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 3
        assert during == [1, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_first_bad_image_in_order_is_named_whichever_is_decoded_first(tmp_path, monkeypatch):
    refs = refs_of(tmp_path, 4)
    for ref in refs[1:3]:
        ref.path.write_bytes(ref.path.read_bytes()[:-30])
    later_one_is_done = threading.Event()
    read = Recipe.read

    def read_the_later_first(recipe, ref):
        if ref == refs[1]:
            later_one_is_done.wait(timeout=5)
        try:
            return read(recipe, ref)
        finally:
            if ref == refs[2]:
                later_one_is_done.set()

    monkeypatch.setattr(Recipe, "read", read_the_later_first)
    monkeypatch.setattr(checking.os, "cpu_count", lambda: 4)
    message = refusal(refs[1].path, lambda: check(refs))
    assert str(refs[2].path) not in message


def test_a_bad_image_stops_the_check_of_the_rest(tmp_path, monkeypatch):
    refs = refs_of(tmp_path, 1) * 1000
    calls = []
    read = Recipe.read

    def refuse(recipe, ref):
        calls.append(ref)
        prepared = read(recipe, ref)
        if len(calls) == 2:
            other = prepared.found._replace(dtype=np.dtype(np.uint16))
            return replace(prepared, found=other)
        return prepared

    monkeypatch.setattr(Recipe, "read", refuse)
    monkeypatch.setattr(checking.os, "cpu_count", lambda: 1)
    refusal(refs[0].path, lambda: check(refs))
    assert len(calls) < 1000


@pytest.mark.parametrize("size", [(8, 7), (7, 8)])
def test_an_image_below_the_least_size_is_refused_with_both_sizes(tmp_path, size):
    refs = refs_of(tmp_path, 2)
    save(refs[1].path, size)
    message = refusal(refs[1].path, lambda: check(refs, 8))
    assert f"has {size[1]} x {size[0]} pixels, too few for data.crop 8" in message
    assert "set data.resize" in message
    check(refs, 7)


def test_the_size_that_counts_is_that_of_the_half(tmp_path):
    path = tmp_path / "x.png"
    save(path, (8, 14))
    message = refusal(path, lambda: check([ScanRef(path, "right")], 8))
    assert "the right half of" in message
    assert "has 7 x 8 pixels" in message


def test_another_bit_depth_is_refused_naming_both_images(tmp_path):
    refs = refs_of(tmp_path, 3)
    save(refs[2].path, dtype=np.uint16)
    message = refusal(refs[2].path, lambda: check(refs, channels=3))
    assert "16 bits" in message
    assert f"{refs[0].path} has 8" in message


def test_other_channels_are_refused_unless_all_are_converted(tmp_path):
    refs = refs_of(tmp_path, 3)
    save(refs[1].path, channels=4)
    message = refusal(refs[1].path, lambda: check(refs))
    assert "4 channels" in message
    assert f"{refs[0].path} has 3" in message
    assert message.endswith("set data.channels_a (or data.channels_b) to convert all")
    assert len(check(refs, channels=1)) == 3


def test_checking_no_images_is_a_programming_error():
    with pytest.raises(ValueError, match="at least one scan"):
        check([])
