"""Notebooks as files with parameters: planned from profiles, run, and made into a book.

``notebooks`` and ``parameters`` are what a notebook asks for and tells of itself, ``profiles``
what is to be run and in what state it is. ``runner`` runs one, ``engine`` all of a profile;
``record`` is what a notebook writes results with, ``pages`` makes the book, ``cost`` an estimate.
``clean`` removes what all of them made; ``gpus`` and ``lab`` lend GPUs and open JupyterLab.
Nothing here knows the science: notebooks and the command line bring it.
"""
