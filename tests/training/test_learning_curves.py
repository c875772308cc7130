"""Learning curves: what ends a training."""

from types import SimpleNamespace

import pytest
import torch

from pai_bench.training.callbacks.learning_curves import Diverged, LearningCurves


def test_a_test_loss_that_is_not_a_number_in_one_batch_is_not_left_out():
    module = SimpleNamespace(device=torch.device("cpu"), current_epoch=0)
    curves = LearningCurves()
    curves.on_validation_epoch_start(None, module)
    for loss in (1.0, float("nan")):
        outputs = {"correct": torch.ones(2), "loss": torch.tensor(loss)}
        curves.on_validation_batch_end(None, module, outputs, (None, torch.zeros(2)), 0)
    with pytest.raises(Diverged, match="test loss became nan in epoch 1"):
        curves.on_validation_epoch_end(None, module)
