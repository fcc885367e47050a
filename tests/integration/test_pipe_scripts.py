"""A script of somebody who uses pipes: it runs, is told what is wrong, and takes its tasks along.

SPEC A27, C16, C19.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "three_modules.py"
ENDLESS = """
    import os, sys
    from datamover.monitor.supervisor import Monitor
    from datamover.pipe.spec import PipeSpec
    from datamover.testing.stages import carry, count, gather
    with Monitor() as monitor:
        spec = PipeSpec(name="s", buffer_size=64, stages=[
            count.stage(count=-1), carry.stage(instances=2, hang_at=HANG), gather.stage()])
        pipe = monitor.start(spec)
        pipe.wait_ready()
        print(os.getpid(), monitor._launcher._server.pid, *pipe.pids.values(), flush=True)
        pipe.wait()
"""


def python(
    *arguments: str, cwd: Path | None = None, path: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env=environment(path),
        check=False,
    )


def environment(path: str = "") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), path]))}


def script(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_example_of_three_stages_has_20_lines_and_runs() -> None:
    code = re.sub(r'""".*?"""', "", EXAMPLE.read_text(), flags=re.DOTALL)

    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    done = python(str(EXAMPLE))
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO\n", "")


def test_a_script_runs_from_any_folder(tmp_path: Path) -> None:
    done = python(str(EXAMPLE), cwd=tmp_path)

    assert done.stdout == "HELLO\n"


def test_a_script_without_a_guard_is_told_so_and_starts_no_second_pipe(tmp_path: Path) -> None:
    unguarded = tmp_path / "unguarded.py"
    unguarded.write_text(EXAMPLE.read_text().replace('if __name__ == "__main__":\n    run', "run"))
    done = python(str(unguarded))

    assert done.returncode != 0
    assert 'start the pipe under `if __name__ == "__main__":`' in done.stderr
    assert "HELLO" not in done.stdout


def test_a_script_that_cannot_be_imported_by_its_tasks_says_why(tmp_path: Path) -> None:
    picky = tmp_path / "picky.py"
    picky.write_text(
        EXAMPLE.read_text()
        + '\nif __name__ != "__main__":\n    raise LookupError("only once, please")\n'
    )
    done = python(str(picky))

    assert done.returncode != 0
    assert "LookupError: only once, please" in done.stderr


def test_no_module_of_the_current_folder_is_imported(tmp_path: Path) -> None:
    for name in ("array", "msgspec", "greenlet", "datamover"):
        (tmp_path / f"{name}.py").write_text("print('planted', flush=True)\nraise SystemExit(9)\n")
    done = python(str(EXAMPLE), cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "HELLO\n")


@pytest.mark.parametrize("hang", [-1, 5])
def test_kill_9_of_the_calling_process_takes_every_task_along(tmp_path: Path, hang: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", script(ENDLESS).replace("HANG", str(hang))],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=tmp_path,
    ) as caller:
        assert caller.stdout is not None
        pids = [int(word) for word in caller.stdout.readline().split()]
        assert len(pids) == 2 + 4
        assert all(is_running(pid) for pid in pids)
        caller.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 1.0
        while any(is_running(pid) for pid in pids):
            assert time.monotonic() < deadline, "tasks outlived their caller"
        assert caller.stdout.read() == ""


def test_control_c_ends_an_inline_pipe_as_what_it_is() -> None:
    text = """
    import _thread
    from datamover.monitor.supervisor import run
    from datamover.pipe.definition import head
    from datamover.pipe.spec import Mode, PipeSpec
    from datamover.testing.stages import gather
    @head
    def interrupted(port):
        _thread.interrupt_main()
        while True:
            port.check()
    try:
        run(PipeSpec(name="s", mode=Mode.INLINE, stages=[interrupted.stage(), gather.stage()]))
    except KeyboardInterrupt:
        print("interrupted")
    """
    done = python("-c", script(text))

    assert (done.stdout, done.stderr) == ("interrupted\n", "")
