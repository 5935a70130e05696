"""FreeCompose on the miniature: removal, harmonisation and composition by text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place

from . import Drawn, Model, draw, load_miniature, show_enlarged
from .freecompose import HARMONISATION, REMOVAL, TEXT, Prompts, decode, encode_picture, keep_look, optimize, prompt
from .notes import ReadMe, add_note

MODEL = "**Load Miniature**, the small model that comes with Graft: nothing to download, a minute or two on any machine."
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
        "Remove an object of a drawn scene with its shadow; runs in a minute or two on any machine.",
        thumbnail=("1 input", "2 result"),
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: removal on the miniature",
            "**Miniature Scene** draws a picture, masks of its object and of the object's shadow, and the same scene without it. "
            "Compare **2 result** with **3 ground truth**.",
            MODEL,
            turn="**A bright ghost?** Lower *guidance*. **The object is still seen?** Raise *iterations*. Then another *ground*, *light* or "
            "*first_kind*, or a *second_kind*: the other object stays, and may change a little.",
            expect="the car and its shadow are gone; a smudge in the sand stays. The evaluation counts how often the object is seen no more.",
            cannot="take the shadow away with a mask of the object alone: the mask is both together, a little wider.",
            more="The last 60 of the 100 iterations are at little noise (*polish_iterations*): without them the outline of the car stays.\n\n"
            + WHY_SGD.format(guidance=guidance),
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
    guidance, guidance_of_shadow = 3.0, 1.5
    graph = Graph(
        HARMONISATION,
        "Make an object pasted into a drawn scene agree with it, and give it a shadow; runs in a minute or two on any machine.",
        thumbnail=("1 pasted", "2 result"),
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: harmonisation on the miniature",
            "A teapot cut out of a street by day is pasted into the street at night: it is too bright, and has no shadow. **3 ground truth** is the "
            "teapot as it should be there; the workflow sees of it the prompt and the place.",
            MODEL,
            turn="*foreground_weight*. **It still looks pasted?** Lower it, or raise *iterations*. **It moves, or its colours are too strong?** Lower "
            "*guidance*. **The background changes?** Raise *background_weight*. **Too little shadow, or a halo?** Raise, or lower, *iterations* of "
            "**Its shadow**. Then another *ground*, or another *light* or *style* of **Reference**.",
            expect="compare **1 pasted** with **2 result**: the teapot is as dark as the night, and no longer shines as by day.",
            cannot="bring an object's colours exactly to the scene's light, or keep all of its drawing: edges soften, patterns blur, a coloured rim "
            "may stay. Of a shadow there is hardly a trace.",
            more="First the object comes into the scene's light: from the prompt of the scene it was cut from to that of the scene it is in. The article "
            "goes from no prompt to *A harmonious scene.*, which this model does not know; from no prompt to the scene's own, the teapot only gets "
            "brighter. *outside_weight* 0 keeps the rest. A second stage works around the object alone, from the prompt of the scene without the "
            "object to that of the scene with it, for a shadow.\n\n" + WHY_SGD.format(guidance=guidance),
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        teapot = Drawn("teapot", "red", x=0.5, y=0.88, size=0.5)
        paste = pasted(graph, teapot, {"light": "day"}, ground="street", light="night", seed=1)
        show_enlarged(graph, paste.picture, "1 pasted")
        show_enlarged(graph, paste.truth["picture"], "3 ground truth")
    with graph.group("2 Harmonise the object") as box:
        empty = prompt(graph, model, "Empty prompt", "")
        shown = prompt(graph, model, "What it should show", paste.truth["prompt"])
        latent, look = encode_picture(graph, model, paste.picture), keep_look(graph, model)
        came = prompt(graph, model, "Where the object comes from", paste.reference["prompt"])
        stage = Choice("harmonisation", mask=paste.mask, iterations=80, polish_iterations=40, outside_weight=0.0)
        latent = optimize(graph, model, latent, Prompts(came, shown, empty), stage, look, guidance=guidance, **RULE)
    with graph.group("3 Its shadow", below=box):
        without = prompt(graph, model, "The scene without the object", paste.truth["ground_truth_prompt"])
        wider = graph.add("GrowMask", mask=paste.mask, expand=16, at=Place(column=0))[0]
        around = graph.add("MaskComposite", title="Around the object", destination=wider, source=paste.mask, x=0, y=0, operation="subtract")
        stage = Choice("harmonisation", mask=around[0], iterations=40, foreground_weight=0.0, outside_weight=0.0)
        latent = optimize(
            graph, model, latent, Prompts(without, shown, empty), stage, look, title="Its shadow", guidance=guidance_of_shadow, **RULE
        )
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph


def _text_composition() -> Graph:
    guidance = 2.0
    graph = Graph(
        TEXT, "Change an object of a drawn scene by prompt; runs in a minute or two on any machine.", thumbnail=("1 input", "2 result")
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: composition by text on the miniature",
            "The prompts turn a balloon into an apple; *source_keys_until* has the new picture read the old one's keys and values for most of the way, "
            "so that it stays the same red and the same meadow. Compare **2 result** with **3 ground truth**.",
            MODEL,
            turn="*guidance*. **Too little changes?** Raise it, or *iterations*. **The object moves?** Lower it, or try another *seed*. "
            "Then another *new_kind*, of about the same shape.",
            expect="an apple of the balloon's red in its place, even with something of its pattern; edges come out softer than drawn, and small parts of "
            "the old object, such as the basket, leave a trace.",
            cannot="recolour an object, or turn it into one of another shape: the first hardly changes it or shrinks it, the second smears.",
            more=WHY_SGD.format(guidance=guidance),
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        balloon = Drawn("balloon", "red", x=0.5, y=0.88, size=0.5)
        scene = draw(graph, balloon, ground="meadow", seed=1, change=Choice("replace", new_kind="apple"))
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Compose"):
        prompts = _prompts(graph, model, scene)
        latent = encode_picture(graph, model, scene["picture"])
        stage = Choice("text composition", iterations=80, source_keys_until=60)
        latent = optimize(graph, model, latent, prompts, stage, guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph
