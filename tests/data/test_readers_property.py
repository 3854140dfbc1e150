"""Readers of pictures, masks and annotations: files of any kind are read right or refused in one sentence.

Hypothesis writes a file of known content in any of the ways that Pillow can write it. A reader may refuse it, in one
sentence that names the file; what it does read must be what was meant.
"""

import json
from io import BytesIO

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from diffinfinite_lite.data.mask_files import read_keep, read_mask
from diffinfinite_lite.data.pictures import read_rgb
from diffinfinite_lite.data.qupath import geojson_mask
from diffinfinite_lite.labels import LABEL_COLOURS, colour_labels, colour_mask

FORMATS = ("png", "tiff", "webp", "jpeg", "bmp", "gif")
COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
SHAPE = st.tuples(st.integers(1, 12), st.integers(1, 12))
UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}  # fmt: skip
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def labels():
    return SHAPE.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 5)))


def write(draw, picture, place):
    """Save a picture in any format that takes it, turned by any orientation tag; None where none was drawn."""
    kind, tag = draw(st.sampled_from(FORMATS)), draw(st.sampled_from([1, *UPRIGHT]))
    options = {}
    if kind in ("png", "tiff", "webp", "jpeg") and tag > 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = tag
    else:
        tag = 1
    if kind == "webp":
        options["lossless"] = draw(st.booleans())
    if kind == "tiff":
        options["compression"] = draw(st.sampled_from(COMPRESSIONS))
    path = place / f"a.{kind}"
    try:
        picture.save(path, **options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return None, tag, False  # a mode that this format does not have
    exact = {"webp": options.get("lossless"), "jpeg": False, "tiff": options.get("compression") != "jpeg"}
    return path, tag, exact.get(kind, True)


def read(reader, path, *more):
    """What a reader makes of a file, or None where it refuses it as it should."""
    notes = []
    try:
        return reader(path, *more, notes=notes)
    except ValueError as error:
        said = str(error)
        assert said.startswith("expected ") and path.name in said and "\n" not in said and len(said) < 500
        return None


def index(pixels, colours):
    picture = Image.fromarray(pixels.astype(np.uint8), "P")
    picture.putpalette(np.ravel(colours).astype(int).tolist())
    return picture


@st.composite
def masks(draw):
    """(picture, whether it must be read, labels by what the picture looks like or None where it shows none)."""
    meant, way = draw(labels()), draw(st.sampled_from(["grey", "deep", "int", "legend", "greys", "rgb", "rgba", "la",
                                                        "foreign", "clear", "one", "float", "quantised"]))  # fmt: skip
    order = np.array(draw(st.permutations(range(6))))
    at, colours = np.argsort(order)[meant], np.array(LABEL_COLOURS)[order]
    opacity = draw(st.integers(0, 255))
    opaque = np.full(meant.shape, 255, np.uint8)
    pictures = {
        "grey": lambda: (Image.fromarray(meant), True),
        "deep": lambda: (Image.fromarray(meant.astype(np.uint16)), True),
        "int": lambda: (Image.fromarray(meant.astype(np.int32)), True),
        "legend": lambda: (index(at, colours), True),
        "greys": lambda: (index(at, np.repeat(order[:, None], 3, axis=1)), True),
        "rgb": lambda: (Image.fromarray(colour_mask(meant)), True),
        "rgba": lambda: (Image.fromarray(np.dstack([colour_mask(meant), opaque])), True),
        "la": lambda: (Image.fromarray(np.dstack([meant, opaque])), True),
        "quantised": lambda: (Image.fromarray(colour_mask(meant)).quantize(6), True),
        "foreign": lambda: (index(at, draw(arrays(np.uint8, (6, 3))) // 2 * 2 + 1), None),  # odd: none of ours
        "clear": lambda: (Image.fromarray(np.dstack([colour_mask(meant), opaque // 255 * opacity])), opacity == 255),
        "one": lambda: (Image.fromarray(meant > 2), None),
        "float": lambda: (Image.fromarray(meant.astype(np.float32)), None),
    }
    picture, readable = pictures[way]()
    return picture, meant, readable


@quick
@given(data=st.data())
def test_masks(place, data):
    picture, meant, readable = data.draw(masks())
    path, tag, exact = write(data.draw, picture, place)
    if path is None:
        return
    seen = read(read_mask, path)
    if readable is None:  # shows no labels, except where all colours that the file holds happen to be greys 0 to 5
        with Image.open(path) as stored:
            shown = UPRIGHT[tag](np.asarray(stored.convert("RGB")))
        assert seen is None or (shown.max() <= 5 and np.array_equal(np.dstack([seen] * 3), shown))
        return
    assert seen is None or np.array_equal(seen, UPRIGHT[tag](meant))
    written_as_it_is = path.suffix in (".png", ".tiff")
    if readable and exact and written_as_it_is:
        assert seen is not None


@quick
@given(data=st.data())
def test_known_pixels(place, data):
    known = data.draw(SHAPE.flatmap(lambda shape: arrays(bool, shape)))
    value = known * data.draw(st.integers(1, 255))
    flip = data.draw(st.booleans())
    ways = {
        "1": lambda: Image.fromarray(known),
        "L": lambda: Image.fromarray(value.astype(np.uint8)),
        "I;16": lambda: Image.fromarray((value * 257).astype(np.uint16)),
        "P": lambda: index(known ^ flip, np.repeat([[255 * flip], [255 * (not flip)]], 3, axis=1)),
        "RGB": lambda: Image.fromarray(np.dstack([value] * 3).astype(np.uint8)),
        "LA": lambda: Image.fromarray(np.dstack([value, np.full_like(value, 255)]).astype(np.uint8)),
    }
    path, tag, exact = write(data.draw, ways[data.draw(st.sampled_from(sorted(ways)))](), place)
    if path is not None:
        seen = read(read_keep, path)
        assert seen is None or np.array_equal(seen, UPRIGHT[tag](known))
        assert seen is not None or not exact or path.suffix not in (".png", ".tiff")


@quick
@given(data=st.data())
def test_pictures(place, data):
    rgb = data.draw(SHAPE.flatmap(lambda shape: arrays(np.uint8, (*shape, 3))))
    mode = data.draw(st.sampled_from(["RGB", "RGBA", "P", "L", "1", "LA", "I;16", "I", "F", "CMYK", "YCbCr", "LAB"]))
    if mode == "RGBA":
        alpha = data.draw(arrays(np.uint8, rgb.shape[:2], elements=st.sampled_from([0, 128, 255])))
        picture = Image.fromarray(np.dstack([rgb, alpha]))
        share = alpha[..., None] / 255
        meant = rgb * share + 255 * (1 - share)
    else:
        picture = Image.fromarray(rgb)
        if mode == "P":
            picture = picture.quantize(16)
        elif mode in ("I", "F", "I;16"):
            picture = Image.fromarray(rgb[..., 0].astype({"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]))
        elif mode != "LAB":
            picture = picture.convert(mode)
        meant = np.asarray(picture.convert("RGB") if mode not in ("I", "F", "I;16") else Image.fromarray(rgb), float)
    path, tag, exact = write(data.draw, picture, place)
    if path is None:
        return
    seen = read(read_rgb, path)
    if mode in ("L", "1", "LA", "I;16", "I", "F"):
        colours = path.suffix in (".webp", ".gif")  # these have no grey, and lossy ones tint it
        assert seen is None or colours
        return
    if seen is None or not exact or path.suffix == ".gif":
        assert path.suffix == ".gif" or not exact or mode not in ("RGB", "RGBA", "CMYK") or seen is not None
        return
    meant = UPRIGHT[tag](meant)
    if path.suffix == ".bmp" and mode == "RGBA":
        assert seen.shape == meant.shape  # viewers differ about opacity in this format
    else:
        assert seen.shape == meant.shape and np.abs(seen - meant).max() <= 1


@quick
@given(data=st.data())
def test_tiffs_of_another_writer(place, data):
    """Layouts that Pillow does not write: planes, tiles, predictors, either byte order, 0 as white, BigTIFF."""
    draw, path = data.draw, place / "t.tif"
    deep, tag, shape = draw(st.booleans()), draw(st.sampled_from(sorted(UPRIGHT))), draw(SHAPE)
    kind = draw(st.sampled_from(["colour", "labels", "0 is white"]))
    if kind == "colour":
        meant = draw(arrays(np.uint8, (*shape, 3)))
    else:
        meant = draw(arrays(np.uint8, shape, elements=st.integers(0, 5)))
    values = meant.astype(np.uint16) * (257 if kind == "colour" else 1) if deep else meant
    white = kind == "0 is white"
    options = {
        "photometric": "rgb" if kind == "colour" else "miniswhite" if white else "minisblack",
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": draw(st.booleans()),
        "compression": draw(st.sampled_from([None, "zlib", "lzw", "packbits"])),
        "tile": draw(st.sampled_from([None, (16, 16)])),
        "extratags": [(274, 3, 1, tag, True)],
    }
    if options["compression"] in ("zlib", "lzw"):
        options["predictor"] = draw(st.booleans())
    if kind == "colour" and draw(st.booleans()):
        values, options["planarconfig"] = np.moveaxis(values, 2, 0), "separate"
    tifffile.imwrite(path, values, **options)
    upright = UPRIGHT[tag](meant)
    unknown = options["bigtiff"] and options["byteorder"] == ">"  # to Pillow
    if kind == "colour":
        seen = read(read_rgb, path)
        assert seen is None or np.array_equal(seen, upright)
        assert seen is not None or unknown or deep or (colour_labels(meant) >= 0).all()
        return
    seen, known = read(read_mask, path), read(read_keep, path)
    if white:  # labels show as 255 and less, none of which is a label; black is the highest value
        assert seen is None and (known is None or known.all())
    elif not unknown:
        assert np.array_equal(seen, upright) and np.array_equal(known, upright > 0)


@quick
@given(
    content=st.binary(max_size=80),
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8\xff", b"GIF89a", b"BM"]),
)
def test_any_bytes(place, content, head):
    path = place / "bytes.png"
    path.write_bytes(head + content)
    for reader in (read_rgb, read_mask, read_keep):
        read(reader, path)


@quick
@given(data=st.data())
def test_damage(place, data):
    """A file with a byte changed or its end cut off: what a PNG still shows is what it did."""
    rgb, out = data.draw(arrays(np.uint8, (4, 5, 3))), BytesIO()
    kind = data.draw(st.sampled_from(["png", "tiff", "webp", "jpeg", "bmp", "gif"]))
    Image.fromarray(rgb).save(out, kind)
    whole = out.getvalue()
    at, change = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    cut = data.draw(st.booleans())
    path = place / f"damaged.{kind}"
    path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
    seen = read(read_rgb, path)
    if kind == "png" and seen is not None:
        assert np.array_equal(seen, rgb)
    read(read_mask, path)


NAMES = st.sampled_from(["Tumor", "Stroma", "Tümor", "Tumor: Positive"])
BOX = st.tuples(*[st.integers(-3, 14)] * 2, *[st.integers(1, 9)] * 2)


@quick
@given(
    boxes=st.lists(st.tuples(NAMES, BOX, st.integers(0, 2), st.booleans()), max_size=5),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    shape=SHAPE,
)
def test_annotations(place, boxes, encoding, shape):
    """Boxes drawn one over the other, as old and new versions of QuPath write them, against filled slices."""
    meant, features, class_map = np.zeros(shape, np.uint8), [], {"Tumor": 1, "Stroma": 3, "Tümor": 4}
    for name, (left, top, width, height), depth, new in boxes:
        ring = [[left, top], [left + width, top], [left + width, top + height], [left, top + height], [left, top]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        for _ in range(depth):
            geometry = {"type": "GeometryCollection", "geometries": [geometry]}
        kind = {"names": name.split(": ")} if new else {"name": name}
        features.append({"type": "Feature", "geometry": geometry, "properties": {"classification": kind}})
        meant[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = class_map[name.split(":")[0]]
    path = place / "a.geojson"
    content = {"type": "FeatureCollection", "features": features}
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert np.array_equal(geojson_mask(path, shape, class_map, []), meant)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["Feature", "Polygon", "Tumor"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "features", "geometry", "geometries", "coordinates", "properties", "classification"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@quick
@given(content=JSON)
def test_any_json(place, content):
    path = place / "b.geojson"
    path.write_text(json.dumps(content))
    try:
        mask = geojson_mask(path, (5, 6), {"Tumor": 1}, [])
    except ValueError as error:
        assert "b.geojson" in str(error) and "\n" not in str(error)
    else:
        assert mask.shape == (5, 6) and mask.max() <= 1
