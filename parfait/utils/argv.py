"""Rewrite a command line so that a sentence reaches Hydra as the text it is.

Hydra reads every argument in its own grammar, in which commas, quotes, braces, ``=`` and ``$``
have a meaning; most ordinary sentences are syntax errors there. The functions here sort the
arguments into flags, overrides and the one instruction, and quote the latter. They know nothing
of Hydra's Python API, so they cost no start-up time.
"""

import difflib
import re
import shlex
from collections.abc import Callable, Collection, Sequence

from parfait.utils.errors import UserError

FLAGS = frozenset(
    {
        *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"),
        *("--multirun", "-m", "--shell-completion", "-sc"),
    }
)
FLAGS_WITH_VALUE = frozenset(
    {
        *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
        *("--config-dir", "-cd", "--experimental-rerun"),
    }
)
FLAGS_WITH_OPTIONAL_VALUE = frozenset({"--info", "-i"})
_INFO_VALUES = frozenset({"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"})
_CFG_VALUES = frozenset({"job", "hydra", "all"})

# A group that can be switched like a setting; Hydra takes no truth value for a group.
_SWITCHES = {
    "ticks=true": "ticks=roll",
    "ticks=false": "ticks=none",
}
# Numbers of paths; ``paths`` itself is a group of folders. Quoted, since a comma means a sweep.
_CHOSEN_PATHS = re.compile(r"paths=(\[?\s*\d[\d\s,-]*\]?)", re.ASCII)
# Settings with names of their own inside, which Hydra takes only when told that they are new.
_OPEN = re.compile(r"((?:history_options|data\.options|ticks\.options)\.)")
_OVERRIDE = re.compile(r"[+~]{0,2}([A-Za-z_$][\w$]*)([\w$./@:-]*)=(.*)", re.ASCII | re.DOTALL)
_DELETION = re.compile(r"~[A-Za-z_][\w./@:-]*", re.ASCII)
_LOOKS_LIKE_FLAG = re.compile(r"--?[A-Za-z][\w-]*(=\S*)?", re.ASCII)
_INSTRUCTION = re.compile(r"\+{0,2}instruction=(.*)", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_CHOICE = re.compile(r"choice\(.*\)", re.DOTALL)


def quote(text: str) -> str:
    """Return ``text`` as one single-quoted Hydra string that parses back to exactly ``text``.

    Hydra unescapes backslashes only before a quote, and OmegaConf only before ``${``; so exactly
    the runs of backslashes that stand there are doubled, in this order.
    """
    text = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)
    text = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", text)
    text = re.sub(r"(\\+)\Z", lambda m: m[1] * 2, text)
    return f"'{text}'"


def rewrite(
    argv: Sequence[str],
    *,
    known_keys: Collection[str],
    command: str,
    read_stdin: Callable[[], str],
) -> list[str]:
    """Sort ``argv`` (without the program name) into flags, overrides and a quoted ``instruction=``.

    Args:
        argv: the arguments as the shell gave them.
        known_keys: groups and top-level keys of the stage's configuration. The stage takes an
            instruction if ``instruction`` is among them.
        command: how the user called the program, for messages.
        read_stdin: called once when an argument is ``-``.

    Returns:
        Arguments for Hydra, flags first (its parser rejects flags between overrides).

    Raises:
        UserError: unknown option, an argument that is neither option nor override, or two
            instructions.
    """
    flags: list[str] = []
    overrides: list[str] = []
    texts: list[str] = []
    explicit: list[str] = []
    arguments = list(argv)
    # Where a sentence is expected "VIX=35恐慌" and "vol=60%" are one; "n_path=10" is a slip.
    prose = re.compile(r"\s|%|[^\x00-\x7f]" if "instruction" in known_keys else r"\s")
    while arguments:
        argument = arguments.pop(0)
        name = argument.partition("=")[0]
        match = _OVERRIDE.fullmatch(argument)
        if name in FLAGS | FLAGS_WITH_VALUE | FLAGS_WITH_OPTIONAL_VALUE:
            flags += [argument, *_flag_value(argument, arguments)]
        elif argument == "-" and "instruction" in known_keys:
            texts.append(read_stdin().rstrip("\r\n"))
        elif instruction := _INSTRUCTION.fullmatch(argument):
            explicit.append(instruction[1])
        elif (match and (match[1] in known_keys or not prose.search(argument))) or (
            _DELETION.fullmatch(argument)
        ):
            argument = _SWITCHES.get(argument.lower(), argument)
            if "select" in known_keys and (chosen := _CHOSEN_PATHS.fullmatch(argument)):
                argument = f"select={quote(chosen[1])}"
            overrides.append(_OPEN.sub(r"++\1", argument) if _OPEN.match(argument) else argument)
        elif _LOOKS_LIKE_FLAG.fullmatch(argument):
            raise UserError(_unknown_option(argument, command))
        else:
            texts.append(argument)

    if texts and "instruction" not in known_keys:
        raise UserError(
            f"unexpected argument {texts[0]!r}: settings are given as key=value; "
            f"'{command} --help' lists them"
        )
    if len(texts) + len(explicit) > 1:
        joined = " ".join([*texts, *explicit])
        corrected = shlex.join([*flags, joined, *overrides])
        raise UserError(
            f"one instruction is expected, but {len(texts) + len(explicit)} were found; "
            f"put the whole sentence in quotes: {command} {corrected}"
        )
    sweeping = bool({"-m", "--multirun"} & set(flags))
    for rest in explicit:
        ready = _QUOTED.fullmatch(rest) or (sweeping and _CHOICE.fullmatch(rest))
        overrides.append(f"instruction={rest if ready else quote(rest)}")
    overrides += [f"instruction={quote(text)}" for text in texts]
    return [*flags, *overrides]


def _flag_value(flag: str, rest: list[str]) -> list[str]:
    """Take the value of ``flag`` from ``rest``, if it has one there."""
    name, has_value, value = flag.partition("=")
    if name in FLAGS_WITH_OPTIONAL_VALUE:
        return [rest.pop(0)] if not has_value and rest and rest[0] in _INFO_VALUES else []
    if name not in FLAGS_WITH_VALUE:
        return []
    taken = [] if has_value else [rest.pop(0)] if rest else None
    if taken is None:
        raise UserError(f"the option {name} needs a value")
    if name in ("--cfg", "-c") and (value or "".join(taken)) not in _CFG_VALUES:
        raise UserError(f"the option {name} shows one of: {', '.join(sorted(_CFG_VALUES))}")
    return taken


def _unknown_option(argument: str, command: str) -> str:
    name = argument.partition("=")[0]
    options = sorted(FLAGS | FLAGS_WITH_VALUE | FLAGS_WITH_OPTIONAL_VALUE)
    near = difflib.get_close_matches(name, options, n=2)
    hint = f"nearest: {', '.join(near)}" if near else f"'{command} --help' lists settings"
    return f"unknown option {name!r} ({hint}; settings are given as key=value, without dashes)"
