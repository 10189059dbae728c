"""onnxruntime-web, in which models run in a browser: two files of its npm package, fetched once, checked each time.

    python -m analysis fetch-onnxruntime-web

Nothing is unpacked before the package has the published hash, and nothing is given to a browser before its file has
the one below.
"""

import base64
import gzip
import hashlib
import http.client
import io
import os
import re
import shlex
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from study.artifacts import Artifacts
from study.data.sources import download
from study.errors import StudyError
from study.files import read_plain, why, write_bytes

VERSION = "1.30.0"
BYTES = 33_106_585
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""`dist.integrity` of the package in the registry."""
FILES = MappingProxyType(
    {
        "onnxruntime.mjs": (
            "package/dist/ort.wasm.bundle.min.mjs",
            "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        ),
        "onnxruntime.wasm": (
            "package/dist/ort-wasm-simd-threaded.wasm",
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        ),
    }
)
"""What each file is called here, its name in the package, and its SHA-256; the smallest build, for processors alone."""
MOST_BYTES = 64 * 2**20
"""Of an unpacked file."""
REGISTRY = "https://registry.npmjs.org"
VARIABLE = "npm_config_registry"
"""Names another registry, as for npm; its address may begin with a name and a password."""
LOGIN = re.compile(r"(?<=://)([^/]*)@")
STORED_BYTES = 4 * 2**20
"""Room that both files need, compressed."""
SECONDS = 600.0


def folder(artifacts: Artifacts) -> Path:
    return artifacts.root / "onnxruntime-web" / VERSION


def fetched(artifacts: Artifacts) -> bool:
    """Whether it was fetched into this artifacts folder."""
    return all(_stored(artifacts, name).is_file() for name in FILES)


def fetch(artifacts: Artifacts) -> list[Path]:
    """Fetch the package and store its two files, compressed.

    Raises:
        StudyError: there is no room for it, it does not arrive, or it is not the published one.
    """
    registry = os.environ.get(VARIABLE, "") or REGISTRY
    login = LOGIN.search(registry)
    url = f"{LOGIN.sub('', registry, 1).rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    _check_room(folder(artifacts))
    print(f"fetching {url}, {BYTES:,} bytes", file=sys.stderr)
    try:
        package = download(url, BYTES, SECONDS, unquote(login[1]) if login else "")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StudyError(
            f"{url} does not arrive ({why(error)}); run it again, or name another registry in {VARIABLE}"
        ) from None
    found = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if found != SHA512:
        raise StudyError(
            f"{url}: expected {BYTES:,} bytes with sha512 {SHA512[:16]}..., found {len(package):,} with {found[:16]}; "
            f"run it again, or name another registry in {VARIABLE}"
        )
    paths = []
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as tar:
        for name, (member, _) in FILES.items():
            file = tar.extractfile(member)
            assert file is not None
            path = _stored(artifacts, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, gzip.compress(file.read(), 9, mtime=0))
            paths.append(path)
    return paths


def _command(artifacts: Artifacts) -> str:
    """What fetches it into this artifacts folder."""
    return shlex.join(["python", "-m", "analysis", "fetch-onnxruntime-web", *artifacts.words])


def read(artifacts: Artifacts) -> dict[str, bytes]:
    """The two files, compressed by gzip, by the names in FILES.

    Raises:
        StudyError: one is missing or not the pinned one.
    """
    files, again = {}, f"run `{_command(artifacts)}`"
    for name, (_, digest) in FILES.items():
        path = _stored(artifacts, name)
        try:
            files[name] = read_plain(path, MOST_BYTES)
            content = _unpacked(files[name])
        except FileNotFoundError:
            raise StudyError(f"{path} is missing; {again}") from None
        except (OSError, EOFError, zlib.error) as error:
            raise StudyError(f"{path} cannot be read ({why(error)}); {again}") from None
        if (found := hashlib.sha256(content).hexdigest()) != digest:
            raise StudyError(f"{path}: expected sha256 {digest[:16]}..., found {found[:16]}...; {again}")
    return files


def _check_room(place: Path) -> None:
    """
    Raises:
        StudyError: the files cannot be stored there.
    """
    try:
        with tempfile.TemporaryFile(dir=next(path for path in (place, *place.parents) if path.exists())) as file:
            file.write(os.urandom(STORED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StudyError(
            f"{place} cannot be written ({why(error)}): expected room for {STORED_BYTES:,} bytes; free some, or name "
            "another folder with --artifacts"
        ) from None


def _stored(artifacts: Artifacts, name: str) -> Path:
    return folder(artifacts) / f"{name}.gz"


def _unpacked(compressed: bytes) -> bytes:
    """
    Raises:
        OSError, EOFError, zlib.error: it is no whole gzip file, or is larger than MOST_BYTES when unpacked.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(compressed)) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"expected at most {MOST_BYTES:,} bytes unpacked, found more")
    return content
