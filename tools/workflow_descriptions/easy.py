"""Each task with its blueprint: a model, a picture, the one node that does it, and the result; for a checkpoint, and on the miniature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from graph import App, Choice, Graph, Node, Output, Place, Subgraph

from . import (
    EXAMPLE,
    SD15,
    Model,
    blueprints,
    free_prompt_editing,
    load_checkpoint,
    load_miniature,
    prompt_to_prompt,
    specref,
    tf_icon,
    unnaturalness,
)
from .freecompose import HARMONISATION, REMOVAL
from .freecompose_miniature import RULE
from .notes import KNOWS, SLOW_MINIATURE, ReadMe, add_note, paint

MIXED_SCENES = "InjectFusion scene (miniature)"
INSIDE = "The whole pipeline is inside the node: the square in its corner opens it."
EXAMPLES = "The pictures that are there are examples: press **Run** on them, or take your own."
SMALL_SIZE = 192
"""Pixels: the longer side at which the miniature works on the examples, whose things are then as large as in the pictures it knows."""


@dataclass(frozen=True)
class Easy:
    """A task: what its note says, and how its node is fed. `connect` adds the pictures and gives what the node takes of them.

    `searched` are words that people look for it by: the template browser finds those that begin within the first 34 letters of its name. `words`
    are its prompts for the example pictures; `small` makes the blueprint with what only the miniature needs inside, and `settings` are the
    miniature's outside. `model` and `result` say where the loader and the finished picture stand.
    """

    blueprint: Callable[[], Subgraph]
    searched: str
    thumbnail_of: str
    what: str
    steps: tuple[str, ...]
    turn: str
    expect: str
    cannot: str
    connect: Callable[[Graph], dict[str, Output]]
    words: Mapping[str, str] = field(default_factory=dict)
    small: Callable[[], Subgraph] | None = None
    settings: Mapping[str, str | float] = field(default_factory=dict)
    model: Place = Place(column=0)  # noqa: RUF009
    result: Place = Place()  # noqa: RUF009


def graphs() -> list[Graph]:
    numbered = list(enumerate(TASKS, start=1))
    return [*(_easy(number, task) for number, task in numbered), *(_miniature(number, task) for number, task in numbered)]


def title(task: Callable[[], Subgraph]) -> str:
    """What the template of a blueprint is called."""
    name = task().title
    return next(f"{number} {name} ({own.searched})" for number, own in enumerate(TASKS, start=1) if own.blueprint().title == name)


def _easy(number: int, task: Easy) -> Graph:
    blueprint = task.blueprint()
    graph = Graph(f"{number} {blueprint.title} ({task.searched})", task.what, thumbnail_of=task.thumbnail_of)
    add_note(
        graph,
        ReadMe(
            blueprint.title,
            f"{task.what} {INSIDE}",
            SD15.name,
            steps=(f"Choose your checkpoint. {EXAMPLES}", *task.steps, "Press **Run**."),
            turn=task.turn,
            expect=task.expect,
            cannot=task.cannot,
        ),
    )
    _connected(graph, task, blueprint, load_checkpoint, size=SD15.side)
    return graph


def _miniature(number: int, task: Easy) -> Graph:
    blueprint = (task.small or task.blueprint)()
    graph = Graph(
        f"Try {number} {blueprint.title} (miniature)", f"{task.what} On a drawn world; runs on any machine.", thumbnail_of=task.thumbnail_of
    )
    add_note(
        graph,
        ReadMe(
            f"{blueprint.title}, on the miniature",
            f"Press **Run**. {task.what} {INSIDE}",
            SLOW_MINIATURE,
            turn=task.turn,
            expect=task.expect,
            cannot=task.cannot,
            more=f"The settings are this small model's, which knows this and nothing else: {KNOWS}. For "
            f"photographs open **{number} {blueprint.title}**.",
        ),
    )
    _connected(graph, task, blueprint, load_miniature, **{"size": SMALL_SIZE, **task.settings})
    return graph


def _connected(
    graph: Graph, task: Easy, blueprint: Subgraph, load_model: Callable[[Graph], Model], **settings: str | float | Output
) -> None:
    with graph.group("1 Model and pictures"):
        model = load_model(graph, at=task.model)
        if "clip" not in blueprint.kinds:
            settings["conditioning"] = empty_prompt(graph, model)
        pictures = task.connect(graph)
    with graph.group(f"2 {blueprint.title}"):
        result = place(graph, blueprint, model, **pictures, **task.words, **settings)
        first, *others = blueprint.exits
        saved = graph.add("SaveImage", title="2 result", at=task.result, images=result[first], filename_prefix="Graft")
        for name in others:
            graph.add("MaskPreview", title=f"3 {name}", mask=result[name])
    files = (node for node in graph.nodes if node.kind in ("CheckpointLoaderSimple", "LoadImage"))
    graph.app = App(form=(*files, result), results=(saved,))


def place(graph: Graph, blueprint: Subgraph, model: Model, **inputs: Output | str | float) -> Node:
    """The blueprint's node, on a model; one that takes no prompts is given the empty one."""
    if "clip" in blueprint.kinds:
        inputs["clip"] = model.clip
    elif "conditioning" not in inputs:
        inputs["conditioning"] = empty_prompt(graph, model)
    return graph.add(blueprint, model=model.unet, vae=model.vae, **inputs)


