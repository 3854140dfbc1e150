"""Logs of runs are read, those of the first versions as well."""

from pathlib import Path

import pytest
import torch

from diffinfinite_lite.devices import Compute
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.training.logs import read_log
from diffinfinite_lite.training.loop import Optimisation, fit
from diffinfinite_lite.training.losses import Crops, autoencoder_loss

DOCS = Path(__file__).parents[2] / "docs/training"


def test_what_fit_writes_is_read(tmp_path):
    model = LiteAutoencoder(widths=(8, 8, 8))
    loss = autoencoder_loss(model, torch.full((1, 40, 40, 3), 90, dtype=torch.uint8), Crops(32, 1), Compute())
    losses = [progress.losses for progress in fit(model, loss, Optimisation(3, 1e-3), out=tmp_path)]
    log = read_log(tmp_path / "log.csv")
    assert log.steps.tolist() == [1, 2, 3] and len(log.minutes) == 3 and log.losses.keys() == losses[0].keys()
    assert log.losses["l1"] == pytest.approx([each["l1"] for each in losses], abs=1e-5)


LOGS = sorted(set(DOCS.glob("[a-z]*[a-z].csv")) - {DOCS / "checkpoints.csv"})  # which is a table and no log


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_logs_of_the_shipped_model_are_read(path):
    log = read_log(path)
    assert log.steps[0] >= 1 and (log.steps[1:] > log.steps[:-1]).all()
    name = next(iter(log.losses))
    assert log.level(1, name) != log.level(0.01, name)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "step,loss\n1,x\n", "step,loss\n1,2,3\n"])
def test_what_is_no_log_is_refused(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match="expected the log of a training run, steps and losses in columns, got "):
        read_log(tmp_path / "log.csv")
    with pytest.raises(ValueError, match=r"expected the log of a training run at .*: No such file"):
        read_log(tmp_path / "none.csv")
