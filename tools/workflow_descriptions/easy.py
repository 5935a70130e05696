"""Each task with its blueprint: a model, a picture, the one node that does it, and the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place, Subgraph

from . import (
    SD15,
    SDXL,
    Checkpoint,
    Model,
    blueprints,
    free_prompt_editing,
    load_checkpoint,
    load_miniature,
    show_enlarged,
    specref,
    tf_icon,
    unnaturalness,
)
from .freecompose import HARMONISATION
from .freecompose_miniature import RULE, removal_scene
from .notes import SLOW_MINIATURE, ReadMe, add_note, paint

MINIATURE = "Remove Object (miniature)"
MIXED_SCENES = "InjectFusion scene (miniature)"
INSIDE = "The whole pipeline is inside the node: the square in its corner opens it."


@dataclass(frozen=True)
class Easy:
    """A task: what its note says, and how its node is fed. `connect` adds the pictures and gives what the node takes of them."""

    blueprint: Callable[[], Subgraph]
    thumbnail_of: str
    what: str
    steps: tuple[str, ...]
    turn: str
    expect: str
    cannot: str
    connect: Callable[[Graph], dict[str, Output]]
    checkpoints: tuple[Checkpoint, ...] = (SD15, SDXL)


def graphs() -> list[Graph]:
    return [*(_easy(task, checkpoint) for task in TASKS for checkpoint in task.checkpoints), _miniature()]


def _easy(task: Easy, checkpoint: Checkpoint) -> Graph:
    blueprint = task.blueprint()
    graph = Graph(f"{blueprint.title}{checkpoint.suffix}", task.what, thumbnail_of=task.thumbnail_of)
    add_note(
        graph,
        ReadMe(
            blueprint.title,
            f"{task.what} {INSIDE}",
            checkpoint.name,
            steps=("Choose your checkpoint.", *task.steps, "Press **Run**."),
            turn=task.turn,
            expect=task.expect,
            cannot=task.cannot,
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, checkpoint.file)
        pictures = task.connect(graph)
    with graph.group(f"2 {blueprint.title}"):
        result = place(graph, blueprint, model, size=checkpoint.side, **pictures)
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


def load(graph: Graph, title: str, file: str = "example.png") -> Node:
    return graph.add("LoadImage", title=title, at=Place(column=0), image=file)


TASKS = (
    Easy(
        blueprints.remove_object,
        MINIATURE,
        "Removes an object from a picture; what was behind it is painted anew.",
        (
            f"Choose your picture. {paint('it', 'over the object, **its shadow and its reflection too**')}",
            "Write what the picture shows, and what it shows without the object.",
        ),
        "*grow_mask*, if something of the object is left: raise it, then *iterations*; say in the second prompt what is behind the object. "
        "**A bright or dark ghost?** Lower *guidance*. "
        "**Out of memory?** Open the node, and set *network* of Perceptual Loss to *latent*.",
        "grass, sky, a wall, water close over the gap, within minutes; what lies beyond the mask and its *soft_edge* stays to the bit.",
        "know what was really there, or remove an object that fills the picture.",
        _painted,
    ),
    Easy(
        blueprints.place_object,
        tf_icon.INTO_DRAWING,
        "Puts an object from one picture into another, and paints it in that one's style: a photo's into a painting.",
        (
            f"Choose your picture. {paint('it', 'where the object shall be: the box around your strokes counts')}",
            f"Choose your reference. {paint('it', 'over its object, up to its edge')} A cut-out PNG: put **Invert Mask** between.",
            "Write what the finished picture shows, its style too.",
        ),
        "*keep_object* and *cfg*. **It still looks like a photo?** Raise *cfg*, or lower *keep_object*. **It is no longer your object?** Raise "
        "*keep_object*. The node shows where the object lies: orange is the object, blue what may change.",
        "the object's pose, shape and main colours; the picture's brush and light.",
        "turn the object, keep a face or lettering to the letter. Outside the blue line your picture stays to the bit.",
        _placed,
    ),
    Easy(
        blueprints.harmonise,
        HARMONISATION,
        "Pastes an object into a picture and makes light, colours and edges agree.",
        (
            f"Choose your picture. {paint('it', 'where the object shall be: the box around your strokes counts')}",
            f"Choose your reference. {paint('it', 'over its object, up to its edge')} A cut-out PNG: put **Invert Mask** between.",
            "Leave the prompt, or say what the finished picture shows.",
        ),
        "*keep_object*. **It still looks pasted?** Lower it, then raise *iterations*. **It is no longer your object?** Raise it. "
        "*grow_mask* is how far around the object the picture may change; beyond, it stays to the bit. "
        "Pasted elsewhere already? Connect that picture and a mask of the object, and leave out **Paste Object**.",
        "closer light and colour, softer edges, sometimes a contact shadow, within minutes.",
        "turn the object, or redraw it in another style; for that there is **Place Object Into Picture**.",
        _pasted,
    ),
    Easy(
        blueprints.edit_by_prompt,
        free_prompt_editing.MINIATURE,
        "Changes what a picture shows by a prompt, and keeps its layout.",
        ("Choose your picture.", "Write what the new picture shows. The old picture needs no prompt."),
        "*keep_layout*. **Too little changes?** Lower it. **The layout is lost?** Raise it.",
        "the same composition with another thing, material, season or style in it.",
        "move things. To change a part only, connect a *mask*: outside it your picture stays to the bit.",
        _picture,
    ),
    Easy(
        blueprints.edit_with_reference,
        specref.MINIATURE,
        "Changes a thing in a picture by prompt, and gives it the look of a reference picture: that cat becomes *this* tiger.",
        (
            "Choose your picture and your reference.",
            paint("your reference", "over its object"),
            "Write what your picture shows and what it should show; then the words that go, and the words that come in their place.",
        ),
        "*threshold* and *keep_shape*. **Too little takes the reference's look?** Lower *threshold*. **The new object keeps too much of the old "
        "shape?** Lower *keep_shape*.",
        "the named words' place in the reference's look, the rest nearly as it was; best with object and reference of similar place, size "
        "and shape.",
        "copy lettering or a face; change what no word names. With a *mask* your picture stays to the bit outside it.",
        _referred,
    ),
    Easy(
        blueprints.find_unnatural,
        unnaturalness.MINIATURE,
        "Shows where a model does not believe a picture: pasted objects, seams, wrong shadows.",
        ("Choose your picture. A prompt is not needed.",),
        unnaturalness.KNOBS,
        "a glow where the model would change more than the noise explains.",
        unnaturalness.PROOF,
        _picture,
    ),
    Easy(
        blueprints.mix,
        MIXED_SCENES,
        "Gives a picture the content of another one, and keeps its look.",
        ("Choose two pictures: one for the look, one for the content. Faces with faces, rooms with rooms.",),
        "*amount_of_content*, if there is too little; above 0.6 or so pictures get distorted.",
        "with Stable Diffusion very little, as its bottleneck holds little; the method was made for pixel-space models of one kind "
        "of picture. For those put **Load Pixel Diffusion** in place of the checkpoint and the prompt, and set *size* to 256.",
        "carry small things or colours over.",
        _mixed,
    ),
)


def _miniature() -> Graph:
    graph = Graph(
        MINIATURE,
        "Remove an object of a drawn scene with one node; runs in under a minute on any machine.",
        thumbnail=("1 input", "2 result"),
    )
    add_note(
        graph,
        ReadMe(
            "Remove Object on the miniature",
            f"Press **Run**. It removes an object with its shadow. {INSIDE} **Miniature Scene** draws a picture, masks of its object and of the object's "
            "shadow, and the same scene without it. Compare **2 result** with **3 ground truth**.",
            SLOW_MINIATURE,
            turn="**A bright ghost?** Lower *guidance*. **The object is still seen?** Raise *iterations*. Then another scene.",
            expect="the object and its shadow are gone; a faint trace of the outline may stay.",
            cannot="know what was really there: it paints what the second prompt says.",
            more="*size*, *guidance*, *optimizer* and *learning_rate* are this small model's; for photographs open **Remove Object**.",
        ),
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
