"""Workflows described in Python: build the editor's JSON, turn it back into a prompt, check it against a live schema.

The language, by example:

    from graph import Choice, Graph, Place

    graph = Graph("Text to image", description="A picture from a prompt.")
    graph.note("## Text to image\\nWrite a prompt, press **Run**.", title="Read me")

    with graph.group("1 Model and prompt"):
        model = graph.add("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly.safetensors")
        prompt = graph.add("CLIPTextEncode", title="Prompt", clip=model["CLIP"], text="a cat")
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model["CLIP"], text="")
    with graph.group("2 Sample"):
        latent = graph.add("EmptyLatentImage", width=512, height=512)
        sampled = graph.add(
            "KSampler", model=model["MODEL"], positive=prompt[0], negative=negative[0], latent_image=latent[0], steps=20, seed=7
        )
        picture = graph.add("VAEDecode", samples=sampled[0], vae=model["VAE"])
        graph.add("SaveImage", title="1 result", images=picture[0], filename_prefix="result")

- `add(kind, title=..., at=..., **inputs)`: an input is a constant or an output of an earlier node, `node["NAME"]` or `node[0]`.
  A name is the input's id in the schema. Widgets that are not named get their default, sockets that are not named stay open.
- A DynamicCombo takes `Choice("key", strength=0.7, mask=other["MASK"])`; an Autogrow takes a list of outputs (or a dictionary by name).
- Nodes of a `with graph.group(...) as box` block stand in one titled box. Boxes follow one another from left to right in the order in which
  they begin; `graph.group(title, below=box)` puts a box under an earlier one instead. Nodes outside groups form boxes without a frame.
- In a box a node stands one column right of the nodes it reads from. `at=Place(column=..., row=...)` moves it, `Place(width=..., height=...)`
  sizes it (pixels of the editor at zoom 1). Nodes never overlap, wherever they are put: a column is a stack, sorted by row.
- `note(text)` is Markdown. A note outside groups stands left of what follows; inside a group it heads the first column.
- Nodes that make or read pictures get room for them. Titles of Save and Preview nodes name the pictures in the demo and the thumbnail, which
  take them in natural order: "1 input", "2 result", "3 ground truth".
- A `Subgraph("Title")` is a graph that is placed in others as one node: `graph.add(subgraph, picture=...)`. Within it
  `subgraph.input("steps", 50)` stands for what is linked or set outside, `subgraph.output("picture", picture[0])` leads out.
- `graph.app = App(form=(loader, ...), results=(saved, ...))` says what the editor's view of apps shows of a workflow.
- `Graph(..., thumbnail=("1 input", "2 result"))` picks the pictures of the thumbnail by title; `thumbnail_of="Other workflow"` borrows the
  thumbnail of a workflow that can run where this one cannot. Both together pick from the other workflow's pictures.

`to_workflow` builds the JSON, `to_prompt` is its inverse for running without an editor, `to_svg` draws it, `check` lists what a live schema (the reply of
the server's /object_info) would not accept.
"""

from .drawing import to_svg
from .editor import to_workflow
from .language import EDITOR_ONLY, App, Choice, Graph, Group, Node, ObjectInfo, Output, Place, Subgraph
from .prompt import to_prompt, without_titles
from .schema_check import FILE_SUFFIXES, FOLDERS, check

__all__ = [
    "EDITOR_ONLY",
    "FILE_SUFFIXES",
    "FOLDERS",
    "App",
    "Choice",
    "Graph",
    "Group",
    "Node",
    "ObjectInfo",
    "Output",
    "Place",
    "Subgraph",
    "check",
    "to_prompt",
    "to_svg",
    "to_workflow",
    "without_titles",
]
