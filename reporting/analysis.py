"""What run directories say together: which of them compare, and how they do."""

import json
import pathlib
from typing import Any

import numpy as np
import pandas
from scipy import stats

from models.units import UNITS, Ordering
from training import origin, records
from training.config import Config, data_path, flatten, network
from training.errors import UserError
from training.records import Record

PAPER = pathlib.Path(__file__).parent.parent / "results" / "paper_table1.csv"
BASELINE = "baseline"
ABLATED, UNDROPPED, UNNORMED = "relu-ic-conv", "relu-bn-conv", "relu-dropout-conv"  # unit 1, and it without a part


def read_runs(folder: pathlib.Path) -> tuple[list[Record], dict[pathlib.Path, str]]:
    """Every run directory below `folder`.

    Returns:
        The records, and why others cannot be read.

    Raises:
        UserError: there is no run that can be read.
    """
    found, unreadable = [], {}
    for directory in sorted(path.parent for path in folder.rglob("config.yaml")):
        try:
            found.append(records.read(directory))
        except UserError as error:
            unreadable[directory] = str(error)
    if not found:
        raise UserError(
            f"{folder}: expected a folder with run directories, found {'; '.join(unreadable.values()) or 'none'}"
        )
    return found, unreadable


def read_finished(directory: pathlib.Path) -> Record:
    """The record of a run that came to its end.

    Raises:
        UserError: it did not, or there is none that can be read.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: expected the directory of a finished run, found none")
    record = records.read(directory)
    if record.status != "finished":
        raise UserError(f"{directory}: expected a finished run, found one that is {record.status}")
    return record


def setting(record: Record) -> dict[str, Any]:
    """What two runs must share to compare: all but unit, rate, seed and what changes no result."""
    aside = {"model.unit", "model.rate", "seed", *records.NEUTRAL}
    own = {key: value for key, value in record.config.items() if key not in aside}
    began = origin.ORIGIN | {"images_genuine": True}
    return own | {key: record.environment.get(key, value) for key, value in began.items()}


def unit(config: dict[str, Any]) -> str:
    """The unit, and its dropout rate where it has one that is not the default: such as "relu-ic-conv, rate 0.1"."""
    name, rate = " ".join(config["model.unit"].split()), config["model.rate"]
    return f"{name}, rate {rate:g}" if Ordering.parse(name).drops and rate != Config().model.rate else name


def _place(name):
    """Of a unit among others: those of the table in its order, then others."""
    known = name.partition(",")[0]
    return list(UNITS).index(known) if known in UNITS else len(UNITS), name


def varying(settings: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys in which settings differ, and their values."""
    values = {key: [each.get(key) for each in settings] for each in settings for key in each}
    distinct = {key: [v for i, v in enumerate(found) if v not in found[:i]] for key, found in values.items()}
    return {key: found for key, found in distinct.items() if len(found) > 1}


def _data(setting):
    """The data set, which other images under its name are not."""
    return setting["data.name"] if setting["images_genuine"] else f"{setting['data.name']} (other images)"


def _images(setting):
    """The data set in short: of the path of an archive or a folder the last part."""
    name, count = setting["data.name"], setting["data.train_examples"]
    path = data_path(name)
    short = _data(setting | {"data.name": path.name}) if path else _data(setting)
    return short if count is None else f"{short} ({count:,} images)"


def _labels(settings):
    """A short name for each setting, no two of different settings alike."""
    short = [f"{_images(each)}, {network(each)}, {each['train.epochs']} epochs" for each in settings]
    differing = {
        name: varying([each for other, each in zip(short, settings, strict=True) if other == name])
        for name in set(short)
    }
    return [
        ", ".join([name, *(f"{key} {each.get(key)}" for key in differing[name])])
        for name, each in zip(short, settings, strict=True)
    ]


