"""The second edition of the tabletop scenes: crowded ones, with tasks that make a model look.

MuJoCo is imported with render.py, when a scene is first rendered.
"""
