# SPDX-License-Identifier: Apache-2.0
"""Where the built parts are, and how a test runs a program on the soft GPU directly or through drop-in and worker."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

SECRET = "5e" * 32


class Parts:
    """The parts of one build directory; `missing` says in a sentence what is not there."""

    def __init__(self, build):
        self.build = pathlib.Path(build)
        self.soft = self.build / "src/soft/gpu/libcuda.so.1"
        self.shim = self.build / "src/shim/libcuda.so.1"
        self.worker = self.build / "src/worker/motorpool-worker"

    def missing(self, remote):
        for name, path in (("soft GPU", self.soft), ("drop-in", self.shim), ("worker", self.worker)):
            if not path.exists() and (remote or name == "soft GPU"):
                return f"no {name}: {path.relative_to(self.build)} is not built"
        return None


def base_env(scratch, extra=None):
    """An environment without anything of the user's pool; device accounts are private to the test."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("MOTORPOOL_") and not k.startswith("CUDA_") and k != "LD_LIBRARY_PATH"}
    accounts = pathlib.Path(scratch) / "accounts"
    accounts.mkdir(mode=0o700, exist_ok=True)
    env["MOTORPOOL_SOFT_DIR"] = str(accounts)
    env["MOTORPOOL_SOFT_THREADS"] = "2"
    env.update(extra or {})
    return env


def direct_env(parts, env):
    return dict(env, LD_LIBRARY_PATH=str(parts.soft.parent))


class Worker:
    """One motorpool-worker on a Unix socket (or TCP) with the soft GPU below it."""

    def __init__(self, parts, scratch, env, driver=None, tcp=False, binary=None, arguments=(), log=None):
        self.path = pathlib.Path(scratch) / "worker.sock"
        listen = "127.0.0.1:0" if tcp else f"unix:{self.path}"
        self.log_path = pathlib.Path(log or pathlib.Path(scratch) / "worker.log")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [str(binary or parts.worker), "--listen", listen, "--driver", str(driver or parts.soft), *arguments],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if tcp else self.log, stderr=self.log)
        self.address = listen
        if tcp:
            line = self.process.stdout.readline().decode().strip()
            self.address = line.split()[-1] if line else listen
        deadline = time.monotonic() + 20
        while not tcp and not self.path.exists() and time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"worker left with status {self.process.returncode}: {self.tail()}")
            time.sleep(0.005)

    def env(self, parts, env, shim=None):
        return dict(env, LD_LIBRARY_PATH=str((shim or parts.shim).parent), MOTORPOOL_DATA=self.address,
                    MOTORPOOL_SECRET=SECRET)

    def tail(self):
        self.log.flush()
        return self.log_path.read_text(errors="replace")[-2000:]

    def stop(self):
        """Give a worker whose program has ended a moment to leave by itself, then end it. Its exit status."""
        try:
            status = self.process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


class Scratch:
    """A temporary directory with a short name: Unix sockets allow 107 bytes."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="mp-")
        return pathlib.Path(self.path)

    def __exit__(self, *exc):
        shutil.rmtree(self.path, ignore_errors=True)


class Tap:
    """Test Anything Protocol on stdout."""

    def __init__(self):
        self.n = self.failed = 0

    def ok(self, good, name, notes=(), skip=None):
        self.n += 1
        for note in notes:
            for line in str(note).splitlines():
                print("#", line)
        print("ok" if good else "not ok", self.n, "-", name + (f" # SKIP {skip}" if skip else ""), flush=True)
        self.failed += not good
        return good

    def end(self):
        print(f"1..{self.n}")
        return 1 if self.failed else 0
