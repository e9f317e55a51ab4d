"""Configs from YAML and the command line, and the runs of their grids."""

import argparse
import dataclasses
import functools
import itertools
import pathlib
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader

from training.config import DEFAULTS, NEUTRAL, Config, Run, data_path, flatten, validate
from training.errors import UserError, require

SPEAK = ("data.name", "model.network", "model.depth", "model.unit", "model.size")  # values that tell their key
# What no folder may be called, and what a shell takes for the end of a command.
IN_NAMES = str.maketrans("|;", "+,") | str.maketrans(dict.fromkeys('/\\:*?"<>', "_"))


def load(argv: list[str], script: str = "train_cifar.py") -> tuple[list[Run], bool]:
    """Reads the command line and the YAML that it names.

    A key of the grid that stands on the command line leaves the grid. Runs are named by their values of the grid's keys
    and by what the command line sets beside them.

    Args:
        argv: the command line.
        script: one of `DEFAULTS`.

    Returns:
        The runs, each with a checked config; and whether only to print them (`--print_config`).

    Raises:
        UserError: an unknown key, a wrong type or value.
    """
    parser = _parser(script)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config")
    first.add_argument("--print_config", action="store_true")
    try:
        options, rest = first.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(error) from error
    file: list[str] = []
    stated: dict[str, Any] = {}
    if options.config:
        file = ["--config", options.config]
        _parse(parser.parse_path, options.config, of=f"{options.config}: ")
        stated = get_loader("yaml")(pathlib.Path(options.config).read_text(encoding="utf-8")) or {}
    base, plain = (_parse(parser.parse_args, [*file, *more]) for more in (rest, []))
    given = _parse(parser.parse_args, rest, defaults=False)
    grid = stated.pop("grid", None) or {}
    if "grid" in given:
        raise UserError("grid: expected in the YAML file, found on the command line")
    _check_quotes("grid", grid, base.pop("grid"))
    for key, value in flatten(stated).items():
        if key not in given:
            _check_quotes(key, value, base.get(key))
    name = pathlib.Path(options.config).stem if options.config else "default"
    keys = flatten(Config().to_dict())
    overrides = [key for key in keys if key in given and key not in NEUTRAL and base[key] != plain[key]]
    runs: dict[pathlib.Path, Run] = {}
    for mapping in grid if isinstance(grid, list) else [grid]:
        for key in mapping:
            require("grid", key, key in keys, "keys such as model.unit")
        axes = {key: [base[key]] if key in given else values for key, values in mapping.items()}
        axes |= {key: [base[key]] for key in overrides if key not in axes}
        for values in itertools.product(*axes.values()):
            run = _make_run(parser, base, dict(zip(axes, values, strict=True)), name)
            same = next((other for other in runs.values() if other.config == run.config), None)
            if same and any(key in given for key in mapping):
                continue  # the command line left nothing between two of the grid's mappings
            if same or run.directory in runs:
                raise UserError(f"grid: expected different runs, found {(same or run).directory} twice")
            runs[run.directory] = run
    if not runs:
        raise UserError("grid: expected at least one value for each key, found none")
    return list(runs.values()), options.print_config


def parse(tree: dict[str, Any]) -> Config:
    """The checked config of one run, from what `Config.to_dict` gives; a key that is not there has its default.

    Raises:
        UserError: an unknown key, a wrong type or value.
    """
    config = _fill(Config, _parse(_parser("train_cifar.py").parse_object, tree))
    validate(config)
    return config


@functools.cache
def _parser(script):
    parser = ArgumentParser(
        prog=script,
        description="Trains networks of any ordering of normalization, dropout and activation.",
        epilog="Exit codes: 0 all runs finished, 2 a mistake of yours, 3 a run diverged, 130 interrupted (the same "
        "command resumes it).",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file; the other options override it")
    parser.add_class_arguments(Config)
    parser.set_defaults(DEFAULTS[script])
    parser.add_argument(
        "--grid",
        type=dict[str, list[Any]] | list[dict[str, list[Any]]],
        default={},
        help="YAML only: a dotted key to a list of values, and the runs are the product; or a list of such mappings",
    )
    return parser


def _parse(parse, *args, of="", **kwargs):
    """Calls jsonargparse, and makes its complaints a UserError that begins with `of`."""
    try:
        return parse(*args, **kwargs)
    except Exception as error:  # of YAML and of the file system too
        raise UserError(f"{of}{error}") from error


def _check_quotes(key, asked, found):
    """Sees to it that what stands in quotes is text: jsonargparse would read it once more."""
    if isinstance(asked, list) and isinstance(found, list):
        for one, other in zip(asked, found, strict=True):
            _check_quotes(key, one, other)
    else:
        require(key, repr(asked), not isinstance(asked, str) or isinstance(found, str), "a value without quotes")


def _make_run(parser, base, values, name):
    tree = Namespace()
    for key, value in values.items():
        tree[key] = value
    config = _fill(Config, _parse(parser.parse_object, tree.as_dict(), namespace=base, of="grid: "))
    for key, value in values.items():
        _check_quotes(key, value, flatten(config.to_dict())[key])
    validate(config)
    cell = label({key: value for key, value in values.items() if key != "seed"})
    directory = f"{cell}-seed{config.seed}" if cell else f"seed{config.seed}"
    return Run(config, pathlib.Path(config.out) / name / directory)


def _fill(cls, parsed, prefix=""):
    """Makes the dataclass; jsonargparse lets null through everywhere, and anything for a whole group."""
    values = {}
    for field in dataclasses.fields(cls):
        key, value = prefix + field.name, parsed[field.name]
        if dataclasses.is_dataclass(field.type):
            require(key, value, isinstance(value, Namespace), "a mapping")
            value = _fill(field.type, value, f"{key}.")
        require(key, value, value is not None or field.default is None, "a value, not null")
        values[field.name] = value
    return cls(**values)


def label(values: dict[str, Any]) -> str:
    """Values of keys as a name, such as "resnet-b-110-baseline-rate-0.1"; what `SPEAK` stands without its key."""
    return "-".join(_part(key, value, values.get("model.network")) for key, value in values.items())


def _part(key, value, network):
    name = key.split(".")[-1]
    if key == "model.bottleneck" and network in (None, "cifar_resnet"):
        return "resnet-b" if value else "resnet"
    if value in (None, []) or isinstance(value, bool):
        return name if value else f"no-{name}"
    if key == "data.name" and (path := data_path(value)):
        value = path.name
    words = map(str, value) if isinstance(value, list) else str(value).translate(IN_NAMES).split()
    return "-".join([*([] if key in SPEAK else [name]), *words])


def dump(runs: list[Run]) -> str:
    """The resolved configs as YAML, one document a run."""
    return "".join(f"--- # {run.directory}\n{yaml.safe_dump(run.config.to_dict(), sort_keys=False)}" for run in runs)