def empty_prompt(graph: Graph, model: Model) -> Output:
    return graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="", at=Place(column=0, width=300))[0]


def load(graph: Graph, title: str, file: str = EXAMPLE) -> Node:
    return graph.add("LoadImage", title=title, at=Place(column=0), image=file)


def _picture(file: str) -> Callable[[Graph], dict[str, Output]]:
    return lambda graph: {"picture": load(graph, "Your picture", file)["IMAGE"]}


def painted(graph: Graph) -> dict[str, Output]:
    loaded = load(graph, "Your picture: paint the object", EXAMPLE)
    return {"picture": loaded["IMAGE"], "mask": loaded["MASK"]}


def _placed(graph: Graph) -> dict[str, Output]:
    loaded = load(graph, "Your picture: paint where it goes", "graft_ink_meadow.png")
    reference = load(graph, "Your reference: paint the object", "graft_owl.png")
    return {"picture": loaded["IMAGE"], "where": loaded["MASK"], "reference": reference["IMAGE"], "object": reference["MASK"]}


def pasted(graph: Graph) -> dict[str, Output]:
    loaded = load(graph, "Your picture: paint where it goes", "graft_night.png")
    reference = load(graph, "Your reference: paint the object", "graft_teapot.png")
    together = graph.add(
        "GraftPasteObject",
        image=loaded["IMAGE"],
        reference=reference["IMAGE"],
        reference_mask=reference["MASK"],
        place=Choice("mask", mask=loaded["MASK"]),
    )
    return {"picture": together["pasted"], "mask": together["mask"]}


def _referred(graph: Graph) -> dict[str, Output]:
    picture = load(graph, "Your picture", "graft_green_apple.png")
    reference = load(graph, "Your reference: paint the object", "graft_red_apple.png")
    return {"picture": picture["IMAGE"], "reference": reference["IMAGE"], "reference_mask": reference["MASK"]}


def _mixed(graph: Graph) -> dict[str, Output]:
    look, content = load(graph, "The look", "graft_house.png"), load(graph, "The content", EXAMPLE)
    return {"look": look["IMAGE"], "content": content["IMAGE"]}


