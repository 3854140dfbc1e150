"""A browser for the pages of the survey, and databases: SQLite everywhere, PostgreSQL where one can be started."""

import os
import shutil
import subprocess
import tempfile
from glob import glob
from pathlib import Path

import pytest

from tests.check_site import chromium

USER = "postgres"


def postgres_program(name):
    """Path of a program of PostgreSQL, which Debian keeps out of the way, or None."""
    return shutil.which(name) or next(iter(sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres():
    """URL of a PostgreSQL of our own, on a socket in a folder of its own; root starts it as another user."""
    initdb, server = postgres_program("initdb"), postgres_program("pg_ctl")
    if not (initdb and server):
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL: pip install 'psycopg[binary]'")
    folder = Path(tempfile.mkdtemp(prefix="survey-postgres-"))
    as_user = []
    if os.geteuid() == 0:
        if not shutil.which("runuser") or shutil.chown(folder, USER) is not None:
            pytest.skip("root cannot start PostgreSQL without runuser")
        as_user = ["runuser", "-u", USER, "--"]
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    try:
        subprocess.run([*as_user, initdb, "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8"],
                       check=True, capture_output=True, timeout=120, cwd="/")  # fmt: skip
        start = [*as_user, server, "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(start, check=True, timeout=120, cwd="/", **quiet)
        yield f"postgresql+psycopg://{USER}@/postgres?host={folder}"
    finally:
        stop = [*as_user, server, "-D", folder / "data", "-m", "immediate", "stop"]
        subprocess.run(stop, capture_output=True, timeout=60, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'class.sqlite'}"
    url = request.getfixturevalue("postgres")
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS taps, answers, raters, survey"))
    engine.dispose()
    return url
