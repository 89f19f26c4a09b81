"""The command line: `catclip VERB [SUBVERB] [key=value …]`. Each verb is a Hydra application; Hydra ends here.

A verb is a module with `run(config)`, a plain dataclass of `catclip.config`, and a YAML of its name in `conf/`.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from catclip import __version__
from catclip.errors import STOPPED_EARLY, UserError, nearest

VERBS = {
    "demo": "the whole road on drawn pictures, beside CLIP, in minutes",
    "data glyphs": "draw the embedded data set: pictures, captions, true objects",
    "data pack": "pictures with captions -> shards with an index",
    "data check": "what shards hold, and what is bad in them; a contact sheet",
    "data preview": "training pictures as the model sees them, with labels",
    "vocab": "captions -> synset vocabulary, pruned at tau",
    "label": 'labels beside shards or tables; why: explain="dogs on a couch"',
    "pretrain": "train a backbone: objective=categorical or contrastive",
    "compare": "train objectives side by side; or runs=…, as they are",
    "probe": "linear probe of a run's frozen features on labelled pictures",
    "finetune": "a run learns labelled classes, from its own labels",
    "zeroshot": "classes a run was never told: by text, or by its labels",
    "retrieve": "pictures by captions and back: recall, by text or labels",
    "predict": "top labels of pictures; annotate=true draws them",
    "export": "a run for timm, open_clip, onnxruntime or torch.export",
    "map": "classes -> rows of a vocabulary: a report to read and edit",
    "bench captions": "speed of labelling and counting; quality=true: how good",
    "bench loader": "pictures a second and core, beside open_clip's road",
    "bench step": "a training step beside a bare loop, timm's, open_clip's",
    "doctor": "what is installed here, and what works",
}

# What sweeps can be run with: the extra that it needs, and the plugin in it.
PLUGINS = {
    "hydra/launcher=parallel": ("joblib", "joblib_launcher"),
    "hydra/launcher=slurm": ("submitit", "submitit_launcher"),
    "hydra/launcher=slurm_local": ("submitit", "submitit_launcher"),
    "hydra/sweeper=search": ("optuna", "optuna_sweeper"),
}

_SWEEP = "CATCLIP_SWEEP"  # the process of a sweep, for those that it starts
_RANK_0_FIRST = 10.0  # seconds, on a busy machine too


class StoppedEarlyError(Exception):
    """A run of a sweep was stopped by a signal in a process of its own."""


def main() -> None:
    """Entry point of the console script. Exit codes: 0 done, 2 the input is wrong, 75 stopped early but resumable."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    if arguments[0] in ("-V", "--version"):
        print(f"catclip {__version__}")
        return
    # Threads that spin while they wait take the cores from the loader's workers, and from whoever else is on the
    # machine: on two busy cores training was several times slower for it. Must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    below = {verb: line for verb, line in VERBS.items() if verb.split()[0] == arguments[0] != verb}
    if below and arguments[1:2] in (["-h"], ["--help"]):  # `catclip data --help`
        print(usage(below))
        return
    verb = _find_verb(arguments)
    rest = arguments[len(verb.split()) :]
    if {"-h", "--help"} & set(rest):
        print(_help(verb))
        return
    try:
        _run_verb(verb, rest)
    except UserError as error:
        _fail(str(error))
    except StoppedEarlyError:
        sys.exit(STOPPED_EARLY)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)


def usage(verbs: dict[str, str] = VERBS) -> str:
    """What `catclip --help` prints, or of some verbs `catclip data --help`."""
    lines = ["catclip VERB [key=value ...]", ""]
    lines += [f"  {verb:<16}{line}" for verb, line in verbs.items()]
    lines += [
        "",
        "`catclip VERB --help` has its examples, and every key that can be set.",
        "`catclip VERB -m key=1,2` sweeps. Start with `catclip demo`.",
    ]
    return "\n".join(lines)


def _help(verb: str) -> str:
    from catclip.help import verb_help
    from catclip.paths import CONF

    return verb_help(verb, VERBS[verb], _schemas()[verb.replace(" ", "_")], CONF)


