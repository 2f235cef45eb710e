"""Carries the Dockerfile out without Docker: `sudo python3 tests/helpers/clean_root.py FOLDER | tee clean_root.txt`.

FROM becomes a fresh Debian of the same release (debootstrap) with its Python 3.11; every other instruction is done
as Docker does it, in a chroot, as the user the file names. Then the command is started as that user, in a network
namespace that has nothing but loopback, and asked a question; the health check is run too. Not part of the tests: it
takes minutes, root, and the network for Debian's and Python's packages. `clean_root.txt` is what it printed last.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from helpers.dockerfile import filled_in, read_dockerfile, sent_files

ROOT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
QUESTION = """
import os, socket
from gradio_client import Client, handle_file
try:
    socket.create_connection(("192.0.2.1", 80), timeout=3)
    raise SystemExit("there is a network")
except OSError as error:
    print("network:", error.strerror)
client = Client("http://127.0.0.1:7860", verbose=False)
question = "What shape is the yellow thing?"
answer = client.predict(handle_file("assets/example.png"), question, 0.1, "adafv", api_name="/ask")
print("asked as uid:", os.getuid())
print("question:", question)
print("model:", answer["model"])
print("visual tokens kept:", answer["n_kept"], "of", answer["n_visual"])
print("answer:", answer["answer"][:40], "| with all tokens:", answer["full_answer"][:40])
"""


class CleanRoot:
    """The root folder and what the instructions so far have set."""

    def __init__(self, folder: Path, given: dict[str, str], binds: list[str]) -> None:
        self.folder = folder
        self.given = given
        self.declared: dict[str, str] = {}
        self.binds = binds
        self.mounts: list[Path] = []
        self.user = "0:0"
        self.place = "/"
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

    def command(self, *words: str, more: dict[str, str] | None = None) -> list[str]:
        """A command line that runs these words inside, as the user and in the place set so far."""
        values = [f"{name}={value}" for name, value in {**self.environment, **(more or {})}.items()]
        inside = ["/usr/bin/env", "-i", "-C", self.place, *values, *words]
        return ["chroot", f"--userspec={self.user}", str(self.folder), *inside]

    def carry_out(self) -> tuple[list[str], list[str]]:
        """All instructions; returns the words of HEALTHCHECK's command and of CMD."""
        health: list[str] = []
        for one in read_dockerfile(ROOT / "Dockerfile"):
            say(f"{one.name} {one.text}")
            values = {**self.declared, **self.environment}
            if one.name == "FROM":
                self.start_from(one.text)
            elif one.name == "ARG":
                name, _, default = one.text.partition("=")
                self.declared[name] = self.given.get(name, default)
            elif one.name == "ENV":
                for word in one.words:
                    name, value = word.split("=", 1)
                    self.environment[name] = filled_in(value, values)
            elif one.name == "RUN":
                pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
                command = self.command("/bin/sh", "-c", one.text, more={**self.declared, **pip})
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            elif one.name == "USER":
                uid = subprocess.check_output(["chroot", str(self.folder), "id", "-u", one.text], text=True).strip()
                self.user = f"{uid}:{uid}"
            elif one.name == "WORKDIR":
                self.place = filled_in(one.text, values)
                (self.folder / self.place.strip("/")).mkdir(parents=True, exist_ok=True)
            elif one.name == "COPY":
                self.copy(one.words)
            elif one.name == "HEALTHCHECK":
                health = type(one)("CMD", one.text.split("CMD ", 1)[1]).words
            elif one.name == "CMD":
                return health, one.words
        raise SystemExit("The Dockerfile has no CMD.")

    def start_from(self, image: str) -> None:
        """Debian of the image's release with Python 3.11 and pip under the names that the image has them."""
        release = image.rsplit("-", 1)[-1]
        packages = "python3,python3-pip,ca-certificates"
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", release, str(self.folder), MIRROR]
        if not (self.folder / "etc" / "debian_version").exists():
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        python = self.folder / "usr/local/bin/python"
        if not python.is_symlink():
            python.symlink_to("/usr/bin/python3")
        for mark in self.folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            mark.unlink()
        self.mount("proc")
        for source in self.binds:
            self.mount(source)
        for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
            shutil.copyfile(Path("/") / name, self.folder / name)
        (self.folder / "etc/hosts").write_text("127.0.0.1\tlocalhost\n::1\tlocalhost\n")

    def mount(self, source: str) -> None:
        """/proc, or a folder of this machine, read-only, under its own name."""
        target = self.folder / source.strip("/")
        target.mkdir(parents=True, exist_ok=True)
        kind = ["-t", "proc", "proc"] if source == "proc" else ["--bind", "-o", "ro", source]
        subprocess.run(["mount", *kind, str(target)], check=True)
        self.mounts.append(target)

    def unmount(self) -> None:
        """All that was mounted, last first."""
        for target in reversed(self.mounts):
            subprocess.run(["umount", "-l", str(target)], check=False)

    def copy(self, words: list[str]) -> None:
        """COPY --chown=user, from what .dockerignore lets through."""
        uid = int(self.user.split(":")[0])
        target = self.folder / self.place.strip("/") / words[-1]
        for path in sent_files(ROOT, ROOT / ".dockerignore"):
            relative = path.relative_to(ROOT).as_posix()
            for source in words[:-1]:
                if relative == source or relative.startswith(f"{source}/"):
                    below = Path(relative).relative_to(source) if relative != source else Path(path.name)
                    to = target / below
                    for parent in [*reversed(to.relative_to(self.folder).parents)][1:]:
                        if not (self.folder / parent).exists():
                            (self.folder / parent).mkdir()
                            os.chown(self.folder / parent, uid, uid)
                    shutil.copyfile(path, to)
                    os.chown(to, uid, uid)


def ask(root: CleanRoot, health: list[str], command: list[str]) -> int:
    """Start the command with nothing but loopback around it, ask it, check its health, end it."""
    loopback_up()
    program = subprocess.Popen(root.command(*command))
    try:
        end = time.monotonic() + 1200
        while (unhealthy := subprocess.run(root.command(*health), capture_output=True).returncode) != 0:
            if time.monotonic() > end or program.poll() is not None:
                say("it did not open")
                return 1
            time.sleep(5)
        say(f"health check: exit status {unhealthy}")
        return subprocess.run(root.command("python", "-c", QUESTION)).returncode
    finally:
        program.terminate()
        program.wait(30)


def loopback_up() -> None:
    """Switch the loopback device of this network namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


def say(text: str) -> None:
    """A line of what happens."""
    print(text, flush=True)


def main() -> int:
    """The exit status of the question."""
    parser = argparse.ArgumentParser(description="Carry the Dockerfile out in a clean root, and ask the running app.")
    parser.add_argument("folder", type=Path, help="a new folder for the root, or one where FROM was done")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bind", action="append", default=[], help="folder of this machine to show inside (packages)")
    options = parser.parse_args()
    root = CleanRoot(options.folder.resolve(), dict(one.split("=", 1) for one in options.build_arg), options.bind)
    root.folder.mkdir(parents=True, exist_ok=True)
    try:
        health, command = root.carry_out()
        leave_the_network()
        return ask(root, health, command)
    finally:
        root.unmount()


def leave_the_network() -> None:
    """Move this process into a network namespace of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


if __name__ == "__main__":
    sys.exit(main())
