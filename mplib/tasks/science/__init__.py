"""Science questions with human-made trees, and questions of a user's own.

``Science`` (in ``task``) is what a study asks, ``Own`` (in ``own``) a whole file at once.
``formats`` reads STREET and EntailmentBank. This project's own questions lie in
``mplib/data/science.jsonl``; a user's own files are read by ``mplib.tasks.custom``.
"""

from mplib.tasks.science.own import Own
from mplib.tasks.science.task import Science