def _find_verb(arguments: list[str]) -> str:
    for words in (2, 1):
        if " ".join(arguments[:words]) in VERBS:
            return " ".join(arguments[:words])
    subverbs = [verb for verb in VERBS if verb.split()[0] == arguments[0]]
    if subverbs:
        _fail(f"Give one of: {', '.join(f'catclip {verb}' for verb in subverbs)}.")
    _fail(f"catclip has no verb '{arguments[0]}'.{nearest(arguments[0], VERBS)} `catclip --help` lists them.")


def _fail(message: str) -> NoReturn:
    if os.environ.get("RANK", "0") != "0":
        # Most errors are the same on all ranks: when rank 0 has said it, torchrun ends the others within this time.
        time.sleep(_RANK_0_FIRST)
    print(f"catclip: {message}", file=sys.stderr)
    sys.exit(2)


def _run_verb(verb: str, arguments: list[str]) -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    name = verb.replace(" ", "_")
    _check_given_once(arguments)
    _register_schemas()
    if name == "compare" and any(each.startswith("runs=") for each in arguments):  # trains nothing, needs no data
        arguments = [*arguments, "data.sources=null"]
    # Flags first: Hydra's parser gives up at a flag that stands between two overrides.
    arguments = sorted((_quote_pattern(_in_full(name, each)) for each in arguments), key=_is_override)
    sys.argv = [f"catclip {verb}", *arguments]
    # Otherwise Hydra prints errors, ours and its own, in its own way and exits 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        if "-m" in arguments or "--multirun" in arguments:
            sys.argv += _name_by_what_is_swept(arguments)
            os.environ[_SWEEP] = str(os.getpid())
        _check_plugins(arguments)
        hydra.main(version_base="1.3", config_path=_config_path(name), config_name=name)(_task(name))()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error, name, arguments)) from error
    except ValueError as error:
        if str(error).startswith("No trials are completed"):
            raise UserError("Every trial of the search failed, as said above.") from error
        raise


def _check_given_once(arguments: list[str]) -> None:
    """Refuse a key that is given twice: Hydra takes the last, as of a brace pattern that the shell has expanded."""
    keys = Counter(each.partition("=")[0].lstrip("+~") for each in arguments if _is_override(each))
    for key, times in keys.items():
        if times > 1:
            raise UserError(
                f"{key} is given {times} times. Give it once; braces need quotes, or the shell makes several arguments "
                f"of them: '{key}=…'."
            )


def _name_by_what_is_swept(arguments: list[str]) -> list[str]:
    """Hydra's setting that leaves out of the runs' folder names what is the same for all: names have their limits."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides([each for each in arguments if _is_override(each)])
    swept = {each.key_or_group for each in overrides if each.is_sweep_override()}
    same = sorted({each.key_or_group for each in overrides} - swept)
    if not swept and "hydra.sweep.subdir" not in same:
        return ["hydra.sweep.subdir=${hydra:job.num}"]
    return [f"hydra.job.config.override_dirname.exclude_keys={same}"]


def _check_plugins(arguments: list[str]) -> None:
    """Say which package a launcher or sweeper needs that is not here."""
    for argument in arguments:
        if (extra := PLUGINS.get(argument)) and not find_spec(f"hydra_plugins.hydra_{extra[1]}"):
            raise UserError(f"{argument} needs a package that is not here: pip install 'catclip[{extra[0]}]'.")


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _config_path(name: str) -> str:
    """`conf/`, or a place without groups for a verb that takes none: it may have a key `data`, as `probe` does.

    Where Hydra sees a folder `data/`, it takes `data=` for a choice among its files, whatever the verb.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig, OmegaConf

    from catclip.paths import CONF

    composed = OmegaConf.load(CONF / f"{name}.yaml")
    entries = [key for entry in composed.defaults if isinstance(entry, DictConfig) for key in entry]
    if any(not str(key).startswith("override ") for key in entries):
        return str(CONF)
    ConfigStore.instance().store(name=name, node=composed)
    return "pkg://hydra.conf"


def _in_full(name: str, argument: str) -> str:
    """`finetune data=FOLDER` as Hydra reads it, which would look for the folder among the group's files."""
    given = name == "finetune" and argument.startswith("data=")
    return f"data.folder={argument.removeprefix('data=')}" if given else argument


