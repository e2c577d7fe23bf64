"""The published algorithm, written anew as plain loops, beside ours."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")  # the table is all that is printed
