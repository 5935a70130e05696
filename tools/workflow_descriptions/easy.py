"""Each task with its blueprint: a model, a picture, the one node that does it, and the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place, Subgraph

from . import (
    CHECKPOINT,
    SDXL_CHECKPOINT,
    Model,
    blueprints,
    free_prompt_editing,
    load_checkpoint,
    load_miniature,
    show_enlarged,
    specref,
    tf_icon,
)
from .freecompose import HARMONISATION
from .freecompose_miniature import RULE, UNNATURALNESS, removal_scene

MINIATURE = "Remove Object (miniature)"
MIXED_SCENES = "InjectFusion scene (miniature)"
INSIDE = "The whole pipeline is inside the node: the square in its corner opens it."


@dataclass(frozen=True)
class Family:
    """A checkpoint, the side of its pictures in pixels, and how titles end. `fits` is said in the note."""

    file: str
    side: int
    suffix: str
    fits: str


SD = Family(CHECKPOINT, 512, "", "SD1.5, or any other SD1.x or SD2.x")
SDXL = Family(SDXL_CHECKPOINT, 1024, " SDXL", "SDXL")


@dataclass(frozen=True)
class Easy:
    """A task: what its note says, and how its node is fed. `connect` adds the pictures and gives what the node takes of them."""

    blueprint: Callable[[], Subgraph]
    thumbnail_of: str
    what: str
    steps: tuple[str, ...]
    turn: str
    expect: str
    connect: Callable[[Graph], dict[str, Output]]
    families: tuple[Family, ...] = (SD,)


def graphs() -> list[Graph]:
    return [*(_easy(task, family) for task in TASKS for family in task.families), _miniature()]


def _easy(task: Easy, family: Family) -> Graph:
    blueprint = task.blueprint()
    graph = Graph(f"{blueprint.title}{family.suffix}", task.what, thumbnail_of=task.thumbnail_of)
    steps = (f"Choose your checkpoint ({family.fits}).", *task.steps, "Press **Run**.")
    graph.note(
        f"## {blueprint.title}\n{task.what} {INSIDE}\n\n"
        + "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
        + f"\n\n{task.turn}\n\n{task.expect}",
        title="Read me",
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, family.file)
        pictures = task.connect(graph)
    with graph.group(f"2 {blueprint.title}"):
        result = place(graph, blueprint, model, size=family.side, **pictures)
        for title, output in zip(("2 result", "3 mask"), blueprint.exits, strict=False):
            picture = graph.add("MaskToImage", mask=result[output])[0] if output == "mask" else result[output]
            prefix = f"Graft/{blueprint.title.lower().replace(' ', '-')}"
            graph.add("SaveImage", title=title, images=picture, filename_prefix=prefix)
    return graph


def place(graph: Graph, blueprint: Subgraph, model: Model, **inputs: Output | str | float) -> Node:
    """The blueprint's node, on a model; one that takes no prompts is given the empty one."""
    if "clip" in blueprint.kinds:
        inputs["clip"] = model.clip
    else:
        inputs["conditioning"] = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="")[0]
    return graph.add(blueprint, model=model.unet, vae=model.vae, **inputs)


def _picture(graph: Graph) -> dict[str, Output]:
    return {"picture": load(graph, "Your picture")["IMAGE"]}


def _painted(graph: Graph) -> dict[str, Output]:
    loaded = load(graph, "Your picture: paint over the object and its shadow")
    return {"picture": loaded["IMAGE"], "mask": loaded["MASK"]}


def _placed(graph: Graph) -> dict[str, Output]:
    loaded = load(graph, "Your picture: paint where the object goes")
    reference = load(graph, "Your reference: paint over the object")
    return {"picture": loaded["IMAGE"], "where": loaded["MASK"], "reference": reference["IMAGE"], "object": reference["MASK"]}


def _pasted(graph: Graph) -> dict[str, Output]:
    loaded = load(graph, "Your picture: paint where the object goes")
    reference = load(graph, "Your reference: paint over the object")
    pasted = graph.add(
        "GraftPasteObject",
        image=loaded["IMAGE"],
        reference=reference["IMAGE"],
        reference_mask=reference["MASK"],
        place=Choice("mask", mask=loaded["MASK"]),
    )
    return {"picture": pasted["pasted"], "mask": pasted["mask"]}


def _referred(graph: Graph) -> dict[str, Output]:
    picture, reference = load(graph, "Your picture"), load(graph, "Your reference: paint over the object")
    return {"picture": picture["IMAGE"], "reference": reference["IMAGE"], "reference_mask": reference["MASK"]}


def _mixed(graph: Graph) -> dict[str, Output]:
    return {"look": load(graph, "The look")["IMAGE"], "content": load(graph, "The content")["IMAGE"]}


def load(graph: Graph, title: str) -> Node:
    return graph.add("LoadImage", title=title, at=Place(column=0), image="example.png")