TASKS = (
    Easy(
        blueprints.remove_object,
        "erase, inpaint",
        REMOVAL,
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
        painted,
        words={
            "what_it_shows": "a 3-D render of a red car on a shore by day",
            "without_the_object": "a 3-D render of an empty shore by day",
        },
        small=lambda: blueprints.remove_object(polish=60),
        settings={"grow_mask": 3, "soft_edge": 2, "iterations": 100, "guidance": 1.5, **RULE},
    ),
    Easy(
        blueprints.edit_by_prompt,
        "restyle",
        free_prompt_editing.MINIATURE,
        "Changes what a picture shows by a prompt, and keeps its layout.",
        ("Choose your picture.", "Write what the new picture shows. The old picture needs no prompt."),
        "*keep_layout*. **Too little changes?** Lower it. **The layout is lost?** Raise it.",
        "the same composition with another thing, material, season or style in it.",
        "move things. To change a part only, connect a *mask*: outside it your picture stays to the bit.",
        _picture("graft_house.png"),
        words={"what_it_should_show": "a 3-D render of a yellow house in snow by day"},
        small=lambda: blueprints.edit_by_prompt(layers="all"),
        settings={"steps": 25, "cfg": 5.0, "keep_layout": 0.5},
    ),
    Easy(
        blueprints.swap_word,
        "prompt-to-prompt",
        prompt_to_prompt.MINIATURE,
        "Changes a word of a picture's prompt, adds words, or makes a word count more or less; the rest of the picture stays.",
        (
            "Choose your picture, and write what it shows.",
            "Write what it should show: *refine* adds or changes words, *replace* needs as many words as there were.",
            "Write the words that go into *old_words*, and what comes in their place into *new_words*. To make a word count more, write it in both, and "
            "into *word_weights*, for example: snow: 3.",
        ),
        "*threshold* and *keep_shape*. **Too little changes?** Lower both. **The rest changes too?** Raise *threshold*, or connect a *mask*.",
        "the named words' place changed, the rest nearly as it was; outside a *mask* to the bit.",
        "move things, or find words that the prompt does not have.",
        _picture("graft_mushroom.png"),
        words={
            "what_it_shows": "a 3-D render of a red mushroom and a rabbit on a meadow by day",
            "what_it_should_show": "a 3-D render of a blue mushroom and a rabbit on a meadow by day",
            "old_words": "mushroom",
            "new_words": "mushroom",
        },
        small=lambda: blueprints.swap_word(**prompt_to_prompt.SMALL, cfg=prompt_to_prompt.SMALL_CFG),
        settings={"mode": "replace", "steps": 25},
    ),
    Easy(
        blueprints.place_object,
        "insert",
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
        words={"what_it_should_show": "an ink drawing of a snowman and an owl on a meadow by day"},
        small=lambda: blueprints.place_object(surround="average colour"),
        settings={"cfg": 2.5, "soft_edge": 1},
    ),
    Easy(
        blueprints.harmonise,
        "blend",
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
        pasted,
        words={"what_it_shows": "a 3-D render of a yellow teapot on a meadow at night"},
        small=lambda: blueprints.harmonise(**RULE),
        settings={"iterations": 80, "guidance": 2.0, "grow_mask": 8, "soft_edge": 2},
        model=Place(column=1, row=-1),
        result=Place(column=0, row=1),
    ),
    Easy(
        blueprints.edit_with_reference,
        "replace by example",
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
        words={
            "what_it_shows": specref.SMALL.source,
            "what_it_should_show": specref.SMALL.target,
            "old_words": specref.SMALL.places[0],
            "new_words": specref.SMALL.places[1],
        },
        small=lambda: blueprints.edit_with_reference(
            **{name: getattr(specref.SMALL, name) for name in ("mode", "start", "layers", "self_layers", "blend_threshold", "background")}
        ),
        settings={"keep_shape": 0.8, "threshold": 0.5, "word_map_grid": "half", "steps": 25, "cfg": 3.5},
    ),
    Easy(
        blueprints.mix,
        "style transfer",
        MIXED_SCENES,
        "Gives a picture the content of another one, and keeps its look.",
        ("Choose two pictures: one for the look, one for the content. Faces with faces, rooms with rooms.",),
        "*amount_of_content*, if there is too little; above 0.6 or so pictures get distorted.",
        "with Stable Diffusion very little, as its bottleneck holds little; the method was made for pixel-space models of one kind "
        "of picture. For those put **Load Pixel Diffusion** in place of the checkpoint and the prompt, and set *size* to 256.",
        "carry small things or colours over.",
        _mixed,
        settings={"steps": 25, "amount_of_content": 1.0},
    ),
    Easy(
        blueprints.find_unnatural,
        "detect a paste",
        unnaturalness.MINIATURE,
        "Shows where a model does not believe a picture: pasted objects, seams, wrong shadows.",
        ("Choose your picture. A prompt is not needed.",),
        unnaturalness.KNOBS,
        "a glow where the model would change more than the noise explains.",
        unnaturalness.PROOF,
        _picture("graft_pasted_robot.png"),
    ),
)
