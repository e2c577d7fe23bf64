"""Runs a command on a Slurm cluster that is this machine alone, and removes the cluster again.

``python cluster/loopback.py COMMAND...`` unpacks Debian's Slurm without installing it, starts it on
loopback as the current user, root or not, and runs the command with ``sbatch`` on its ``PATH``.
"""

import argparse
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

SKIPPED = 77
"""The exit status of a test that cannot be run here, as automake has it."""

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
START_SECONDS = 60
STOP_SECONDS = 15

# config_overrides: a container may show slurmd another machine than it shows Python.
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={memory_per_cpu}
SchedulerParameters=batch_sched_delay=0
EnforcePartLimits=ALL
KillWait=2
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=loopback Nodes={host} Default=YES
"""


def output(*command: str | Path) -> str:
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout.strip()


def fetch(cache: Path) -> Path:
    """Unpacks Slurm and what it needs that this machine lacks; returns the folder.

    Raises:
        OSError: there is no ``apt-get`` or no ``dpkg`` here.
        subprocess.SubprocessError: the packages cannot be fetched or unpacked.
    """
    root, unpacked = cache / "root", cache / "unpacked"
    if root.is_dir():
        return root
    for folder in ("archives/partial", "lists/partial"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    # In folders of our own no rights are needed; root's apt would become a user who has none there.
    apt = ["apt-get", "-qqy", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1"]
    apt += ["-o", f"Dir::Cache={cache}"]
    # --reinstall takes those that are installed, too: all are of one version then.
    get = ["install", "--download-only", "--reinstall", "--no-install-recommends", *PACKAGES]
    try:
        output(*apt, *get)
    except subprocess.CalledProcessError:
        # A fresh machine has no lists of packages, and old lists name versions that are gone.
        apt += ["-o", f"Dir::State::Lists={cache}/lists", "-o", "APT::Update::Error-Mode=any"]
        output(*apt, "update")
        output(*apt, *get)
    for package in cache.glob("archives/*.deb"):
        output("dpkg", "-x", package, unpacked)
    return unpacked.rename(root)  # last, so that half a fetch is not taken for a whole one


def configure(root: Path, folder: Path) -> None:
    """Writes ``slurm.conf`` and munge's key, and in ``bin`` a wrapper of every program.

    A job step of Snakemake drops the variables that begin with SLURM_; a wrapper sets them again.
    """
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    with socket.socket() as one, socket.socket() as two:  # both open, so that they differ
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (one, two)]
    cpus = os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    (folder / "slurm.conf").write_text(CONFIGURATION.format(
        host=socket.gethostname().split(".")[0], user=pwd.getpwuid(os.getuid()).pw_name,
        plugins=next(root.rglob("auth_munge.so")).parent, folder=folder, ports=ports, cpus=cpus,
        memory=memory, memory_per_cpu=memory // cpus,
    ))  # fmt: skip
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("*.so*")}))
    for program in root.glob("usr/*bin/*"):
        wrapper = folder / "bin" / program.name.removesuffix("-wlm")
        wrapper.write_text(
            f"#!/bin/sh\nexport SLURM_CONF='{folder}/slurm.conf'\n"
            f"export LD_LIBRARY_PATH='{libraries}'${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n"
            f"exec '{program}' \"$@\"\n"
        )
        wrapper.chmod(0o755)


def serve(folder: Path, command: list[str]) -> int:
    """Starts the daemons, runs the command and stops all; returns the command's exit status."""
    programs = f"{folder}/bin"
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed")]
    # A Slurm job in which this itself runs must not be taken for one of ours.
    kept = {name: text for name, text in os.environ.items() if not re.match("SLURM_|SBATCH_", name)}
    path = f"{programs}:{os.environ['PATH']}"
    with ExitStack() as stack:  # undone from the last to the first
        for name, *options in (
            # --force, since munged wants a folder that everybody may enter.
            ("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files),
            ("slurmctld", "-D"),
            ("slurmd", "-D", "-d", f"{programs}/slurmstepd"),
        ):
            with (folder / f"{name}.log").open("wb") as log:
                start(stack, [f"{programs}/{name}", *options], stdout=log, stderr=log)
        if not wait("idle", START_SECONDS, f"{programs}/sinfo", "-ho%t"):
            show_logs(folder)
            return 1
        # Processes of jobs outlive the daemons.
        stack.callback(wait, "", STOP_SECONDS, f"{programs}/squeue", "-ho%i")
        stack.callback(subprocess.run, [f"{programs}/scancel", "--partition=loopback"])
        status = start(stack, command, env=kept | {"PATH": path}).wait()
        if status:
            show_logs(folder)
        return status if status >= 0 else 128 - status


def start(stack: ExitStack, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a process that ends with the stack, as do its children."""
    # In a session of its own Ctrl-C does not reach it, so that all end in the stack's order.
    process = subprocess.Popen(command, start_new_session=True, **options)
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children, gently first."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(wanted: str, seconds: float, *command: str) -> bool:
    """Waits until a command prints what is wanted; returns whether it did in time."""
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        with suppress(subprocess.SubprocessError):
            if output(*command) == wanted:
                return True
        time.sleep(0.2)
    return False


def show_logs(folder: Path) -> None:
    """Writes the ends of the daemons' logs, and of jobs that did not complete, to stderr."""
    logs = sorted(folder.glob("*.log"))
    with suppress(subprocess.SubprocessError):
        for job in output(f"{folder}/bin/scontrol", "--oneliner", "show", "job").splitlines():
            if "JobState=COMPLETED" not in job:
                logs += [Path(path) for path in re.findall(r" StdOut=(\S+)", job)]
    for log in logs:
        if log.is_file():
            lines = log.read_text(errors="replace").splitlines()[-30:]
            sys.stderr.write("\n".join([f"--- {log}", *lines, ""]))


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status, or 77 where Slurm cannot be fetched."""
    parser = argparse.ArgumentParser(description="runs a command on a Slurm cluster of one machine")
    parser.add_argument("--cache", type=Path, help="folder that keeps the packages for next time")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    arguments = parser.parse_args(argv)
    if not arguments.command:
        parser.error("a command is needed")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # SystemExit takes the way past all that cleans up.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            root = fetch((arguments.cache or folder / "packages").resolve())
        except (OSError, subprocess.SubprocessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            sys.stderr.write(f"cluster test skipped: cannot fetch Debian's Slurm: {reason}\n")
            return SKIPPED
        configure(root, folder)
        return serve(folder, arguments.command)


if __name__ == "__main__":
    sys.exit(main())
