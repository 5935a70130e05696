"""The shipped workflows, described in the language of graph.py: one file per method.

Each file has `graphs()`, which returns its workflows. build_workflows.py finds the files by itself.
"""
