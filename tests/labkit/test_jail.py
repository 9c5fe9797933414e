"""The limits of a graded lab: the system-call filter, interpreted here, and what a locked process may and may not do."""

import os
import platform
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labkit import jail, remote

ALLOW, KILL, REFUSE, MISSING = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # linux/seccomp.h, EPERM 1, ENOSYS 38
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
MACHINES = sorted(ARCHITECTURE)
ME = 4321

# Numbers as in the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl and asm-generic/unistd.h (aarch64).
NUMBERS = {
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "pivot_root": (155, 41), "chroot": (161, 51), "mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "mount_setattr": (442, 442), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "perf_event_open": (298, 241), "open_by_handle_at": (304, 265), "bpf": (321, 280),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "setrlimit": (160, 164),
    # allowed, some of them by what they are given
    "read": (0, 63), "write": (1, 64), "exit_group": (231, 94), "mmap": (9, 222), "getpid": (39, 172),
    "openat": (257, 56), "futex": (202, 98), "clone": (56, 220), "clone3": (435, 435), "kill": (62, 129),
    "tgkill": (234, 131), "prlimit64": (302, 261),
}  # fmt: skip
BY_ARGUMENT = {"clone", "clone3", "kill", "tgkill", "prlimit64"}
HARMLESS = {"read", "write", "exit_group", "mmap", "getpid", "openat", "futex"}
REFUSED = sorted(NUMBERS.keys() - BY_ARGUMENT - HARMLESS)


