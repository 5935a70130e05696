"""What is made and measured now and then: `python tools NAME [...]`; each NAME has its own --help.

Needs the environment that ComfyUI runs in; ComfyUI's folder comes from --comfyui or COMFYUI_PATH.
"""

import runpy
import sys

COMMANDS = {
    "bench": "benchmark",
    "build_help": "texts",
    "build_workflows": "building",
    "cases": "evaluation",
    "coverage": "checking",
    "editor_pictures": "pictures",
    "example_pictures": "pictures",
    "full_size": "benchmark",
    "growth": "benchmark",
    "help_pictures": "pictures",
    "host_functions": "building",
    "mutants": "checking",
    "processors": "checking",
    "publishing": "checking",
    "registry_pictures": "pictures",
    "random_checkpoint": "benchmark",
    "reliability": "checking",
    "scale": "batch",
    "schema_snapshot": "building",
    "screenshot": "pictures",
    "things": "pictures",
    "throughput": "batch",
    "train_miniature": "training",
}
"""The folder of each command."""

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"{__doc__}\nNAME is one of: {', '.join(COMMANDS)}.")
    name = sys.argv.pop(1)
    runpy.run_module(f"{COMMANDS[name]}.{name}", run_name="__main__", alter_sys=True)
