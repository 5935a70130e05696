"""SpecRef: the eight published edits of a picture after a reference picture with an SD1.5 checkpoint,
one of them with SDXL too, and one on the miniature."""

from __future__ import annotations

from dataclasses import dataclass

from graph import Choice, Graph, Group, Output, Place

from . import (
    SD15,
    Checkpoint,
    Drawn,
    Model,
    draw,
    encode,
    invert,
    load_checkpoint,
    load_miniature,
    load_picture,
    load_square,
    sample,
    show_enlarged,
    steps_of,
)
from .notes import MINIATURE as MINIATURE_MODEL
from .notes import ReadMe, add_note, paint

MINIATURE = "SpecRef (miniature)"


@dataclass(frozen=True)
class Case:
    """An edit and its settings, by default those of the published scripts for SD1.4 at 512 px.

    `picture` and `reference` say what the two pictures show. Self-attention is let go at `self_end`, reference attention begins at
    `start`, parts of the steps. `places` are the words of the source's and the target's prompt whose place may change, `kept` those
    of both whose place may not.
    """

    name: str
    picture: str
    reference: str
    source: str
    target: str
    mode: str
    self_end: float
    start: float
    threshold: float
    words: str
    places: tuple[str, str]
    masked: bool = False
    interpolation: str = "bilinear"
    layers: Choice = Choice("paper")  # noqa: RUF009
    word_weights: str = ""
    kept: str = ""
    kept_threshold: float = 0.3
    blend_threshold: float = 0.3
    background: str = "the source's own step"
    self_layers: str = "paper"
    grid: str = "quarter (paper)"
    steps: int = 50
    cfg: float = 7.5


CASES = (
    Case(
        "cat to dog",
        "a cat beside a mirror",
        "a dog",
        "a cat sitting next to a mirror",
        "a dog sitting next to a mirror",
        "replace",
        self_end=0.6,
        start=0.08,
        threshold=0.5,
        words="dog",
        places=("cat", "dog"),
        masked=True,
        interpolation="nearest",
    ),
    Case(
        "cat to tiger",
        "a cat beside a mirror",
        "a tiger",
        "a cat sitting next to a mirror",
        "a tiger sitting next to a mirror",
        "replace",
        self_end=0.5,
        start=0.08,
        threshold=0.5,
        words="tiger",
        places=("cat", "tiger"),
        masked=True,
    ),
    Case(
        "clothes after a shirt",
        "two dogs in red checkered shirts",
        "a blue shirt",
        "two dogs wearing red clothes",
        "two dogs wearing blue clothes",
        "replace",
        self_end=0.8,
        start=0.08,
        threshold=0.3,
        words="blue",
        places=("red, clothes", "blue"),
        # The published script leaves the reference's mask out, its published picture does not look as if it had.
        masked=True,
    ),
    Case(
        "lake to bedroom",
        "two dogs on a board, a lake behind them",
        "a bed in a bedroom",
        "two dogs standing on a board, lake behind",
        "two dogs standing on a mattress, in the bedroom",
        "refine",
        self_end=0.5,
        start=0.16,
        threshold=0.2,
        words="mattress, bedroom",
        places=("board, lake", "mattress, bedroom"),
    ),
    Case(
        "plaid dress",
        "a person in a white dress who reads on a bench",
        "a plaid dress",
        "A person, wearing white dress, sitting on the bench, reading a book",
        "A person, wearing colorful plaid dress, sitting on the bench, reading a book",
        "refine",
        self_end=0.6,
        start=0.6,
        threshold=0.32,
        words="colorful, plaid, dress",
        places=("white, dress", "colorful, plaid, dress"),
        layers=Choice("custom", custom_layers="14-15"),
    ),
    Case(
        "cushion to cake",
        "a toy rabbit on a cushion",
        "a birthday cake",
        "A human-like toy is sitting on a cushion",
        "A human-like toy is sitting on a birthday cake",
        "refine",
        self_end=0.6,
        start=0.08,
        threshold=0.3,
        words="cake",
        places=("cushion", "cake"),
        # The published script names "human" too, which matches no word: it is "human-like".
        kept="toy",
        kept_threshold=0.45,
    ),
    Case(
        "vase after another",
        "a vase of flowers",
        "another vase",
        "a vase of flowers",
        "a vase of flowers",
        "refine",
        self_end=0.4,
        start=0.08,
        threshold=0.45,
        words="vase",
        places=("vase", "vase"),
        masked=True,
        word_weights="vase: 2",
    ),
    Case(
        "carnations to other flowers",
        "a vase of carnations",
        "flowers",
        "a vase of carnation",
        "a vase of flowers",
        "refine",
        self_end=0.5,
        start=0.9,
        threshold=0.5,
        words="flowers",
        places=("carnation", "flowers"),
        masked=True,
    ),
)

