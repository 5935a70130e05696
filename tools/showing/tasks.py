"""What the workflows are for, by the nodes that do it: the contents of the demo's page."""

from __future__ import annotations

from dataclasses import dataclass

from showing.demo_workflows import Workflow


@dataclass(frozen=True)
class Task:
    """What an artist wants. `nodes` are the classes that do it, any of them; `choice` is the value of a widget that has to go with it."""

    title: str
    nodes: frozenset[str]
    choice: str = ""

    def is_done_by(self, workflow: Workflow) -> bool:
        """Whether the workflow does it."""
        doing = [node for node in workflow.nodes if node["type"] in self.nodes]
        return any(not self.choice or self.choice in (node.get("widgets_values") or []) for node in doing)


TASKS = (
    Task("Remove an object", frozenset({"GraftOptimizeLatent"}), "removal"),
    Task("Put an object into another picture", frozenset({"GraftCompositeAttention"})),
    Task("Make a pasted object belong", frozenset({"GraftOptimizeLatent"}), "harmonisation"),
    Task("Edit with a reference picture", frozenset({"GraftReferenceAttention"})),
    Task("Swap a word", frozenset({"GraftCrossAttentionControl"})),
    Task("Change a picture by words", frozenset({"GraftReplaceSelfAttention", "GraftReplaceKeysAndValues"})),
    Task("Compose by text or by a sketch", frozenset({"GraftOptimizeLatent"})),
    Task("Mix content and look", frozenset({"GraftMixHSpace"})),
    Task("See where a picture looks unnatural", frozenset({"GraftUnnaturalnessMap"})),
)
"""In the order of the page. A workflow that does several is found under the first."""

OTHER = "Look inside"


def task_of(workflow: Workflow) -> str:
    """The title of the task under which a workflow is shown."""
    return next((task.title for task in TASKS if task.is_done_by(workflow)), OTHER)
