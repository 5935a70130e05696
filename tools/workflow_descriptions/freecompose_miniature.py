"""FreeCompose on the miniature: removal, harmonisation, composition by text, and the unnaturalness map of a pasted object."""

from __future__ import annotations

from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place

from . import Model, load_miniature, show, show_enlarged
from .freecompose import HARMONISATION, REMOVAL, TEXT, Prompts, decode, encode_picture, keep_look, optimize, prompt

UNNATURALNESS = "Unnaturalness Map (miniature)"
OPENING = "Runs on the small model that comes with Graft: nothing to download, under a minute on any machine.\n\n"
RULE = {"optimizer": "SGD", "learning_rate": 0.1}
"""Adam moves every cell by about as much, wanted or not; of the miniature's few cells that leaves ghosts."""
WHY_SGD = (
    "*optimizer* is *SGD* at 0.1 here, as in the code of Delta Denoising Score, and *guidance* {guidance:g}: the article's Adam and 7.5, made for "
    "photographs, leave brighter ghosts on this small model. "
)


def graphs() -> list[Graph]:
    return [_removal(), _harmonisation(), _text_composition(), _unnaturalness()]


def _scene(graph: Graph, title: str | None = None, **inputs: str | float | Choice) -> Node:
    return graph.add("GraftMiniatureScene", title=title, at=Place(column=0), **inputs)