def _quote_pattern(argument: str) -> str:
    """Quote a shard pattern, whose braces and brackets Hydra would take for a mapping or a list: a-{000..331}.tar."""
    key, equals, value = argument.partition("=")
    # A caption, in which commas, colons, braces and quotes are text; a sweep's folders, named by what was swept.
    if key == "explain" or (key == "runs" and value[:1] not in ("[", "'", '"')):
        return f"{key}={_quoted(value)}"
    pattern = re.fullmatch(r"[^'\"\[{,]+(\{[^{},]*\.\.[^{},]*\}|\[[^\[\],]+\])[^'\",]*", value)
    return f"{key}='{value}'" if equals and pattern else argument


def _quoted(text: str) -> str:
    """Any text as a string of Hydra's grammar that is no interpolation of OmegaConf's either."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (found[2] and "\\'"), text)
    return f"'{text}'"


def _schemas() -> dict[str, type]:
    from catclip import config

    return {
        "demo": config.DemoConfig,
        "data_glyphs": config.GlyphsConfig,
        "data_pack": config.PackConfig,
        "data_check": config.DataCheckConfig,
        "data_preview": config.DataPreviewConfig,
        "vocab": config.VocabConfig,
        "label": config.LabelConfig,
        "pretrain": config.PretrainConfig,
        "compare": config.CompareConfig,
        "probe": config.ProbeConfig,
        "finetune": config.FinetuneConfig,
        "zeroshot": config.ZeroshotConfig,
        "retrieve": config.RetrieveConfig,
        "predict": config.PredictConfig,
        "export": config.ExportConfig,
        "map": config.MapConfig,
        "bench_captions": config.BenchCaptionsConfig,
        "bench_loader": config.BenchLoaderConfig,
        "bench_step": config.BenchStepConfig,
        "doctor": config.DoctorConfig,
    }


def _register_schemas() -> None:
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, schema in _schemas().items():
        store.store(name=f"{name}_schema", node=schema)


def _task(name: str) -> Callable[[Any], float | None]:
    def task(composed: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return _one_of_a_sweep(name, composed, HydraConfig.get())
        # Errors end here, or Hydra prints a line of its own above ours.
        try:
            return _run(name, composed)
        except UserError as error:
            _fail(str(error))

    return task


def _run(name: str, composed: Any) -> float | None:
    """Run a verb. What it returns is what a search maximises."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from catclip.data.workers import worker_deaths

    try:
        config: Any = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise UserError(_explain(error, name, [])) from error
    _check_known(config, config)
    if hasattr(config, "run") and config.run.out is None:
        config.run.out = _run_folder(name, config)
    with worker_deaths():
        value: float | None = import_module(f"catclip.verbs.{name}").run(config)
    return value


def _one_of_a_sweep(name: str, composed: Any, hydra_config: Any) -> float | None:
    """Run a verb as one of several: after an error the others still run, and then Hydra raises it."""
    here = str(hydra_config.launcher._target_).endswith("BasicLauncher")
    if not here:  # live progress bars of several processes would overwrite each other
        os.environ["TTY_COMPATIBLE"] = "0"
        # A launcher's own way to start processes, which those that a run starts would not know.
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    _end_with_sweep()
    again = f"The same command goes on with hydra.sweep.dir={hydra_config.sweep.dir}"
    try:
        value = _run(name, composed)
        if value is None and "optuna" in str(hydra_config.sweeper._target_):
            raise UserError("There is no figure to maximise: give data.val or data.probe, and let run.best name it.")
        return value
    except UserError as error:
        print(f"catclip: {hydra_config.job.override_dirname}: {error}\n{again}", file=sys.stderr)
        raise
    except SystemExit as end:
        if end.code != STOPPED_EARLY:
            raise
        print(again, file=sys.stderr)
        if here:  # no other run is begun
            raise
        raise StoppedEarlyError from end


@cache
def _end_with_sweep() -> None:
    """Have SIGTERM stop this process when that of the sweep, which began it, is gone: runs would train on unknown."""
    parent = os.getppid()
    if os.environ.get(_SWEEP) != str(parent):  # it is the sweep's own, or a scheduler's
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        while True:  # the run saves and ends; another that waits is not begun
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_known(whole: Any, node: Any, prefix: str = "") -> None:
    """Refuse keys that the schema does not have: `+key=value` adds any, and nobody would read it."""
    known = {field.name for field in fields(node)}
    for key, value in vars(node).items():
        if key not in known:
            raise UserError(f"There is no key '{prefix}{key}'.{nearest(f'{prefix}{key}', _names(whole))}")
        if is_dataclass(value):
            _check_known(whole, value, f"{prefix}{key}.")


