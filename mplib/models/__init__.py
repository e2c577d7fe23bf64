"""Models: loading, prompts, and the attention backend that reads and changes any decoder.

``loading`` turns names into models and models into random twins; ``prompts`` and ``fewshot`` write
problems down with token spans; ``attention`` is the backend inside the layers, ``passes`` runs it
batch by batch, ``inference`` gives features and answers, ``memory`` halves batches, ``cost``
estimates. No task is known here.
"""