def _thing(shape: str, colour: str, x: float, size: float = 0.18, y: float = 0.8) -> dict[str, str | float]:
    """Inputs of the scene's first object: its ground contact and its size, as parts of the picture's side."""
    return {"first_shape": shape, "first_colour": colour, "first_x": x, "first_y": y, "first_size": size}


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
    graph.note(
        "## FreeCompose: removal on the miniature\n"
        + OPENING
        + "**Miniature Scene** draws a picture, masks of its object and of the object's shadow, and the same scene without it. "
        "Compare **2 result** with **3 ground truth**.\n\n"
        "The mask is object and shadow together, a little wider: with the object alone its shadow stays.\n\n"
        + WHY_SGD.format(guidance=guidance)
        + "A faint trace of the outline often stays; the evaluation counts how often the object is seen no more.\n\n"
        "**A bright ghost?** Lower *guidance*. **The object is still seen?** Raise *iterations*.\n\n"
        "Try another *ground*, *first_colour* or *first_shape*, or a *second_shape*: the other object stays, and may change a little.",
        title="Read me",
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
        stage = Choice("removal", mask=mask, iterations=100)
        latent = optimize(graph, model, latent, prompts, stage, keep_look(graph, model), guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph


def removal_scene(graph: Graph) -> tuple[Node, Output]:
    """A scene whose object goes, and the mask of the object with its shadow."""
    scene = _scene(graph, ground="sand", seed=3, **_thing("cube", "blue", 0.4, 0.17), change=Choice("remove"))
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
    """A picture with an object pasted in, the object's mask, and the scene in which it belongs."""

    picture: Output
    mask: Output
    truth: Node


def _pasted(graph: Graph, foreign: dict[str, str | float], thing: dict[str, str | float], **scene: str | float) -> Paste:
    """The scene's object cut from a `foreign` one, and pasted where the scene has its own: the node's truth after removal is the empty scene."""
    picture = _scene(graph, "Picture, and its truth", **scene, **thing, change=Choice("remove"))
    reference = _scene(graph, "Reference", **{**scene, **foreign}, **thing)
    pasted = graph.add(
        "GraftPasteObject",
        image=picture["ground_truth"],
        reference=reference["picture"],
        reference_mask=reference["object_mask"],
        place=Choice("mask", mask=picture["object_mask"]),
    )
    return Paste(pasted["pasted"], pasted["mask"], picture)


def _harmonisation() -> Graph:
    guidance = 3.0
    graph = Graph(
        HARMONISATION,
        "Make an object pasted into a drawn scene agree with it, and give it a shadow; runs in under a minute on any machine.",
        thumbnail=("1 pasted", "2 result"),
    )
    graph.note(
        "## FreeCompose: harmonisation on the miniature\n"
        + OPENING
        + "A cone cut out of a drawing is pasted into a photo: it has an outline, and no shadow. **3 ground truth** is the cone as it should be "
        "there; the workflow sees of it the prompt and the place. Compare **1 pasted** with **2 result**.\n\n"
        "First the object becomes part of the photo, as in the article: from no prompt to the scene's own. This model knows its own world, "
        "and not what *A harmonious scene.* means. The article's stage gives it no shadow here, so a second one works around the object alone "
        "(*outside_weight* 0), from the prompt of the scene without the object to that of the scene with it.\n\n"
        + WHY_SGD.format(guidance=guidance)
        + "\n\n**It still looks pasted?** Lower *foreground_weight*, or raise *iterations*. **It moves, or its colours are too strong?** Lower "
        "*guidance*. **The background changes?** Raise *background_weight*. **Too little shadow, or a halo?** Raise, or lower, *iterations* of "
        "**Its shadow**.\n\n"
        "**What it cannot do:** bring an object's colours exactly to the scene's light, or leave the rest untouched. Edges wobble, a shadow is "
        "fainter than it should be, a pale rim or speck may stay, and a large object may move.\n\n"
        "Try another *ground* or *style* of **Reference**.",
        title="Read me",
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        paste = _pasted(graph, {"style": "drawing"}, _thing("cone", "blue", 0.4, 0.16), ground="grass", seed=1)
        show_enlarged(graph, paste.picture, "1 pasted")
        show_enlarged(graph, paste.truth["picture"], "3 ground truth")
    with graph.group("2 Harmonise the object") as box:
        empty = prompt(graph, model, "Empty prompt", "")
        shown = prompt(graph, model, "What it should show", paste.truth["prompt"])
        latent, look = encode_picture(graph, model, paste.picture), keep_look(graph, model)
        stage = Choice("harmonisation", mask=paste.mask, iterations=80)
        latent = optimize(graph, model, latent, Prompts(empty, shown, empty), stage, look, guidance=guidance, **RULE)
    with graph.group("3 Its shadow", below=box):
        without = prompt(graph, model, "The scene without the object", paste.truth["ground_truth_prompt"])
        wider = graph.add("GrowMask", mask=paste.mask, expand=8, at=Place(column=0))[0]
        around = graph.add("MaskComposite", title="Around the object", destination=wider, source=paste.mask, x=0, y=0, operation="subtract")
        stage = Choice("harmonisation", mask=around[0], iterations=25, foreground_weight=0.0, outside_weight=0.0)
        latent = optimize(graph, model, latent, Prompts(without, shown, empty), stage, look, title="Its shadow", guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph


def _text_composition() -> Graph:
    guidance = 3.0
    graph = Graph(
        TEXT, "Change an object of a drawn scene by prompt; runs in under a minute on any machine.", thumbnail=("1 input", "2 result")
    )
    graph.note(
        "## FreeCompose: composition by text on the miniature\n"
        + OPENING
        + "The prompts turn a ball into a cube; *source_keys_until* has the new picture read the old one's keys and values for most of the way, "
        "so that it stays the same red and the same grass. Compare **2 result** with **3 ground truth**.\n\n"
        + WHY_SGD.format(guidance=guidance)
        + "Edges come out softer than drawn, and a small spot may appear in the sky.\n\n"
        "Nothing holds the object in its place but the picture itself: a new shape mostly stays, but a new colour, above all on snow, "
        "can move the object or shrink it.\n\n"
        "**Too little changes?** Raise *guidance* or *iterations*. **The object moves?** Lower *guidance*, or try another *seed*.\n\n"
        "Try another *new_shape*, or *recolour* as the *change*.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene = _scene(graph, ground="grass", **_thing("ball", "red", 0.45), change=Choice("reshape", new_shape="cube"))
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Compose"):
        prompts = _prompts(graph, model, scene)
        latent = encode_picture(graph, model, scene["picture"])
        stage = Choice("text composition", iterations=100, source_keys_until=80)
        latent = optimize(graph, model, latent, prompts, stage, guidance=guidance, **RULE)
        show_enlarged(graph, decode(graph, model, latent), "2 result", save_as="Graft/freecompose")
    return graph


def _unnaturalness() -> Graph:
    graph = Graph(
        UNNATURALNESS,
        "See where a model does not believe a picture: a pasted object; runs in seconds on any machine.",
        thumbnail=("1 pasted", "2 map"),
    )
    graph.note(
        "## Unnaturalness Map on the miniature\n"
        "Runs on the small model that comes with Graft: nothing to download, seconds on any machine.\n\n"
        "A ball cut out of a drawing is pasted into a drawn photo, and the model is asked, under noise, what it would change. **2 map** glows where "
        "that is more than the noise explains: at the ball, and at the place where its shadow should be. Nothing says where the ball was pasted. "
        "**4 map of the truth** is the map of the scene as it should look: dark.\n\n"
        "**Too patchy?** Raise *draws*. **Too much, or too little?** Lower, or raise, both timesteps: at little noise details count, at much noise "
        "whole objects.\n\n"
        "*measure* *all* is the article's: everything the model would change. It glows a little at objects that belong there, too.\n\n"
        "Try *style* photo and *ground* sand in **Reference**: by day the ball itself fits, and only the place of the missing shadow glows.\n\n"
        "**On your own pictures** take your checkpoint instead of Load Miniature, its VAE, and any picture; the map is worth what the model knows "
        "of such pictures. **What it cannot do:** prove anything. What is only rare glows too, and a paste that fits does not.\n\n"
        "The mask output can go into Optimize Latent.",
        title="Read me",
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        paste = _pasted(graph, {"style": "drawing"}, _thing("ball", "red", 0.4), ground="grass", seed=0)
        show_enlarged(graph, paste.picture, "1 pasted")
        show_enlarged(graph, paste.truth["picture"], "3 ground truth")
    with graph.group("2 Look"):
        empty = prompt(graph, model, "Empty prompt", "")
        for title, picture in (("2 map", paste.picture), ("4 map of the truth", paste.truth["picture"])):
            heat = graph.add("GraftUnnaturalnessMap", model=model.unet, conditioning=empty, vae=model.vae, image=picture)
            show(graph, heat["heat_map"], title, save_as="Graft/unnaturalness" if title == "2 map" else None)
    return graph
