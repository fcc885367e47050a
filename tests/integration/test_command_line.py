"""The commands as a person types them: real processes, real files, real terminals."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PASSPHRASE = "correct horse"
PROGRAM = [sys.executable, "-m", "datamover"]
DEADLINE_S = 30


def environment(**extra):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DATAMOVER_")}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "DATAMOVER_PASSPHRASE": PASSPHRASE} | extra


def datamover(*arguments, env=None, **given):
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env=env or environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
        **given,
    )


def events(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "src"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "text").write_text("hello\n" * 5000)
    (folder / "odd\nname").write_bytes(b"x")
    (folder / "link").symlink_to("deep/text")
    for number in range(200):
        (folder / f"f{number:03}").write_bytes(os.urandom(3000))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, source):
    path = tmp_path_factory.mktemp("stores") / "store"
    made = datamover("init", path)
    assert made.returncode == 0, made.stderr
    saved = datamover("backup", source, "--to", path, "--name", "first", "--json")
    assert saved.returncode == 0, saved.stderr
    return path


def test_what_was_backed_up_comes_back(store, source, tmp_path):
    done = datamover("restore", "--from", store, "--to", tmp_path / "back")

    assert done.returncode == 0, done.stderr
    assert "restore finished" in done.stdout
    compared = subprocess.run(
        ["diff", "-r", "--no-dereference", source, tmp_path / "back" / "src"], check=False
    )
    assert compared.returncode == 0


def test_one_path_of_the_latest_archive_comes_back_alone(store, tmp_path):
    done = datamover("restore", "src/deep", "--from", store, "--to", tmp_path)

    assert done.returncode == 0, done.stderr
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()]
    assert files == [Path("src/deep/text")]


def test_an_archive_that_is_named_is_not_taken_for_a_path(store, tmp_path):
    done = datamover("restore", "first", "src/deep", "--from", store, "--to", tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "src" / "deep" / "text").exists()


def test_what_is_there_is_left_alone_and_the_status_says_so(store, tmp_path):
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / "text").write_text("mine")
    done = datamover("restore", "src/deep", "--from", store, "--to", tmp_path)

    assert done.returncode == 3
    assert "notice[" in done.stderr
    assert (tmp_path / "src" / "deep" / "text").read_text() == "mine"


def test_archives_are_rows_for_scripts_and_objects_for_programs(store):
    piped = datamover("archives", store)
    told = datamover("archives", store, "--json")

    assert piped.stdout.split("\t")[2] == "first"
    [row] = events(told.stdout)
    assert row["event"] == "archive"
    assert row["archive"] == piped.stdout.split("\t")[0]


def test_a_listing_escapes_what_is_odd(store):
    listed = datamover("ls", store)

    assert listed.returncode == 0, listed.stderr
    assert "src/odd\\nname" in listed.stdout.splitlines()
    assert "src/deep/text" in listed.stdout.splitlines()


def test_a_path_that_is_not_there_is_an_error(store):
    listed = datamover("ls", store, "latest", "src/nothing")

    assert listed.returncode == 66
    assert listed.stderr.startswith("error[store.archive-missing]")


def test_a_long_listing_has_modes_and_targets(store):
    listed = datamover("ls", store, "latest", "src/link", "--long")

    assert listed.stdout.split("\t")[0] == "120777"
    assert listed.stdout.rstrip("\n").endswith("src/link\t-> deep/text")


def test_a_whole_store_verifies_and_its_summary_is_the_last_line(store):
    done = datamover("verify", store, "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    last = events(done.stdout)[-1]
    assert last["event"] == "summary"
    assert last["job"] == "verify"
    assert last["stages"]


def test_a_damaged_store_is_found_and_named(source, tmp_path):
    datamover("init", tmp_path / "s", "--encryption", "none")
    datamover("backup", source, "--to", tmp_path / "s")
    [chunk, *_] = sorted((tmp_path / "s" / "chunks").rglob("*.dmc"))
    with chunk.open("r+b") as file:
        file.seek(chunk.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    done = datamover("verify", tmp_path / "s", "--json")

    assert done.returncode not in {0, 70}
    notices = [e for e in events(done.stdout) if e["event"] == "notice"]
    assert notices
    assert {"damaged"} == {n["kind"] for n in notices}
    assert chunk.name in json.dumps(notices)


def test_info_needs_no_passphrase(store):
    env = environment()
    del env["DATAMOVER_PASSPHRASE"]
    told = datamover("info", store, "--json", env=env, start_new_session=True)

    assert told.returncode == 0, told.stderr
    [found] = events(told.stdout)
    assert found["encryption"] == "aes-256-gcm"
    assert found["archives"] == 1


def test_a_wrong_passphrase_is_refused(store):
    told = datamover("archives", store, env=environment(DATAMOVER_PASSPHRASE="wrong"))

    assert told.returncode == 77
    assert told.stderr.startswith("error[security.passphrase]")


def test_without_terminal_and_passphrase_the_hint_says_what_to_do(store):
    env = environment()
    del env["DATAMOVER_PASSPHRASE"]
    told = datamover("archives", store, env=env, start_new_session=True)

    assert told.returncode == 77
    assert "hint: set DATAMOVER_PASSPHRASE, or give --passphrase-file" in told.stderr


def test_a_catalog_is_made_again(store):
    done = datamover("catalog", "rebuild", store)
    after = datamover("archives", store)

    assert done.returncode == 0, done.stderr
    assert after.stdout.split("\t")[2] == "first"


def test_a_dry_run_keeps_nothing(store, source):
    done = datamover("backup", source, "--to", store, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert len(datamover("archives", store).stdout.splitlines()) == 1


def test_quiet_says_nothing_when_all_is_well(source, tmp_path):
    made = datamover("init", tmp_path / "s", "--encryption", "none", "--quiet")
    saved = datamover("backup", source, "--to", tmp_path / "s", "--quiet")

    assert (made.stdout, made.stderr) == ("", "")
    assert (saved.stdout, saved.stderr, saved.returncode) == ("", "", 0)


def test_a_reader_that_had_enough_is_no_error(store):
    with subprocess.Popen(
        [*PROGRAM, "ls", str(store), "--json"],
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        program.stdout.readline()
        program.stdout.close()
        said = program.stderr.read()
        status = program.wait(DEADLINE_S)

    assert said == b""
    # All of it may have fitted into the pipe before we closed it.
    assert status in {0, 141}


def test_output_that_cannot_be_written_is_an_error_of_the_system(store):
    with open("/dev/full", "w") as full:
        told = subprocess.run(
            [*PROGRAM, "info", str(store)],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert told.returncode == 74
    assert told.stderr.startswith("error[system]: No space left on device\n")
    assert len(told.stderr.splitlines()) == 2


def test_closed_streams_are_no_mistake_of_the_program(store):
    shell = 'exec "$@" >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *PROGRAM, "info", str(store)], env=environment(), check=False
    )

    assert done.returncode == 0


def test_the_version_pays_for_nothing_it_does_not_need():
    code = (
        "import sys; from datamover.cli.main import main; main(['--version']);"
        "print(*{'cyclopts', 'rich', 'sqlalchemy', 'cryptography', 'msgspec'} & set(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    assert told.stdout.splitlines() == [datamover("--version").stdout.rstrip("\n"), ""]


def test_looking_into_a_store_does_not_pay_for_other_databases(store):
    code = (
        "import sys; from datamover.cli.main import main;"
        f"main(['archives', {str(store)!r}, '--json']); print('sqlalchemy' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    assert told.stdout.splitlines()[-1] == "False"


def test_json_does_not_pay_for_tables(store):
    code = (
        "import sys; from datamover.cli.main import main;"
        f"main(['info', {str(store)!r}, '--json']); print('rich' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    assert told.stdout.splitlines()[1] == "False"


STAGES = """
import time
from datamover import head, tail