SMALL = Case(
    "apple after another",
    "a green apple",
    "a red apple",
    "a 3-D render of an apple in snow by day",
    "a 3-D render of an apple in snow by day",
    "replace",
    self_end=0.8,
    start=0.4,
    threshold=0.5,
    words="apple",
    places=("apple", "apple"),
    masked=True,
    layers=Choice("all"),
    self_layers="all",
    grid="half",
    blend_threshold=0.7,
    background="the source's trajectory",
    steps=25,
    cfg=3.5,
)
"""The miniature's own settings: its pictures are far smaller than those that the paper's were found on."""


def graphs() -> list[Graph]:
    return [*(_published(number, case) for number, case in enumerate(CASES, start=1)), _miniature()]


@dataclass(frozen=True)
class Inverted:
    """Both trajectories, the prompts they were made with (that of the reference is empty), and their box."""

    picture: Output
    reference: Output
    source: Output
    empty: Output
    box: Group


def _published(number: int, case: Case, checkpoint: Checkpoint = SD15) -> Graph:
    """The settings of the published script: SD1.4 at 512 px, 50 DDIM steps, guidance 7.5."""
    graph = Graph(
        f"SpecRef {number} {case.name}",
        f"Edit a picture by prompt, with the look of a reference picture: {case.name}.",
        thumbnail_of=MINIATURE,
    )
    add_note(graph, _read_me(case, checkpoint))
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, checkpoint.file)
        # The published script stretches pictures to a square. What is square already is the same cut; what is not keeps its shapes.
        picture = load_picture(graph, "Your picture", checkpoint.side)
        reference, painted = load_square(graph, "Your reference", checkpoint.side)
        graph.add("PreviewImage", title="1 input", images=picture, at=Place(column=1))
        graph.add("PreviewImage", title="2 reference", images=reference, at=Place(column=1))
    inverted = invert_both(graph, model, case, picture, reference)
    with graph.group("3 Edit", below=inverted.box):
        result = edit(graph, model, case, inverted, painted)
        graph.add("SaveImage", title="3 result", images=result, filename_prefix="Graft/specref")
    return graph


def _read_me(case: Case, checkpoint: Checkpoint) -> ReadMe:
    masking = (
        f"{paint('the reference', 'over the object')} A cut-out PNG: put **Invert Mask** between. Without either nothing of the reference is seen."
        if case.masked
        else "All of the reference is seen. To show only a part, connect **Resize the mask** to *reference_mask* of Reference Attention. "
        f"{paint('the reference', 'over the part')}"
    )
    return ReadMe(
        f"SpecRef: {case.name}",
        "Edits a picture by a prompt; what the prompt changes takes its look from a reference picture. "
        f"In the published example the picture shows {case.picture}, the reference {case.reference}.",
        checkpoint.name,
        steps=(
            f"Choose your checkpoint, your picture and your reference. Both are cut to a square of {checkpoint.side} pixels, with what is painted "
            "on them: crop them yourself where that leaves something out.",
            masking,
            "Write what your picture shows and what it should show. Other words? Name them in **Reference Attention** and **Local Blend** too.",
            "Press **Run**.",
        ),
        turn="*threshold* of Reference Attention. **Too little, or too much, of the picture takes the reference's look?** Lower, or raise, it. "
        "**The new object keeps too much of the old one's shape?** Lower *end_percent* of Cross-Attention Control. "
        "**The reference disturbs the shape?** Raise *start_percent* of Reference Attention: later steps bring colour and texture only.",
        expect="the words' place in the reference's colours and texture, the rest nearly as it was. "
        "It works best where object and reference have a similar place, size and shape.",
        cannot="copy lettering or a face, change what no word names, or bring a reference of another size and place over whole: parts come out twice.",
        more="The settings are those of the published example.",
    )


