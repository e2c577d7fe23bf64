# Which notebook needs which results. Snakemake orders, skips, retries and distributes the runs;
# `python -m mplib run` is the unit and works alone too.
import json
import sys

from mplib.pipeline import plan, read_profile

THREADS = read_profile(config["profile"]).get("threads", workflow.cores)
JOBS = plan(config["profile"])
TRAINED = {folder for job in JOBS if job.writes_checkpoint for folder in job.checkpoints}


rule all:
    input:
        [job.folder / "executed.ipynb" for job in JOBS],


for job in JOBS:
    trained = [folder / "training.json" for folder in job.checkpoints if folder in TRAINED]

    rule:
        name:
            job.name
        input:
            job.notebook.path,
            [] if job.writes_checkpoint else trained,
        output:
            job.folder / "executed.ipynb",
            # A new training replaces the checkpoint only when it is done.
            [update(path) for path in trained] if job.writes_checkpoint else [],
        params:
            # A function, since braces in plain strings are wildcards.
            values=lambda _, job=job: json.dumps(job.parameters),
            notebook=job.notebook.name,
            threads=THREADS,
        threads: THREADS
        shell:
            "OMP_NUM_THREADS={params.threads} {sys.executable} -m mplib run {params.notebook}"
            " --params {params.values:q} --force >/dev/null"
