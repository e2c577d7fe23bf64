"""Models: loading, prompts, and the attention backend that reads and changes any decoder.

``loading`` turns names into models and models into random twins; ``prompts`` and ``fewshot`` write
problems down with token spans; ``attention`` is the backend inside the layers, ``facts`` looks at a
model before it is read, ``passes`` runs it batch by batch, ``inference`` gives features and
answers, ``check`` tries every promise, ``memory`` halves batches, ``cost`` estimates. No task is
known here.
"""