@head
def forever(port):
    while True:
        buffer = port.alloc()
        buffer.used = 10
        port.send(buffer)
        time.sleep(0.01)

@tail
def swallow(port):
    port.notice("note", reason="running")
    for buffer in port.incoming():
        port.free(buffer)
"""
ENDLESS = (
    'name = "endless"\n[[stage]]\nuse = "endless:forever"\n[[stage]]\nuse = "endless:swallow"\n'
)


@pytest.fixture
def endless(tmp_path):
    (tmp_path / "endless.py").write_text(STAGES)
    (tmp_path / "pipe.toml").write_text(ENDLESS)
    return tmp_path / "pipe.toml"


def test_a_pipe_may_write_its_data_to_standard_output(tmp_path):
    (tmp_path / "pipe.toml").write_text(
        'name = "copy"\n[[stage]]\nuse = "read"\nsettings = { path = "-" }\n'
        '[[stage]]\nuse = "write"\nsettings = { path = "-" }\n'
    )
    done = subprocess.run(
        [*PROGRAM, "pipe", "run", str(tmp_path / "pipe.toml")],
        env=environment(),
        input=b"payload" * 500_000,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.stdout == b"payload" * 500_000
    assert b"pipe finished" in done.stderr
    assert done.returncode == 0


def members(session):
    """The processes of a session that are still alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_stop_signal_ends_the_pipe_and_every_task(number, status, whole_group, endless):
    with subprocess.Popen(
        [*PROGRAM, "pipe", "run", str(endless)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert "running" in program.stderr.readline()
        # Ctrl-C at a terminal reaches every process of the group; `kill` reaches one.
        (os.killpg if whole_group else os.kill)(program.pid, number)
        _, said = program.communicate(timeout=DEADLINE_S)

    assert program.returncode == status, said
    assert "Traceback" not in said
    assert members(program.pid) == []


def converse(arguments, answers, *, env):
    """Run at a terminal of its own; give each answer when its prompt appears."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*PROGRAM, *arguments], env)
    seen = b""
    waiting = list(answers)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        while waiting and waiting[0][0] in seen:
            prompt, answer = waiting.pop(0)
            seen = seen.replace(prompt, b"", 1)
            os.write(terminal, answer + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode(errors="replace")


def has_terminals():
    try:
        ends = os.openpty()
    except OSError:
        return False
    for end in ends:
        os.close(end)
    return True


@pytest.mark.skipif(not has_terminals(), reason="no pseudo-terminals here, as in a bare chroot")
def test_a_person_is_asked_twice_at_init_and_nothing_is_echoed(tmp_path):
    env = environment(TERM="xterm")
    del env["DATAMOVER_PASSPHRASE"]
    status, seen = converse(
        ["init", str(tmp_path / "s")],
        [(b"passphrase: ", b"open sesame"), (b"passphrase, again: ", b"open sesame")],
        env=env,
    )
    opened = datamover(
        "archives", tmp_path / "s", env=environment(DATAMOVER_PASSPHRASE="open sesame")
    )

    assert status == 0
    assert "sesame" not in seen
    assert "store made" in seen
    assert opened.returncode == 0


def test_a_source_whose_own_name_is_no_text_is_backed_up_and_comes_back(tmp_path):
    source = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(source)
    with open(source + b"/\x80", "wb") as file:
        file.write(b"bytes")
    store, back = tmp_path / "store", tmp_path / "back"
    datamover("init", store)
    saved = datamover("backup", os.fsdecode(source), "--to", store)
    restored = datamover("restore", os.fsdecode(b"\xff\xfe/\x80"), "--from", store, "--to", back)

    assert (saved.returncode, restored.returncode) == (0, 0), saved.stderr + restored.stderr
    with open(os.fsencode(back) + b"/\xff\xfe/\x80", "rb") as file:
        assert file.read() == b"bytes"
