"""Runs the binary as sidestream.service does where there is no systemd: its user, capabilities, folders and system calls.

Run as a program, it is the last step: it loads the filter and becomes the command. A call that the unit forbids ends the
process with SIGSYS, where systemd would let it fail, so that none goes unseen.
"""

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
UNIT = HERE.parent.parent / "packaging/sidestream.service"
USER = 65534  # nobody: any id that owns nothing else
WRITABLE = ("run/sidestream", "var/lib/sidestream", "var/log/sidestream", "tmp", "var/tmp")
BINARY = "/opt/sidestream"  # within the root, whose /usr is the machine's

# Mounts are this process's alone: all is read-only but the folders that follow the root and the command's own place.
_ENTER = """
set -eu
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
for folder in usr proc dev; do mount --rbind /$folder "$root/$folder"; done
mount -o remount,bind,ro "$root/usr"
for folder in %s; do mount --bind "$root/$folder" "$root/$folder"; done
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
""" % " ".join(WRITABLE)


def settings(unit: str) -> dict[str, list[str]]:
    """The values of a unit's keys, in their order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def system_calls(lists: list[str]) -> set[str]:
    """What a unit's lines of SystemCallFilter leave, the first of which allows."""
    allowed: set[str] = set()
    for line in lists:
        named = {call for word in line.lstrip("~").split() for call in _members(word)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def _members(word: str) -> set[str]:
    """The system calls of a set of systemd's, or the one that is named."""
    if not word.startswith("@"):
        return {word}
    shown = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True)
    words = (line.strip() for line in shown.stdout.splitlines()[1:])
    return {call for word in words if word and not word.startswith("#") for call in _members(word)}


def make_root(root: Path, binary: Path) -> None:
    """Makes the folder that [`command`] has the process take for the machine's root."""
    for folder in ("usr", "proc", "dev", "etc/sidestream", "opt", *WRITABLE):
        (root / folder).mkdir(parents=True)
    for folder in ("bin", "lib", "lib64"):
        (root / folder).symlink_to(f"usr/{folder}")
    for folder in WRITABLE:
        os.chown(root / folder, USER, USER)
    root.chmod(0o755)
    shutil.copy(binary, root / BINARY[1:])
    shutil.copy(__file__, root / "opt/confined.py")


def command(root: Path, *args: str) -> list[str]:
    """What runs the binary in such a folder, as the unit would."""
    unit = settings(UNIT.read_text())
    [bounding], [ambient] = unit["CapabilityBoundingSet"], unit["AmbientCapabilities"]
    filters = {
        "calls": sorted(system_calls(unit["SystemCallFilter"])),
        "families": [int(getattr(socket, family)) for family in unit["RestrictAddressFamilies"][0].split()],
    }
    return [
        *("unshare", "--mount", "--ipc", "sh", "-c", _ENTER, "sh", str(root)),
        *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={_plus(ambient)}", f"--ambient-caps={_plus(ambient)}", f"--bounding-set={_plus(bounding)}"),
        *("/usr/bin/python3", "/opt/confined.py", json.dumps(filters), BINARY, *args),
    ]


def _plus(capabilities: str) -> str:
    """Capabilities as setpriv takes them: none but these."""
    return ",".join(["-all", *(f"+{word.removeprefix('CAP_').lower()}" for word in capabilities.split())])


ALLOW, END, NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050000 | 38
EQUAL, MASKED_EQUAL = 4, 7
WRITE, EXECUTE = 2, 4
NAMESPACES = 0x7E020080  # the flags of clone that make new ones


class Comparison(ctypes.Structure):
    """libseccomp's condition on an argument of a system call."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def load(calls: list[str], families: list[int]) -> None:
    """Allows this process the calls, sockets of the families, no memory that is written and run, and no namespaces."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(END)))

    def rule(name: str, action: int = ALLOW, *conditions: Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        array = (Comparison * max(len(conditions), 1))(*conditions)
        # Names of other machines have no number here.
        if number != -1:
            failed = library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(conditions), array)
            assert failed == 0 or number < 0, (name, failed)

    for name in set(calls) - {"socket", "mmap", "mprotect", "pkey_mprotect", "clone", "clone3"}:
        rule(name)
    for family in families:
        rule("socket", ALLOW, Comparison(0, EQUAL, family, 0))
    for protection in (0, WRITE, EXECUTE):
        rule("mmap", ALLOW, Comparison(2, MASKED_EQUAL, WRITE | EXECUTE, protection))
    rule("mprotect", ALLOW, Comparison(2, MASKED_EQUAL, EXECUTE, 0))
    rule("clone", ALLOW, Comparison(0, MASKED_EQUAL, NAMESPACES, 0))
    rule("clone3", NO_SUCH_CALL)  # its flags are out of a filter's sight; the C library then takes clone
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    load(**json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
