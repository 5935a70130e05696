"""Workflows with one thing changed, on the live server: each runs, or is refused in a sentence that names a node and its input.

Never a stack trace, never a hang, and the server lives. What is changed is drawn from a seed, so that a case can be run again.
"""

from __future__ import annotations

import copy
import json
import random
import re
import time
from collections.abc import Callable

import pytest
from building import build_workflows
from graft.attention.words import WordError
from graft.composition.placement import PlacementError
from graft.errors import GraftError
from graft.inversion.trajectory import TrajectoryError
from graph import to_prompt
from hosting.host_client import PromptFailed, PromptTimedOut

SHORT = ("Try 2 Edit Picture by Prompt (miniature)", "Prompt-to-Prompt (miniature)")
FEW, MANY = 40, 400
SECONDS = 300.0
"""For one workflow, beside busy workers."""
NUMBERS = (0, -1, 1, 1.5, 1e39, -1e39, 10**30, "nan", "inf", "x", "", None, True, [], {}, "1")
TEXTS = (
    "",
    " ",
    "\0",
    "(word:nan)",
    "((((",
    "embedding:none",
    "a" * 5000,
    "🐈 猫 é",
    "word: 1, word: 2",
    ":",
    "../../x",
    "%s {0}",
    7,
    None,
    [],
)


class Change:
    """Draws one change of a prompt: `apply` says what it did."""

    def __init__(self, seed: int, prompt: dict, object_info: dict) -> None:
        self.random, self.prompt, self.schema = random.Random(seed), copy.deepcopy(prompt), object_info

    def apply(self) -> tuple[str, str]:
        """The kind of change, and what exactly was changed."""
        kinds: dict[str, Callable[[], str]] = {
            "an input missing": self.missing,
            "another value": self.value,
            "another link": self.link,
            "two links exchanged": self.exchange,
            "a link that leads nowhere": self.nowhere,
            "a node missing": self.without_node,
            "another class": self.another_class,
            "a circle": self.circle,
        }
        kind = self.random.choices(list(kinds), weights=[2, 8, 4, 2, 1, 1, 1, 1])[0]
        return kind, kinds[kind]()

    def ours(self) -> list[tuple[str, str]]:
        """Inputs of Graft's nodes: (node, input)."""
        return [(node, name) for node, entry in self.prompt.items() if entry["class_type"].startswith("Graft") for name in entry["inputs"]]

    def links(self) -> list[tuple[str, str]]:
        return [(node, name) for node, name in self.ours() if isinstance(self.prompt[node]["inputs"][name], list)]

    def put(self, node: str, name: str, value: object) -> str:
        self.prompt[node]["inputs"][name] = value
        return f"{self.prompt[node]['class_type']} #{node}, {name} = {str(value)[:60]!r}"

    def missing(self) -> str:
        node, name = self.random.choice(self.ours())
        del self.prompt[node]["inputs"][name]
        return f"{self.prompt[node]['class_type']} #{node} without {name}"

    def value(self) -> str:
        node, name = self.random.choice([place for place in self.ours() if place not in self.links()])
        old = self.prompt[node]["inputs"][name]
        return self.put(node, name, self.random.choice(TEXTS if isinstance(old, str) else NUMBERS))

    def link(self) -> str:
        """To any output of any node, of the same type or another."""
        node, name = self.random.choice(self.links())
        outputs = [(other, slot) for other, entry in self.prompt.items() for slot in range(len(self.schema[entry["class_type"]]["output"]))]
        fitting = [place for place in outputs if self.kind(place) == self.kind(self.prompt[node]["inputs"][name])]
        return self.put(node, name, list(self.random.choice(fitting if self.random.random() < 0.7 else outputs)))

    def kind(self, link) -> str:
        return self.schema[self.prompt[link[0]]["class_type"]]["output"][link[1]]

    def exchange(self) -> str:
        node, name = self.random.choice(self.links())
        inputs = self.prompt[node]["inputs"]
        others = [place for place in self.links() if self.kind(self.prompt[place[0]]["inputs"][place[1]]) == self.kind(inputs[name])]
        other, other_name = self.random.choice(others)
        theirs = self.prompt[other]["inputs"]
        inputs[name], theirs[other_name] = theirs[other_name], inputs[name]
        return f"#{node}, {name} and #{other}, {other_name}"

    def nowhere(self) -> str:
        node, name = self.random.choice(self.links())
        return self.put(node, name, self.random.choice([["99999", 0], [self.prompt[node]["inputs"][name][0], 99]]))

    def without_node(self) -> str:
        node = self.random.choice(list(self.prompt))
        return f"without {self.prompt.pop(node)['class_type']} #{node}"

    def another_class(self) -> str:
        node = self.random.choice([node for node, entry in self.prompt.items() if entry["class_type"].startswith("Graft")])
        old = self.prompt[node]["class_type"]
        self.prompt[node]["class_type"] = self.random.choice(
            [name for name in self.schema if name.startswith("Graft")] + ["GraftNoSuchNode"]
        )
        return f"{old} #{node} is {self.prompt[node]['class_type']}"

    def circle(self) -> str:
        node, name = self.random.choice(self.links())
        return self.put(node, name, [node, 0])