PAINT = "Open the picture in **Mask Editor** (right click on it) and paint "
TASKS = (
    Easy(
        blueprints.remove_object,
        MINIATURE,
        "Removes an object from a picture; what was behind it is painted anew.",
        (
            f"Choose your picture. {PAINT}over the object, **its shadow and its reflection too**.",
            "Write what the picture shows, and what it shows without the object.",
        ),
        "**Something of it is left?** Raise *grow_mask*, then *iterations*; say in the second prompt what is behind the object. "
        "**A bright or dark ghost?** Lower *guidance*. "
        "**Out of memory?** Open the node, and set *network* of Perceptual Loss to *latent*.",
        "**What to expect:** grass, sky, a wall, water close over the gap, within minutes; what lies beyond the mask and its *soft_edge* stays to the bit. "
        "**What it cannot do:** know what was really there, or remove an object that fills the picture.",
        _painted,
        (SD, SDXL),
    ),
    Easy(
        blueprints.place_object,
        tf_icon.INTO_DRAWING,
        "Puts an object from one picture into another, and paints it in that one's style: a photo's into a painting.",
        (
            f"Choose your picture. {PAINT}where the object shall be: the box around your strokes counts.",
            "Choose your reference, and paint over its object, up to its edge. A cut-out PNG: put **Invert Mask** between.",
            "Write what the finished picture shows, its style too.",
        ),
        "**It still looks like a photo?** Raise *cfg*, or lower *keep_object*. **It is no longer your object?** Raise *keep_object*. "
        "The node shows where the object lies: orange is the object, blue what may change.",
        "**What to expect:** the object's pose, shape and main colours; the picture's brush and light. "
        "**What it cannot do:** turn the object, keep a face or lettering to the letter.",
        _placed,
        (SD, SDXL),
    ),
    Easy(
        blueprints.harmonise,
        HARMONISATION,
        "Pastes an object into a picture and makes light, colours and edges agree.",
        (
            f"Choose your picture. {PAINT}where the object shall be: the box around your strokes counts.",
            "Choose your reference, and paint over its object, up to its edge. A cut-out PNG: put **Invert Mask** between.",
            "Leave the prompt, or say what the finished picture shows.",
        ),
        "**It still looks pasted?** Lower *keep_object*, then raise *iterations*. **It is no longer your object?** Raise *keep_object*. "
        "Pasted elsewhere already? Connect that picture and a mask of the object, and leave out **Paste Object**.",
        "**What to expect:** closer light and colour, softer edges, sometimes a contact shadow, within minutes. "
        "**What it cannot do:** turn the object, or redraw it in another style; for that there is **Place Object Into Picture**.",
        _pasted,
        (SD, SDXL),
    ),
    Easy(
        blueprints.edit_by_prompt,
        free_prompt_editing.MINIATURE,
        "Changes what a picture shows by a prompt, and keeps its layout.",
        ("Choose your picture.", "Write what the new picture shows. The old picture needs no prompt."),
        "**Too little changes?** Lower *keep_layout*. **The layout is lost?** Raise it.",
        "**What to expect:** the same composition with another thing, material, season or style in it. "
        "**What it cannot do:** move things, or leave the rest of the picture untouched to the pixel.",
        _picture,
        (SD, SDXL),
    ),
    Easy(
        blueprints.edit_with_reference,
        specref.MINIATURE,
        "Changes a thing in a picture by prompt, and gives it the look of a reference picture: that cat becomes *this* tiger.",
        (
            "Choose your picture and your reference. Paint over the reference's object in **Mask Editor** (right click on it).",
            "Write what your picture shows and what it should show; then the words that go, and the words that come in their place.",
        ),
        "**Too little takes the reference's look?** Lower *threshold*. **The new object keeps too much of the old shape?** Lower *keep_shape*.",
        "**What to expect:** best with object and reference of similar place, size and shape. "
        "**What it cannot do:** copy lettering or a face; change what no word names.",
        _referred,
    ),
    Easy(
        blueprints.find_unnatural,
        UNNATURALNESS,
        "Shows where a model does not believe a picture: pasted objects, seams, wrong shadows.",
        ("Choose your picture. A prompt is not needed.",),
        "**Too patchy?** Raise *draws*. **Small things matter?** Lower both timesteps. **Whole objects?** Raise them.",
        "**What to expect:** a glow where the model would change more than the noise explains. "
        "**What it cannot do:** prove anything. What is only rare glows too, and a paste that fits does not.",
        _picture,
        (SD, SDXL),
    ),
    Easy(
        blueprints.mix,
        MIXED_SCENES,
        "Gives a picture the content of another one, and keeps its look.",
        ("Choose two pictures: one for the look, one for the content. Faces with faces, rooms with rooms.",),
        "**Too little content?** Raise *amount_of_content*; above 0.6 or so pictures get distorted.",
        "**What to expect:** with Stable Diffusion very little, as its bottleneck holds little; the method was made for pixel-space models of one kind "
        "of picture. For those put **Load Pixel Diffusion** in place of the checkpoint and the prompt, and set *size* to 256. "
        "**What it cannot do:** carry small things or colours over.",
        _mixed,
    ),
)


def _miniature() -> Graph:
    graph = Graph(
        MINIATURE,
        "Remove an object of a drawn scene with one node; runs in under a minute on any machine.",
        thumbnail=("1 input", "2 result"),
    )
    graph.note(
        "## Remove Object on the miniature\n"
        "Press **Run**. It runs on the small model that comes with Graft: nothing to download, under a minute on any machine. "
        f"{INSIDE}\n\n"
        "**Miniature Scene** draws a picture, masks of its object and of the object's shadow, and the same scene without it. "
        "Compare **2 result** with **3 ground truth**.\n\n"
        "**A bright ghost?** Lower *guidance*. **The object is still seen?** Raise *iterations*.\n\n"
        "*size*, *guidance*, *optimizer* and *learning_rate* are this small model's; for photographs open **Remove Object**.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene, mask = removal_scene(graph)
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    with graph.group("2 Remove Object"):
        removed = place(
            graph,
            blueprints.remove_object(),
            model,
            picture=scene["picture"],
            mask=mask,
            what_it_shows=scene["prompt"],
            without_the_object=scene["ground_truth_prompt"],
            size=64,
            grow_mask=2,
            soft_edge=2,
            iterations=100,
            guidance=1.5,
            **RULE,
        )
        show_enlarged(graph, removed["picture"], "2 result", save_as="Graft/remove-object")
    return graph
