"""Reasoning tasks: problems whose gold reasoning tree is known.

``task`` holds the ``Task`` protocol, what tasks in words share, and the registry; ``examples``,
``trees`` what a problem is; ``ksmallest``, ``proofwriter``, ``science``, ``custom`` are the tasks;
``corruptions`` change what is told, ``textbaseline`` says what the text alone shows, ``words`` what
a word is, ``jsonl`` and ``check`` read files. Nothing here knows a model.
"""
