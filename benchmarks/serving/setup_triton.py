"""Install a real Triton Inference Server and perf_analyzer into a folder, for tests and benchmarks; never shipped.

    python -m benchmarks.serving.setup_triton .triton

Both come from PyPI: the server (2.51, with its Python backend, no GPU needed) lies in the nvidia-pytriton wheel,
perf_analyzer in the wheel of the tritonclient of that time, and the libraries that perf_analyzer wants among those of
the server. The server wants numpy 1, so it gets an environment of its own. What is there already is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ("nvidia-pytriton==0.7.0", "numpy<2")
CLIENT = "tritonclient==2.51.0"  # the last one whose perf_analyzer runs with glibc 2.36
PERF_ANALYZER_LIBRARIES = ("libb64.so.0d", "libcudart.so.12")
PYTHONS = tuple((3, minor) for minor in range(8, 14))  # for which the wheel has a stub of the Python backend


def install(home: Path) -> None:
    """Fill ``home``, unless it is full. Raises CalledProcessError when PyPI cannot be reached."""
    stamp, wanted = home / ".installed", "\n".join((*PACKAGES, CLIENT))
    if stamp.is_file() and stamp.read_text() == wanted:
        print(f"{home} is ready")
        return
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    _server(home)
    _backend(home)
    _perf_analyzer(home)
    stamp.write_text(wanted)
    print(f"{home} is ready")


def _server(home: Path) -> None:
    """The environment, and links to what is used of it, so that nobody else knows its layout."""
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    _pip(home, "install", *PACKAGES)
    (packages,) = home.glob("venv/lib/python3*/site-packages")
    for name, target in {
        "packages": packages,
        "triton": packages / "pytriton" / "tritonserver",
        "bundled": packages / "nvidia_pytriton.libs",
    }.items():
        (home / name).symlink_to(target.relative_to(home))


def _backend(home: Path) -> None:
    """The Python backend, with the stub for this Python beside it, which is where the server looks."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(home / "triton" / "backends", home / "backends")
    stub = home / "triton" / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, home / "backends" / "python")
    (home / "lib").mkdir()
    libraries = Path(str(sysconfig.get_config_var("LIBDIR")))
    for library in libraries.glob(f"libpython{version}*.so*"):
        (home / "lib" / library.name).symlink_to(library)


def _perf_analyzer(home: Path) -> None:
    """The program out of the old client's wheel, and the server's libraries under the names that it looks for."""
    with tempfile.TemporaryDirectory() as folder:
        _pip(home, "download", "--no-deps", "--only-binary", ":all:", "--dest", folder, CLIENT)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/bin/perf_analyzer"))
            program = home / "bin" / "perf_analyzer"
            program.parent.mkdir()
            program.write_bytes(archive.read(member))
            program.chmod(0o755)
    for wanted in PERF_ANALYZER_LIBRARIES:
        name, _, version = wanted.partition(".so.")
        (library,) = (home / "bundled").glob(f"{name}-*.so.{version}*")
        (home / "lib" / wanted).symlink_to(Path("..") / "bundled" / library.name)


def _pip(home: Path, *arguments: str) -> None:
    pip = [home / "venv" / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments], check=True)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.serving.setup_triton FOLDER")
    if sys.version_info[:2] not in PYTHONS:
        sys.exit(f"Triton's Python backend is built for Python 3.8 to 3.13, this is {sys.version.split()[0]}")
    install(Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()
