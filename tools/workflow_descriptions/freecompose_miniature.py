"""FreeCompose on the miniature: removal, harmonisation and composition by text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place

from . import Drawn, Model, draw, load_miniature, show_enlarged
from .freecompose import HARMONISATION, REMOVAL, TEXT, Prompts, decode, encode_picture, keep_look, optimize, prompt
from .notes import SLOW_MINIATURE, ReadMe, add_note

RULE = {"optimizer": "SGD", "learning_rate": 0.1}
"""Adam moves every cell by about as much, wanted or not; of the miniature's few cells that leaves ghosts."""
WHY_SGD = (
    "*optimizer* is *SGD* at 0.1 here, as in the code of Delta Denoising Score, and *guidance* {guidance:g}: the article's Adam and 7.5, made for "
    "photographs, leave brighter ghosts on this small model."
)


def graphs() -> list[Graph]:
    return [_removal(), _harmonisation(), _text_composition()]


def _prompts(graph: Graph, model: Model, scene: Node) -> Prompts:
    """The scene's own words, before and after its change."""
    return Prompts(
        source=prompt(graph, model, "What it shows", scene["prompt"]),
        target=prompt(graph, model, "What it should show", scene["ground_truth_prompt"]),
        negative=prompt(graph, model, "Negative prompt", ""),
    )


