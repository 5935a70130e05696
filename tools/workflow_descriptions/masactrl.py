"""MasaCtrl: of a generation with an SD1.5 checkpoint, and of a drawn scene with the miniature."""

from __future__ import annotations

from graph import Choice, Graph, Place

from . import SD15, Drawn, draw, invert, load_checkpoint, load_miniature, record, sample, show_enlarged, steps_of
from .notes import MINIATURE as MINIATURE_MODEL
from .notes import ReadMe, add_note

MINIATURE = "MasaCtrl (miniature)"


def graphs() -> list[Graph]:
    return [_synthetic(), _miniature()]


def _synthetic() -> Graph:
    """The released settings: 512 px, 50 DDIM steps, guidance 7.5, the decoder's fine layers after the first four steps."""
    graph = Graph("MasaCtrl", "Change the pose in a generated picture and keep its look.", thumbnail_of=MINIATURE)
    add_note(
        graph,
        ReadMe(
            "MasaCtrl",
            "Generates a picture from one prompt, then a second from another that keeps the first one's look: the same person, sitting and standing.",
            f"{SD15.name} The released example uses one for anime.",
            steps=("Choose your checkpoint.", "Write both prompts: the second changes the pose only.", "Press **Run**."),
            turn="*start_percent* of Replace Keys and Values. **The pose does not change?** Raise it: the new layout forms before it. "
            "**The look is lost?** Lower it. **Object and background mix?** Write the object into *source_words* and *target_words*, here 1boy, or connect its "
            "mask in both pictures.",
            expect="the same person, animal or thing and much of the background, in another pose.",
            cannot="reach a pose that the model does not paint from the prompt alone, show a side that the first picture hides, "
            "or keep a face or lettering to the letter.",
        ),
    )
    with graph.group("1 Model and prompts"):
        model = load_checkpoint(graph)
        source = graph.add("GraftEncodePrompt", title="Source prompt", clip=model.clip, text="1boy, casual, outdoors, sitting")[0]
        target = graph.add("GraftEncodePrompt", title="What it should show", clip=model.clip, text="1boy, casual, outdoors, standing")[0]
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="")[0]
    trajectory, generation = record(graph, model, source, negative)
    with graph.group("3 Edit", below=generation):
        edited = graph.add("GraftReplaceKeysAndValues", model=model.unet, source=trajectory, source_conditioning=source)
        result = sample(graph, model, edited["model"], trajectory, target, negative, cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/masactrl")
    return graph


def _miniature() -> Graph:
    graph = Graph(MINIATURE, "Give an object of a drawn scene another shape and keep its look; runs in seconds on any machine.")
    add_note(
        graph,
        ReadMe(
            "MasaCtrl on the miniature",
            "The prompt turns a ball into a cube and does not say its colour; the new object reads it from the old picture. "
            "Compare **2 result** with **4 without the edit**.",
            MINIATURE_MODEL,
            turn="*start_percent* of Replace Keys and Values. **Still a ball?** Raise it. **Another colour?** Lower it. "
            "Then another *first_colour* or *ground*.",
            expect="a cube in the ball's colour and place.",
            cannot="show its worth in every scene: in some the inverted noise alone brings the colour back. The edit matters where it does not.",
            more="*layers* is *all* here: the paper's rule is made for pictures of 512 pixels.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene = graph.add(
            "GraftMiniatureScene",
            ground="night",
            first_shape="ball",
            first_colour="purple",
            first_x=0.5,
            first_y=0.75,
            first_size=0.17,
            change=Choice("reshape", new_shape="cube"),
            at=Place(column=0),
        )
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Invert the picture") as inversion:
        empty = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="")[0]
        trajectory = invert(graph, model, scene["picture"], empty, steps_of(graph, model, steps=25))
    with graph.group("3 Edit", below=inversion) as edit:
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text="a photo of a cube at night")[0]
        edited = graph.add(
            "GraftReplaceKeysAndValues",
            model=model.unet,
            source=trajectory,
            source_conditioning=empty,
            start_percent=0.16,
            layers=Choice("all"),
        )
        result = sample(graph, model, edited["model"], trajectory, target, empty, cfg=2.5)
        show_enlarged(graph, result, "2 result", save_as="Graft/masactrl")
    with graph.group("4 The same without the edit", below=edit):
        result = sample(graph, model, model.unet, trajectory, target, empty, cfg=2.5)
        show_enlarged(graph, result, "4 without the edit")
    return graph
