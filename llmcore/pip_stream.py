"""The bytes of one archive of a package, through whatever index, mirror, certificate or proxy pip is configured with.

Does not: build, unpack or install what it downloads, or know an address.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

# Run by a Python of its own, so that pip's insides stay out of this process. The command `pip download` would do, but
# for an sdist it runs the package's build step. Tried with pip 23.2, 24.0, 25.0 and 26.3.
_PIP = r"""
import json, logging, sys
project, archive, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
heard = []
class Listen(logging.Handler):
    def emit(self, record):
        heard.append(record.getMessage())
logging.basicConfig(level=logging.DEBUG, handlers=[Listen()])
try:
    import pip
except ImportError:
    sys.exit("this Python has no pip; `python -m ensurepip` brings it")
try:
    from pip._internal.commands.download import DownloadCommand
    from pip._internal.network.utils import response_chunks
    command = DownloadCommand("download", "")
    kind = "--only-binary" if archive.endswith(".whl") else "--no-binary"
    options, _ = command.parse_args([kind, ":all:", "--no-cache-dir", "--no-input"])
    web = command._build_session(options)
    finder = command._build_package_finder(options, web, ignore_requires_python=True)
    links = [found.link for found in finder.find_all_candidates(project) if found.link.filename == archive]
except (ImportError, AttributeError, TypeError) as error:
    sys.exit(f"pip {pip.__version__} is put together in an unknown way ({error}); pip 26.3 is known to work")
if not links:
    failed = [said for said in heard if said.startswith("Could not fetch URL") and ": 404 " not in said]
    lost = [said.split()[4].rstrip(":") for said in failed]
    why = f"no answer from {', '.join(lost)}" if lost else f"pip's index has no {archive}"
    sys.exit(f"{why} (no network? put {archive} in a folder and set PIP_FIND_LINKS to it)")
place = str(links[0]).split(" ")[0].split("#")[0]
try:
    for first in (start, 0):  # 416: what is there is shorter than what we have, so have it from the beginning
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={first}-"} if first else {})
        answer = web.get(links[0].url_without_fragment, headers=headers, stream=True)
        if answer.status_code != 416:
            break
    if answer.status_code not in (200, 206):
        sys.exit(f"{place} answered {answer.status_code}")
    going_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    sys.stdout.buffer.write(json.dumps(start if going_on else 0).encode() + b"\n")
    for chunk in response_chunks(answer, 1 << 14):
        sys.stdout.buffer.write(chunk)
except Exception as error:
    sys.exit(f"{place} broke off ({type(error).__name__})")
"""


class NoArchive(Exception):
    """pip could not give the archive; the message is one line for a person."""


@contextmanager
def archive(package: str, file: str, start: int) -> Iterator[tuple[int, IO[bytes]]]:
    """Have pip download an archive from byte `start` on. Gives the byte it really starts at, and the stream.

    Raises NoArchive when pip's index does not have it or does not answer.
    """
    command = [sys.executable, "-P", "-c", _PIP, package, file, str(start)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            first = process.stdout.readline()
            if not first:
                said = process.stderr.read().decode("utf-8", "replace").split("\n")
                raise NoArchive(next((line for line in reversed(said) if line.strip()), "pip ended without a word"))
            yield json.loads(first), process.stdout
        finally:
            process.kill()
