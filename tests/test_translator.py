"""Translating tensors and arrays of any size with a trained model."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from revgan import Translator
from revgan.errors import UserError
from revgan.inference import Windows, translate_padded
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return RevGenerator(in_channels=1, out_channels=3, width=4, depth=2)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_size_comes_back_in_its_size(height, width):
    net = RevGenerator(width=2, depth=1)
    y = translate_padded(net, torch.zeros(1, 3, height, width), "AtoB")
    assert y.shape == (1, 3, height, width)


def test_a_size_that_fits_is_not_padded(net):
    x = torch.randn(1, 1, 16, 20)
    assert torch.equal(translate_padded(net, x, "AtoB"), net(x))


def test_tensors_keep_their_batch_axis_and_arrays_their_bit_depth(net):
    translator = Translator(net)
    assert translator(torch.zeros(1, 17, 15)).shape == (3, 17, 15)
    assert translator(torch.zeros(2, 3, 17, 15), "BtoA").shape == (2, 1, 17, 15)
    for dtype in (np.uint8, np.uint16):
        translated = translator(np.zeros((17, 15, 3), dtype), direction="BtoA")
        assert (translated.shape, translated.dtype) == ((17, 15, 1), dtype)


def test_grey_pixels_need_no_channel_axis_and_colours_are_converted(net):
    translator = Translator(net)
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    expected = translator(grey[:, :, np.newaxis])
    assert np.array_equal(translator(grey), expected)
    assert np.array_equal(translator(Image.fromarray(grey)), expected)
    assert np.array_equal(translator(np.stack([grey] * 3, axis=2)), expected)


def test_pixels_and_tensors_are_translated_alike(net):
    translator = Translator(net)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1
    translated = ((translator(tensor) + 1) * 127.5).round().permute(1, 2, 0)
    assert np.array_equal(translator(pixels), translated.numpy().astype(np.uint8))


@pytest.mark.parametrize("windows", [None, Windows(size=16, overlap=0.5)])
@pytest.mark.parametrize(
    ("dtype", "levels"), [(torch.float64, 1), (torch.float16, 8), (torch.bfloat16, 30)]
)
def test_a_network_in_another_precision_translates_pixels_and_tensors(dtype, levels, windows):
    torch.manual_seed(0)
    network = RevGenerator(2, 3, 3, width=8, depth=2, init="kaiming")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 28, 3), dtype=np.uint8)
    expected = Translator(network, windows=windows)(pixels).astype(int)
    translator = Translator(copy.deepcopy(network).to(dtype), windows=windows)
    # Of 256; kaiming's weights, for large differences, amplify roundings.
    assert np.abs(translator(pixels).astype(int) - expected).mean() <= levels
    for kind, result in ((torch.float32, torch.float32), (torch.float64, torch.float64)):
        assert translator(torch.rand(3, 24, 28, dtype=kind)).dtype == result


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_run_folder_and_its_model_folder_both_load(net, tmp_path, inside):
    save_generator(net, tmp_path / "model")
    translator = Translator.from_pretrained(tmp_path / inside, device="cpu")
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(translator(x), net(x).detach())


@pytest.mark.parametrize(
    ("image", "direction"),
    [
        (np.zeros((8, 8), np.float32), "AtoB"),
        (np.zeros((1, 2, 8, 8, 3), np.uint8), "AtoB"),
        (torch.zeros(2, 16, 16), "AtoB"),
        (torch.zeros(1, 16, 16), "there"),
    ],
)
def test_what_is_no_image_is_refused(net, image, direction):
    with pytest.raises(ValueError, match=r"image|takes|direction"):
        Translator(net)(image, direction)


def test_a_model_that_makes_no_numbers_is_refused_rather_than_written_as_black():
    net = RevGenerator(width=2, depth=1)
    with torch.no_grad():
        for weight in net.decoder_b.parameters():
            weight.fill_(torch.nan)
    translator = Translator(net)
    with pytest.raises(UserError, match="NaN or infinite"):
        translator(np.zeros((16, 16, 3), np.uint8))
    translator(np.zeros((16, 16, 3), np.uint8), direction="BtoA")


def test_paths_lists_and_batches_are_translated_like_single_arrays(net, tmp_path):
    translator = Translator(net)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 1), dtype=np.uint8)
    expected = [translator(image) for image in pixels]
    Image.fromarray(pixels[0, :, :, 0]).save(tmp_path / "0.png")
    from_file = translator(tmp_path / "0.png")
    assert from_file.dtype == np.uint8
    assert np.array_equal(from_file, expected[0])
    assert np.array_equal(translator(pixels), np.stack(expected))
    listed = translator([str(tmp_path / "0.png"), pixels[1], torch.zeros(1, 16, 16)])
    assert np.array_equal(listed[1], expected[1])
    assert listed[2].shape == (3, 16, 16)


def test_pixels_in_fractions_are_told_what_to_be(net):
    with pytest.raises(ValueError, match="such as uint8 from 0 to 255, not float64; scale frac"):
        Translator(net)(np.zeros((16, 16, 1)))
    with pytest.raises(ValueError, match=r"has shape \(H, W\), .* not \(\)"):
        Translator(net)([[0.5, 0.5], [0.5, 0.5]])


def test_a_translator_shows_what_it_takes(net):
    shown = repr(Translator(net, windows=Windows(32)))
    assert shown.startswith("Translator(images, AtoB and BtoA, A with 1 channel of uint8 or uint16")
    assert "B with 3 channels" in shown
    assert "RevGenerator(width=4, depth=2" in shown
    assert "windows=Windows(size=32" in shown
