"""Mask files: the same labels whatever the editor that saved them, or a refusal that says how to save."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from diffinfinite_lite.data.mask_files import read_keep, read_mask
from diffinfinite_lite.labels import LABEL_COLOURS, TEN_TO_SIX, colour_mask
from diffinfinite_lite.pipelines.slide_files import write_mask

LABELS = np.random.default_rng(0).integers(0, 6, (24, 32), dtype=np.uint8)
FLAT = [value for colour in LABEL_COLOURS for value in colour]


def save(array, path, **options):
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def index(pixels, colours):
    picture = Image.fromarray(pixels.astype(np.uint8), "P")
    picture.putpalette(np.ravel(colours).tolist())
    return picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_grey_values_of_any_depth(tmp_path, dtype):
    read = read_mask(save(LABELS.astype(dtype), tmp_path / "m.tif"))
    assert read.dtype == np.uint8 and np.array_equal(read, LABELS)
    if dtype != np.int32:
        assert np.array_equal(read_mask(save(LABELS.astype(dtype), tmp_path / "m.png")), LABELS)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.gif", "m.bmp"])
def test_index_pictures_are_read_by_their_colours(tmp_path, name, seed):
    order = np.random.default_rng(seed).permutation(6)  # entry i of the palette has the colour of label order[i]
    pixels = np.argsort(order)[LABELS]
    picture = index(pixels, np.array(LABEL_COLOURS)[order])
    assert np.array_equal(read_mask(save(picture, tmp_path / name)), LABELS)
    greys = index(pixels, np.repeat(order[:, None], 3, axis=1))
    assert np.array_equal(read_mask(save(greys, tmp_path / f"grey-{name}")), LABELS)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.webp", "m.bmp"])
def test_exact_colours(tmp_path, name):
    options = {"lossless": True} if name == "m.webp" else {}
    rgb = colour_mask(LABELS)
    assert np.array_equal(read_mask(save(rgb, tmp_path / name, **options)), LABELS)
    if name != "m.bmp":
        rgba = np.dstack([rgb, np.full_like(LABELS, 255)])
        assert np.array_equal(read_mask(save(rgba, tmp_path / name, **options)), LABELS)


def test_grey_with_opacity(tmp_path):
    opaque = np.full_like(LABELS, 255)
    assert np.array_equal(read_mask(save(np.dstack([LABELS, opaque]), tmp_path / "la.png")), LABELS)


def test_quantised_colours_of_our_own_picture(tmp_path):
    """Pillow's quantisation reorders the palette: this is the field's case 05."""
    for method in (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE):
        picture = Image.fromarray(colour_mask(LABELS)).quantize(6, method=method)
        assert np.array_equal(read_mask(save(picture, tmp_path / "m.png")), LABELS)


def test_a_slide_mask_is_read_whole(tmp_path):
    labels = np.kron(LABELS, np.ones((30, 30), np.uint8))
    write_mask(tmp_path / "m.ome.tif", [(0, 0, labels)], labels.shape, mpp=0.5)
    assert np.array_equal(read_mask(tmp_path / "m.ome.tif"), labels)


def test_a_turned_mask_is_turned_as_a_picture_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.warns(UserWarning, match=r"m\.png: was turned upright"):
        assert np.array_equal(read_mask(save(LABELS, tmp_path / "m.png", exif=exif)), np.rot90(LABELS, -1))


def test_a_tiff_palette_of_eight_bits_is_read_as_what_it_is_meant_for(tmp_path):
    """The format has 16 bits a channel; Pillow takes 255 of them for black, and every label had become unknown."""
    colours = np.zeros((3, 256), np.uint16)
    colours[:, : len(LABEL_COLOURS)] = np.transpose(LABEL_COLOURS)
    labels = np.arange(6, dtype=np.uint8)[None].repeat(3, axis=0)
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="palette", colormap=colours)
    assert np.array_equal(read_mask(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("way", ["index", "grey", "rgb"])
def test_files_of_five_codes_mean_what_they_say(tmp_path, way):
    """Written before air had a label: 4 stays others, whether it is a number, a colour or an index of five colours."""
    five = np.arange(5, dtype=np.uint8)[None].repeat(3, axis=0)
    pictures = {"index": index(five, LABEL_COLOURS[:5]), "grey": five, "rgb": colour_mask(five)}
    path = save(pictures[way], tmp_path / "m.png")
    assert np.array_equal(read_mask(path), five) and np.array_equal(read_mask(path, classes=5), five)
    with pytest.raises(ValueError, match=r"labels 0 to 4, got (grey values 1 to 5 in )?six\.png"):
        read_mask(save(colour_mask(five + 1) if way == "rgb" else five + 1, tmp_path / "six.png"), classes=5)


def test_ten_classes(tmp_path):
    ten = np.arange(10, dtype=np.uint8)[None]
    assert read_mask(save(ten, tmp_path / "m.png"), classes=10)[0].tolist() == list(TEN_TO_SIX)
    with pytest.raises(ValueError, match=r"labels 0 to 9, got legend\.png with another colour"):
        read_mask(save(index(LABELS, LABEL_COLOURS), tmp_path / "legend.png"), classes=10)


def test_larger_than_pillow_allows(tmp_path):
    labels = Image.new("L", (13_384, 13_384), 3)
    read = read_mask(save(labels, tmp_path / "m.png", compress_level=1))
    assert read.shape == (13_384, 13_384) and read[0, 0] == read[-1, -1] == 3


def smoothed():
    edge = colour_mask(LABELS)
    edge[3, 4] = (np.array(LABEL_COLOURS[1]) + LABEL_COLOURS[3]) // 2
    return edge


REFUSED = {
    "ten.png": (np.arange(10, dtype=np.uint8)[None], "grey values 0 to 9 in ten.png"),
    "negative.tif": (-LABELS.astype(np.int32), "grey values -5 to 0 in negative.tif"),
    "float.tif": (LABELS.astype(np.float32), "float.tif in floating-point numbers"),
    "smoothed.png": (smoothed(), "smoothed.png with another colour (106, 92, 75)"),
    "black.png": (np.zeros((*LABELS.shape, 3), np.uint8), "black.png with another colour (0, 0, 0)"),
    "others.png": (index(LABELS, np.array(LABEL_COLOURS) // 2), "others.png with another colour (95, 95, 95)"),
    "mixed.png": (index(LABELS, [*LABEL_COLOURS[:5], (5, 5, 5)]), "mixed.png with another colour (5, 5, 5)"),
    "onebit.png": (Image.fromarray(LABELS > 2), "onebit.png in black and white"),
    "black-and-white.png": (index(LABELS % 2, [(255,) * 3, (0,) * 3]), "grey values 0 to 255"),
    "clear.png": (np.dstack([colour_mask(LABELS), 63 * LABELS]), "clear.png with transparent pixels"),
    "grey-clear.png": (np.dstack([LABELS, 63 * LABELS]), "grey-clear.png with transparent pixels"),
    "ink.tif": (Image.fromarray(colour_mask(LABELS)).convert("CMYK"), "ink.tif in colour (mode CMYK)"),
    "m.jpg": (colour_mask(np.ones_like(LABELS)), "m.jpg in a format that changes values, as JPEG does"),
    "grey.jpg": (LABELS, "grey.jpg in a format that changes values"),
    "lossy.webp": (colour_mask(LABELS), "lossy.webp in a format that changes values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_and_says_how_to_save(tmp_path, name):
    content, words = REFUSED[name]
    save(content, tmp_path / name)
    with pytest.raises(ValueError) as caught:
        read_mask(tmp_path / name)
    said = str(caught.value)
    assert said.startswith("expected ") and words in said and "save it as PNG in grey values 0 to 5" in said
    assert "carcinoma 213, 94, 0" in said and "\n" not in said


def test_transparent_indices_and_values_are_refused(tmp_path):
    picture = index(LABELS, LABEL_COLOURS)
    for name, content, key in (("p.png", picture, 2), ("l.png", Image.fromarray(LABELS), 2)):
        with pytest.raises(ValueError, match="with transparent pixels"):
            read_mask(save(content, tmp_path / name, transparency=key))
    assert np.array_equal(read_mask(save(picture, tmp_path / "p.png", transparency=bytes([255] * 6 + [0]))), LABELS)


def test_sixteen_bit_colour_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", colour_mask(LABELS).astype(np.uint16) * 257, photometric="rgb")
    with pytest.raises(ValueError, match=r"got m\.tif in colour with 16 bits a channel"):
        read_mask(tmp_path / "m.tif")


def test_missing_file_and_code(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.png"):
        read_mask(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="6 classes, 5 or 10"):
        read_mask(tmp_path / "missing.png", classes=7)


KNOWN = LABELS > 1


def test_known_pixels_are_what_is_not_black(tmp_path):
    value = np.where(KNOWN, 1 + LABELS, 0).astype(np.uint8)
    colours = np.array([[255] * 3, [0] * 3, [7] * 3])
    kept = {
        "one.png": Image.fromarray(KNOWN),
        "grey.png": value,
        "deep.png": value.astype(np.uint16),
        "rgb.png": np.dstack([value] * 3),
        "rgba.png": np.dstack([value] * 3 + [np.full_like(value, 255)]),
        "la.png": np.dstack([value, np.full_like(value, 255)]),
        "index.png": index(np.where(KNOWN, 2 * (LABELS % 2), 1), colours),  # black has index 1: the field's case 06
        "quantised.png": Image.fromarray(np.dstack([255 * KNOWN.astype(np.uint8)] * 3)).quantize(2),
    }
    for name, content in kept.items():
        assert np.array_equal(read_keep(save(content, tmp_path / name)), KNOWN), name


def test_a_black_and_white_palette_in_a_bmp_is_refused(tmp_path):
    """Pillow takes the eight bits a pixel for one, and would see other pixels."""
    with pytest.raises(ValueError, match=r"a\.bmp \(a grey palette in a BMP: save it as PNG\)"):
        read_keep(save(index(KNOWN, [[0] * 3, [255] * 3]), tmp_path / "a.bmp"))
    assert np.array_equal(read_keep(save(Image.fromarray(KNOWN), tmp_path / "one.bmp")), KNOWN)


def test_known_pixels_in_colour_are_refused(tmp_path):
    refused = {
        "legend.png": index(LABELS, LABEL_COLOURS),
        "rgb.png": colour_mask(LABELS),
        "clear.png": np.dstack([colour_mask(LABELS), 63 * LABELS]),
        "grey.jpg": LABELS,
        "float.tif": LABELS.astype(np.float32),
    }
    for name, content in refused.items():
        with pytest.raises(ValueError, match=rf"where black is a hole, got {name} .*: save it as a greyscale PNG"):
            read_keep(save(content, tmp_path / name))
