"""The cases from the field, run as their users ran them: ``python -m tests.cases FOLDER [NUMBER ...]`` prints a table.

FOLDER holds one folder for each case, with the input and a README that says what was expected; nothing of it is part of
this repository. The commands run in this process, so that the library is imported once; where a case is about limits
and not about the picture, the model is a tiny one with random weights. Exit code 1 if a case does not hold.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffinfinite_lite import cli
from diffinfinite_lite.data.mask_files import read_mask
from tests.toys import tiny_model

CASES: dict[str, Callable[[Path, Path], str]] = {}
WHOLE = False  # paint the picture of case 33 to its end
SAMPLE = ("sample", "--context", "squamous", "--steps", 1, "--device", "cpu")


class Fails(Exception):
    """What came, where it is not what was expected."""


def case(number: str) -> Callable:
    """Register the function of a case: (its folder, a new folder to write to) to what came, or `Fails`."""

    def add(function: Callable[[Path, Path], str]) -> Callable[[Path, Path], str]:
        CASES[number] = function
        return function

    return add


def call(*words: object, stdout: io.StringIO, stderr: io.StringIO) -> int:
    """Run a command in this process: its exit code; what it says goes where a process would write it."""
    before, sys.argv = sys.argv, ["diffinfinite", *map(str, words)]
    shown = warnings.showwarning
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), warnings.catch_warnings():
            warnings.simplefilter("always")
            cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            stderr.write(f"{end.code}\n")
    finally:
        sys.argv, warnings.showwarning = before, shown
    return code


def run(*words: object) -> tuple[int, str]:
    """Exit code of a command, and all that it printed but its bars."""
    said = io.StringIO()
    return call(*words, stdout=said, stderr=said), said.getvalue()


def need(true: object, came: str) -> None:
    if not true:
        raise Fails(came)


def refused(*words: object, by: str = "expected") -> str:
    """The sentence by which a command is refused."""
    code, said = run(*words)
    sentence = said.strip().splitlines()[-1] if said.strip() else ""
    need(code == 1 and by in sentence and "Traceback" not in said and "not foreseen" not in said, f"{code}: {said}")
    return sentence.removeprefix("diffinfinite: ")


def works(*words: object) -> str:
    """What a command prints that ends well."""
    code, said = run(*words)
    need(code == 0, f"{code}: {said}")
    return said


def texture(path: Path, seed: int, side: int = 64) -> Path:
    """A picture with the colours of stained tissue and some structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 25, (side // 8, side // 8, 1)).repeat(8, 0).repeat(8, 1)
    rgb = np.array([190, 120, 170]) + coarse + rng.normal(0, 12, (side, side, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path)
    return path


@contextlib.contextmanager
def environment(**changed: str | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changed}
    try:
        for name, value in changed.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@case("02")
def leak(case: Path, out: Path) -> str:
    for n in range(13):
        texture(out / f"real/r{n}.png", n)
        texture(out / f"synthetic/s{n}.png", 100 + n)
        texture(out / f"train/t{n}.png", 200 + n)
    shutil.copy(out / "real/r7.png", out / "train/other.png")
    folders = ("--real", out / "real", "--synthetic", out / "synthetic", "--train", out / "train")
    said = refused("evaluate", *folders, "--features", "handcrafted", "--out", out / "report")
    need("r7.png" in said and "other.png" in said, said)
    return said


@case("04")
def saved_as_colour(case: Path, out: Path) -> str:
    for name in ("rgb", "rgba", "la"):
        works(*SAMPLE, "--mask", case / f"{name}.png", "--out", out / name)
    colours = np.asarray(Image.open(case / "rgb.png"))
    written = np.asarray(Image.open(out / "rgb/mask.png").convert("RGB"))
    need(np.array_equal(colours, written), "other labels than the colours say")
    grey = np.asarray(Image.open(case / "la.png"))[..., 0]
    need(np.array_equal(np.asarray(Image.open(out / "la/mask.png")), grey), "other labels than the grey values")
    return "rgb, rgba, la read; " + refused(*SAMPLE, "--mask", case / "onebit.png", "--out", out / "onebit")[:80]


@case("05")
def permuted_palette(case: Path, out: Path) -> str:
    labels = []
    for name in ("legend", "saved-again"):
        works(*SAMPLE, "--mask", case / f"{name}.png", "--out", out / name)
        labels.append(json.loads((out / name / "run.json").read_text())["labels"])
    need(labels[0] == labels[1], f"{labels}")
    other = case.parent / "06-keep-inverted"
    files = ("--image", other / "a.png", "--keep", other / "keep-grey.png")
    for name in ("legend", "saved-again"):
        works("inpaint", *files, "--mask", case / f"{name}.png", "--steps", 1, "--out", out / f"{name}-inpainted")
        works("edit", "--run", out / "legend", "--mask", case / f"{name}.png", "--out", out / f"{name}-edited")
    for way in ("inpainted", "edited"):
        one, other = (read_mask(out / f"{name}-{way}/mask.png") for name in ("legend", "saved-again"))
        need(np.array_equal(one, other), f"other labels when {way}")
    return "the same labels from both, in sample, inpaint and edit"


@case("06")
def keep_inverted(case: Path, out: Path) -> str:
    image, known = np.asarray(Image.open(case / "a.png")), np.asarray(Image.open(case / "keep-grey.png")) > 0
    for name in ("keep-grey", "keep-index"):
        files = ("--image", case / "a.png", "--keep", case / f"{name}.png", "--mask", case / "m.png")
        works("inpaint", *files, "--steps", 1, "--out", out / name)
        painted = np.asarray(Image.open(out / name / "image.png"))
        need(np.array_equal(painted[known], image[known]), f"{name}: known pixels are painted over")
        need((painted[~known] != image[~known]).any(), f"{name}: the hole is kept")
    return "known pixels kept bit for bit, the hole painted, with both"


@case("08")
def lattice(case: Path, out: Path) -> str:
    said = works(*SAMPLE, "--mask", case / "others.png", "--plan", "sliding-window", "--out", out / "a")
    recorded = json.loads((out / "a/run.json").read_text()).get("warnings")
    need(recorded and recorded[0] in said and "lattice" in said, said)
    return recorded[0][:120]


@case("12")
def cancel(case: Path, out: Path) -> str:
    from diffinfinite_lite import generate

    class Stopped(Exception):
        pass

    waits = []
    for stage, options in (("mask", {"size": (1024, 1024)}), ("decoding", {"mask": np.full((256, 256), 3, np.uint8)})):
        asked: list[float] = []

        def watched(items, total, name, stage=stage, asked=asked):
            for item in items:
                if name == stage and (asked or stage == "decoding"):  # its only tile is done then
                    raise Stopped
                if name == stage:
                    asked.append(time.perf_counter())
                yield item

        try:
            generate("normal", steps=1, progress=watched, device="cpu", **options)
        except Stopped:
            waits.append(f"{stage} {time.perf_counter() - asked[0]:.1f} s" if asked else stage)
        else:
            raise Fails(f"nothing can be stopped while {stage}")
    return f"stops at the next level or tile: {', '.join(waits)}"


@case("14")
def no_seed(case: Path, out: Path) -> str:
    from diffinfinite_lite.widgets.session import Session
    from diffinfinite_lite.widgets.studio import Studio

    shown: dict[str, Any] = {}
    studio = Studio(tiny_model(folder(out / "tiny")), "cpu")
    try:
        session, said = Session(studio, lambda **parts: shown.update(parts)), []
        session.handle({"do": "open"})
        for value in ("", "-1", "1e5", "nan"):
            session.handle({"do": "set", "name": "seed", "value": value})
            said.append(str(shown.get("fault")))
            need("expected" in said[-1], f"nothing is said of {value!r}: {shown.get('message')!r}")
    finally:
        studio.queue.close()
    return said[0]


@case("15")
def annotations(case: Path, out: Path) -> str:
    from diffinfinite_lite.data.qupath import geojson_mask

    files = sorted(case.glob("*.geojson"))
    found = {file.name: int(geojson_mask(file, (64, 64), {"Tumor": 1}).max()) for file in files}
    need(set(found.values()) == {1}, f"{found}")
    return f"{found}"


@case("18")
def damaged_store(case: Path, out: Path) -> str:
    settings = ("--mask", case / "m512.png", "--context", "squamous", "--steps", 6, "--solver", "dpm-solver++")

    def slide(name: str) -> tuple:
        return ("slide", *settings, "--out", out / name, "--store", out / f"{name}.store")

    from diffinfinite_lite.pipelines.slide import generate_slide

    def stopping(items, total, part):
        for item in items:
            if part == "sampling" and item.step == 4:
                return
            yield item

    whole = {"context": "squamous", "mask": case / "m512.png", "steps": 6, "solver": "dpm-solver++"}
    works(*slide("ref"))
    with contextlib.suppress(Exception):
        generate_slide(**whole, store=out / "store", out=out / "stopped", progress=stopping)
    left = json.loads((out / "store/progress.json").read_text())["progress"]["left"]
    chunk = f"latents-{left % 2}/c/0/0/0"
    said = []
    for name in ("missing", "zeroed", "cut", "no memory", "left", "whole"):
        store = out / f"{name}.store"
        shutil.copytree(out / "store", store)
        if name == "missing":
            (store / chunk).unlink()
        elif name == "zeroed":
            (store / chunk).write_bytes(bytes((store / chunk).stat().st_size))
        elif name == "cut":
            os.truncate(store / chunk, 1000)
        elif name == "no memory":
            shutil.rmtree(store / f"memory-{left % 2}")
        elif name == "left":
            text = (store / "progress.json").read_text()
            (store / "progress.json").write_text(re.sub(r'"left": \d+', '"left": 600', text))
        if name == "whole":
            works(*slide(name))
            same = (out / "whole/image.ome.tif").read_bytes() == (out / "ref/image.ome.tif").read_bytes()
            need(same, "the undamaged store ends with another picture")
        else:
            said.append(refused(*slide(name)))
            need(not (out / name / "image.ome.tif").exists(), f"{name}: a picture")
            wanted = {"left": "progress.json", "no memory": f"memory-{left % 2}"}.get(name, chunk)
            need(f"{name}.store/{wanted}" in said[-1], f"{name}: {said[-1]}")
    return f"left {left}; undamaged: the same file; {said[0]}"


@case("19")
def code_na(case: Path, out: Path) -> str:
    room = "diffinfinite_lite.survey"
    name = "answers" if importlib.util.find_spec(f"{room}.answers") else "statistics"
    read_answers = importlib.import_module(f"{room}.{name}").read_answers
    table = read_answers(case / "survey-NA.csv")
    need(set(table["rater"]) == {"NA"}, f"{set(table['rater'])}")
    return f"{len(table)} answers of NA"


@case("22")
def necrosis(case: Path, out: Path) -> str:
    warned = []
    for label in (0, 2, 4):
        words = ("sample", "--context", "adenocarcinoma", "--mask", case / f"{label}.png", "--steps", 1)
        said = works(*words, "--out", out / str(label))
        recorded = json.loads((out / str(label) / "run.json").read_text()).get("warnings", [])
        need(bool(recorded) == (label == 2) and all(each in said for each in recorded), f"{label}: {said}")
        warned += recorded
    need("necrosis" in warned[0], warned[0])
    return warned[0]


@case("25")
def devices(case: Path, out: Path) -> str:
    texture(out / "data/a.png", 0, 256)
    for device in ("mps", "xpu", "meta", "xla", "vulkan"):
        sampled = refused("sample", "--context", "normal", "--size", "64x64", "--device", device, "--out", out / "a")
        words = ("train", "autoencoder", "--data", out / "data", "--steps", 1)
        trained = refused(*words, "--device", device, "--out", out / "runs")
        need(device in sampled and device in trained, f"{sampled} {trained}")
    return sampled


@case("26")
def own_results(case: Path, out: Path) -> str:
    mask = out / "mask.png"
    Image.fromarray(np.repeat(np.uint8([1, 3]), 32)[None].repeat(64, 0)).save(mask)
    for n in range(13):
        texture(out / f"tiles/{n}.png", n)
        works(*SAMPLE, "--mask", mask, "--seed", n, "--out", out / f"made/{n}")
    folders = ("--real", out / "tiles", "--synthetic", out / "made")
    works("evaluate", *folders, "--features", "handcrafted", "--out", out / "report")
    report = json.loads((out / "report/report.json").read_text())
    shares = [row["value"] for row in report["rows"] if row["name"] == "share of carcinoma"]
    need(report["counts"]["synthetic"] == 13 and shares == [0.5], f"{report['counts']}, shares {shares}")
    return "13 synthetic tiles, their masks measured"


@case("28")
def masks_not_found(case: Path, out: Path) -> str:
    from diffinfinite_lite.data.folders import read_folder

    for name in ("data", "elsewhere"):
        shutil.copytree(case / name, out / name)
    for place in (out, *(path for path in out.rglob("*") if path.is_dir())):
        place.chmod(0o755)
    link = out / "data/adenocarcinoma"
    if link.is_file() and not link.is_symlink():  # the cases came as files: a link is its target's name there
        target = link.read_text()
        link.chmod(0o644)
        link.unlink()
        link.symlink_to(target)
    notes: list = []
    tiles = {tile.name: tile for tile in read_folder(out / "data", notes=notes)}
    labelled = {name.split("/")[1] for name, tile in tiles.items() if tile.labelled}
    need({"a.png", "b.png", "d.png"} <= labelled, f"labelled: {labelled}")
    need("d-mask.png" not in {name.split("/")[1] for name in tiles}, "d-mask.png is a picture")
    contexts = {name.split("/")[1]: tile.context for name, tile in tiles.items()}
    need(contexts["f.png"] == "normal" and contexts["g.png"] == "adenocarcinoma", f"{contexts}")
    need("p.webp" in contexts, "p.webp is left out")
    need(any("e.GeoJSON" in note.text or "e.GeoJSON" in note.file for note in notes), f"{notes}")
    return f"{len(tiles)} pictures, with masks {', '.join(sorted(labelled))}; e.GeoJSON: needs a class map"


@case("30")
def deep_pictures(case: Path, out: Path) -> str:
    came = []
    for name in ("grey16.png", "float.tif", "clear.png"):
        files = ("--image", case / name, "--keep", case / "keep.png", "--mask", case / "m.png")
        code, said = run("inpaint", *files, "--steps", 1, "--out", out / name)
        data = out / f"data-{name}"
        data.mkdir()
        shutil.copy(case / name, data)
        trained = run("train", "autoencoder", "--data", data, "--mpp", 4, "--steps", 1, "--out", out / f"runs-{name}")
        if name == "clear.png":
            painted, known = np.asarray(Image.open(out / name / "image.png")), np.asarray(Image.open(case / "keep.png"))
            clear = (np.asarray(Image.open(case / name))[..., 3] == 0) & (known > 0)
            need(code == 0 and (painted[clear] == 255).all() and "laid on white" in said, f"{code}: {said}")
            came.append(f"{name}: laid on white, said")
        else:
            need(code == 1 and "expected" in said and "Traceback" not in said, f"{code}: {said}")
            need(trained[0] == 1 and name in trained[1], f"train: {trained}")
            came.append(f"{name}: refused by inpaint and train")
    return "; ".join(came)


@case("32")
def webp_limit(case: Path, out: Path) -> str:
    works(*SAMPLE, "--mask", case / "wide.png", "--weights", tiny_model(folder(out / "tiny")), "--out", out / "a")
    with Image.open(out / "a/timesteps.webp") as shown:
        side = shown.size
    return f"a picture; timesteps.webp of {side[0]} x {side[1]} px"


@case("33")
def large_mask(case: Path, out: Path) -> str:
    """The whole picture takes minutes; that sampling begins says that the mask is read, and `--whole` paints it."""
    from diffinfinite_lite import generate

    class Begun(Exception):
        pass

    def watched(items, total, part):
        raise Begun

    weights, file = tiny_model(folder(out / "tiny")), case / "m13384.png"
    if WHOLE:
        words = ("sample", "--context", "normal", "--mask", file, "--steps", 1, "--weights", weights)
        return works(*words, "--out", out / "a").splitlines()[-2]
    labels = read_mask(file)
    with contextlib.suppress(Begun):
        generate("normal", labels, steps=1, weights=weights, progress=watched, device="cpu")
    return f"read as {labels.shape[0]} x {labels.shape[1]} labels; sampling began"


@case("35")
def full_disk(case: Path, out: Path) -> str:
    """A limit on the size of files takes the place of a full disk."""
    texture(out / "data/a.png", 0, 256)
    words = ("train", "autoencoder", "--data", out / "data", "--steps", 1, "--device", "cpu")
    works(*words, "--out", out / "runs")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        trained = refused(*words[:-3], 2, *words[-2:], "--out", out / "runs", by="expected room")
        refused(*words, "--out", out / "new", by="expected room")
        runs = tiny_runs(out / "full")
        refused("train", "export", "--out", runs, "--weights", out / "w", by="expected room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = [path.name for place in ("new", "w") for path in (out / place).rglob("*.safetensors")]
    need(not left, f"left: {left}")
    return trained


def tiny_runs(runs: Path) -> Path:
    """A folder of training with the networks of a tiny model in it, linked."""
    weights = tiny_model(folder(runs / "tiny"))
    for name in ("autoencoder", "image", "mask"):
        (runs / name).mkdir(parents=True)
        (runs / name / "ema.safetensors").symlink_to(weights / f"{name}.safetensors")
    return runs


@case("37")
def numbers(case: Path, out: Path) -> str:
    texture(out / "data/a.png", 0, 256)
    said = [
        refused("train", "autoencoder", "--data", out / "data", option, value, "--out", out / "runs")
        for option, value in (("--steps", 0), ("--steps", -5), ("--mpp", 0), ("--mpp", "nan"), ("--mpp", -1))
    ]
    need(not (out / "runs").exists(), "a folder was made")
    return f"{said[0]}; {said[3]}"


@case("38")
def seed(case: Path, out: Path) -> str:
    said = [
        refused("sample", "--context", "normal", "--size", "64x64", "--seed", value, "--out", out / "a")
        for value in (-1, 2**64)
    ]
    need(said[0].endswith("got -1") and said[1].endswith(f"got {2**64}"), f"{said}")
    return said[0]


@case("39")
def fetched(case: Path, out: Path) -> str:
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    with environment(DIFFINFINITE_DATA=None, DIFFINFINITE_CACHE=str(out / "cache"), **nowhere):
        failed = refused("data", "fetch", "osteosarcoma", by="could not download")
        listed = works("data", "list")
    line = next(line for line in listed.splitlines() if line.startswith("osteosarcoma"))
    need("not fetched" in line, line)
    return f"{' '.join(line.split()[:3])}; fetch: {failed[:60]}..."


@case("40")
def rights(case: Path, out: Path) -> str:
    before = os.umask(0o022)
    try:
        works("train", "export", "--out", tiny_runs(out / "runs"), "--weights", out / "w")
    finally:
        os.umask(before)
    modes = {oct(path.stat().st_mode & 0o777) for path in (out / "w").iterdir()}
    need(modes == {"0o644"}, f"{modes}")
    return "0644 under umask 022 (that others are told 'Permission denied': tests/test_refusals.py)"


@case("43")
def hashes(case: Path, out: Path) -> str:
    weights, said = tiny_model(folder(out / "w")), ""
    for text in ("{}", "[1]", "x", ""):
        (weights / "hashes.json").write_text(text)
        words = ("sample", "--context", "normal", "--size", "64x64", "--steps", 1, "--weights", weights)
        said = refused(*words, "--out", out / "a")
        need("hashes.json" in said, said)
    return said[:150]


@case("44")
def left_by_a_kill(case: Path, out: Path) -> str:
    from diffinfinite_lite.files import WAITING

    place = folder(out / "a" / f"{WAITING}abc")
    (place / "image.png").write_bytes(b"half")
    (place / "lock").touch()
    works("sample", "--context", "normal", "--size", "64x64", "--steps", 1, "--out", out / "a")
    left = [path.name for path in (out / "a").iterdir() if path.name.startswith((WAITING, "tmp"))]
    need(not left, f"{left}")
    return "the folder of the killed run is gone"


@case("48")
def no_name(case: Path, out: Path) -> str:
    before = os.getcwd()
    os.chdir(out)
    try:
        said = refused(*SAMPLE, "--size", "64x64", "--out", "")
    finally:
        os.chdir(before)
    need(not list(out.iterdir()), "files in the current folder")
    return said


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def said_in(readme: str, word: str) -> str:
    """The line of a README that follows a word such as "expected"."""
    found = re.search(rf"^{word}:\s*(.*)$", readme, re.MULTILINE)
    return found[1] if found else ""


def shortened(text: str, length: int = 160) -> str:
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= length else line[: length - 1] + "…"


def main(root: Path, wanted: list[str]) -> int:
    """Run the cases and print the table; how many do not hold."""
    broken = 0
    print("| case | expected | came | holds |\n|---|---|---|---|")
    for place in sorted(path for path in root.iterdir() if path.is_dir()):
        number = place.name.split("-")[0]
        if wanted and number not in wanted:
            continue
        expected = said_in((place / "README").read_text(encoding="utf-8"), "expected")
        with tempfile.TemporaryDirectory() as out:
            try:
                came, holds = CASES[number](place, Path(out)), "yes"
            except KeyError:
                came, holds = "no such case is known here", "NO"
            except Exception as error:  # whatever a case runs into is what came
                came, holds = f"{type(error).__name__}: {error}".removeprefix("Fails: "), "NO"
            came = came.replace(f"{out}/", "")
        broken += holds != "yes"
        print(f"| {place.name} | {shortened(expected)} | {shortened(came)} | {holds} |", flush=True)
    return broken


if __name__ == "__main__":
    WHOLE = "--whole" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--whole"]
    if not words or not Path(words[0]).is_dir():
        sys.exit("expected a folder of cases and some of their numbers: python -m tests.cases FOLDER [NUMBER ...]")
    sys.exit(1 if main(Path(words[0]).resolve(), words[1:]) else 0)
