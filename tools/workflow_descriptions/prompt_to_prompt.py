"""Prompt-to-Prompt: words swapped, added and weighted in generations of an SD1.5 checkpoint, and a word swapped on the miniature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graph import Choice, Graph, Output, Place

from . import (
    SD15,
    Drawn,
    Model,
    draw,
    encode,
    invert,
    load_checkpoint,
    load_miniature,
    record,
    sample,
    sampling,
    show,
    show_enlarged,
    steps_of,
)
from .notes import KNOWS, ReadMe, add_note
from .notes import MINIATURE as MINIATURE_MODEL

MINIATURE = "Prompt-to-Prompt (miniature)"
OLD, NEW, THING = "red", "blue", "mushroom"

SMALL, SMALL_CFG = {"layers": "all", "grid": "half"}, 4.0
"""The miniature's own settings: its pictures are far smaller than those that the paper's were found on."""


@dataclass(frozen=True)
class Edit:
    """A way to change a prompt. `control` is what Cross-Attention Control is given; `blend` names the words of both prompts
    whose place may change, None lets all of the picture change. The rest is for the note."""

    title: str
    description: str
    what: str
    steps: tuple[str, ...]
    turn: str
    expect: str
    cannot: str
    source: str
    target: str
    control: dict[str, str] = field(default_factory=dict)
    blend: tuple[str, str] | None = None


EDITS = (
    Edit(
        "Prompt-to-Prompt replace",
        "Swap a word of a prompt; the picture stays the same but for what the word shows.",
        "Swaps words: the new word is looked at where the old one was.",
        ("Write both prompts, of as many words, and name the old and the new word in **Local Blend**.", "Press **Run**."),
        "*end_percent* of Cross-Attention Control, then of Replace Self-Attention. **The new object keeps too much of the old shape?** Lower "
        "them. **It changes too little of the picture, or too much?** Lower or raise *threshold* of Local Blend.",
        "the new thing in the old one's place and pose; outside these words' place the picture stays nearly the same. "
        "Without Local Blend the background may change a little too.",
        "give a thing a shape or size far from the old one's, or move it.",
        "a photo of a cat on a bench",
        "a photo of a dog on a bench",
        {"mode": "replace"},
        ("cat", "dog"),
    ),
    Edit(
        "Prompt-to-Prompt refine",
        "Add words to a prompt; the picture keeps its composition.",
        "Adds words, or changes several: what both prompts share stays in its place, new words find their own.",
        ("Write both prompts.", "Press **Run**."),
        "*end_percent* of Cross-Attention Control and of Replace Self-Attention. **Too little changes?** Lower them. "
        "**The composition is lost?** Raise them.",
        "another season, weather, style or material over the same composition.",
        "add a large thing where the picture has no room for it, or change one thing only. For that put Local Blend behind Replace "
        "Self-Attention and name the words whose place may change.",
        "a photo of a house on a mountain",
        "a photo of a house on a mountain in winter, covered in snow",
        {"mode": "refine"},
    ),
    Edit(
        "Prompt-to-Prompt reweight",
        "Make a word of a prompt count more or less; the picture keeps its composition.",
        "Makes words count more or less, in a picture that stays the same otherwise.",
        (
            "Write the same prompt twice, and into *word_weights* of Cross-Attention Control how much a word counts: "
            "above 1 more, below 1 less, below 0 the opposite.",
            "Press **Run**.",
        ),
        "*word_weights*. **Too little happens?** Use a larger weight, or lower *end_percent* of Replace Self-Attention. "
        "**Harsh or broken?** A smaller one.",
        "more or less of what an adjective says: a wider smile, deeper snow.",
        "weigh what no word names, or take a thing away that other words of the prompt imply.",
        "a smiling rabbit doll",
        "a smiling rabbit doll",
        {"mode": "refine", "word_weights": "smiling: 5"},
    ),
)
PHOTOGRAPHS = "For a photograph put **Invert Image**, with the prompt that describes it, in place of the generation, as **Prompt-to-Prompt (miniature)** does."


def graphs() -> list[Graph]:
    return [*(_generated(edit) for edit in EDITS), _miniature()]


def _generated(edit: Edit) -> Graph:
    """The paper's settings: 512 px, 50 DDIM steps, guidance 7.5, cross-attention until 80 % and self-attention until 40 % of the steps."""
    graph = Graph(edit.title, edit.description, thumbnail_of=MINIATURE)
    add_note(
        graph,
        ReadMe(
            edit.title,
            edit.what,
            SD15.name,
            steps=("Choose your checkpoint.", *edit.steps),
            turn=edit.turn,
            expect=edit.expect,
            cannot=edit.cannot,
            more=PHOTOGRAPHS,
        ),
    )
    with graph.group("1 Model and prompts"):
        model = load_checkpoint(graph)
        source = encode(graph, model, "Source prompt", edit.source)
        target = encode(graph, model, "What it should show", edit.target)
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="")[0]
    trajectory, generation = record(graph, model, source, negative)
    with graph.group("3 Edit", below=generation):
        edited = controlled(graph, model, trajectory, source, edit.control, edit.blend)
        result = sample(graph, model, edited, trajectory, target, negative, cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/prompt-to-prompt")
    return graph


def _miniature() -> Graph:
    graph = Graph(
        MINIATURE, "Swap a word of a drawn scene's prompt, and see where its words are looked at; runs in seconds on any machine."
    )
    add_note(
        graph,
        ReadMe(
            "Prompt-to-Prompt on the miniature",
            f"Changes a word of a picture's prompt: *{OLD}* becomes *{NEW}*. **Miniature Scene** draws the picture, its prompt, and "
            "what the picture should look like after the *change*. The picture is inverted under its prompt; **Local Blend** keeps what is outside "
            f"the {THING}'s place nearly as it was.",
            MINIATURE_MODEL,
            turn=f"another *change*; then name its words in **Local Blend** and **Show Attention** as well. The miniature knows {KNOWS}. "
            "**The old thing stays?** Lower *end_percent* of Cross-Attention Control.",
            expect=f"the {THING} in its new colour, and all else as it was. **Show Attention** samples like SamplerCustomAdvanced and shows where words "
            "were looked at: on top of the picture, and layer by layer, step by step.",
            cannot="find words that the prompt does not have, or move things.",
            more="*layers* is *all* and *word_map_grid* is *half* here: the paper's rules are made for pictures of 512 pixels.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        things = Drawn(THING, OLD, x=0.3, y=0.88), Drawn("rabbit", x=0.75, y=0.9, size=0.42)
        scene = draw(graph, *things, change=Choice("recolour", new_colour=NEW))
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Invert the picture") as inversion:
        source = encode(graph, model, "Source prompt", scene["prompt"])
        trajectory = invert(graph, model, scene["picture"], source, steps_of(graph, model, steps=25))
    with graph.group("3 Edit", below=inversion):
        target = encode(graph, model, "What it should show", scene["ground_truth_prompt"])
        negative = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="", at=Place(column=0))[0]
        edited = controlled(graph, model, trajectory, source, {"mode": "replace"}, (THING, THING), **SMALL)
        sampled = graph.add(
            "GraftShowAttention",
            **sampling(graph, model, edited, trajectory, target, negative, cfg=SMALL_CFG),
            vae=model.vae,
            words=f"{NEW}, {THING}, rabbit",
            word_map_grid="half",
        )
        show_enlarged(graph, sampled["image"], "2 result", save_as="Graft/prompt-to-prompt")
        show(graph, sampled["heat_maps"], "4 where words are looked at")
        graph.add("PreviewImage", title="5 layers by steps", images=sampled["layers_by_steps"], at=Place(width=400, height=560))
    return graph


def controlled(
    graph: Graph,
    model: Model,
    trajectory: Output,
    source: Output,
    control: Mapping[str, str | Output],
    blend: tuple[str | Output, str | Output] | None,
    layers: str = "paper",
    grid: str = "quarter (paper)",
    self_end: float | Output = 0.4,
    threshold: float | Output = 0.3,
) -> Output:
    """The model with the three controls."""
    stream = {"source": trajectory, "source_conditioning": source}
    edited = graph.add("GraftCrossAttentionControl", model=model.unet, **stream, **control, end_percent=0.8)
    edited = graph.add("GraftReplaceSelfAttention", model=edited["model"], **stream, end_percent=self_end, layers=Choice(layers))
    if blend is not None:
        edited = graph.add(
            "GraftLocalBlend",
            model=edited["model"],
            **stream,
            source_words=blend[0],
            target_words=blend[1],
            threshold=threshold,
            word_map_grid=grid,
        )
    return edited["model"]
