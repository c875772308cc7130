"""What tests of launchers share."""

import pytest


@pytest.fixture(scope="session")
def numbers():
    """Return what must not depend on how a cell was run: metrics, curves and mask bytes."""

    def of(store, ids=None):
        return {
            entry.cell.id: (
                entry.result.accuracy,
                dict(entry.curves()),
                (entry.folder / "masks.safetensors").read_bytes(),
            )
            for entry in store.entries(ids)
        }

    return of
