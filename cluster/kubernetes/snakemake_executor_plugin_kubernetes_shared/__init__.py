"""Snakemake's Kubernetes executor, for pods that share a folder.

The plugin takes for granted that pods share nothing: it asks for object storage and moves every
input and output through it. Here all pods mount one volume, and runs write more than their outputs.
"""

import os
import shlex
from dataclasses import replace

import snakemake_executor_plugin_kubernetes as unshared
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

common_settings = replace(
    unshared.common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
)

# A class of its own, since Snakemake writes the plugin's name into the options' names.
ExecutorSettings = type("ExecutorSettings", (unshared.ExecutorSettings,), {})


class Executor(unshared.Executor):
    """Starts every job where Snakemake itself runs, not in the pod's empty ``/workdir``."""

    def get_job_exec_prefix(self, job: JobExecutorInterface) -> str:
        """What is done in a pod before Snakemake is called there."""
        return f"cd {shlex.quote(os.getcwd())}"