def _device(environment):
    """What seconds depend on, as text."""
    onednn = environment.get("onednn", environment.get("backend") == "tensorflow")
    return json.dumps([*(environment.get(key) for key in ("backend", "devices", "host_cores", "threads")), onednn])


def table(found: list[Record]) -> pandas.DataFrame:
    """One row a run, in the order of the units: what it is, how it ended, and every number that is compared.

    Accuracies are on the test images: `last` (the result), `best` and `last_ten` (beside it); `mean` is over all
    epochs, the area under the curve; `spread` is the standard deviation over the last ten epochs and `drop` the largest
    fall from an epoch to the next; `epochs_to_X` and `seconds_to_X` say when X was first reached. `training` is the
    last epoch's on the training images, as the network saw them: augmented, with dropout, while it learned. They are
    NaN where the run has none.
    """
    rows = []
    settings = [setting(record) for record in found]
    for record, own, label in zip(found, settings, _labels(settings), strict=True):
        accuracy, late = record.history["val_accuracy"], records.last_ten(record.history)
        row = {
            "directory": record.directory,
            "setting": label,
            "data": _data(own),
            "network": network(record.config),
            "unit": unit(record.config),
            "seed": record.config["seed"],
            "status": record.status,
            "epochs": len(accuracy),
            "of_epochs": record.config["train.epochs"],
            "parameters": record.result["trainable_parameters"] if record.result else np.nan,
            "test_images": record.result["evaluated_images"] if record.result else np.nan,
            "last": accuracy.iloc[-1] if len(accuracy) else np.nan,
            "best": accuracy.max(),
            "last_ten": late.mean(),
            "mean": accuracy.mean(),
            "spread": late.std(),
            "drop": max(0.0, -accuracy.diff().min()) if len(accuracy) > 1 else np.nan,
            "training": record.history["accuracy"].iloc[-1] if len(accuracy) else np.nan,
            "seconds": record.history["seconds"].sum(),
            "device": _device(record.environment),
        }
        for target in records.TARGETS:
            epoch = records.first_epoch(record.history, target)
            row[f"epochs_to_{target:g}"] = epoch or np.nan
            row[f"seconds_to_{target:g}"] = record.history["seconds"].head(epoch).sum() if epoch else np.nan
        rows.append(row)
    return pandas.DataFrame(rows).sort_values(
        ["setting", "unit", "seed", "directory"],
        key=lambda column: column.map(_place) if column.name == "unit" else column,
        ignore_index=True,
    )


def diagnostics(found: list[Record]) -> pandas.DataFrame:
    """What `python -m reporting.diagnose` measured on those runs where it did, in the order of units and seeds.

    Beside it stand `setting` and `network`, as in `table`; `unit`, and its parts `ordering` and `rate`; and `seed`.

    Raises:
        UserError: it measured none of them.
    """
    labels = dict(zip((record.directory for record in found), _labels([*map(setting, found)]), strict=True))
    frames = [
        pandas.read_csv(path).assign(
            setting=labels[record.directory],
            network=network(record.config),
            unit=unit(record.config),
            ordering=" ".join(record.config["model.unit"].split()),
            rate=record.config["model.rate"],
            seed=record.config["seed"],
        )
        for record in sorted(found, key=lambda record: (_place(unit(record.config)), record.config["seed"]))
        if (path := record.directory / "diagnostics.csv").exists()
    ]
    if not frames:
        raise UserError(
            "expected a run with diagnostics.csv, found none: `python -m reporting.diagnose RUN_DIR` makes it"
        )
    return pandas.concat(frames)


def finished(runs: pandas.DataFrame) -> pandas.DataFrame:
    """The runs that count: each unit and seed of a setting once, and only those that came to their end."""
    return runs[runs["status"] == "finished"].drop_duplicates(["setting", "unit", "seed"])


def left_out(runs: pandas.DataFrame) -> pandas.DataFrame:
    """The others."""
    return runs.drop(finished(runs).index)


