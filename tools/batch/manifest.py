"""Opens a manifest, whatever its format, and says which it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hosting.quickstart_error import QuickstartError

from .readers import Reader, complex_compo, flow_edit, folder, json_lines, pie_bench, table, tf_icon

FORMATS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Reader]]] = {
    "PIE-Bench": (pie_bench.fits, pie_bench.PieBench),
    "FlowEdit": (flow_edit.fits, flow_edit.FlowEdit),
    "ComplexCompo": (complex_compo.fits, complex_compo.ComplexCompo),
    "TF-ICON": (tf_icon.fits, tf_icon.TfIcon),
    "JSON lines": (json_lines.fits, json_lines.JsonLines),
    "table": (table.fits, table.Table),
    "folder": (folder.fits, folder.Folder),
}
"""Name of each format, whether a path is one, and what reads it. The first that fits is taken."""


def open_manifest(path: Path, format: str | None = None) -> Reader:
    """The reader of a manifest. QuickstartError for a path that is not there or that no format fits."""
    if not path.exists():
        raise QuickstartError(f"There is no manifest {path}.")
    for name, (fits, reader) in FORMATS.items():
        if format == name or (format is None and fits(path)):
            return reader(path.absolute())
    raise QuickstartError(
        f"{path} is no manifest: it is neither JSON lines (.jsonl) nor a table (.csv, .tsv), nor a folder of pictures, nor a benchmark "
        f"({', '.join(list(FORMATS)[:4])})."
    )
