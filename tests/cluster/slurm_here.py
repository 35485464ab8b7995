"""A SLURM of nodes with a core each, all of them on this machine, for tests: Debian's slurm-wlm and munge, as root.

What it writes is in a directory of its own; its ports are free ones of 127.0.0.1. A dead node is found dead in half a
minute (SlurmdTimeout), and a job that is queued again waits for some seconds (cred_expire): elsewhere for minutes.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

TIMEOUT = 300.0
_UP = ("idle", "mixed", "allocated", "completing")
_COMMANDS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")
_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.sock,cred_expire=10
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool.%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=5,batch_sched_delay=0
SlurmdTimeout=15
KillWait=20
"""
_NODE = "NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs=1 RealMemory=4000 State=UNKNOWN\n"


def lacking() -> str | None:
    """Return why no SLURM can be started here; None where it can."""
    if os.getuid() != 0:
        return "SLURM's daemons need root"
    missing = [command for command in _COMMANDS if shutil.which(command, path=_path()) is None]
    return f"needs apt-get install slurm-wlm munge: no {', '.join(missing)}" if missing else None


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Slurm:
    """A SLURM in a directory, with some nodes, of which those in `started` run.

    Commands find it by `env`.
    """

    def __init__(self, directory: Path, nodes: list[str], started: list[str]) -> None:
        self.directory, self.nodes = directory, nodes
        self.env = {"SLURM_CONF": str(directory / "slurm.conf"), "PATH": _path()}
        for name in ("state", *(f"spool.{node}" for node in nodes)):
            (directory / name).mkdir(parents=True)
        directory.chmod(0o755)
        host, ports = socket.gethostname().partition(".")[0], _free_ports(len(nodes) + 1)
        conf = _CONF.format(host=host, directory=directory, control=ports[0])
        conf += "".join(
            _NODE.format(name=node, host=host, port=port) for node, port in zip(nodes, ports[1:], strict=True)
        )
        conf += f"PartitionName=main Nodes={','.join(nodes)} Default=YES MaxTime=INFINITE State=UP\n"
        (directory / "slurm.conf").write_text(conf)
        (directory / "munge.key").write_bytes(os.urandom(1024))
        (directory / "munge.key").chmod(0o400)
        files = {"socket": "sock", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self.run("munged", "--force", *(f"--{option}={directory}/munge.{suffix}" for option, suffix in files.items()))
        self.run("slurmctld")
        for node in started:
            self.start(node)

    def run(self, *command: str) -> str:
        """Run a command of SLURM; return what it prints."""
        done = subprocess.run(command, env=os.environ | self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def start(self, node: str) -> None:
        """Start a node, and wait until it takes jobs."""
        self.run("slurmd", "-N", node)
        wait_until(lambda: self.state(node) in _UP, self.directory / "slurmctld.log")

    def up(self) -> set[str]:
        """Return the nodes that run."""
        return {node for node in self.nodes if self.state(node) in _UP}

    def state(self, node: str) -> str:
        """Return the state of a node, in SLURM's words."""
        asked = subprocess.run(
            ["sinfo", "--noheader", f"--nodes={node}", "--format=%T"],
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip()

    def kill_node(self, node: str) -> None:
        """Kill a node as a power cut does: its daemon, and all that runs on it."""
        for process in self._on(node):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def tasks(self, node: str) -> list[psutil.Process]:
        """Return the processes of jobs on a node."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                if (
                    environment.get("SLURM_CONF") == self.env["SLURM_CONF"]
                    and environment.get("SLURMD_NODENAME") == node
                ):
                    found.append(process)
        return found

    def _on(self, node: str) -> list[psutil.Process]:
        """Return a node's processes, before the tasks those that would tell of their end."""
        found, tasks = [], self.tasks(node)
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            found.append(psutil.Process(int((self.directory / f"slurmd.{node}.pid").read_text())))
        for process in tasks:
            with suppress(psutil.Error):
                found += [parent for parent in process.parents() if parent.name().startswith("slurmstepd")]
        return [*found, *tasks]

    def stop(self) -> None:
        """End it, and what it runs."""
        with ExitStack() as ending:
            for name in ("slurmctld.pid", "munge.pid"):
                ending.callback(self._end, self.directory / name)
            for node in self.nodes:
                ending.callback(self.kill_node, node)

    def _end(self, pid_file: Path) -> None:
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(pid_file.read_text()))
            process.terminate()
            process.wait(TIMEOUT)


def wait_until(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Wait until a condition holds; where it does not in time, fail with the end of a log."""
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, log and log.read_text()[-2000:]
        time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in opened]
