"""What a job writes is what its reader yields, in parts, and however it is cut off."""

import pytest

from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.cluster import journal
from pai_bench.launch.cluster.journal import JournalReader, JournalWriter
from pai_bench.launch.events import Finished, PutOff, Rejected, Started, Stopped
from pai_bench.training.progress import CurvePoint, Progress


@pytest.fixture
def bundle(quick):
    return Bundle(tuple(quick(methods=("snip",), densities=(0.2, 0.1), seeds=(1,))))


def test_events_come_back_as_they_were_told(bundle, tmp_path):
    place = journal.path(tmp_path, bundle)
    reader, writer = JournalReader(place, bundle), JournalWriter(place)
    assert list(reader.events()) == []
    points = (CurvePoint(bundle.cells[1].id, 2, {"test_accuracy": 0.1 + 0.2}),)
    first = [Started(bundle), Progress(bundle, 0, 5, "round 1", points), Stopped(bundle)]
    put_off = PutOff(bundle, bundle.cells[1:])
    then = [Finished(bundle.cells[0], "failed", "because ½", by_others=True), put_off]
    then += [Rejected(bundle, "no disk")]
    for events in (first, then):
        for event in events:
            writer.tell(event)
        assert list(reader.events()) == events
    assert list(JournalReader(place, bundle).events()) == first + then


def test_of_quick_progress_only_some_is_written(bundle, tmp_path):
    writer = JournalWriter(tmp_path / "j")
    for epoch in range(50):
        writer.tell(Progress(bundle, epoch, 50))
    assert len((tmp_path / "j").read_text().splitlines()) < 10


def test_points_of_what_was_left_out_come_with_the_next(bundle, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    writer = JournalWriter(tmp_path / "j")
    points = [CurvePoint(bundle.cells[0].id, epoch, {"test_loss": 0.5}) for epoch in range(5)]
    for epoch, point in enumerate(points):
        now[0] += 0.2
        writer.tell(Progress(bundle, epoch, 5, points=(point,)))
    told = [event.points for event in JournalReader(tmp_path / "j", bundle).events()]
    assert told == [(points[0],), tuple(points[1:4])]


def test_half_a_line_is_read_when_it_is_whole(bundle, tmp_path):
    place = tmp_path / "j"
    reader = JournalReader(place, bundle)
    place.write_bytes(b'{"event": "Started"}\n{"event": "Sto')
    assert list(reader.events()) == [Started(bundle)]
    with place.open("ab") as file:
        file.write(b'pped"}\n')
    assert list(reader.events()) == [Stopped(bundle)]


def test_cells_that_are_not_asked_for_are_passed_over(bundle, tmp_path):
    writer = JournalWriter(tmp_path / "j")
    for cell in bundle:
        writer.tell(Finished(cell, "done"))
    one = Bundle(bundle.cells[1:])
    assert list(JournalReader(tmp_path / "j", one).events()) == [Finished(one.cells[0], "done")]