def _miniature() -> Graph:
    graph = Graph(
        MINIATURE,
        "Give an object of a drawn scene the look of another one; runs in seconds on any machine.",
        thumbnail=("1 input", "2 reference", "3 result"),
    )
    add_note(
        graph,
        ReadMe(
            "SpecRef on the miniature",
            "The prompts say *apple* and no colour; the reference says which. A third scene draws what should come out: "
            "compare **3 result** with **4 ground truth**.",
            MINIATURE_MODEL,
            turn="another colour of the reference, then *threshold* and *start_percent* of Reference Attention. "
            "**Too little takes the look?** Lower both.",
            expect="the picture's apple in the reference's colour, on its own ground. "
            "It works best where object and reference have a similar place, size and shape.",
            cannot="take the look whole in every scene: in some the object takes only a part of it, or moves a little; the evaluation counts how often.",
            more="*layers* is *all* and *word_map_grid* is *half* here: the paper's rules are made for pictures of 512 pixels.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        picture, reference, truth = (
            draw(graph, Drawn("apple", colour, size=0.52), title=title, ground=ground)
            for title, colour, ground in (("Picture", "green", "snow"), ("Reference", "red", "meadow"), ("Ground truth", "red", "snow"))
        )
        show_enlarged(graph, picture["picture"], "1 input")
        show_enlarged(graph, reference["picture"], "2 reference")
        show_enlarged(graph, truth["picture"], "4 ground truth")
    inverted = invert_both(graph, model, SMALL, picture["picture"], reference["picture"])
    with graph.group("3 Edit", below=inverted.box):
        result = edit(graph, model, SMALL, inverted, reference["object_mask"])
        show_enlarged(graph, result, "3 result", save_as="Graft/specref")
    return graph


def invert_both(graph: Graph, model: Model, case: Case, picture: Output, reference: Output) -> Inverted:
    with graph.group("2 Invert both") as box:
        source = encode(graph, model, "What your picture shows", case.source)
        empty = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="")[0]
        sigmas = steps_of(graph, model, case.steps)
        of_picture = invert(graph, model, picture, source, sigmas, title="Invert your picture")
        of_reference = invert(graph, model, reference, empty, sigmas, title="Invert your reference")
    return Inverted(of_picture, of_reference, source, empty, box)


def edit(graph: Graph, model: Model, case: Case, inverted: Inverted, mask: Output) -> Output:
    """The edited picture. Prompt-to-Prompt keeps the layout, the reference gives the look, Local Blend keeps the rest."""
    target = encode(graph, model, "What it should show", case.target)
    stream = {"source": inverted.picture, "source_conditioning": inverted.source}
    edited = graph.add(
        "GraftCrossAttentionControl", model=model.unet, **stream, mode=case.mode, end_percent=0.8, word_weights=case.word_weights
    )
    edited = graph.add(
        "GraftReplaceSelfAttention", model=edited["model"], **stream, end_percent=case.self_end, layers=Choice(case.self_layers)
    )
    edited = graph.add(
        "GraftReferenceAttention",
        model=edited["model"],
        reference=inverted.reference,
        reference_conditioning=inverted.empty,
        target_words=case.words,
        threshold=case.threshold,
        interpolation=case.interpolation,
        start_percent=case.start,
        layers=case.layers,
        word_map_grid=case.grid,
        **({"reference_mask": mask} if case.masked else {}),
    )
    edited = graph.add(
        "GraftLocalBlend",
        model=edited["model"],
        **stream,
        source_words=case.places[0],
        target_words=case.places[1],
        threshold=case.blend_threshold,
        subtract_source_words=case.kept,
        subtract_target_words=case.kept,
        subtract_threshold=case.kept_threshold,
        start_percent=0.2,
        background=case.background,
        word_map_grid=case.grid,
    )
    return sample(graph, model, edited["model"], inverted.picture, target, inverted.empty, case.cfg)
