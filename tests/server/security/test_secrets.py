"""Keys stay with those who have them, and nothing that is read can run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fusee
from fusee.server import access
from fusee.server.app import serving
from fusee.server.settings import Settings
from server.security.assembled import ask, call, infer_json, infer_message, write_keys

SOURCES = sorted(Path(fusee.__file__).parent.rglob("*.py"))
RUNS_WHAT_IT_READS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "xmlrpc"}


@pytest.mark.parametrize("is_isolated", [False, True])
def test_no_key_is_logged(
    is_isolated: bool, repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = write_keys(tmp_path / "keys.json", {"admin": {"scopes": ["infer", "read", "admin"]}})
    settings = Settings(
        (repository,),
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        keys_file=keys,
        allow_python_models=True,
        access_log=True,
        is_isolated=is_isolated,
    )
    headers = {"x-api-key": "admin-secret", "authorization": "Bearer other-secret", "cookie": "session=third-secret"}
    with serving(settings) as ports:
        verbose = b'{"log_verbose_level": 9}'
        assert ask(ports.http, "POST", "/v2/logging", verbose, headers).status == 200
        assert ask(ports.http, "POST", "/v2/models/echo/infer", infer_json(), headers).status == 200
        assert ask(ports.http, "POST", "/v2/models/echo/infer", b"{", headers).status == 400
        assert ask(ports.http, "POST", "/v2/models/no/infer", infer_json(), {"x-api-key": "no-secret"}).status == 401
        call(ports, "ModelInfer", infer_message(), headers.items())
        call(ports, "ModelInfer", b"\xff", headers.items())
        pages = [ask(ports.http, "GET", page, headers=headers).body for page in ("/metrics", "/status.json")]
    captured = capfd.readouterr()
    assert "caller=admin" in captured.err
    for text in (captured.out, captured.err, *(page.decode() for page in pages)):
        assert "secret" not in text


def imported(tree: ast.AST) -> set[str]:
    """The packages that a module imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_no_module_unpickles() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        assert not imported(tree) & RUNS_WHAT_IT_READS, path
        keywords = [k for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords]
        assert {ast.unparse(k.value) for k in keywords if k.arg == "allow_pickle"} <= {"False"}, path


def test_a_server_unpickles_nothing(repository: Path) -> None:
    """The interpreter tells of every pickle that is loaded, whoever loads it."""
    program = f"""
import sys
sys.addaudithook(lambda event, _: event.startswith(("pickle", "marshal.loads")) and "importlib" not in
                 sys._getframe(1).f_code.co_filename and sys.exit(f"{{event}} in {{sys._getframe(1)}}"))
from pathlib import Path
from fusee.server.app import serving
from fusee.server.settings import Settings
from server.security.assembled import ask, infer_json
with serving(Settings((Path({str(repository)!r}),), http_port=0, grpc_port=None, metrics_port=None,
                      allow_python_models=True)) as ports:
    assert ask(ports.http, "POST", "/v2/models/echo/infer", infer_json()).status == 200
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_keys_are_compared_in_constant_time() -> None:
    tree = ast.parse(Path(access.__file__).read_text())
    (caller,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "_caller")
    calls = {ast.unparse(n.func) for n in ast.walk(caller) if isinstance(n, ast.Call)}
    assert "hmac.compare_digest" in calls
    loops = [n for n in ast.walk(caller) if isinstance(n, ast.For)]
    assert loops
    assert not any(isinstance(n, (ast.Break, ast.Return)) for loop in loops for n in ast.walk(loop)), (
        "all are looked at"
    )


def test_a_keys_file_holds_no_key(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", {"camera": {"scopes": ["infer"]}})
    assert "camera-secret" not in json.dumps(json.loads(path.read_text()))