def _names(node: Any, prefix: str = "") -> list[str]:
    names = []
    for field in fields(node):
        names.append(f"{prefix}{field.name}")
        if is_dataclass(value := getattr(node, field.name)):
            names += _names(value, f"{prefix}{field.name}.")
    return names


def _run_folder(name: str, config: Any) -> str:
    """`run.out` where the user gave none: a sweep's subfolder, or runs/<verb>/<time>-<name>."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        return hydra_config.runtime.output_dir
    label = "runs" if getattr(config, "runs", None) is not None else config.run.name or _label(config)
    return str(Path("runs") / name / f"{time.strftime('%Y%m%d-%H%M%S')}-{label}")


def _label(config: Any) -> str:
    objective = getattr(config, "objective", None)
    parts = [str(objective.get("_target_", "")).rpartition(".")[2].lower()] if objective else []
    return "-".join([*parts, *filter(None, [config.backbone.name])])


# ---------------------------------------------------------------- configuration errors in plain words


def _explain(error: Exception, name: str, arguments: list[str]) -> str:
    cause = error.__cause__ or error
    text = str(error).strip()
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match[1]
        if "not in" in str(cause) or "not in struct" in text or "is not in struct" in str(cause):
            # What a model of timm's takes is for timm to say: any option may be added.
            hint = f" Add it as +{key}=…" if ".options." in key else nearest(key, _keys(name, arguments))
            return f"There is no key '{key}'.{hint} `catclip {name.replace('_', ' ')} --help` lists them."
        return f"{key}: {str(cause).splitlines()[0]}"
    if match := re.search(r"Error merging override (.+)", text):
        return f"{match[1]}: {str(cause).splitlines()[0]}"
    if "Missing mandatory value" in str(cause) or type(cause).__name__ == "MissingMandatoryValue":
        key = getattr(cause, "full_key", None) or text
        return f"{key} is required: give it as {key}=…"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, choice = match[1].rpartition("/")
        choices = sorted(path.stem for path in _conf(group).glob("*.yaml"))
        return f"{group} has no '{choice}'.{nearest(choice, choices)} There are: {', '.join(choices)}."
    if match := re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\s", text):
        return (
            f"{match[1]} has several values: a list is written {match[1]}='[{match[2]}]', a sweep over them takes -m."
        )
    if match := re.search(r"You must specify '([^']+)'", text):
        choices = sorted(path.stem for path in _conf(match[1]).glob("*.yaml"))
        return f"Choose a {match[1]}: give {match[1]}=… ({', '.join(choices)})."
    if type(error).__name__ == "OverrideParseException":
        return _explain_syntax(getattr(error, "override", ""))
    return " ".join(text.split())


def _explain_syntax(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals:
        return f"{argument!r} is no key=value. `catclip --help` says how to write them."
    hint = "" if set(value) & set("\"'[{") else f", as here: '{key}=\"{value}\"'"
    brackets = ", and brackets must be closed" if set(value) & set("[{") else ""
    return f"{argument} cannot be read: a value with special signs needs quotes of its own{hint}{brackets}."


def _conf(group: str) -> Path:
    from catclip.paths import CONF

    return CONF / group.partition("@")[0]


def _keys(name: str, arguments: list[str]) -> list[str]:
    """Every key of the verb's configuration, with the groups that were chosen, as far as those can be composed."""
    from hydra import compose, initialize_config_dir, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    chosen = [each for each in arguments if "=" in each and _conf(each.partition("=")[0].lstrip("+~")).is_dir()]
    GlobalHydra.instance().clear()
    place, package = _config_path(name), "pkg://"
    begin = initialize_config_module if place.startswith(package) else initialize_config_dir
    with begin(place.removeprefix(package), version_base="1.3"):
        try:
            composed = compose(config_name=name, overrides=[each.partition(",")[0] for each in chosen])
        except HydraException:
            return []
    return _leaves(composed)


def _leaves(node: Any, prefix: str = "") -> list[str]:
    from omegaconf import DictConfig

    keys = []
    for key in node:
        keys.append(f"{prefix}{key}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            keys += _leaves(child, f"{prefix}{key}.")
    return keys
