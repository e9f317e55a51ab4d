"""Each command of the pages is understood by the program that it calls."""

import argparse
import importlib
import importlib.util
import inspect
import pathlib
import re
import subprocess
import sys

import pytest
from pages import PAGES, blocks
from pip._internal.commands import create_command

import train_cifar
import train_imagenet
from training.config import Config, flatten
from training.launch import packing

ROOT = pathlib.Path().absolute()
# Stands for each program, and writes down the words that the shell gives it.
STAND_IN = """#!/bin/sh\nprintf '%s\\0' "$0" "$@" '' >> "$RECORD"\n"""
PROGRAMS = ("make", "pip", "python3", ".venv/bin/python", ".venv/bin/pip", ".venv/bin/jupyter")
PROGRAMS += tuple(f".venv-{kind}/bin/{name}" for kind in ("cuda", "tpu", "jax", "torch") for name in ("python", "pip"))


class Parsed(BaseException):
    """A program has understood its arguments; it shall not take that for an error of its own."""


def recorded(text, folder):
    """The commands of a block, as the shell splits them: the words of each."""
    for name in PROGRAMS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
    environment = {"PATH": str(folder), "RECORD": str(folder / "record")}
    done = subprocess.run(
        ["/bin/bash", "-eu", "-c", f"{text}\nwait"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = (folder / "record").read_bytes().decode()
    return [command.split("\0") for command in said.split("\0\0")[:-1]]


@pytest.fixture
def understood(monkeypatch, tmp_path, capsys):
    """Says what is wrong with a command, where it is not understood."""

    def parse_args(parser, *args, **kwargs):
        original(parser, *args, **kwargs)
        raise Parsed

    def stop(*_):
        raise Parsed

    original = argparse.ArgumentParser.parse_args

    def module(name, words):
        package = importlib.util.find_spec(name).submodule_search_locations is not None
        sys.modules.pop(f"{name}.__main__", None)
        found = importlib.import_module(f"{name}.__main__" if package else name)
        found.main(*([words] if inspect.signature(found.main).parameters else []))

    def python(words):
        if words[0].endswith(".py"):
            main = {"train_cifar.py": train_cifar, "train_imagenet.py": train_imagenet}[words[0]].main
            code = main(words[1:] + ["--print_config"] * ("--help" not in words))
            return code and capsys.readouterr().err
        option, what, *rest = words
        if option == "-c":
            compile(what, "-c", "exec")
            return None
        assert option == "-m"
        for script in {"train_cifar.py", "train_imagenet.py"} & {*rest}:  # of a launch, which hands on its keys
            assert not python(rest[rest.index(script) :])
        monkeypatch.setattr(sys, "argv", [what, *rest])
        with monkeypatch.context() as patched, pytest.raises(Parsed):
            patched.setattr(argparse.ArgumentParser, "parse_args", parse_args)
            patched.setattr(packing, "unpack", stop)  # it has its keys parsed by the training scripts
            module(what, rest)
        return None

    def pip(words):
        options, packages = create_command(words[0]).parse_args(words[1:])
        missing = [path for path in options.requirements if not pathlib.Path(path).exists()]
        assert packages or options.requirements
        return missing

    def make(words):
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
        return done.returncode and done.stderr

    def jupyter(words):
        assert words[0] == "lab"
        return [path for path in words[1:] if not pathlib.Path(path).exists()]

    return {"python": python, "python3": python, "pip": pip, "make": make, "jupyter": jupyter}


@pytest.mark.parametrize(("page", "text"), blocks("sh"))
def test_each_command_is_understood_by_the_program_that_it_calls(page, text, tmp_path, monkeypatch, understood):
    (tmp_path / "shell").mkdir()
    commands = recorded(text, tmp_path / "shell")
    assert commands
    for name in ROOT.iterdir():
        (tmp_path / name.name).symlink_to(name)
    for _, config in blocks("yaml", page):
        (tmp_path / re.match(r"# ([\w.]+)\n", config).group(1)).write_text(config)
    monkeypatch.chdir(tmp_path)
    for program, *words in commands:
        try:
            assert not understood[pathlib.Path(program).name](words), f"{page}: {program} {' '.join(words)}"
        except SystemExit as end:
            assert end.code == 0, f"{page}: {program} {' '.join(words)}"


def test_each_command_within_a_sentence_is_understood_too(understood):
    text = "".join(PAGES.values())
    commands = set(re.findall(r"`make ([^`]+)`", text))
    assert len(commands) > 3
    for command in commands:
        assert not understood["make"](command.split()), command


def test_each_key_within_a_sentence_is_one():
    text = "".join(re.sub(r"```.*?```", "", page, flags=re.DOTALL) for page in PAGES.values())
    keys = flatten(Config().to_dict())
    named = re.findall(r"`--([a-z][\w.]*)(?: [^`]*)?`|`((?:data|model|train)\.\w+)`", text)
    assert len(named) > 20
    others = {"help", "print_config", "config", "model.keras", "per_device", "minutes", "ray"}
    assert {option or key for option, key in named} - keys.keys() <= others