def _removal() -> Graph:
    guidance = 1.5
    graph = Graph(
        REMOVAL,
        "Remove an object of a drawn scene with its shadow; runs in under a minute on any machine.",
        thumbnail=("1 input", "2 result"),
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: removal on the miniature",
            "**Miniature Scene** draws a picture, masks of its object and of the object's shadow, and the same scene without it. "
            "Compare **2 result** with **3 ground truth**.",
            SLOW_MINIATURE,
            turn="**A bright ghost?** Lower *guidance*. **The object is still seen?** Raise *iterations*. Then another *ground*, *light* or "
            "*first_kind*, or a *second_kind*: the other object stays, and may change a little.",
            expect="the object and its shadow are gone; a faint trace of the outline often stays. The evaluation counts how often the object is seen "
            "no more.",
            cannot="take the shadow away with a mask of the object alone: the mask is both together, a little wider.",
            more=WHY_SGD.format(guidance=guidance),
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene, both = removal_scene(graph)
        mask = graph.add("GrowMask", mask=both, expand=2)[0]
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Remove"):
        prompts = _prompts(graph, model, scene)
        latent = encode_picture(graph, model, scene["picture"])
        stage = Choice("removal", mask=mask, iterations=100, polish_iterations=60)
        latent = optimize(graph, model, latent, prompts, stage, keep_look(graph, model), guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph


def removal_scene(graph: Graph) -> tuple[Node, Output]:
    """A scene whose object goes, and the mask of the object with its shadow."""
    scene = draw(graph, Drawn("car", "red", x=0.5, y=0.86, size=0.5), ground="shore", seed=1, change=Choice("remove"))
    both = graph.add(
        "MaskComposite",
        title="Object and shadow",
        destination=scene["object_mask"],
        source=scene["shadow_mask"],
        x=0,
        y=0,
        operation="add",
    )
    return scene, both[0]


@dataclass(frozen=True)
class Paste:
    """A picture with an object pasted in, the object's mask, the scene in which it belongs, and the one that it comes from."""

    picture: Output
    mask: Output
    truth: Node
    reference: Node


def pasted(graph: Graph, thing: Drawn, foreign: Mapping[str, str], **scene: str | int) -> Paste:
    """The scene's object cut from a `foreign` one, and pasted where the scene has its own: the node's truth after removal is the empty scene."""
    picture = draw(graph, thing, title="Picture, and its truth", **scene, change=Choice("remove"))
    reference = draw(graph, thing, title="Reference", **{**scene, **foreign})
    pasted = graph.add(
        "GraftPasteObject",
        image=picture["ground_truth"],
        reference=reference["picture"],
        reference_mask=reference["object_mask"],
        place=Choice("mask", mask=picture["object_mask"]),
    )
    return Paste(pasted["pasted"], pasted["mask"], picture, reference)


def _harmonisation() -> Graph:
    guidance = 2.0
    graph = Graph(
        HARMONISATION,
        "Make an object pasted into a drawn scene agree with it, and give it a shadow; runs in under a minute on any machine.",
        thumbnail=("1 pasted", "2 result"),
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: harmonisation on the miniature",
            "A teapot cut out of a street by day is pasted into the street at night: it is too bright, and has no shadow. **3 ground truth** is the "
            "teapot as it should be there; the workflow sees of it the prompt and the place.",
            SLOW_MINIATURE,
            turn="*foreground_weight*. **It still looks pasted?** Lower it, or raise *iterations*. **It moves, or its colours are too strong?** Lower "
            "*guidance*. **The background changes?** Raise *background_weight*. **Too little shadow, or a halo?** Raise, or lower, *iterations* of "
            "**Its shadow**. Then another *ground*, or another *light* or *style* of **Reference**.",
            expect="compare **1 pasted** with **2 result**: the cone in the photo's style, without its outline, with something of a shadow.",
            cannot="bring an object's colours exactly to the scene's light, or leave the rest untouched. Edges wobble, a shadow is "
            "fainter than it should be, a pale rim or speck may stay, and a large object may move.",
            more="First the object becomes part of the photo, as in the article: from no prompt to the scene's own. This model knows its own world, "
            "and not what *A harmonious scene.* means. The article's stage gives it no shadow here, so a second one works around the object alone "
            "(*outside_weight* 0), from the prompt of the scene without the object to that of the scene with it.\n\n"
            + WHY_SGD.format(guidance=guidance),
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        teapot = Drawn("teapot", "yellow", x=0.5, y=0.88, size=0.5)
        paste = pasted(graph, teapot, {"light": "day"}, ground="street", light="night", seed=3)
        show_enlarged(graph, paste.picture, "1 pasted")
        show_enlarged(graph, paste.truth["picture"], "3 ground truth")
    with graph.group("2 Harmonise the object") as box:
        empty = prompt(graph, model, "Empty prompt", "")
        shown = prompt(graph, model, "What it should show", paste.truth["prompt"])
        latent, look = encode_picture(graph, model, paste.picture), keep_look(graph, model)
        came = prompt(graph, model, "Where the object comes from", paste.reference["prompt"])
        stage = Choice("harmonisation", mask=paste.mask, iterations=60, polish_iterations=30, outside_weight=0.0)
        latent = optimize(graph, model, latent, Prompts(came, shown, empty), stage, look, guidance=guidance, **RULE)
    with graph.group("3 Its shadow", below=box):
        without = prompt(graph, model, "The scene without the object", paste.truth["ground_truth_prompt"])
        wider = graph.add("GrowMask", mask=paste.mask, expand=8, at=Place(column=0))[0]
        around = graph.add("MaskComposite", title="Around the object", destination=wider, source=paste.mask, x=0, y=0, operation="subtract")
        stage = Choice("harmonisation", mask=around[0], iterations=25, polish_iterations=10, foreground_weight=0.0, outside_weight=0.0)
        latent = optimize(graph, model, latent, Prompts(without, shown, empty), stage, look, title="Its shadow", guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph


def _text_composition() -> Graph:
    guidance = 3.0
    graph = Graph(
        TEXT, "Change an object of a drawn scene by prompt; runs in under a minute on any machine.", thumbnail=("1 input", "2 result")
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: composition by text on the miniature",
            "The prompts turn a ball into a cube; *source_keys_until* has the new picture read the old one's keys and values for most of the way, "
            "so that it stays the same red and the same grass. Compare **2 result** with **3 ground truth**.",
            SLOW_MINIATURE,
            turn="*guidance*. **Too little changes?** Raise it, or *iterations*. **The object moves?** Lower it, or try another *seed*. "
            "Then another *new_shape*, or *recolour* as the *change*.",
            expect="a cube of the ball's colour in its place; edges come out softer than drawn, and a small spot may appear in the sky.",
            cannot="hold the object in its place by anything but the picture itself: a new shape mostly stays, but a new colour, above all on snow, "
            "can move the object or shrink it.",
            more=WHY_SGD.format(guidance=guidance),
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        apple = Drawn("apple", "red", x=0.5, y=0.88, size=0.5)
        scene = draw(graph, apple, ground="meadow", seed=1, change=Choice("replace", new_kind="teapot"))
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Compose"):
        prompts = _prompts(graph, model, scene)
        latent = encode_picture(graph, model, scene["picture"])
        stage = Choice("text composition", iterations=100, source_keys_until=80)
        latent = optimize(graph, model, latent, prompts, stage, guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph
