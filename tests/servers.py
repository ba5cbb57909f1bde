# SPDX-License-Identifier: Apache-2.0
"""Several servers on one shared store, for tests; what a test imports.  Ports are any; a server that comes back has its own again."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from tap import started


class Server:
    def __init__(self, pool, i):
        self.pool, self.name, self.api, self.data = pool, f"s{i}", 0, 0
        self.log = pool.root / f"{self.name}.log"
        self.state = pool.root / self.name
        self.starts, self.p = 0, None
        self.start()

    def start(self, **more):
        args, env = self.pool.arguments(self)
        self.p = subprocess.Popen(
            [self.pool.daemon, "--api", f"127.0.0.1:{self.api}", "--data", f"127.0.0.1:{self.data}", "--state", str(self.state),
             "--name", self.name, "--store", self.pool.store, *args],
            env=dict(env, MOTORPOOL_LOG="info", **more), stdout=subprocess.DEVNULL, stderr=open(self.log, "a"))
        started.append(self.p)

    def ready(self, seconds=120):
        until = time.time() + seconds
        while time.time() < until and self.p.poll() is None:
            m = re.findall(r"ready api-port=(\d+) data-port=(\d+)", self.log.read_text())
            if len(m) > self.starts:
                self.api, self.data = map(int, m[-1])
                self.starts = len(m)
                return True
            time.sleep(0.02)
        return False

    def kill(self, sig=signal.SIGKILL):
        self.p.send_signal(sig)
        return self.p.wait(20)

    @property
    def address(self):
        return f"127.0.0.1:{self.api}"


class Pool:
    """arguments(server): what its daemon gets besides, as (list, environment)."""

    def __init__(self, root, daemon, command, env, store, n, arguments, at_once=4):
        self.root, self.daemon, self.command, self.store, self.arguments = pathlib.Path(root), daemon, command, store, arguments
        self.env = dict(env, MOTORPOOL_BUNDLE=str(self.root / "bundle"), XDG_RUNTIME_DIR=str(root))
        self.servers = [Server(self, 1)]
        if not self.servers[0].ready():
            raise RuntimeError("the first server does not start: " + self.servers[0].log.read_text()[-1500:])
        # One authority, without the exchange of joining for each.
        for i in range(2, n + 1):
            (self.root / f"s{i}").mkdir()
            for f in ("ca.crt", "ca.key"):
                shutil.copy(self.root / "s1" / f, self.root / f"s{i}" / f)
        for i in range(2, n + 1):
            self.servers.append(Server(self, i))
            if i % at_once == 0:
                self.servers[-1].ready()
        for s in self.servers:
            if not s.starts and not s.ready():
                raise RuntimeError(f"{s.name} does not start: " + s.log.read_text()[-1500:])
        shutil.copytree(self.root / "s1/admin-bundle", self.root / "bundle")
        self.seeds = [s.address for s in self.servers]
        (self.root / "bundle/servers").write_text("".join(a + "\n" for a in self.seeds))

    def run(self, *args, **more):
        return subprocess.run([self.command, *args], env=dict(self.env, **more), capture_output=True, text=True, timeout=120)

    def json(self, *args):
        return json.loads(self.run(*args, "--json").stdout)

    def states(self):
        return {s["name"]: s["state"] for s in self.json("list")["servers"]}

    def client(self, name, seeds=None, *args):
        """A client with a bundle of its own."""
        d = self.root / name
        self.run("token", "create", "--client", name, "-o", str(d), *args)
        (d / "servers").write_text("".join(a + "\n" for a in seeds or self.seeds))
        return str(d)

    def stop(self):
        for s in self.servers:
            if s.p.poll() is None:
                s.p.send_signal(signal.SIGTERM)
        for s in self.servers:
            s.p.wait(30)


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(("MOTORPOOL", "CUDA_"))}
