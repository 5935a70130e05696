"""The note of every workflow: one text with the same parts in the same order."""

from __future__ import annotations

from dataclasses import dataclass

from graph import Graph

MODEL, TURN, EXPECT, CANNOT = HEADINGS = ("Which model", "What to turn first", "What to expect", "What it cannot do")
BORROWED = "The picture in the template browser is made by the small model that comes with Graft."
OWN = "The picture in the template browser is this workflow's own."
MINIATURE = "**Load Miniature**, the small model that comes with Graft: nothing to download, seconds on any machine."
SLOW_MINIATURE = "**Load Miniature**, the small model that comes with Graft: nothing to download, under a minute on any machine."
KNOWS = (
    "rabbit, owl, penguin, turtle, fish, butterfly, car, sailboat, rocket, house, cactus, mushroom, tree, snowman, apple, teapot, burger, guitar, "
    "umbrella, chair, lamp, robot, balloon and star; on a meadow, on sand, in snow, on a shore, on a street; by day, in the evening, at night; "
    "as 3-D render, flat illustration, ink drawing, watercolour"
)
"""What the miniature paints, in its prompts' own words."""
WITHDRAWN = "Stability AI, who made SD2.1, no longer offers it: if you have no copy, take SD1.5."


@dataclass(frozen=True)
class ReadMe:
    """What a note says, in Markdown: what the workflow does, the numbered `steps` of its reader, each of HEADINGS, and what else there is to say."""

    title: str
    what: str
    model: str
    turn: str
    expect: str
    cannot: str
    steps: tuple[str, ...] = ()
    more: str = ""


def add_note(graph: Graph, note: ReadMe) -> None:
    """Add the note to its workflow; last it says where the workflow's thumbnail comes from."""
    parts = [
        f"## {note.title}\n{note.what}",
        f"**{MODEL}:** {note.model}",
        "\n".join(f"{number}. {step}" for number, step in enumerate(note.steps, start=1)),
        f"**{TURN}:** {note.turn}",
        f"**{EXPECT}:** {note.expect}",
        f"**{CANNOT}:** {note.cannot}",
        note.more,
        f"*{BORROWED if graph.thumbnail_of else OWN}*",
    ]
    graph.note("\n\n".join(part for part in parts if part), title="Read me")


def paint(picture: str, what: str) -> str:
    """How a mask is painted, in the words of the editor's menu."""
    return f"Right click on {picture}, choose **Open in Mask Editor**, and paint {what}."
