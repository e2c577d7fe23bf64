"""Notebooks as files with parameters: planned from profiles, run, and made into a book.

``notebooks`` knows their parameters and what they tell about themselves, ``profiles`` what is to
be run and what state it is in, ``runner`` runs one, ``engine`` all of a profile, ``record`` is what
a notebook writes its results with, ``pages`` makes the book, ``cost`` tells the cost beforehand.
Nothing here knows the science: notebooks and the command line bring it.
"""
