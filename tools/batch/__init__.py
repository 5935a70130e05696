"""Any workflow over a manifest: rows in, pictures and a record out, on one server or many.

A manifest (`manifest`, `readers`) gives rows; `workflow` puts a row's values into a prompt; `scheduler` hands prompts to the workers of a
back end (`local`, `servers`, `ray_cluster`), each behind `submit(job)`; `outputs` and `record` keep what came back.
"""
