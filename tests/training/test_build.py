"""What a Trainer is built with."""

import pytorch_lightning as pl
from pytorch_lightning.trainer.connectors import callback_connector

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.training.build import build_trainer


class OfAPackage(pl.Callback):
    """Offered to every Trainer by an entry point."""


def has_it(trainer):
    return any(isinstance(callback, OfAPackage) for callback in trainer.callbacks)


def test_callbacks_that_packages_offer_are_kept_from_our_trainings_alone(quick, monkeypatch):
    offered = lambda _group: [OfAPackage()]  # noqa: E731
    monkeypatch.setattr(callback_connector, "_load_external_callbacks", offered)
    cells = quick(methods=("dense",), seeds=(1,))
    assert not has_it(build_trainer(Bundle(tuple(cells)), Hardware("cpu", "1")))
    assert has_it(pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
