"""The world of recognisable things: typed scenes, their prompts and counterfactuals, and four styles to draw them in.

`scene` says what is in a picture, `things` how each thing is built of parts, `styles` how parts become paint, and
`rendering.render` makes the picture and its masks. numpy and Pillow only.
"""