def answer(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the kernel would answer: classic BPF over struct seccomp_data, the few instructions that filters use."""
    given = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, ARCHITECTURE[machine], 0x7F00DEADBEEF, *given)
    steps = list(struct.iter_unpack("<HBBI", program))
    at, a = 0, 0
    while True:
        code, yes, no, k = steps[at]
        at += 1
        match code:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert k % 4 == 0
                (a,) = struct.unpack_from("<I", data, k)
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                at += yes if a == k else no
            case 0x35:  # JGE
                at += yes if a >= k else no
            case 0x45:  # JSET
                at += yes if a & k else no
            case 0x06:  # BPF_RET | BPF_K
                return int(k)
            case _:
                raise AssertionError(f"instruction {code:#x} at {at - 1}")


@pytest.fixture(params=MACHINES)
def machine(request):
    return request.param


def ask(machine, name, *arguments):
    return answer(jail._program(machine, ME), machine, NUMBERS[name][MACHINES[::-1].index(machine)], *arguments)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_is_refused(machine, name):
    assert ask(machine, name) == REFUSE


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_what_a_lab_lives_on_is_allowed(machine, name):
    assert ask(machine, name) == ALLOW


def test_nothing_is_refused_that_is_not_in_the_table(machine):
    known = {numbers[MACHINES[::-1].index(machine)] for n, numbers in NUMBERS.items() if n not in HARMLESS}
    if machine == "x86_64":
        known |= {57, 58}  # fork and vfork, which aarch64 has not
    program = jail._program(machine, ME)
    assert {n for n in range(600) if answer(program, machine, n) != ALLOW} - {302, 261} == known - {302, 261}


def test_fork_and_vfork_are_refused_where_they_exist():
    program = jail._program("x86_64", ME)
    assert [answer(program, "x86_64", n) for n in (57, 58)] == [REFUSE, REFUSE]


def test_a_thread_may_start_and_a_process_may_not(machine):
    thread = 0x3D0F00  # what the C library gives for a thread: linux/sched.h
    assert ask(machine, "clone", thread) == ALLOW
    assert ask(machine, "clone", thread & ~0x10000) == REFUSE
    assert ask(machine, "clone", signal.SIGCHLD if hasattr(signal, "SIGCHLD") else 17) == REFUSE
    assert ask(machine, "clone", 0x10000 << 32) == REFUSE  # the bit in the other half is not the flag


def test_clone3_is_said_to_be_missing_so_that_clone_is_taken(machine):
    assert ask(machine, "clone3", 1, 88) == MISSING


@pytest.mark.parametrize("name", ["kill", "tgkill"])
def test_a_lab_may_signal_itself_and_nobody_else(machine, name):
    assert ask(machine, name, ME, 15) == ALLOW
    for other in (1, 0, ME + 1, (1 << 32) - 1, (1 << 64) - 1):  # the last two are -1: everybody
        assert ask(machine, name, other, 15) == REFUSE


def test_limits_may_be_read_and_not_set(machine):
    assert ask(machine, "prlimit64", 0, 7, 0, 0x7FFC0000) == ALLOW
    for new in (0x7FFC0010, 1 << 32, 0x7FFC_0000_0000):
        assert ask(machine, "prlimit64", 0, 7, new) == REFUSE


def test_another_architecture_is_killed(machine):
    (other,) = set(MACHINES) - {machine}
    program = jail._program(machine, ME)
    assert answer(program, other, 0) == KILL
    assert answer(program, other, 9999) == KILL


def test_the_second_set_of_calls_is_refused(machine):
    program = jail._program(machine, ME)
    for number in (0, 1, 59, 520, 0xFFFFFFFF - (1 << 30)):
        assert answer(program, machine, number | 1 << 30) == REFUSE


def test_every_jump_lands_inside_and_every_way_ends(machine):
    steps = list(struct.iter_unpack("<HBBI", jail._program(machine, ME)))
    assert len(steps) <= 4096  # BPF_MAXINSNS
    assert steps[-1][0] == 0x06
    for at, (code, yes, no, _) in enumerate(steps):
        if code != 0x06:
            assert at + 1 + max(yes, no) < len(steps)


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_the_numbers_are_those_of_the_system_s_headers(machine, header):
    path = Path("/usr/include", header)
    if not path.exists():
        pytest.skip("the kernel's headers are not installed")
    there = {name: int(n) for name, n in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())}
    which = MACHINES[::-1].index(machine)
    both = {name: (numbers[which], there[name]) for name, numbers in NUMBERS.items() if name in there}
    assert len(both) > 40  # a few are newer than some headers
    assert {name: pair for name, pair in both.items() if pair[0] != pair[1]} == {}


# ---- what the judge makes of it


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="no such signal here")
@pytest.mark.parametrize(
    ("status", "says"),
    [
        (-signal.SIGXCPU, f"it used more than {jail.CPU} s of CPU time"),
        (-signal.SIGXFSZ, "it wrote too much into one file"),
        (-signal.SIGKILL, "the process was killed by SIGKILL"),
        (3, "the process ended itself with exit status 3"),
    ],
)
def test_each_end_is_said(status, says):
    ours, theirs = socket.socketpair()
    theirs.close()
    box = remote.Box(ours, open(os.devnull, "rb"), lambda: None, lambda: status, lambda: None)  # noqa: SIM115  # it closes it
    with pytest.raises(remote.Failed) as e:
        box.fetch(0, "anything")
    box.close()
    assert (e.value.outcome, e.value.text) == ("died", says)


REPORT = {"types": ["ValueError"], "text": "x", "line": 3, "code": "y", "missing": None}


@pytest.mark.parametrize(
    "change",
    [
        {"types": []}, {"types": [1]}, {"types": ["A", None]}, {"types": "A"}, {"text": None}, {"code": 5},
        {"line": -1}, {"line": True}, {"line": 10**6}, {"line": "3"}, {"missing": ["x"]},
    ],
)  # fmt: skip
def test_a_report_of_another_form_is_none(change):
    assert remote._is_report(REPORT)
    assert remote._is_report(REPORT | {"line": None, "missing": "m"})
    assert not remote._is_report(REPORT | change)


def test_a_report_without_a_part_and_what_is_no_report():
    assert not any(remote._is_report({k: v for k, v in REPORT.items() if k != part}) for part in REPORT)
    assert not any(remote._is_report(x) for x in (None, [], "x", {}))


def test_a_report_that_is_too_long_is_cut():
    long = "é" * 100_000
    failed = remote.Failed.raised(REPORT | {"types": [long] * 1000, "text": long, "code": long})
    assert (len(failed.types), len(failed.types[0]), len(failed.text), len(failed.code)) == (20, 100, 500, 200)


@pytest.mark.parametrize(
    ("types", "text", "outcome"),
    [
        (["Denied", "BaseException"], "start another program", "denied"),
        (["OSError", "Exception"], "[Errno 27] File too large", "disk"),
        (["PermissionError", "OSError"], "[Errno 13] Permission denied", "raised"),
        (["ValueError"], "[Errno 28] said by somebody else", "raised"),
    ],
)
def test_limits_have_outcomes_of_their_own(types, text, outcome):
    assert remote.Failed.raised(REPORT | {"types": types, "text": text}).outcome == outcome


# ---- the real thing, in a process of its own

LINUX = pytest.mark.skipif(not jail.filters(), reason="system calls are filtered on 64-bit Linux, x86-64 and ARM only")


def locked(body: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `before`, locks, runs `body`, in a fresh Python."""
    source = (
        f"import ctypes, os, socket, sys, threading\nfrom labkit import jail\n{textwrap.dedent(before)}\njail.lock()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", source + textwrap.dedent(body)], capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("os.fork()", "start another program (os.fork)"),
        ("os.system('true')", "start another program (os.system)"),
        ("__import__('subprocess').run(['true'])", "start another program (subprocess.Popen)"),
        ("socket.socket(socket.AF_INET)", "use the network (socket.__new__)"),
        ("socket.getaddrinfo('localhost', 1)", "use the network (socket.getaddrinfo)"),
        ("os.kill(1, 15)", "signal another process (os.kill)"),
        ("__import__('resource').setrlimit(7, (9, 9))", "change its limits (resource.setrlimit)"),
    ],
)
def test_what_python_sees_is_denied_with_a_sentence(what, says):
    run = locked(f"""
    try:
        {what}
    except Exception:
        print("an Exception")
    except BaseException as e:
        print(type(e).__name__, e, sep="|")
    """)
    assert (run.stdout, run.stderr) == (f"Denied|{says}\n", "")


