"""Passports: what every file says of itself, and a picture made once more from it."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite import cli, generate
from diffinfinite_lite.models.pretrained import expected_hashes
from diffinfinite_lite.pipelines.edit import resynthesise
from diffinfinite_lite.pipelines.pair import Pair
from diffinfinite_lite.pipelines.passport import NOTICE, SOURCE, make_passport, read_passport, repeat, xmp
from diffinfinite_lite.pipelines.slide import generate_slide

SETTINGS = {"steps": 2, "seed": 5, "device": "cpu", "batch_size": 2, "plan": "torus-grid", "omega": 0.5}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_weights):
    """A pair by context, one by a mask of its own, one edited, and a slide."""
    root = tmp_path_factory.mktemp("made")
    pair = generate("squamous", size=(64, 136), weights=tiny_weights, **SETTINGS)
    pair.save(root / "sample")
    own = np.kron(np.arange(80).reshape(8, 10) % 6, np.ones((8, 8), int)).astype(np.uint8)
    drawn = generate("normal", own, weights=tiny_weights, **SETTINGS)
    drawn.save(root / "drawn")
    resynthesise(drawn, np.full_like(own, 3), weights=tiny_weights, device="cpu").save(root / "edited")
    places = {"store": root / "store", "out": root / "slide", "weights": tiny_weights, "mpp": 0.25}
    generate_slide("squamous", size=(64, 136), **places, **SETTINGS)
    return root


def run(*arguments):
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        return cli.explain(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


FILES = ["sample/image.png", "sample/mask.png", "sample/timesteps.webp", "sample/mask.geojson", "drawn", "edited",
         "slide", "slide/image.ome.tif", "slide/mask.ome.tif", "slide/mask.geojson", "slide/image.dzi"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_is_and_how_it_was_made(made, tiny_weights, name):
    passport = read_passport(made / name)
    folder = made / name.split("/")[0]
    whole = json.loads((folder / "run.json").read_text())
    assert passport["notice"] == NOTICE and passport["made_by"].startswith("diffinfinite_lite ")
    assert passport["run"].items() <= whole.items()
    assert passport["run"]["weights"] == expected_hashes(tiny_weights) and passport["run"]["steps"] == 2
    assert passport["run"]["versions"]["diffinfinite_lite"]
    said = run("info", made / name)
    assert said.startswith(NOTICE) and "seed: 5" in said and expected_hashes(tiny_weights)["image"][:12] in said


def test_other_programs_find_it_in_png_and_webp(made):
    with Image.open(made / "sample/image.png") as picture:
        assert picture.text["Disclaimer"] == NOTICE and "diffinfinite_lite" in picture.text["Software"]
        assert json.loads(picture.text["diffinfinite"]) == read_passport(made / "sample/image.png")
        packets = [picture.text["XML:com.adobe.xmp"]]
    with Image.open(made / "sample/mask.png") as mask:
        assert "labels" in mask.text and mask.text["Disclaimer"] == NOTICE
    with Image.open(made / "sample/timesteps.webp") as frames:
        packets.append(frames.info["xmp"].decode())
    with tifffile.TiffFile(made / "slide/image.ome.tif") as slide:
        packets.append(slide.pages[0].tags[700].value.decode())
    packets.append((made / "slide/image.xmp").read_text())
    for packet in packets:
        tree = ElementTree.fromstring(packet[packet.index("<x:xmpmeta") : packet.index("</x:xmpmeta>") + 12])
        said = {element.tag.split("}")[1]: element.text for element in tree.iter()}
        assert said["DigitalSourceType"] == SOURCE and said["li"] == NOTICE and json.loads(said["passport"])


def test_deep_zoom_tiles_say_it(made):
    tiles = list((made / "slide/image_files").rglob("*.jpeg"))
    assert tiles
    for tile in tiles:
        with Image.open(tile) as picture:
            assert picture.info["comment"].decode() == NOTICE


@pytest.mark.parametrize("name", ["image", "mask"])
def test_objective_and_pixel_size_where_openslide_and_qupath_look(made, name):
    """OpenSlide has an objective's power for vendors' formats alone; of a plain TIFF it hands out the XML with it."""
    path = made / f"slide/{name}.ome.tif"
    with OpenSlide(path) as slide:
        assert slide.properties["openslide.mpp-x"] == slide.properties["openslide.mpp-y"] == "0.25"
        comment = slide.properties["openslide.comment"]
    with tifffile.TiffFile(path) as file:
        assert file.is_ome and file.ome_metadata == comment
        about = tifffile.xml2dict(comment)["OME"]
    objective = about["Instrument"]["Objective"]
    assert objective["NominalMagnification"] == 40
    assert about["Image"]["ObjectiveSettings"]["ID"] == objective["ID"]
    assert about["Image"]["InstrumentRef"]["ID"] == about["Instrument"]["ID"]
    assert about["Image"]["Description"] == NOTICE
    said = json.loads(about["StructuredAnnotations"]["CommentAnnotation"]["Value"])
    assert said == read_passport(path)
    # in the order of the schema
    order = re.findall(r"<(Instrument|Image|Description|InstrumentRef|ObjectiveSettings|Pixels)[ >]", comment)
    assert order == ["Instrument", "Image", "Description", "InstrumentRef", "ObjectiveSettings", "Pixels"]


@pytest.mark.parametrize("name", ["sample/image.png", "sample/mask.png", "sample", "drawn/image.png"])
def test_a_picture_is_made_once_more_from_its_file(made, tiny_weights, tmp_path, name):
    run("sample", "--like", made / name, "--weights", tiny_weights, "--out", tmp_path / "again")
    before, again = (Pair.read(folder) for folder in (made / name.split("/")[0], tmp_path / "again"))
    for part in ("image", "mask", "latents"):
        assert np.array_equal(getattr(before, part), getattr(again, part)), part


def test_what_is_typed_beside_it_changes_the_picture(made, tiny_weights, tmp_path):
    like = ("sample", "--like", made / "sample/image.png", "--weights", tiny_weights)
    run(*like, "--seed", 6, "--size", "64x64", "--out", tmp_path / "again")
    other = Pair.read(tmp_path / "again").run
    assert other["seed"] == 6 and other["size"] == [64, 64] and other["plan"] == "torus-grid" and other["steps"] == 2
    run(*like, "--mask", made / "drawn/mask.geojson", "--out", tmp_path / "drawn")
    assert np.array_equal(Pair.read(tmp_path / "drawn").mask, Pair.read(made / "drawn").mask)


def test_what_cannot_be_made_once_more_is_refused(made, tiny_weights, tmp_path):
    out = ("--weights", tiny_weights, "--out", tmp_path / "out")
    assert "got one that was edited" in run("sample", "--like", made / "edited/image.png", *out)
    assert "expected the weights that made" in run("sample", "--like", made / "sample/image.png", "--out", out[-1])
    alone = tmp_path / "alone.png"
    alone.write_bytes((made / "drawn/image.png").read_bytes())
    assert "(--mask), got none" in run("sample", "--like", alone, *out)
    Image.fromarray(np.zeros((64, 80), np.uint8)).save(tmp_path / "mask.png")
    assert "(--mask), got another" in run("sample", "--like", alone, *out)
    assert not out[-1].exists()


def test_other_versions_are_said(made, tiny_weights, tmp_path):
    passport = read_passport(made / "sample/image.png")
    passport["run"]["versions"]["torch"] = "1.0"
    (tmp_path / "a.xmp").write_bytes(xmp(passport))
    with pytest.warns(UserWarning, match=r"made with torch 1\.0: its last bits may differ"):
        assert repeat(tmp_path / "a.xmp", weights=tiny_weights).config.seed == 5


@pytest.mark.parametrize("content", [b"", b"no picture", xmp(make_passport({})).replace(b'"run"', b'"ran"')])
def test_files_without_a_passport_are_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert run("info", tmp_path / "a.png").startswith("expected a picture with the passport")
    (tmp_path / "a.geojson").write_bytes(content)
    assert run("info", tmp_path / "a.geojson").startswith("expected a picture with the passport")
    assert run("info", tmp_path / "none.png").startswith("expected a picture that this library made at")


def test_words_of_a_run_do_not_break_the_packet(tmp_path):
    odd = {"warnings": ['a <b> & </diffinfinite:passport> \u03c9 "]]>']}
    (tmp_path / "a.xmp").write_bytes(xmp(make_passport(odd)))
    assert read_passport(tmp_path / "a.xmp")["run"] == odd
