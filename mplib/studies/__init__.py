"""Studies: one question about a model each, answered as tidy tables and arrays.

``finetune`` (with ``training_state`` and ``checkpoints``) trains, ``film`` watches; ``heads``,
``knockout``, ``patching`` and ``flow`` are the causal study; ``layers`` selects layers;
``language`` and ``language_tables`` ask examples in words; ``corruption`` and ``robustness`` change
what is told; ``ruler`` holds the probe to models whose way is known; ``about`` says what a run
costs and needs.

>>> from mplib.studies import knockout
>>> knockout.windows(layers=3, sizes=[2])
[(1, 2), (2, 3)]
"""