@LINUX
def test_what_python_does_not_see_is_refused_by_the_system():
    calls = {n: NUMBERS[n][MACHINES[::-1].index(platform.machine())] for n in ("execve", "socket", "ptrace", "unshare")}
    run = locked(f"""
    c = ctypes.CDLL(None, use_errno=True)
    print([(c.syscall({list(calls.values())}[i], 2, 1, 0), ctypes.get_errno()) for i in range(4)], c.fork(), c.kill(1, 0))
    """)
    assert run.stdout == "[(-1, 1), (-1, 1), (-1, 1), (-1, 1)] -1 -1\n"


@LINUX
def test_threads_a_signal_to_oneself_and_reading_limits_still_work():
    run = locked("""
    import resource, signal
    seen = []
    t = threading.Thread(target=seen.append, args=(1,)); t.start(); t.join()
    signal.signal(signal.SIGUSR2, lambda *_: seen.append(2))
    os.kill(os.getpid(), signal.SIGUSR2)
    print(seen, resource.getrlimit(resource.RLIMIT_FSIZE)[0])
    """)
    assert (run.stdout, run.stderr) == (f"[1, 2] {jail.FILE}\n", "")


def test_limits_are_set_and_one_that_was_lower_stays():
    run = locked(
        "print(*(resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in ('CPU', 'FSIZE', 'NOFILE')))",
        before="import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    )
    assert run.stdout == f"({jail.CPU}, {jail.CPU + 2}) ({jail.FILE}, {jail.FILE}) (64, 64)\n"


def test_a_file_that_grows_too_large_is_an_error_with_a_line(tmp_path):
    run = locked(f"""
    try:
        with open({str(tmp_path / "big")!r}, "wb") as f:
            f.truncate({jail.FILE} + 1)
    except OSError as e:
        print(e.errno)
    """)
    assert run.stdout == "27\n"
    assert (tmp_path / "big").stat().st_size <= jail.FILE


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="how much is held is read from /proc")
def test_memory_beyond_the_limit_is_a_memory_error():
    run = locked(f"""
    try:
        x = bytearray({jail.MEMORY} + (1 << 20))
    except MemoryError:
        print("refused")
    """)
    assert run.stdout == "refused\n"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux")
def test_a_process_that_hides_its_memory_is_not_read_by_its_own_user():
    source = "from labkit import jail\nimport sys\n{}\nprint('x', flush=True)\nsys.stdin.read()"
    modes = {}
    for hide in ("pass", "jail.hide_memory()"):
        with subprocess.Popen(
            [sys.executable, "-c", source.format(hide)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as run:
            assert run.stdout is not None
            run.stdout.readline()
            modes[hide] = os.stat(f"/proc/{run.pid}/mem").st_uid, run.communicate()[0]
    assert modes["pass"][0] == os.getuid()
    assert modes["jail.hide_memory()"][0] == 0  # /proc of what may not be dumped belongs to root
