"""Putting a reference picture into a main picture: where it lies, and the noise that sampling starts from.

Everything is at the main picture's size and place, so a cell of the reference is the same cell of the main picture. torch only.
"""
