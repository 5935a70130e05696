"""The record through kills and full disks; who gets which row; what the scheduler does with lost workers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from batch.job import File, Job, Outcome, RowFailed, WorkerLost
from batch.outputs import keep
from batch.record import NAME, Record, Result, latest, read, state_of
from batch.scheduler import ATTEMPTS, NoWorkers, Scheduler
from batch.todo import Todo
from hosting.quickstart_error import QuickstartError

TOOLS = Path(__file__).resolve().parents[2] / "tools"
A, B = "a" * 32, "b" * 32


def result(row_id: str, **fields) -> Result:
    return Result(**{"id": row_id, "status": "done", "workflow": A, "row": B} | fields)


class TestRecord:
    def test_the_last_line_of_an_id_counts(self, tmp_path):
        record = Record(tmp_path)
        record.append(result("x", status="failed"))
        record.append(result("y"))
        record.append(result("x", row="c" * 32))
        assert record.states() == {"x": state_of("done", A, "c" * 32), "y": state_of("done", A, B)}
        assert [entry["id"] for entry in read(tmp_path / NAME)] == ["x", "y", "x"]

    def test_lines_of_other_writers_and_odd_ids_are_read_alike(self, tmp_path):
        record = Record(tmp_path)
        odd = 'say "yes\\no", ü'
        record.append(result(odd, status="failed"))
        with record.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": B, "workflow": A, "id": "z", "status": "done"}) + "\n")
        assert record.states() == {odd: state_of("failed", A, B), "z": state_of("done", A, B)}

    @pytest.mark.parametrize("kept", [0, 1, 40, 200_000])
    def test_a_torn_last_line_is_cut_and_the_others_stay(self, tmp_path, kept):
        first = Record(tmp_path)
        first.append(result("x", error="e" * kept))
        first.close()
        whole = (tmp_path / NAME).read_bytes()
        (tmp_path / NAME).write_bytes(whole + b'{"id": "y", "sta' + b"t" * kept)
        again = Record(tmp_path)
        assert (tmp_path / NAME).read_bytes() == whole
        again.append(result("z"))
        assert list(latest(tmp_path / NAME)) == ["x", "z"]

    def test_a_record_that_is_one_torn_line_becomes_empty(self, tmp_path):
        (tmp_path / NAME).write_bytes(b'{"id": "y"' * 20_000)
        assert Record(tmp_path).states() == {}

    def test_two_runs_do_not_write_to_one_folder(self, tmp_path):
        holder = f"import sys; sys.path.insert(0, {str(TOOLS)!r}); from pathlib import Path; from batch.record import Record\n"
        holder += f"record = Record(Path({str(tmp_path)!r})); print('held', flush=True); sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(QuickstartError, match="Another batch"):
                Record(tmp_path)
            process.kill()
        Record(tmp_path)  # the system let go of it

    def test_a_full_disk_leaves_no_part_of_a_line(self, tmp_path, monkeypatch):
        record = Record(tmp_path)
        record.append(result("x"))
        before = (tmp_path / NAME).read_bytes()

        class Full:
            def __init__(self, file):
                self.file = file

            def __getattr__(self, name):
                return getattr(self.file, name)

            def write(self, line):
                return self.file.write(line[:10])  # what a full disk takes

        monkeypatch.setattr(record, "_file", Full(record._file))
        with pytest.raises(OSError, match="No space left"):
            record.append(result("y"))
        assert (tmp_path / NAME).read_bytes() == before


class TestOutputs:
    def test_files_of_an_earlier_run_go_and_no_part_stays(self, tmp_path):
        keep(tmp_path, "x", [File("old.png", b"1"), File("result.png", b"2")])
        entries = keep(tmp_path, "x", [File("result.png", b"33", saved=False)])
        assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()} == {"result.png": b"33"}
        assert [(entry["path"], entry["bytes"], entry["saved"]) for entry in entries] == [("x/result.png", 2, False)]
        assert entries[0]["digest"] != keep(tmp_path, "x", [File("result.png", b"34")])[0]["digest"]


def drained(todo: Todo, slot: int) -> list[int]:
    found = []
    while (taken := todo.take(slot)) is not None:
        found.append(taken[0])
        todo.ended()
    return found


class TestTodo:
    def test_one_worker_takes_the_rows_of_a_picture_together_and_groups_in_order(self):
        todo = Todo([(0, "a"), (1, "b"), (2, "a"), (3, ""), (4, "b"), (5, "c")])
        assert drained(todo, 0) == [0, 2, 1, 4, 3, 5]
        assert todo.left() == 0

    def test_two_workers_take_different_pictures(self):
        todo = Todo([(place, "ab"[place % 2]) for place in range(8)])
        taken = [[todo.take(slot)[0] for slot in (0, 1)] for _ in range(4)]
        assert taken == [[0, 1], [2, 3], [4, 5], [6, 7]]

    def test_an_idle_worker_takes_over_half_of_what_another_has_left(self):
        todo = Todo([(place, "a") for place in range(9)])
        assert todo.take(0) == (0, 0)
        assert [todo.take(1)[0] for _ in range(4)] == [5, 6, 7, 8]

    def test_nobody_leaves_while_a_row_may_come_back(self):
        todo = Todo([(7, "")])
        place, lost = todo.take(0)
        found = []
        waiting = threading.Thread(target=lambda: found.append(todo.take(1)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        todo.give_back(place, lost + 1)
        waiting.join(5)
        assert found == [(7, 1)]


class Row:
    def __init__(self, name: str):
        self.name = name

    def job(self) -> Job:
        return Job(self.name, {})


class Workers:
    """A back end whose workers do what a script says: a row "poison" loses its worker, a row "bad" fails."""

    def __init__(self, size: int, luck: random.Random | None = None, broken: int = 0):
        self.size, self.luck, self.broken, self.opened = size, luck, broken, 0
        self.lock = threading.Lock()

    def open(self, slot: int):
        with self.lock:
            self.opened += 1
            if self.broken:
                self.broken -= 1
                raise WorkerLost("not to be had")
        return Scripted(f"worker {self.opened}", self.luck)


class Scripted:
    def __init__(self, name: str, luck: random.Random | None):
        self.name, self.luck, self.closed = name, luck, False

    def submit(self, job: Job) -> Outcome:
        if job.id == "poison" or (self.luck and self.luck.random() < 0.2):
            raise WorkerLost("died")
        if job.id == "bad":
            raise RowFailed("bad row")
        return Outcome((), {}, 0.0)

    def close(self) -> None:
        self.closed = True


def scheduled(names: list[str], workers: Workers, stop: set[str] = frozenset()) -> dict[str, list[tuple[str, int]]]:
    """How each row ended, by name: every ending with its number of attempts."""
    endings: dict[str, list[tuple[str, int]]] = {name: [] for name in names}
    lock = threading.Lock()

    def finish(row: Row, ending: Outcome | RowFailed, worker: str, attempts: int) -> None:
        if row.name in stop:
            raise OSError(28, "No space left on device")
        with lock:
            endings[row.name].append(("failed" if isinstance(ending, RowFailed) else "done", attempts))

    todo = Todo((place, "") for place in range(len(names)))
    Scheduler(workers, todo, lambda place: Row(names[place]), finish, warn=lambda text: None).run()
    return endings


class TestScheduler:
    def test_a_bad_row_fails_at_once_and_the_others_go_on(self):
        endings = scheduled(["a", "bad", "b"], workers := Workers(1))
        assert endings == {"a": [("done", 1)], "bad": [("failed", 1)], "b": [("done", 1)]}
        assert workers.opened == 1

    def test_a_row_that_loses_every_worker_fails_after_so_many(self):
        endings = scheduled(["a", "poison", "b"], workers := Workers(2))
        assert endings == {"a": [("done", 1)], "poison": [("failed", ATTEMPTS)], "b": [("done", 1)]}
        assert workers.opened <= 2 + ATTEMPTS

    @pytest.mark.parametrize("seed", range(5))
    def test_every_row_ends_exactly_once_whoever_dies(self, seed):
        names = [f"row {number}" for number in range(300)]
        endings = scheduled(names, Workers(6, random.Random(seed)))
        assert all(len(ended) == 1 for ended in endings.values())
        assert any(attempts > 1 for ((_, attempts),) in endings.values())

    def test_workers_that_come_late_are_waited_for(self):
        assert scheduled(["a"], Workers(1, broken=2)) == {"a": [("done", 1)]}

    def test_a_run_without_workers_says_so(self):
        with pytest.raises(NoWorkers, match="not to be had"):
            scheduled(["a", "b"], Workers(2, broken=100))

    def test_a_full_disk_stops_all_workers(self):
        started = time.monotonic()
        with pytest.raises(OSError, match="No space left"):
            scheduled([f"row {number}" for number in range(1000)], Workers(4), stop={"row 17"})
        assert time.monotonic() - started < 20
