"""Free-Prompt-Editing: of a picture and of a generation with an SD1.5 checkpoint, and of a drawn scene with the miniature."""

from __future__ import annotations

from graph import Choice, Graph, Group, Output, Place

from . import Model, invert, load_checkpoint, load_miniature, record, sample, show_enlarged, steps_of

REAL = "Free-Prompt-Editing"
SYNTHETIC = "Free-Prompt-Editing of a generation"
MINIATURE = "Free-Prompt-Editing (miniature)"


def graphs() -> list[Graph]:
    return [_real(), _synthetic(), _miniature()]


def _real() -> Graph:
    """The paper's settings for real pictures: SD1.5 at 512 px, 50 DDIM steps, guidance 7.5, the first 80 % of the steps."""
    graph = Graph(REAL, "Edit a picture by prompt and keep its layout.", thumbnail_of=MINIATURE)
    graph.note(
        "## Free-Prompt-Editing\n"
        "Edits a picture by a prompt and keeps its layout.\n\n"
        "1. Choose your checkpoint (SD1.x or SD2.x) and your picture.\n"
        "2. Write into **What it should show** what the new picture shows. The old picture needs no prompt.\n"
        "3. Press **Run**.\n\n"
        "**Too little changes?** Lower *end_percent* of Replace Self-Attention. **The layout is lost?** Raise it.\n\n"
        "The picture is inverted once; another prompt only costs the sampling.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph)
        loaded = graph.add("LoadImage", title="Your picture", at=Place(column=0), image="example.png")
        picture = graph.add(
            "ImageScale", image=loaded["IMAGE"], upscale_method="lanczos", width=512, height=512, crop="center", at=Place(column=1)
        )
        graph.add("PreviewImage", title="1 input", images=picture["IMAGE"], at=Place(column=1))
    trajectory, empty, inverted = inversion(graph, model, picture["IMAGE"], steps=50)
    with graph.group("3 Edit", below=inverted):
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text="a red car")
        result = edit(graph, model, trajectory, empty, target[0], empty, cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/free-prompt-editing")
    return graph


def _synthetic() -> Graph:
    """The paper's variant for generated pictures: source and target start from the same noise."""
    graph = Graph(SYNTHETIC, "Change what a generated picture shows and keep its layout.", thumbnail_of=MINIATURE)
    graph.note(
        "## Free-Prompt-Editing of a generation\n"
        "Generates a picture from one prompt, then a second picture with the same layout from another.\n\n"
        "1. Choose your checkpoint (SD1.x or SD2.x).\n"
        "2. Write both prompts, and press **Run**.\n\n"
        "**Too little changes?** Lower *end_percent* of Replace Self-Attention (0.4 is often enough here).",
        title="Read me",
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
    graph = Graph(MINIATURE, "Recolour an object of a drawn scene by prompt; runs in seconds on any machine.")
    graph.note(
        "## Free-Prompt-Editing on the miniature\n"
        "Runs on the small model that comes with Graft: nothing to download, seconds on any machine.\n\n"
        "**Miniature Scene** draws a picture, its prompt, and what the picture should look like after the *change*.\n\n"
        "Mostly the object stays where it is and keeps its shape. Sometimes it moves: the noisiest steps decide where it stands, "
        "before there is a layout to keep. The evaluation counts how often.\n\n"
        "*layers* is *all* here: the paper's rule leaves out the finest token grid, and on pictures this small that is the one that holds the layout.\n\n"
        "Try another *change*, or unplug the text of **What it should show** and write your own: "
        "colours red, blue, green ..., shapes ball, cube, cone, star, grounds grass, sand, snow, night.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene = graph.add(
            "GraftMiniatureScene",
            first_shape="cube",
            first_colour="yellow",
            first_x=0.55,
            first_y=0.75,
            first_size=0.18,
            change=Choice("recolour", new_colour="red"),
            at=Place(column=0),
        )
        show_enlarged(graph, scene["picture"], "1 input")
        show_enlarged(graph, scene["ground_truth"], "3 ground truth")
    trajectory, empty, inverted = inversion(graph, model, scene["picture"], steps=25)
    with graph.group("3 Edit", below=inverted):
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text=scene["ground_truth_prompt"])
        result = edit(graph, model, trajectory, empty, target[0], empty, cfg=2.5, layers="all")
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
