"""Results on disk are whole or what they were before; what a killed run left is removed, and nothing else."""

import os
import signal
import subprocess
import sys

import pytest

from diffinfinite_lite import files
from diffinfinite_lite.files import WAITING, check_folder, held, move, read_json, staged, write_text


def fill_disk(*args, **options):
    raise OSError(28, "No space left on device")


def test_an_error_on_the_way_leaves_what_was_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    message = r"room for a result in .*, got: No space left on device; nothing half"
    with pytest.raises(OSError, match=message) as caught, staged(tmp_path) as place:
        (place / "a.txt").write_text("new")
        fill_disk()
    assert caught.value.errno == 28
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_folders_that_were_made_for_nothing_go_again(tmp_path):
    """An empty folder had stayed of a full disk, and one with a lock of a training that was refused."""
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new" / "deep", tmp_path / "mine"):
        with pytest.raises(OSError, match="room for"), staged(folder):
            fill_disk()
        with pytest.raises(ValueError, match="refused"), held(folder):
            raise ValueError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with held(tmp_path / "new" / "deep") as folder:
        (folder / "checkpoint").touch()
    assert {path.name for path in folder.iterdir()} == {"checkpoint", "lock"}


def test_json_is_read_in_any_encoding_and_refused_however_deep(tmp_path):
    path = tmp_path / "a.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text('{"ω": 1}', encoding=encoding)
        assert read_json(path) == {"ω": 1}
    for content in (b"[" * 10**5, b"", b"x", b"\xff\xfe\xff"):
        path.write_bytes(content)
        with pytest.raises(ValueError):
            read_json(path)


def test_a_text_file_is_whole_or_the_old_one(tmp_path, monkeypatch):
    write_text(tmp_path / "log.csv", "old")
    monkeypatch.setattr(files.os, "replace", fill_disk)
    with pytest.raises(OSError, match=r"room for log\.csv"):
        write_text(tmp_path / "log.csv", "new")
    assert (tmp_path / "log.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_results_of_before_that_the_new_ones_lack_are_removed(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with staged(tmp_path) as place:
        (place / "new.txt").write_text("new")
        move(place, tmp_path, ["new.txt", "old.txt"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "new.txt"]


def test_the_folder_of_a_killed_run_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path):
    """The field's case 44. Folders with other names, such as those of other programs, stay."""
    code = (
        "import sys, time; from diffinfinite_lite.files import staged\n"
        "with staged(sys.argv[1]) as place:\n"
        "    (place / 'image.png').write_text('half'); print(place.name, flush=True); time.sleep(100)"
    )
    (tmp_path / "tmpabcdef").mkdir()
    living = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    name = living.stdout.readline().strip()
    assert name.startswith(WAITING)
    with staged(tmp_path):
        assert (tmp_path / name / "image.png").exists()
    living.send_signal(signal.SIGKILL)
    living.wait()
    assert (tmp_path / name / "image.png").exists()
    with staged(tmp_path) as place:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([place.name, "tmpabcdef"])


def test_a_link_in_place_of_a_waiting_folder_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    (tmp_path / f"{WAITING}x").symlink_to(tmp_path / "mine")
    with staged(tmp_path):
        assert (tmp_path / "mine" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_no_folder(name):
    """The field's case 48: an empty path would be the current folder."""
    with pytest.raises(ValueError, match="expected the name of a folder, got an empty one"):
        check_folder(name)


def test_names_that_are_something_else_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "deep")
    (tmp_path / "image.png").mkdir()
    (tmp_path / "image_files").write_text("")
    for place in ("file", "file/out", "dangling"):
        with pytest.raises(OSError, match="expected a folder that can be written to at"):
            check_folder(tmp_path / place)
    with pytest.raises(ValueError, match=r"expected a file or nothing at .*image\.png, got a folder"):
        check_folder(tmp_path, ["image.png"])
    with pytest.raises(ValueError, match=r"expected a folder or nothing at .*image_files, got a file"):
        check_folder(tmp_path, ["image_files"])
    with pytest.raises(FileExistsError, match="--force overwrites"):
        check_folder(tmp_path, ["image.png"], force=False)
    check_folder(tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists() and os.listdir(tmp_path / "image.png") == []