def named_errors() -> set[str]:
    return {kind.__name__ for kind in (GraftError, PlacementError, TrajectoryError, WordError)}


def outcome_of(server, prompt: dict) -> tuple[str, str]:
    """What a prompt gives, in a word, and what was said."""
    try:
        server.client.run(prompt, seconds=SECONDS)
    except PromptTimedOut as slow:
        return "hang", str(slow)
    except PromptFailed as failed:
        said = str(failed)
        if said.startswith("The server refused the prompt."):
            # Before anything ran: by the host, or by what Graft foresees.
            return ("refused by name" if said.partition("\n")[2].strip() else "does not name an input"), said
        head = re.match(r"(.*?) failed with (\S+): (.*)", said, re.DOTALL)
        if head is None:
            return "stack trace", said
        node, kind, message = head.groups()
        if kind.rpartition(".")[2] in named_errors():
            return ("refused by name" if names_an_input(message, prompt) else "does not name an input"), said
        ours = any(node in (entry["_meta"]["title"], f"{entry['_meta']['title']} ({entry['class_type']})", f"{entry['class_type']} #{number}")
                   and entry["class_type"].startswith("Graft") for number, entry in prompt.items())  # fmt: skip
        return ("stack trace" if ours or "custom_nodes/graft" in said else "the host's"), said
    return "works", ""


def names_an_input(message: str, prompt: dict) -> bool:
    """Whether a refusal begins with a node's title and the name of an input there."""
    head = message.split(": ")[0] + ":" + message.partition(": ")[2].split(": ")[0]
    titles = [entry["_meta"]["title"] for entry in prompt.values()]
    names = {name.rpartition(".")[2] for entry in prompt.values() for name in entry["inputs"]} | {"model", "positive", "negative", "sigmas"}
    return any(message.startswith(title) for title in titles) and any(re.search(rf"\b{name}\b", head) for name in names)


def short_prompt(title: str, object_info: dict) -> dict:
    """A shipped workflow in two steps."""
    workflow = json.loads(build_workflows.named(title).read_text(encoding="utf-8"))
    prompt = to_prompt(workflow, object_info)
    for entry in prompt.values():
        for name in entry["inputs"]:
            if name.rpartition(".")[2] in ("steps", "iterations", "draws"):
                entry["inputs"][name] = 2
    return prompt


@pytest.fixture(scope="module")
def prompts(object_info) -> dict[str, dict]:
    return {path.stem: short_prompt(path.stem, object_info) for path in build_workflows.files() if path.stem.endswith("(miniature)")}


def check(server, object_info, gave, title: str, prompt: dict, seeds: range) -> None:
    wrong = []
    for seed in seeds:
        change = Change(seed, prompt, object_info)
        kind, what = change.apply()
        outcome, said = outcome_of(server, change.prompt)
        gave("Changed workflows", title, kind, f"{seed} {what}", outcome)
        if outcome not in ("works", "refused by name", "the host's"):
            wrong.append(f"{title}, seed {seed}, {what}: {outcome}: {said}")
    assert not wrong, "\n".join(wrong)
    deadline = time.monotonic() + SECONDS  # the host says that a prompt has ended, and then takes it off its queue
    while (queue := server.client.get_json("/queue")) != {"queue_running": [], "queue_pending": []}:
        assert time.monotonic() < deadline, queue
        time.sleep(0.1)
    # What a handler of prompts fails with, the host keeps from the artist and leaves in its log.
    assert "on_prompt_handler" not in server.log.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("title", SHORT)
def test_a_changed_workflow_runs_or_is_refused_by_name(server, object_info, prompts, gave, title):
    number = SHORT.index(title)
    outcome, said = outcome_of(server, prompts[title])
    assert outcome == "works", said
    gave("Hosts", f"ComfyUI {server.client.get_json('/system_stats')['system']['comfyui_version']}", "shipped workflows", title, outcome)
    check(server, object_info, gave, title, prompts[title], range(number * FEW // len(SHORT), (number + 1) * FEW // len(SHORT)))


@pytest.mark.full
def test_many_changed_workflows_run_or_are_refused_by_name(server, object_info, prompts, gave):
    titles = sorted(prompts)
    share = MANY // len(titles)
    for number, title in enumerate(titles):
        start = 1000 + number * share
        check(server, object_info, gave, title, prompts[title], range(start, start + share + (number < MANY % len(titles))))
