"""From an encoded image to pixels: depth, orientation, what is told of it, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from image_sets import encoded, pixels
from PIL import Image

from orchestrator.data.pixels import RefusedError, decode
from orchestrator.data.readers import Encoded

RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
IN_BYTES = (RAMP.astype(np.int64) * 255 + 32767) // 65535
UPRIGHT = np.zeros((6, 10), dtype=np.uint8)
UPRIGHT[0, 0] = 255  # top left

# Where a file has the corner that is top left once the image is turned as EXIF's number says.
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (-1, 0), 7: (-1, -1)}
CORNERS |= {8: (0, -1)}


def read(content, size=None, **options):
    box, mask = options.pop("box", None), options.pop("mask", None)
    return decode(Encoded(content, 0, "here", mask, box), size, **options)


def reason(content, **options):
    with pytest.raises(RefusedError) as caught:
        read(content, **options)
    return str(caught.value)


def netpbm(kind, white, values):
    return f"{kind} 8 8 {white}\n".encode() + values.astype(">u2").tobytes()


DEEP = {
    "PNG": encoded(RAMP),
    "TIFF": encoded(RAMP, "TIFF"),
    "TIFF, the high byte first": encoded(
        Image.frombytes("I;16B", (8, 8), RAMP.astype(">u2").tobytes()), "TIFF"
    ),
    "PGM": netpbm("P5", 65535, RAMP),
}


@pytest.mark.parametrize("kind", DEEP)
def test_16_bits_are_scaled_to_8(kind):
    image = read(DEEP[kind])
    assert np.array_equal(image.pixels[0], IN_BYTES)
    assert (image.reading, image.brightest) == ("16 bits", 65535)


def test_another_white_is_white():
    ten_bits = RAMP >> 6
    assert read(netpbm("P5", 1023, ten_bits)).pixels.max() == 255


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (DEEP["PNG"], "I;16"),
        (DEEP["PGM"], "I (16 bits)"),
        (netpbm("P6", 65535, np.repeat(RAMP.ravel(), 3)), "RGB (16 bits, read as 8)"),
        (encoded(pixels(0)), "RGB"),
        (encoded(pixels(0, grey=True)), "L"),
        (encoded(pixels(0, grey=True), "BMP"), "L"),
        (b"P5 8 8 255\n" + bytes(64), "L"),
    ],
    ids=["PNG 16", "PGM 16", "PPM 16", "PNG", "grey PNG", "BMP", "PGM"],
)
def test_mode_and_depth_are_those_of_the_file(content, mode):
    assert read(content).mode == mode


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encoded(RAMP.astype(np.int32), "TIFF"), "mode I of TIFF has whole numbers of 32 bits"),
        (encoded(RAMP.astype(np.float32), "TIFF"), "mode F has floating-point numbers"),
        (encoded(RAMP, "TIFF", tiffinfo={262: 0}), "counts from white to black"),
        (encoded(Image.new("LAB", (4, 4)), "TIFF"), "mode LAB is not understood"),
    ],
    ids=["32 bits", "float", "white is 0", "LAB"],
)
def test_values_without_a_known_scale_are_refused(content, words):
    assert words in reason(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", CORNERS)
def test_images_are_turned_as_exif_says(kind, turn):
    lying = UPRIGHT if turn < 5 else UPRIGHT.T
    file = np.zeros_like(lying)
    file[CORNERS[turn]] = 255
    exif = Image.Exif()
    exif[0x112] = turn
    lossless = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    image = read(encoded(file, kind, exif=exif, **lossless))
    assert image.size == UPRIGHT.shape
    assert np.unravel_index(image.pixels[0].argmax(), UPRIGHT.shape) == (0, 0)


def test_an_orientation_that_nobody_defined_turns_nothing():
    exif = Image.Exif()
    exif[0x112] = 9
    image = read(encoded(UPRIGHT, exif=exif))
    assert (image.size, image.reading) == (UPRIGHT.shape, "")


def test_a_plain_image_has_no_reading_that_would_change_a_digest_of_before():
    assert {read(encoded(pixels(0), kind)).reading for kind in ("PNG", "JPEG", "BMP")} == {""}


@pytest.mark.parametrize(
    ("content", "peculiar"),
    [
        (encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 9))), ("transparent",)),
        (encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 255))), ()),
        (encoded(Image.new("P", (4, 4)), transparency=bytes([0])), ("transparent",)),
        (
            encoded(
                Image.new("L", (4, 4)),
                "GIF",
                save_all=True,
                append_images=[Image.new("L", (4, 4), 9)],
            ),
            ("several frames",),
        ),
    ],
    ids=["transparent", "opaque", "transparent palette", "frames"],
)
def test_what_is_left_out_of_an_image_is_told(content, peculiar):
    assert read(content).peculiar == peculiar


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"no image", "no image format that Pillow knows"),
        (encoded(pixels(0))[:60], "the file is cut short"),
        (encoded(pixels(0), "JPEG")[:600], "the file is cut short"),
        (encoded(pixels(0), "BMP")[:100], "the file is cut short"),
        (b"P5 40000 40000 255\n", "exceeds limit"),
    ],
    ids=["empty", "LFS", "text", "half a PNG", "half a JPEG", "half a BMP", "huge"],
)
def test_what_cannot_be_decoded_says_why_in_words_without_numbers_or_addresses(content, why):
    told = reason(content)
    assert told.startswith("cannot be decoded: ")
    assert why in told
    assert "0x" not in told
    assert not any(word.isdecimal() for word in told.split())


# ---------------------------------------------------------------------- size, boxes, masks


def test_the_shorter_side_is_scaled_and_the_middle_kept():
    wide = np.zeros((4, 12), dtype=np.uint8)
    wide[:, 4:8] = 255
    image = read(encoded(wide), 4)
    assert image.pixels.shape == (1, 4, 4)
    assert image.size == (4, 12)  # as in the file
    assert image.pixels.min() == 255


def test_all_of_an_image_or_the_middle_of_a_larger_one():
    wide = np.zeros((8, 24), dtype=np.uint8)
    wide[:, 8:16] = 255
    # Its middle third is bright: as a rule that is all that is seen.
    assert read(encoded(wide), 4).pixels.min() > 200
    whole = read(encoded(wide), 6, scaled="whole").pixels[0]
    assert whole.shape == (6, 6)
    assert (whole.mean(0) > 128).tolist() == [False, False, True, True, False, False]
    # Of 8 x 24 pixels the middle 4 x 4.
    framed = np.zeros((8, 24), dtype=np.uint8)
    framed[2:6, 10:14] = 255
    assert read(encoded(framed), 4, scaled=8).pixels.min() == 255


def test_reduced_decodes_jpeg_at_a_fraction_of_its_size():
    smooth = np.linspace(0, 255, 100 * 160).astype(np.uint8).reshape(100, 160)
    photograph = encoded(smooth, "JPEG")
    whole, reduced = read(photograph, 20), read(photograph, 20, reduced=True)
    assert reduced.pixels.shape == whole.pixels.shape == (1, 20, 20)
    assert reduced.size == whole.size == (100, 160)  # as in the file
    assert not np.array_equal(reduced.pixels, whole.pixels)
    assert np.abs(reduced.pixels.astype(int) - whole.pixels).max() < 8


def test_reduced_never_goes_below_the_size_that_is_wanted():
    sharp = encoded(pixels(0, height=50, width=50, grey=True), "JPEG")
    # A half of 50 pixels would be less than 30.
    assert np.array_equal(read(sharp, 30).pixels, read(sharp, 30, reduced=True).pixels)


def test_a_box_is_cut_out():
    whole = pixels(0, height=8, width=10)
    image = read(encoded(whole), box=(2, 1, 7, 5))
    assert np.array_equal(image.pixels, whole[1:5, 2:7].transpose(2, 0, 1))
    assert image.size == (4, 5)


def test_a_box_holds_for_the_upright_image():
    exif = Image.Exif()
    exif[0x112] = 6
    lying = pixels(0, height=6, width=10)
    image = read(encoded(lying, exif=exif), box=(0, 0, 2, 3))
    assert np.array_equal(image.pixels, np.rot90(lying, -1)[:3, :2].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 12, 4), "reaches out of the image"),
        ((5, 5, 5, 8), "has no pixel"),
        ((0.1, 0.1, 0.6, 0.9), "shares of the image are not pixels"),
    ],
)
def test_a_box_that_means_something_else_is_refused(box, words):
    assert words in reason(encoded(pixels(0)), box=box)


def test_a_mask_is_cut_and_scaled_with_its_image_by_the_nearest_pixel():
    mask = np.repeat(np.repeat(np.arange(4, dtype=np.uint8).reshape(2, 2), 4, 0), 4, 1)  # [8, 8]
    image = read(encoded(pixels(0)), 2, mask=encoded(mask), box=(0, 0, 8, 4))
    assert image.mask.tolist() == [[[0, 1], [0, 1]]]


def test_a_mask_in_a_palette_has_its_numbers_and_not_its_colours():
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8) % 5
    palette = Image.frombytes("P", (8, 8), numbers.tobytes())
    palette.putpalette(bytes(range(255, -1, -1)) * 3)
    image = read(encoded(pixels(0)), mask=encoded(palette))
    assert np.array_equal(image.mask[0], numbers)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (encoded(pixels(0)), "the mask has mode RGB, not one number a pixel"),
        (encoded(pixels(0, height=4, grey=True)), "the mask is not of the image's size"),
        (b"no image", "the mask cannot be decoded: no image format"),
    ],
)
def test_a_mask_that_fits_nothing_is_refused(mask, words):
    assert words in reason(encoded(pixels(0)), mask=mask)
