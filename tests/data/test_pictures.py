"""Picture files: what people's cameras, scanners and editors save is read right or refused in one sentence."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from diffinfinite_lite.data import pictures
from diffinfinite_lite.data.mask_files import read_keep, read_mask
from diffinfinite_lite.data.pictures import Note, PictureWarning, as_block, read_rgb
from diffinfinite_lite.labels import LABEL_COLOURS, LABELS, colour_labels, colour_mask
from diffinfinite_lite.pipelines.slide_files import write_image

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save(array, path, **options):
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def read(path):
    notes = []
    return read_rgb(path, notes), [note.text for note in notes]


def test_colours_and_labels_are_inverse():
    labels = np.arange(len(LABELS)).reshape(1, -1)
    assert np.array_equal(colour_labels(colour_mask(labels)), labels)
    assert colour_labels(np.array(LABEL_COLOURS) + np.array([0, 0, 1])).tolist() == [-1] * len(LABELS)


def seen_by(colour, blindness):
    """A colour as linear RGB without one kind of cone (Machado et al. 2009, severity 1), or with all."""
    linear = np.array([v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour])
    return (np.array(BLIND[blindness]) @ linear).clip(0, 1)


BLIND = {
    "nobody": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.mark.parametrize("blindness", BLIND)
def test_labels_differ_in_print_and_for_colour_blind_readers(blindness):
    """Lightness (CIE L*) of any two is 10 apart, so that they differ in grey as well, whatever cones a reader has."""
    luminance = [float(np.dot((0.2126, 0.7152, 0.0722), seen_by(colour, blindness))) for colour in LABEL_COLOURS]
    lightness = np.sort([116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y for y in luminance])
    assert np.diff(lightness).min() > (10 if blindness == "nobody" else 5)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.gif"])
def test_formats_that_keep_values(tmp_path, rgb, name):
    few = rgb // 128 * 200  # a GIF has 256 colours
    seen, notes = read(save(few, tmp_path / name, **({"lossless": True} if name.endswith("webp") else {})))
    assert np.array_equal(seen, few) and not notes


# how a viewer turns what is stored, by orientation tag (EXIF 2.32, 4.6.4)
UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("tag", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg"])
def test_orientation_is_applied_and_said(tmp_path, rgb, tag, name):
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 100, "subsampling": 0}}.get(name, {})
    seen, notes = read(save(rgb, tmp_path / name, exif=exif, **options))
    expected = UPRIGHT[tag](rgb)
    assert seen.shape == expected.shape
    assert np.abs(seen.astype(int) - expected).max() <= (8 if name == "a.jpg" else 0)
    assert notes == (["was turned upright as its orientation tag says"] if tag > 1 else [])


@pytest.mark.parametrize("tag", UPRIGHT)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_turned_grey_tiffs_have_whole_rows(tmp_path, rgb, tag, compression):
    """Pillow maps uncompressed ones into memory and then cuts their rows at the wrong length."""
    exif = Image.Exif()
    exif[0x0112] = tag
    labels = rgb[..., 0] % 6
    seen = read_mask(save(labels, tmp_path / "a.tif", exif=exif, compression=compression), notes=[])
    assert np.array_equal(seen, UPRIGHT[tag](labels))


def test_transparent_parts_lie_on_white_and_this_is_said(tmp_path, rgb):
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 10:] = 255
    alpha[:, 20:] = 51
    seen, notes = read(save(np.dstack([rgb, alpha]), tmp_path / "a.png"))
    assert (seen[:, :10] == 255).all() and np.array_equal(seen[:, 10:20], rgb[:, 10:20])
    assert np.abs(seen[:, 20:] - (0.2 * rgb[:, 20:] + 0.8 * 255)).max() <= 1
    assert notes == ["has transparent parts, which were laid on white"]
    seen, notes = read(save(np.dstack([rgb, np.full_like(alpha, 255)]), tmp_path / "b.png"))
    assert np.array_equal(seen, rgb) and not notes
    index = Image.fromarray((rgb[..., 0] // 128), "P")
    index.putpalette([200, 10, 10, 10, 10, 200])
    seen, notes = read(save(index, tmp_path / "c.png", transparency=1))
    assert np.array_equal(seen, np.array([[200, 10, 10], [255, 255, 255]])[rgb[..., 0] // 128]) and len(notes) == 1


def test_cmyk_and_ycbcr_become_rgb(tmp_path):
    ink = Image.new("CMYK", (8, 8), (0, 255, 0, 0))
    assert read(save(ink, tmp_path / "a.tif"))[0][0, 0].tolist() == [255, 0, 255]
    assert np.abs(read(save(ink, tmp_path / "a.jpg"))[0][0, 0].astype(int) - [255, 0, 255]).max() <= 3
    assert np.abs(read(save(Image.new("YCbCr", (8, 8), (150, 100, 120)), tmp_path / "b.tif"))[0][0, 0].astype(int)
                  - np.array(Image.new("YCbCr", (1, 1), (150, 100, 120)).convert("RGB"))[0, 0]).max() <= 1  # fmt: skip


def swapped_profile():
    """sRGB's profile with red and blue exchanged."""
    profile = bytearray(PROFILE)
    (count,) = struct.unpack(">I", profile[128:132])
    tags = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 136 + 12 * i for i in range(count)}
    red, blue = (bytes(profile[tags[t] : tags[t] + 8]) for t in (b"rXYZ", b"bXYZ"))
    profile[tags[b"rXYZ"] : tags[b"rXYZ"] + 8], profile[tags[b"bXYZ"] : tags[b"bXYZ"] + 8] = blue, red
    place, size = struct.unpack(">II", profile[tags[b"desc"] : tags[b"desc"] + 8])
    profile[place : place + size] = profile[place : place + size].replace(b"s\0R\0G\0B", b"o\0d\0d\0 ")
    return bytes(profile)


