"""A launch: each run has a process and a place of its own; what crashes is tried again, what fails alone fails."""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from training import grid, records
from training.launch import __main__ as launch
from training.launch import launcher, local
from training.launch.worker import TAKEN
from training.lock import Lock

GRID = "grid: {model.unit: [baseline, relu-ic-conv, ic-conv-relu, conv-relu-ic]}\n"
NAMES = [f"{unit}-seed0" for unit in ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")]
STAND_IN = pathlib.Path("tests/training/launch/stand_in.py").absolute()


@pytest.fixture
def four(tmp_path, monkeypatch, capfd):
    """Launches four runs that meet their fates: gives the exit code, what was printed, and what the processes told."""
    path = tmp_path / "four.yaml"
    path.write_text(f"data: {{name: digits}}\n{GRID}")
    folder = tmp_path / "four"
    folder.mkdir()

    def standing(run):
        ended = run.directory / "ended"
        return ended.read_text() if ended.exists() else held(run)

    def run(*options, keys=(), **fates):
        (folder / "fates.json").write_text(
            json.dumps({f"{name.replace('_', '-')}-seed0": fates[name] for name in fates})
        )
        argv = [*options, "train_cifar.py", "--config", str(path), "--out", str(tmp_path), *keys]
        monkeypatch.setattr(sys, "argv", ["launch", *argv])
        code = launch.main()
        said = capfd.readouterr()
        told = (folder / "told.jsonl").read_text().splitlines() if (folder / "told.jsonl").exists() else []
        return code, said, [json.loads(line) for line in told]

    held = grid.standing
    monkeypatch.setattr(local, "WORKER", [str(STAND_IN)])
    monkeypatch.setattr(grid, "standing", standing)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run.folder = folder
    return run


def begun(told):
    return [facts["run"] for facts in told if "begun" in facts]


def most_at_a_time(told):
    """So many processes ran side by side, at most."""
    steps = sorted((facts["at"], 1 if "begun" in facts else -1) for facts in told)
    counts = [sum(change for _, change in steps[: i + 1]) for i in range(len(steps))]
    return max(counts)


def test_each_run_has_one_process_in_their_order_and_so_many_run_at_a_time(four):
    code, said, told = four("--per_device", "2")
    assert (code, said.err) == (0, "")
    assert sorted(begun(told)) == sorted(NAMES)
    assert {*begun(told)[:2]} == {*NAMES[:2]}
    assert most_at_a_time(told) == 2
    assert {facts["threads"] for facts in told if "begun" in facts} == {max(1, len(os.sched_getaffinity(0)) // 2)}
    assert "4 runs: 4 finished" in said.out
    again, _, told = four()
    assert again == 0
    assert len(begun(told)) == 4  # and none again


def test_what_crashes_is_tried_again_twice_and_a_mistake_is_not(four):
    code, said, told = four("--per_device", "2", baseline=["killed", 1, 0], relu_ic_conv=["killed"], ic_conv_relu=[2])
    assert code == 2
    tries = collections.Counter(begun(told))
    assert [tries[name] for name in NAMES] == [3, 3, 1, 1]
    assert [said.out.count(f"{NAMES[1]}: waits, for its process died ({n})") for n in (1, 2, 3)] == [1, 1, 0]
    lines = said.err.splitlines()
    assert lines == [
        f"{four.folder / NAMES[1]}: exit code -9",
        f"{four.folder / NAMES[2]}: exit code 2 error: it ends with 2",
    ]
    assert "2 finished, 2 failed" in said.out


def test_a_mistake_that_all_share_is_not_made_by_all_of_them(four):
    code, said, told = four(**{name.removesuffix("-seed0").replace("-", "_"): [2] for name in NAMES})
    assert code == 2
    assert begun(told) == NAMES[:2]
    assert "2 waiting, 2 failed" in said.out


def test_the_others_go_on_where_some_fail_alike_and_one_has_begun(four):
    code, said, told = four("--per_device", "3", baseline=["begins"], relu_ic_conv=[2], ic_conv_relu=[2])
    assert code == 2
    assert sorted(begun(told)) == sorted(NAMES)
    assert "2 finished, 2 failed" in said.out


def test_a_run_that_another_process_took_first_is_no_crash(four):
    code, said, told = four(baseline=[TAKEN] * 4 + [0])
    assert code == 0
    assert begun(told).count(NAMES[0]) == 5
    assert f"{NAMES[0]}: waits\n" in said.out


def test_a_run_that_diverged_is_one_that_ended(four):
    code, _, told = four(baseline=[3])
    assert code == 3
    assert sorted(begun(told)) == sorted(NAMES)


def test_a_config_that_is_refused_is_named_and_the_others_go_on(four):
    (four.folder / NAMES[0]).mkdir()
    (four.folder / NAMES[0] / "history.csv").touch()
    code, said, told = four()
    assert code == 2
    assert begun(told) == NAMES[1:]
    assert said.err.startswith(f"{four.folder / NAMES[0]}: {four.folder / NAMES[0]}: expected config.yaml beside")
    assert said.err.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_named_and_the_others_go_on(four):
    (four.folder / NAMES[1]).mkdir()
    (four.folder / NAMES[1] / "log.txt").mkdir()
    code, said, told = four()
    assert code == 2
    assert begun(told) == [NAMES[0], *NAMES[2:]]
    assert "log.txt" in said.err


def test_a_place_on_which_runs_crash_is_given_up_and_they_run_elsewhere(four, monkeypatch):
    monkeypatch.setattr(local, "PROBE", "print(2)")
    monkeypatch.setattr(local, "CRASHES", 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,3")
    code, said, told = four(**{name.removesuffix("-seed0").replace("-", "_"): ["bad gpu"] for name in NAMES})
    assert code == 0
    assert "gpu 7: given up, for 2 runs crashed on it one after another" in said.out + said.err
    ended = {facts["run"] for facts in told if facts.get("ended") == 0}
    assert ended == {*NAMES}
    assert sum(facts["gpu"] == "7" for facts in told if "begun" in facts) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_and_the_same_command_goes_on(number, code, four):
    def send():
        while not all((four.folder / name / "tries").exists() for name in NAMES[:2]):
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    found, said, told = four("--per_device", "2", baseline=["wait", 0], relu_ic_conv=["wait", 0])
    assert found == code
    assert {facts["run"] for facts in told if facts.get("ended") == 130} == {*NAMES[:2]}
    assert "2 waiting, 2 stopped" in said.out
    assert four()[0] == 0


def test_the_minutes_end_what_is_under_way(four, monkeypatch):
    monkeypatch.setattr(launcher, "GRACE", 57)  # so that three seconds are left of the minute
    code, said, told = four("--minutes", "1", baseline=["wait", 0])
    assert code == 0
    assert [facts["run"] for facts in told if facts.get("ended") == 130] == NAMES[:1]
    assert "3 waiting, 1 stopped" in said.out


def test_what_another_process_has_is_left_to_it(four):
    directory = four.folder / NAMES[0]
    with Lock(directory):
        code, said, told = four()
    assert code == 0
    assert begun(told) == NAMES[1:]
    assert f"{NAMES[0]}: held by pid {os.getpid()} on " in said.out


def test_of_processes_that_start_at_once_for_one_run_one_trains_and_the_others_leave_no_trace(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time\ndef main(argv, train_one):\n    print('trains'); time.sleep(2); return 0\n")
    arguments = {"script": str(script), "argv": [], "directory": str(tmp_path / "run"), "threads": 1}
    log = tmp_path / "log.txt"
    processes = [local.start(arguments, local.environment(), log) for _ in range(4)]
    assert sorted(process.wait() for process in processes) == [0] + [TAKEN] * 3
    assert log.read_text() == "trains\n"


def test_what_others_ended_is_not_counted_as_trained_here(four):
    assert "4 runs: 4 finished; 3 trained here\n" in four(baseline=["elsewhere"])[1].out
    assert "4 runs: 4 finished; 0 trained here\n" in four()[1].out


def test_what_another_process_lets_go_is_taken_over(four, monkeypatch):
    monkeypatch.setattr(launcher, "LOOK", 0)
    held = threading.Event()

    def hold():
        with Lock(four.folder / NAMES[0]):
            held.set()
            while not (four.folder / NAMES[1] / "ended").exists():
                time.sleep(0.01)

    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    code, _, told = four()
    assert code == 0
    assert sorted(begun(told)) == sorted(NAMES)


@pytest.mark.parametrize(
    ("options", "keys", "found"),
    [
        (["--per_device", "0"], [], "--per_device: expected an integer of at least 1, found 0"),
        (["--minutes", "0.5"], [], "--minutes: expected a number of at least 1, found 0.5"),
        ([], ["--train.strategy", "mirrored"], "train.strategy: expected auto or none"),
        ([], ["--resume", "never"], "resume: expected auto"),
        ([], ["--out", "README.md"], "README.md: Not a directory"),
        ([], ["--model.depth", "9"], "depth=9"),
        ([], ["--model.width", "9"], "model.width"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(options, keys, found, four):
    code, said, told = four(*options, keys=keys)
    assert (code, told, said.err.count("\n")) == (2, [], 1)
    assert found in said.err


def test_a_script_that_is_not_there_is_one_line(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["launch", "train_cafir.py"])
    assert launch.main() == 2
    assert (
        capfd.readouterr().err == "error: script: expected train_cifar.py or train_imagenet.py, found train_cafir.py\n"
    )


def test_each_gpu_that_the_backend_sees_has_so_many_places_in_turn(monkeypatch):
    monkeypatch.setattr(local, "PROBE", "print('noise'); print(2)")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-a,9")
    names = ["gpu 5", "gpu GPU-a"]
    assert [place.name for place in local.find_places(1)] == names
    two = local.find_places(2)
    assert [place.name for place in two] == names * 2
    assert {place.environment["TF_FORCE_GPU_ALLOW_GROWTH"] for place in two} == {"true"}
    assert {place.threads for place in two} == {None}
    monkeypatch.setattr(local, "PROBE", "print(0)")
    assert [place.name for place in local.find_places(2)] == ["cpu", "cpu"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(local, "PROBE", "not called")
    assert [place.name for place in local.find_places(1)] == ["cpu"]


def launched(tmp_path, *options):
    keys = ["train_cifar.py", "--config", f"{tmp_path}/four.yaml", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "training.launch", *options, *keys]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def there(processes):
    return [pid for pid in processes if pathlib.Path(f"/proc/{pid}").exists()]


def test_real_runs_end_as_in_one_process_and_their_processes_with_the_launcher(tmp_path):
    from benchmarks import kill_and_resume

    config = "data: {name: digits}\nmodel: {depth: 8, momentum: 0.9}\ntrain: {epochs: 3, drops: [2]}\n"
    (tmp_path / "four.yaml").write_text(config + "grid: {model.unit: [baseline, relu-ic-conv]}\n")
    launcher = launched(tmp_path, "--per_device", "2")
    directories = [tmp_path / "four" / name for name in NAMES[:2]]
    while not all((directory / "config.yaml").exists() for directory in directories) and launcher.poll() is None:
        time.sleep(0.01)
    holders = [int((directory / "checkpoints" / "lock.holder").read_text().split()[1]) for directory in directories]
    launcher.kill()  # and none of them is told
    launcher.communicate()
    latest = time.monotonic() + 60
    while there(holders) and time.monotonic() < latest:
        time.sleep(0.05)
    assert there(holders) == []
    assert [records.read(directory).status for directory in directories] == ["interrupted", "interrupted"]
    launcher = launched(tmp_path, "--per_device", "2")
    out, error = launcher.communicate()
    assert (launcher.returncode, error) == (0, "")
    assert "Test accuracy" in out
    kill_and_resume.finish(tmp_path / "one", f"--config {tmp_path}/four.yaml --train.threads 1")
    for directory in directories:
        record = records.read(directory)
        assert record.environment["threads"] == 1
        assert record.environment["command"].startswith("python train_cifar.py --config ")
        whole = tmp_path / "one" / "four" / directory.name
        assert kill_and_resume.same(kill_and_resume.end_of(directory), kill_and_resume.end_of(whole))
    assert not (tmp_path / "four" / NAMES[0] / "accuracy.png").exists()
    assert (tmp_path / "four" / "accuracy.png").exists()
