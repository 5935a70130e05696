"""Ten thousand rows through the real server: what each costs beside its run, whether anything grows, and the page in a real browser."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest
from batch import page
from batch.job import Job, Outcome
from batch.record import NAME, read
from batch.run import Choices, run
from batch.servers import Servers
from checking.browsing import in_browser

ROWS = 10_000
PLAIN = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}, "_meta": {"title": "Plain"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}, "_meta": {"title": "result"}},
}


class Watched(Servers):
    """Counts the processor time that goes into talking to the server, and looks at this process's memory."""

    def __init__(self, address: str):
        super().__init__([address])
        self.talking, self.memory = 0.0, []

    def open(self, slot: int):
        worker = super().open(slot)
        submit = worker.submit

        def watched(job: Job) -> Outcome:
            started = time.thread_time()
            try:
                return submit(job)
            finally:
                self.talking += time.thread_time() - started
                self.memory.append(psutil.Process().memory_info().rss)

        worker.submit = watched
        return worker


@pytest.mark.full
def test_ten_thousand_rows_cost_little_each_and_memory_stays_flat(tmp_path, server, monkeypatch):
    monkeypatch.setattr(page, "SECONDS_BETWEEN", 3600.0)  # writing the page holds all its rows: here it is written at the end
    (tmp_path / "plain.json").write_text(json.dumps(PLAIN), encoding="utf-8")
    rows = "".join(json.dumps({"id": f"row {number:04}", "Plain.color": number}) + "\n" for number in range(ROWS))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    choices, backend = Choices(tmp_path / "plain.json", tmp_path / "rows.jsonl", tmp_path / "out"), Watched(server.address)
    started = time.process_time()
    assert run(choices, lambda: backend, lambda text: None) == 0
    spent = time.process_time() - started
    print(f"{1000 * (spent - backend.talking) / ROWS:.2f} ms a row, {1000 * backend.talking / ROWS:.2f} ms of talking")
    grown = (max(backend.memory) - backend.memory[ROWS // 10]) / 1e6
    print(f"{backend.memory[ROWS // 10] / 1e6:.0f} MB after {ROWS // 10} rows, {grown:.1f} MB more at most later")
    assert (spent - backend.talking) / ROWS < 0.005
    assert grown < 20
    assert sum(1 for _ in read(choices.output / NAME)) == ROWS
    in_browser(lambda browser: look_at(browser, choices.output / "index.html"))


def look_at(browser, address: Path) -> None:
    seen = browser.new_page()
    faults: list[str] = []
    seen.on("pageerror", lambda error: faults.append(str(error)))
    seen.goto(address.as_uri())
    seen.wait_for_function("[...document.querySelectorAll('.card img')].some(picture => picture.naturalWidth === 16)")
    assert seen.locator("#summary").inner_text() == f"{ROWS} rows, 0 failed"
    seen.fill("#search", "row 9876")
    seen.locator(".card", has_text="row 9876").locator("visible=true").first.wait_for()
    assert not faults
