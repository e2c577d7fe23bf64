# Which notebook needs which results. Snakemake orders, retries and distributes the runs; which of
# them are due is told to it. `python -m mplib run` is the unit and works alone too.
import json
import sys
from urllib.parse import unquote

from mplib.files import home
from mplib.runs.profiles import Profile

# Snakemake reads settings as YAML, which would cut a name such as `a #b.yaml`.
PROFILE = Profile.read(unquote(config["profile"].removeprefix("name:")))
THREADS = PROFILE.threads or config["threads"]
MADE = {path for job in PROFILE.jobs for path in (job.executed, *job.makes)}
FORCE = "--force" if config.get("force") else ""


def place(path):
    """As Snakemake's own folder sees it: braces in the name of a home would be wildcards."""
    return str(path.relative_to(home()) if path.is_relative_to(home()) else path)


rule all:
    input:
        [place(job.executed) for job in PROFILE.jobs],


for job in PROFILE.jobs:

    rule:
        name:
            job.name
        input:
            [place(path) for path in job.inputs if path in MADE],
        output:
            # `update`, or Snakemake would remove a finished run before it asks for it again: the
            # runner itself knows what is finished, and a new training replaces the checkpoint
            # only when it is done.
            [update(place(path)) for path in (job.executed, *job.makes)],
        params:
            # A function, since braces in plain strings are wildcards.
            values=lambda _, job=job: json.dumps(job.parameters),
            notebook=job.notebook.name,
            threads=THREADS,
        threads: THREADS
        # What others wait for goes first.
        priority: int(bool(job.makes))
        resources:
            # Not gpu=0, which some executors refuse.
            **({"gpu": PROFILE.gpus} if job.computes and PROFILE.gpus else {}),
        shell:
            "OMP_NUM_THREADS={params.threads} {sys.executable:q} -m mplib run {params.notebook}"
            " --params {params.values:q} --no-cost {FORCE} >/dev/null"
