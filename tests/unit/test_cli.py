from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from roomcast import __version__
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenVerifier
from roomcast.cli import commands
from roomcast.settings import VARIABLES
from support.processes import run_roomcast

SECRET = "a secret of more than thirty-two bytes"
#: The variable of each option of the commands that run services.
OPTIONS = {
    "host": "ROOMCAST_HOST",
    "api-port": "API_PORT",
    "gateway-port": "PORT",
    "port": "PORT",
    "one-port": "ROOMCAST_ONE_PORT",
    "base-path": "ROOMCAST_BASE_PATH",
    "data": "ROOMCAST_DATA",
    "responder": "ROOMCAST_RESPONDER",
    "insecure": "ROOMCAST_INSECURE",
    "workers": "ROOMCAST_GATEWAY_PROCESSES",
}
SERVICES = ["up", "api", "gateway", "worker"]
COMMANDS = [
    "up",
    "api",
    "gateway",
    "worker",
    "migrate",
    "token",
    "doctor",
    "backup",
    "restore",
    "tail",
    "publish",
    "stats",
]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command in an empty directory, without the variables of this machine."""
    for name in ("PORT", "API_PORT", "REDIS_HOST", "REDIS_URL", "DATABASE_URL", "ROOMCAST_SECRET", "ROOMCAST_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *args, **env: runner.invoke(commands.app, args, env=env)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(run, command) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize("command", ["up", "api", "migrate"])
def test_the_help_says_that_data_cannot_be_combined_with_postgresql(run, command) -> None:
    text = run(command, "--help", COLUMNS="500").stdout
    assert "Cannot be combined with a PostgreSQL DATABASE_URL" in text


def test_the_version_is_shown(run) -> None:
    done = run("--version")
    assert (done.exit_code, done.stdout.strip()) == (0, f"roomcast {__version__}")


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["up", "--nonsense"],
        ["up", "--api-port", "x"],
        ["up", "--api-port", "0"],
        ["doctor", "x"],
        ["doctor", "--url", "chat.example"],
    ],
)
def test_invalid_usage_exits_with_2(run, args) -> None:
    assert run(*args).exit_code == 2


@pytest.mark.parametrize("command", COMMANDS[:5])
def test_an_invalid_setting_prints_one_line_and_exits_with_2(run, command) -> None:
    done = run(command, PORT="abc")
    assert done.exit_code == 2
    assert done.stderr.startswith("roomcast: PORT is 'abc'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "api", "gateway"])
def test_a_public_address_requires_a_secret(run, command) -> None:
    done = run(command, "--host", "192.0.2.1")
    assert done.exit_code == 2
    assert "--insecure" in done.stderr


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["up", "--host", "a..b"], "--host"),
        (["gateway", "--host", "\udcff"], "--host"),
        (["migrate", "--data", "\udcff"], "--data"),
    ],
)
def test_a_host_or_a_path_that_cannot_be_used_prints_one_line_and_exits_with_2(run, args, named) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"roomcast: {named} ")
    assert done.stderr.count("\n") == 1


def test_a_worker_without_postgresql_exits_with_2(run) -> None:
    done = run("worker")
    assert done.exit_code == 2
    assert done.stderr.startswith("roomcast: DATABASE_URL ")


def test_the_same_port_twice_exits_with_2(run) -> None:
    done = run("up", "--api-port", "4000", "--gateway-port", "4000")
    assert done.exit_code == 2
    assert "--one-port" in done.stderr


def test_migrate_creates_a_database_once(run, tmp_path) -> None:
    first = run("migrate", "--data", str(tmp_path / "data"))
    second = run("migrate", "--data", str(tmp_path / "data"))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "none ->" in first.stdout
    assert "nothing to do" in second.stdout


def test_a_file_that_is_no_database_prints_one_line_and_exits_with_1(run, tmp_path) -> None:
    (tmp_path / "roomcast.db").write_bytes(b"this is no database, whatever its name may say" * 100)
    done = run("migrate", "--data", str(tmp_path))
    assert done.exit_code == 1
    assert done.stderr.startswith("roomcast: ")
    assert done.stderr.count("\n") == 1


def test_a_data_directory_that_cannot_be_made_names_the_option_and_the_variable(run, tmp_path) -> None:
    (tmp_path / "file").touch()
    done = run("migrate", "--data", str(tmp_path / "file/data"))
    assert done.exit_code == 1
    assert done.stderr.endswith(
        "Not a directory; choose a directory that this user can write with --data or ROOMCAST_DATA\n"
    )


def test_a_token_identifies_its_user(run) -> None:
    done = run("token", "ada", "--ttl", "60", ROOMCAST_SECRET=SECRET)
    identity = TokenVerifier(AuthOptions(SECRET)).verify(done.stdout.strip())
    assert (done.exit_code, identity.user_id, identity.service) == (0, "ada", False)


def test_a_service_token_is_marked_as_one(run) -> None:
    done = run("token", "bot", "--service", ROOMCAST_SECRET=SECRET)
    assert TokenVerifier(AuthOptions(SECRET)).verify(done.stdout.strip()).service


def test_a_service_token_may_be_limited(run) -> None:
    done = run("token", "reports", "--scope", "read", "--scope", "admin", ROOMCAST_SECRET=SECRET)
    assert TokenVerifier(AuthOptions(SECRET)).verify(done.stdout.strip()).scopes == {"read", "admin"}
    both = run("token", "reports", "--scope", "read", "--service", ROOMCAST_SECRET=SECRET)
    assert (both.exit_code, both.stderr) == (2, "roomcast: --scope limits a service token; leave --service out\n")
    assert run("token", "reports", "--scope", "root", ROOMCAST_SECRET=SECRET).exit_code == 2


@pytest.mark.parametrize(
    ("args", "env"), [(["ada"], {}), (["a\nb"], {"ROOMCAST_SECRET": SECRET}), ([""], {"ROOMCAST_SECRET": SECRET})]
)
def test_a_token_requires_a_secret_and_a_valid_user_id(run, args, env) -> None:
    done = run("token", *args, **env)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_the_help_imports_no_heavy_package() -> None:
    heavy = ("sqlalchemy", "fastapi", "uvicorn", "structlog")
    code = f"import sys, roomcast.cli.commands; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", SERVICES)
def test_every_option_of_a_service_has_a_variable_which_its_help_names(run, command) -> None:
    # Not options of `migrate` and `token`: they say what to do once, and a variable would repeat it.
    service = get_command(commands.app).get_command(None, command)
    text = run(command, "--help", COLUMNS="500").stdout
    for parameter in service.params:
        (option,) = (name.removeprefix("--") for name in parameter.opts if name not in ("--help", "-h"))
        assert OPTIONS[option] in VARIABLES
        assert f"default: {OPTIONS[option]}" in text


@pytest.mark.parametrize("command", ["up", "api", "gateway"])
def test_a_public_address_in_a_variable_requires_a_secret_and_is_named(run, command) -> None:
    done = run(command, ROOMCAST_HOST="192.0.2.1")
    assert done.exit_code == 2
    assert done.stderr.startswith("roomcast: ROOMCAST_HOST 192.0.2.1 accepts connections from other machines")
    assert "ROOMCAST_INSECURE=on" in done.stderr


def test_every_command_names_a_misspelt_variable(run, tmp_path) -> None:
    done = run("migrate", "--data", str(tmp_path / "data"), ROOMCAST_SECRT="typed wrong")
    assert done.exit_code == 0
    assert "did you mean ROOMCAST_SECRET?" in done.stderr
    assert "typed wrong" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["up", "--nope"], 2, "No such option: --nope"),
        (["gateway", "--port", "0"], 2, "Invalid value for '--port'"),
        (["token", "ada"], 2, "ROOMCAST_SECRET is not set"),
        (["migrate"], 0, "schema none -> "),
    ],
)
def test_with_json_logs_every_line_is_an_object(tmp_path, args, code, said) -> None:
    done = run_roomcast(*args, env={"LOG_FORMAT": "json"}, cwd=tmp_path)
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert done.returncode == code
    assert said in lines[-1]["event"]