def test_a_colour_profile_is_converted_and_srgb_changes_nothing(tmp_path, rgb):
    seen, notes = read(save(rgb, tmp_path / "a.png", icc_profile=PROFILE))
    assert np.array_equal(seen, rgb) and not notes
    seen, notes = read(save(rgb, tmp_path / "b.png", icc_profile=swapped_profile()))
    assert np.abs(seen.astype(int) - rgb[..., ::-1]).max() <= 2
    assert len(notes) == 1 and notes[0].startswith("was converted from its colour profile (odd")
    seen, notes = read(save(rgb, tmp_path / "c.png", icc_profile=b"no profile"))
    assert np.array_equal(seen, rgb)
    assert notes == ["has a colour profile that is damaged or not of its colours, which was not used"]


def png(pixels, depth, kind):
    """A PNG of samples (H, W, C) by hand: Pillow writes no colour with 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    written = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + written


def test_sixteen_bits_are_scaled_by_the_stated_rule(tmp_path, rgb):
    deep = rgb.astype(np.uint16) * 257 + np.array([0, 3, 250]).astype(np.uint16) * (rgb < 255)
    (tmp_path / "a.png").write_bytes(png(deep, 16, 2))
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    for name in ("a.png", "a.tif"):
        seen, notes = read(tmp_path / name)
        assert np.array_equal(seen, deep >> 8)
        assert notes == ["has 16 bits a channel, of which the upper eight are taken"]
    (tmp_path / "dark.png").write_bytes(png(deep >> 4, 16, 2))
    with pytest.raises(ValueError, match=r"up to 65,535, got at most 4,095 in dark\.png"):
        read_rgb(tmp_path / "dark.png")


def test_grey_and_masks_are_no_pictures_of_tissue(tmp_path, rgb):
    grey = rgb[..., 0]
    save(grey, tmp_path / "l.png")
    save(Image.fromarray(grey > 99), tmp_path / "one.png")
    save(Image.fromarray(np.dstack([grey, grey]), "LA"), tmp_path / "la.png")
    save(grey.astype(np.uint16) * 257, tmp_path / "i16.png")
    save(grey.astype(np.float32) / 255, tmp_path / "f.tif")
    save(Image.fromarray(grey).convert("P"), tmp_path / "p.png")
    (tmp_path / "la16.png").write_bytes(png(np.dstack([grey, grey]).astype(np.uint16) * 257, 16, 4))
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=rf"stained tissue in colour, got {path.name} in grey .*: save it as RGB"):
            read_rgb(path)
    legend = Image.fromarray(grey % 6, "P")
    legend.putpalette([value for colour in LABEL_COLOURS for value in colour])
    with pytest.raises(ValueError, match=r"got mask\.png in the colours of the labels: it is a mask"):
        read_rgb(save(legend, tmp_path / "mask.png"))


def test_further_pages_are_said_and_pyramids_are_none(tmp_path, rgb):
    few = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    for name in ("a.tif", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        seen, notes = read(save(few[0], tmp_path / name, save_all=True, append_images=few[1:], **options))
        assert np.array_equal(seen, rgb) and notes == ["has 2 pages, of which the first is read"]
    large = np.full((600, 700, 3), (200, 90, 160), np.uint8)
    write_image(tmp_path / "slide.ome.tif", [(0, 0, large)], (600, 700), mpp=0.5)
    seen, notes = read(tmp_path / "slide.ome.tif")
    assert seen.shape == large.shape and np.abs(seen.astype(int) - large).max() <= 2 and not notes


def test_pixel_limit_is_ours_and_stated(tmp_path, rgb, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = save(rgb, tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_rgb(path), rgb)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(pictures, "MAX_PIXELS", 599)
    with pytest.raises(ValueError, match=r"got .*a\.png \(30 x 20 px are more than 599 px\)"):
        read_rgb(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.bmp", "a.gif"])
def test_damaged_files_are_one_sentence(tmp_path, rgb, name):
    whole = save(rgb, tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], whole[:9], b"", b"no picture", b"\0" * 99):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"expected a readable picture .*{name}") as caught:
            read_rgb(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"missing\.png, which does not exist"):
        read_rgb(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="expected a readable picture"):
        read_rgb(tmp_path)


def test_any_flipped_byte_of_a_png_is_found_or_harmless(tmp_path, rgb):
    whole = save(rgb[:6, :6], tmp_path / "a.png").read_bytes()
    for place in range(len(whole)):
        (tmp_path / "a.png").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            seen = read_rgb(tmp_path / "a.png")
        except ValueError as error:
            assert "a.png" in str(error) and "\n" not in str(error)
        else:
            assert np.array_equal(seen, rgb[:6, :6])


@pytest.mark.parametrize("samples", ["planes", "0 is white"])
def test_tiff_layouts_that_pillow_takes_for_others_are_refused(tmp_path, rgb, samples):
    """Pillow (13.0) reads planes of 16 bits as twice as many of eight, and 16 bits where 0 is white as they are."""
    path = tmp_path / "a.tif"
    if samples == "planes":
        deep = np.moveaxis(rgb.astype(np.uint16) * 257, 2, 0)
        tifffile.imwrite(path, deep, photometric="rgb", planarconfig="separate")
    else:
        tifffile.imwrite(path, (rgb[..., 0] > 99).astype(np.uint16), photometric="miniswhite")
    for reader in (read_rgb, read_mask, read_keep):
        with pytest.raises(ValueError, match=r"got .*a\.tif \(more than 8 bits .*: save it "):
            reader(path)


def test_eight_bits_in_planes_and_where_0_is_white_are_read(tmp_path, rgb):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_rgb(path), rgb)
    known = rgb[..., 0] > 99
    tifffile.imwrite(path, np.where(known, 0, 255).astype(np.uint8), photometric="miniswhite")
    assert np.array_equal(read_keep(path), known)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for reader in (read_rgb, read_mask, read_keep):
        with pytest.raises(ValueError, match=r"got .*a\.png \(a pipe or a device\)"):
            reader(tmp_path / "a.png")


def test_what_the_memory_does_not_hold_is_refused_before_it_is_unpacked(tmp_path, rgb, monkeypatch):
    path = save(rgb, tmp_path / "a.png")
    monkeypatch.setattr(pictures, "free_memory", lambda: 4 * rgb[..., 0].size - 1)
    with pytest.raises(ValueError, match=r"30 x 20 px, for which 0\.0 GB of memory are not free"):
        read_rgb(path)
    for enough in (4 * rgb[..., 0].size, None):
        monkeypatch.setattr(pictures, "free_memory", lambda enough=enough: enough)
        assert np.array_equal(read_rgb(path), rgb)


def test_other_formats_are_not_opened(tmp_path, rgb):
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "eps")  # Pillow would start Ghostscript
    (tmp_path / "a.png").write_bytes(out.getvalue())
    with pytest.raises(ValueError, match=r"readable picture \(PNG, JPEG, TIFF, BMP, WebP or GIF\)"):
        read_rgb(tmp_path / "a.png")


def test_notes_warn_where_nobody_collects_them(tmp_path, rgb):
    path = save(np.dstack([rgb, rgb[..., 0]]), tmp_path / "a.png")
    with pytest.warns(PictureWarning, match=r"^a\.png: has transparent parts, which were laid on white$"):
        read_rgb(path)


def test_a_block_names_at_most_twenty_files_a_reason():
    block = as_block([Note(f"{i}.png", "is damaged") for i in range(25)] + [Note("b.png", "is grey")])
    first, second = block.splitlines()
    assert first.endswith("19.png and 5 more: is damaged") and second == "b.png: is grey"