def by_unit(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Mean, standard deviation and number of seeds (`_std`, `_n`) of every number, one row a unit of a setting.

    Seconds are NaN where the seeds ran on different devices.
    """
    groups = finished(runs).groupby(["setting", "unit"], sort=False)
    out = groups.agg(
        network=("network", "first"), data=("data", "first"), epochs=("epochs", "first"),
        parameters=("parameters", "first"), n=("seed", "size"), seeds=("seed", lambda seeds: " ".join(map(str, seeds))),
    )  # fmt: skip
    one_device = groups["device"].nunique() == 1
    for column in runs.columns[runs.columns.get_loc("last") :].drop("device"):
        known = one_device if "seconds" in column else one_device | True
        out[column] = groups[column].mean().where(known)
        out[f"{column}_std"] = groups[column].std().where(known)
        out[f"{column}_n"] = groups[column].count()
    return out.reset_index()


def paired(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Every number of `unit` less that of the unit `less` with the same seed, one row a pair, seed and setting.

    The pairs are each unit and the baseline, then unit 1, at each rate, and its ablations: what dropout and batch
    normalization add.
    """
    numbers = [name for name in runs.columns[runs.columns.get_loc("last") :].drop("device") if "seconds" not in name]
    counted = finished(runs)[["setting", "unit", "seed", *numbers]]
    both = counted.merge(counted, on=["setting", "seed"], suffixes=("", "_less")).rename(columns={"unit_less": "less"})
    base = (both["less"] == BASELINE) & (both["unit"] != BASELINE)
    at_any_rate = both["unit"].str.split(",").str[0] == ABLATED
    at_this_rate = both["less"] == both["unit"].str.replace(ABLATED, UNNORMED)
    ablation = at_any_rate & ((both["less"] == UNDROPPED) | at_this_rate)
    both = pandas.concat([both[base], both[ablation]], ignore_index=True)
    differences = {name: both[name] - both[f"{name}_less"] for name in numbers}
    return both[["setting", "unit", "less", "seed"]].assign(**differences)


def half_interval(values: pandas.Series) -> float:
    """Half the width of the 95% interval of the mean of `values`, by Student's t; NaN of fewer than two."""
    return stats.t.ppf(0.975, values.count() - 1) * values.sem()


def table1(found: list[Record]) -> pandas.DataFrame:
    """Table 1 of the paper beside ours: a row for each of its 32 cells, and for each setting that a cell was run in.

    Runs on a part of the training images are of no cell.

    `other` names what is not the paper's. The difference is NaN where data, epochs or batch are among it: such numbers
    do not compare.
    """
    paper = pandas.read_csv(PAPER).melt(["model", "depth", "unit"], ["cifar10", "cifar100"], "data", "paper")
    paper["network"] = [
        network({"model.network": "cifar_resnet", "model.bottleneck": model == "resnet-b", "model.depth": depth})
        for model, depth in zip(paper["model"], paper["depth"], strict=True)
    ]
    settings = [setting(record) for record in found]
    recipe = flatten(Config().to_dict())
    own = {"data.name", "model.depth", "model.bottleneck"}  # of each cell
    other = {
        label: {key: value for key, value in each.items() if key in recipe.keys() - own and value != recipe[key]}
        for label, each in zip(_labels(settings), settings, strict=True)
        if each["data.train_examples"] is None
    }
    units = by_unit(table(found))
    out = paper.merge(units[units["setting"].isin(other)], "left", ["data", "network", "unit"])
    differing = [other.get(label, {}) for label in out["setting"]]
    out["other"] = [", ".join(f"{key} {value}" for key, value in each.items()) for each in differing]
    decisive = {"data.augment", "train.epochs", "train.global_batch_size"}
    out["difference"] = (out["last"] - out["paper"]).where([not decisive & each.keys() for each in differing])
    out["n"] = out["n"].fillna(0).astype(int)
    return out[["data", "network", "unit", "paper", "last", "last_std", "difference", "n", "epochs", "other"]]
