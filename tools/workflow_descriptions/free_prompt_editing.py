"""Free-Prompt-Editing: of a picture and of a generation with an SD1.5 checkpoint, and of a drawn scene with the miniature."""

from __future__ import annotations

from graph import Choice, Graph, Group, Output, Place

from . import (
    SD15,
    Checkpoint,
    Drawn,
    Model,
    draw,
    invert,
    load_checkpoint,
    load_miniature,
    load_picture,
    record,
    sample,
    show_enlarged,
    steps_of,
)
from .notes import KNOWS, ReadMe, add_note
from .notes import MINIATURE as MINIATURE_MODEL

REAL = "Free-Prompt-Editing"
SYNTHETIC = "Free-Prompt-Editing of a generation"
MINIATURE = "Free-Prompt-Editing (miniature)"


def graphs() -> list[Graph]:
    return [_real(SD15), _synthetic(), _miniature()]


def _real(checkpoint: Checkpoint) -> Graph:
    """The paper's settings for real pictures: SD1.5 at 512 px, 50 DDIM steps, guidance 7.5, the first 80 % of the steps."""
    graph = Graph(REAL, "Edit a picture by prompt and keep its layout.", thumbnail_of=MINIATURE)
    add_note(
        graph,
        ReadMe(
            graph.title,
            "Edits a picture by a prompt and keeps its layout.",
            checkpoint.name,
            steps=(
                f"Choose your checkpoint and your picture, which is cut to a square of {checkpoint.side} pixels.",
                "Write into **What it should show** what the new picture shows. The old picture needs no prompt.",
                "Press **Run**.",
            ),
            turn="*end_percent* of Replace Self-Attention. **Too little changes?** Lower it. **The layout is lost?** Raise it.",
            expect="the same composition with another thing, material, season or style in it. "
            "The picture is inverted once; another prompt only costs the sampling.",
            cannot="move things, or leave the rest of the picture untouched to the pixel.",
            more="The settings are the paper's.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph, checkpoint.file)
        picture = load_picture(graph, "Your picture", checkpoint.side)
        graph.add("PreviewImage", title="1 input", images=picture, at=Place(column=1))
    trajectory, empty, inverted = inversion(graph, model, picture, steps=50)
    with graph.group("3 Edit", below=inverted):
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text="a red car")
        result = edit(graph, model, trajectory, empty, target[0], empty, cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/free-prompt-editing")
    return graph


def _synthetic() -> Graph:
    """The paper's variant for generated pictures: source and target start from the same noise."""
    graph = Graph(SYNTHETIC, "Change what a generated picture shows and keep its layout.", thumbnail_of=MINIATURE)
    add_note(
        graph,
        ReadMe(
            SYNTHETIC,
            "Generates a picture from one prompt, then a second picture with the same layout from another.",
            SD15.name,
            steps=("Choose your checkpoint.", "Write both prompts, and press **Run**."),
            turn="*end_percent* of Replace Self-Attention. **Too little changes?** Lower it; 0.4 is often enough here. "
            "**The layout is lost?** Raise it.",
            expect="two pictures of one composition; the second shows what its own prompt says.",
            cannot="move things or change their outlines much; keep the background the same to the pixel.",
        ),
    )
    with graph.group("1 Model and prompts"):
        model = load_checkpoint(graph)
        source = graph.add("CLIPTextEncode", title="Source prompt", clip=model.clip, text="a photo of a husky")
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text="a photo of a poodle")
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="")
    trajectory, generation = record(graph, model, source[0], negative[0])
    with graph.group("3 Edit", below=generation):
        result = edit(graph, model, trajectory, source[0], target[0], negative[0], cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/free-prompt-editing")
    return graph


def _miniature() -> Graph:
    graph = Graph(MINIATURE, "Recolour an object of a drawn scene by prompt; runs in under a minute on any machine.")
    add_note(
        graph,
        ReadMe(
            "Free-Prompt-Editing on the miniature",
            "Turns a red apple green by a prompt. **Miniature Scene** draws a picture, its prompt, and what the picture should look like "
            "after the *change*: compare **2 result** with **3 ground truth**.",
            MINIATURE_MODEL,
            turn="*end_percent* of Replace Self-Attention: lower changes more, higher keeps more. Then another *change*, or unplug the text of "
            f"**What it should show** and write your own. The miniature knows {KNOWS}.",
            expect="the same composition in other colours, or on another ground: *change ground* often succeeds, too. Large plain things take a new colour "
            "whole, others in part, as the old one is in the noise that the edit starts from. The evaluation counts how often.",
            cannot="leave the rest untouched to the pixel.",
            more="*layers* is *all* here: the paper's rule leaves out the finest token grid, and on pictures this small that is the one that holds "
            "the layout.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene = draw(graph, Drawn("apple", "red", size=0.56), ground="shore", change=Choice("recolour", new_colour="green"))
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    trajectory, empty, inverted = inversion(graph, model, scene["picture"], steps=25)
    with graph.group("3 Edit", below=inverted):
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text=scene["ground_truth_prompt"])
        result = edit(graph, model, trajectory, empty, target[0], empty, cfg=6.0, layers="all", end=0.5)
        show_enlarged(graph, result, "2 result", save_as="Graft/free-prompt-editing")
    return graph


def inversion(graph: Graph, model: Model, picture: Output, steps: int | Output) -> tuple[Output, Output, Group]:
    """The inverted picture, the empty prompt it was inverted with, and the box of both."""
    with graph.group("2 Invert the picture") as box:
        empty = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="")[0]
        trajectory = invert(graph, model, picture, empty, steps_of(graph, model, steps))
    return trajectory, empty, box


def edit(
    graph: Graph,
    model: Model,
    trajectory: Output,
    source: Output,
    target: Output,
    negative: Output,
    cfg: float | Output,
    layers: str = "paper",
    end: float | Output = 0.8,
) -> Output:
    """The edited picture: sampled from where the trajectory starts, looking at it on the way."""
    edited = graph.add(
        "GraftReplaceSelfAttention", model=model.unet, source=trajectory, source_conditioning=source, end_percent=end, layers=Choice(layers)
    )
    return sample(graph, model, edited["model"], trajectory, target, negative, cfg)
