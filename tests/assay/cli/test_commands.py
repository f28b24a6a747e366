"""The command line: what is asked for is imported, what is missing is named, mistakes end in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay import cli
from assay.cli import COMMANDS, application
from assay.report.signing import Signer, public_keys_document


def assay(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assay", *words, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_tells_every_command():
    shown = CliRunner().invoke(application(), ["--help"])
    assert shown.exit_code == 0
    assert all(f" {name} " in shown.output for name in COMMANDS)


def test_serving_and_working_import_no_compiler():
    asked = "import sys; from assay.cli import application; application(['serve', 'work', 'enroll', 'verify']); "
    asked += "print(*sorted({n.split('.')[0] for n in sys.modules} & {'onnx', 'llvmlite', 'torch'}))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_builds_engines_says_so_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys):
    real = cli.import_module

    def without_onnx(name: str) -> object:
        if name == "assay.cli.pack":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name)

    monkeypatch.setattr(cli, "import_module", without_onnx)
    monkeypatch.setattr(sys, "argv", ["assay", "pack", "--home", "anywhere"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "needs the package 'onnx', which builds engines: pip install 'fusee[cpu]'" in capsys.readouterr().err


def test_a_mistake_ends_in_one_sentence_and_status_2(tmp_path: Path):
    (tmp_path / "assay.toml").write_text("prot = 1\n")
    done = assay("serve", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("assay: ")
    assert "unknown setting 'prot'" in done.stderr


def test_a_report_that_is_not_there_is_named(tmp_path: Path):
    report = tmp_path / "report.json"
    done = assay("verify", str(report), home=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"assay: {report} is no file; expected a report in JSON\n")


def test_serving_before_init_says_what_is_missing(tmp_path: Path):
    done = assay("serve", home=tmp_path)
    assert done.returncode == 2
    assert "photo.json is not there; pack the engines for this machine with `assay pack`" in done.stderr


def test_a_tenant_gets_a_key_that_the_store_knows(tmp_path: Path):
    made = assay("tenant", "Atelier", home=tmp_path)
    tenant_id = made.stdout.split()[-1]
    done = assay("key", tenant_id, "Ana, reviewer", "--scope", "review", home=tmp_path)
    assert done.returncode == 0, done.stderr
    from assay.cases import Scope
    from assay.installation import utc_now
    from assay.settings import Settings
    from assay.store import Store

    store = Store(Settings(tmp_path), utc_now)
    caller = store.tenants.caller(done.stdout.split()[-1])
    store.close()
    assert caller is not None
    assert (caller.tenant_id, caller.name, caller.scopes) == (tenant_id, "Ana, reviewer", {Scope.REVIEW})


def test_a_report_of_another_key_is_told_apart(tmp_path: Path):
    keys = tmp_path / "keys.json"
    keys.write_bytes(public_keys_document(Signer(tmp_path / "other.key")))
    report = tmp_path / "report.json"
    report.write_text("{}")
    done = assay("verify", str(report), "--keys", str(keys), home=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("FAILED format: ")


def test_drawn_photographs_lie_as_enrolment_wants_them(tmp_path: Path):
    from assay.folders import objects_in
    from assay.views import VIEWS

    words = ["draw", str(tmp_path), "--style", "31000", "--references", "1", "--genuine", "0", "--altered", "0"]
    shown = CliRunner().invoke(application(["draw"]), words)
    assert shown.exit_code == 0, shown.output
    (folder,) = tmp_path.glob("*/*/references")
    ((name, views),) = objects_in(folder)
    assert (name, set(views)) == ("0000", set(VIEWS))
