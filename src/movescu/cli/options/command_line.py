"""Parser of the command line: arguments to ``CommandSettings``, with command files, sites and conflicts.

The grammar is that of DCMTK's command line tools, not getopt's:

1. ``@file`` is replaced by the words of the file, before anything else.
2. An argument is an option if it begins with a sign that no digit follows; it must be a whole name of the table.
3. The arguments after an option that takes values are its values, whatever they look like. ``--name=value`` is read
   too, of options with one value.
4. All other arguments are parameters; options and parameters may be mixed. The first may be the archive's address
   (``address``).
5. Of options that exclude each other the rightmost wins. Conflicts and needs are checked between the winners only.

The options themselves are data (``table``). The parser knows by name only ``--help``, ``--version``, ``--completion``,
``--arguments``, ``--site``, the lists of TLS, and the log level, which decides whether an error is shown. Keys and
query files are passed on unread. Printing and exit codes are the caller's.
"""

from __future__ import annotations

from itertools import pairwise

from movescu.cli.options.command_file import expanded
from movescu.cli.options.option import is_number
from movescu.cli.options.settings import CommandSettings
from movescu.cli.options.table import NAMES, OPTIONS, PARAMETERS, SECTIONS
from movescu.cli.options.wishes import ShowCompletion, ShowHelp, ShowTLS, ShowVersion
from movescu.errors import CommandLineError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, Final

    from movescu.cli.options.option import Option, Parameter, Section, Value, Winners
    from movescu.cli.options.wishes import Wish

LONGEST_WAIT: Final = 2_147_483
"""Seconds (24 days): the most that poll(2) takes, in milliseconds of 31 bits. Longer time-outs are cut to it."""


_LONGEST_TITLE: Final = 16  # characters of an AE title (PS3.5 6.2)


def parse(arguments: Sequence[str]) -> CommandSettings:
    """Parse the arguments of the command, without the program's name.

    Raises:
        CommandLineError: The arguments break the grammar, a value is out of range, options conflict, or there is no
            request.
        ShowHelp: There are no arguments, or ``--help`` is among them.
        ShowVersion: ``--version`` is among them.
        ShowCompletion: ``--completion`` is among them.
        ShowTLS: ``--list-ciphers`` or ``--list-profiles`` is among them.
        Wish: ``--sites`` or ``--setup`` is among them.

    """
    words = expanded(arguments)
    if not words:
        raise ShowHelp
    if len(words) == 2 and words[0] in ("--help", "-h") and _is_topic(words[1]):
        raise ShowHelp(words[1])
    parameters, winners = _read(words)
    if "--help" in winners:
        raise ShowHelp(_topic(words))
    if "--version" in winners:
        raise ShowVersion
    if "--completion" in winners:
        raise ShowCompletion(str(_value(*winners["--completion"])))
    if "--list-ciphers" in winners or "--list-profiles" in winners:
        raise ShowTLS(ciphers="--list-ciphers" in winners)
    if parameters and not (len(parameters) > 1 and is_number(parameters[1])):
        from movescu.cli.options import address  # loaded only where the port is missing

        parameters, winners = address.split(parameters, winners)
    if "--sites" in winners or "--setup" in winners:
        raise _wish_of_sites(parameters, winners)
    _check_word_after_query(words, parameters)
    if "site" in winners:
        parameters, winners = _with_site(parameters, winners)
    alone = next((option for option, _ in winners.values() if option.alone), None)
    place = _place(parameters, winners, alone)
    return _settled(place, tuple(parameters[len(PARAMETERS) :]), winners, alone)


def _wish_of_sites(parameters: Sequence[str], winners: Winners) -> Wish:
    from movescu.cli.options.site_wishes import wish_of  # loaded only for these

    for parameter, text in zip(PARAMETERS, parameters, strict=False):
        _parameter(text, parameter)
    return wish_of(parameters, winners)


def _topic(words: Sequence[str]) -> str:
    """Return the word that follows a ``--help``, empty if none does."""
    pairs = pairwise(_tokens(words))
    helps = (following for (option, _), following in pairs if option and option.long == "--help")
    return next((values[0] for option, values in helps if option is None), "")


def _is_topic(word: str) -> bool:
    """Return True if a word after ``--help`` is an option to explain; DCMTK's without their values are mistakes."""
    option = NAMES.get(word)
    ours = [other for group in SECTIONS[-1].groups for other in group.options]
    return option is not None and option.long != "--help" and (option in ours or not option.takes)


def _check_word_after_query(words: Sequence[str], parameters: Sequence[str]) -> None:
    """Raise ``CommandLineError`` if the word after ``--query`` is most likely a misspelt level, and not the peer."""
    for (option, values), (following, word) in pairwise(_tokens(words)):
        if option is None or option.optional is None or option.optional.choices is None or values or following:
            continue
        if word[0] != parameters[0] or (len(parameters) > 1 and is_number(parameters[1])):
            continue
        from difflib import get_close_matches  # slow to load, and needed only after a mistake

        from movescu.cli.options import address
        from movescu.cli.options.suggestions import LIKELY

        has_peer = len(parameters) > len(PARAMETERS) and is_number(parameters[2])
        has_peer = has_peer or (len(parameters) > 1 and address.parsed(parameters[1]) is not None)
        if has_peer or get_close_matches(word[0].lower(), option.optional.choices or (), n=1, cutoff=LIKELY):
            _option_value(option, word[0], option.optional)


def arguments_lines(program: str, arguments: Sequence[str]) -> list[str]:
    """Return the lines that ``--arguments`` logs: the arguments with command files expanded and long names.

    As with DCMTK, empty arguments are counted but not shown, and the last line is empty.

    Raises:
        CommandLineError: As ``parse`` does for the same arguments.

    """
    words: list[str] = []
    for option, values in _tokens(expanded(arguments)):
        words += (option.long, *values) if option else values
    shown = "".join(f"'{word}' " for word in words if word)
    return [*f"calling '{program}' with {len(words)} arguments: {shown}".split("\n"), ""]


# Grammar


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] in "+-" and word[1] not in "0123456789"


def _tokens(words: Sequence[str]) -> Iterator[tuple[Option | None, tuple[str, ...]]]:
    """Yield each option with its values, and each parameter as None and itself.

    Raises ``CommandLineError`` for an unknown option or a missing value.
    """
    remaining = iter(words)
    following: str | None = None
    while (word := following if following is not None else next(remaining, None)) is not None:
        following = None
        if not _is_option(word):
            yield None, (word,)
            continue
        option = NAMES.get(word)
        if option is None:
            yield _joined(word, words)
            continue
        if option.optional is not None:
            following = next(remaining, None)
            fault = following is None or _CONVERTERS[option.optional.kind](following, option.optional)[1]
            taken = () if following is None or fault else (following,)
            following = None if taken else following
            yield option, taken
            continue
        values = tuple(value for _, value in zip(option.takes, remaining, strict=False))
        if len(values) < len(option.takes):
            raise CommandLineError(
                f"Missing value for option {option.long}", hint=f"{option.usage}: {option.sentence}."
            )
        yield option, values


def _joined(word: str, words: Sequence[str]) -> tuple[Option, tuple[str, ...]]:
    """Return the option and the value of ``--name=value``. Raises ``CommandLineError`` for anything else."""
    name, equals, value = word.partition("=")
    option = NAMES.get(name)
    if not equals or option is None:
        from movescu.cli.options.suggestions import hint_for  # slow to load, and needed only after a mistake

        raise CommandLineError(f"Unknown option {word}", hint=hint_for(word, words))
    values = (*option.takes, *(() if option.optional is None else (option.optional,)))
    if not name.startswith("--") or len(values) != 1:
        hint = f"Pass the value as the next argument, after {name}." if values else f"{name} takes no value."
        raise CommandLineError(f"Unknown option {word}", hint=hint)
    return option, (value,)


def _read(words: Sequence[str]) -> tuple[list[str], Winners]:
    """Separate the parameters from the options; of options that exclude each other the rightmost wins."""
    parameters: list[str] = []
    winners: Winners = {}
    for option, values in _tokens(words):
        if option is None:
            parameters += values
        else:
            earlier = winners[option.group][1] if option.repeats and option.group in winners else ()
            winners[option.group] = option, earlier + values
    return parameters, winners


def _with_site(parameters: list[str], winners: Winners) -> tuple[list[str], Winners]:
    """Add the settings of the site named by ``--site``; the command line wins over them."""
    from movescu.cli.options import sites  # loaded only for --site

    try:
        site = sites.read_site(winners["site"][1][0], _value)
        return sites.join(site, parameters, winners)
    except UsageError as error:
        raise CommandLineError(str(error), hint=error.hint) from error


# Checks and values


def _place(parameters: Sequence[str], winners: Winners, alone: Option | None) -> list[Any]:
    """Return peer and port, none for an option that is ``alone``. Raises ``CommandLineError``."""
    try:
        if (alone is None or parameters) and not (len(parameters) > 1 and is_number(parameters[1])):
            from movescu.cli.options.slips import check_parameters  # needed only after a mistake

            check_parameters(parameters, winners)
        return [_parameter(text, parameter) for text, parameter in zip(parameters, PARAMETERS, strict=False)]
    except CommandLineError as error:
        from movescu.cli.options.slips import swallowed

        error.hint = swallowed(winners, _CONVERTERS) or error.hint
        raise


def _settled(
    place: Sequence[Any], query_files: tuple[str, ...], winners: Winners, alone: Option | None
) -> CommandSettings:
    """Check everything, in the order of the help, and convert it; ``alone``: an option that needs no archive.

    The port and the options of the log come first: they decide whether later errors are shown.
    """
    peer, port = place or ("", 0)
    fields = _DEFAULTS | _fields(SECTIONS[:1], winners)
    _require_available(winners)
    try:
        fields |= _fields(SECTIONS[1:], winners)
        if not fields["check"] and alone is None:
            everything = fields["query"] is not None and fields["max_studies"] == 0
            _require_query(query_files, fields, everything=everything)
    except CommandLineError as error:
        error.early = False
        error.silent = fields["log_level"] in ("off", "fatal")
        error.show_arguments = fields["show_arguments"]
        raise
    return CommandSettings(peer=peer, port=port, query_files=query_files, **fields, warnings=tuple(_warnings(winners)))


def _warnings(winners: Winners) -> Iterator[str]:
    """Yield what the user is to know of a command line that is accepted."""
    cut = [
        f"{option.long} is sent as {_value(option, values)!r}"
        for option, values in winners.values()
        if not option.repeats and any(value.kind == "title" for value in option.takes) and _is_cut(values[0])
    ]
    _, (report, *_) = winners.get("report", (None, ("",)))
    if report.lower().endswith((".xlsx", ".xls", ".ods", ".html")):
        yield f"--report writes JSON to {report}: for a spreadsheet, end the name in .csv; for a browser, use --html"
    if cut:
        yield f"AE titles have at most {_LONGEST_TITLE} characters: {', '.join(cut)}"


def _is_cut(title: str) -> bool:
    return bool(title[_LONGEST_TITLE:].strip())  # blanks at the end are no part of a title


def _require_query(query_files: tuple[str, ...], fields: Mapping[str, Any], *, everything: bool) -> None:
    list_file = fields["list_file"]
    if query_files and list_file is not None:
        raise CommandLineError("--list not allowed with query files")
    if not query_files and not fields["keys"] and list_file is None and not everything:
        hint = "Name what to retrieve, as in -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3."
        if fields["query"] is not None:
            hint = "Name what to list, as in -k PatientID=123, or list everything with --all."
        raise CommandLineError("either query file or override keys (or both) must be specified", hint=hint)


def _fields(sections: Iterable[Section], winners: Winners) -> dict[str, Any]:
    """Return the fields that the winners in these sections set. Raises ``CommandLineError``."""
    in_force = {option.long for option in OPTIONS if _is_in_force(option, winners)}
    met = in_force.union(*(option.meets(values) for option, values in winners.values()))
    fields = {}
    for option in (option for section in sections for group in section.groups for option in group.options):
        winner, values = winners.get(option.group, (None, ()))
        if winner is option:
            _check_company(option, in_force, met, winners)
            fields[option.field] = _value(option, values)
    return fields


def _is_in_force(option: Option, winners: Winners) -> bool:
    return winners[option.group][0] is option if option.group in winners else option.default


def _check_company(option: Option, in_force: set[str], met: set[str], winners: Winners) -> None:
    """Raise ``CommandLineError`` for a conflict or an unmet need; ``met``: the options whose need is met."""
    group = next((group for group in option.conflicts if not in_force.isdisjoint(group)), None)
    if group is not None or (option.needs and met.isdisjoint(option.needs)):
        from movescu.cli.options import slips

        raise slips.not_beside(option, group) if group is not None else slips.alone(option, in_force, winners, _value)


def _require_available(winners: Winners) -> None:
    for option, _ in winners.values():
        if option.refusal:
            raise CommandLineError(f"{option.long} {option.refusal}")


def value_of_option(option: Option, texts: tuple[str, ...]) -> object:
    """Return the value of an option. Raises ``CommandLineError`` if it does not accept the texts."""
    return _value(option, texts)


def _value(option: Option, texts: tuple[str, ...]) -> object:
    if not option.takes:
        return _option_value(option, texts[0], option.optional) if texts and option.optional else option.value
    if option.repeats:
        return texts
    values = tuple(_option_value(option, text, value) for text, value in zip(texts, option.takes, strict=True))
    return values if len(values) > 1 else values[0]


def _option_value(option: Option, text: str, value: Value) -> object:
    converted, fault = _CONVERTERS[value.kind](text, value)
    if not fault:
        return converted
    detail = f"{fault}: {text}" if fault in _OUT_OF_RANGE else text
    hint = _allowed(value)
    message = f"Invalid value for option {option.long}"
    raise CommandLineError(f"{message} ({detail})" if text else message, hint=hint)


def _allowed(value: Value) -> str:
    words = list(value.offered)
    if value.high is not None:
        words.insert(0, f"{value.low} to {value.high}")
    elif value.kind in ("integer", "seconds") and not words:
        words.append("a whole number" + (" of seconds" if value.kind == "seconds" else ""))
    return f"Allowed: {', '.join(words)}." if words else ""


def _parameter(text: str, parameter: Parameter) -> Any:  # noqa: ANN401 - the table has its type
    converted, fault = _CONVERTERS[parameter.value.kind](text, parameter.value)
    if fault:
        detail = f" ({fault})" if fault in _OUT_OF_RANGE else ""
        allowed = _allowed(parameter.value)
        hint = f"This is the {parameter.name}. {allowed}" if allowed else ""
        raise CommandLineError(f"Invalid parameter value {text}{detail}", hint=hint)
    return converted


_OUT_OF_RANGE: Final = ("underflow", "overflow")

# A converter returns the value and the fault of the text: "", "invalid" or one of _OUT_OF_RANGE.


def _text(text: str, _: Value) -> tuple[str, str]:
    return text, ""


def _title(text: str, _: Value) -> tuple[str, str]:
    return text[:_LONGEST_TITLE], ""  # as DCMTK; _warnings says so


def _integer(text: str, value: Value) -> tuple[int, str]:
    # int() would also accept 1_000 and the digits of other scripts.
    digits = text.strip(" \t\r\n")
    if value.choices and digits in value.choices:
        return int(value.choices[digits]), ""
    if not digits.isascii() or "_" in digits:
        return 0, "invalid"
    try:
        number = int(digits)
    except ValueError:
        return 0, "invalid"
    if value.low is not None and number < value.low:
        return 0, "underflow"
    return number, "overflow" if value.high is not None and number > value.high else ""


def _seconds(text: str, value: Value) -> tuple[float, str]:
    number, fault = _integer(text, value)
    return float(min(number, LONGEST_WAIT)), fault


def _choice(text: str, value: Value) -> tuple[str | int, str]:
    choice = (value.choices or {}).get(text.lower())
    return ("", "invalid") if choice is None else (choice, "")


_CONVERTERS: Final = {
    **dict.fromkeys(("text", "file", "directory", "host", "key", "site", "layout"), _text),
    "title": _title,
    "integer": _integer,
    "seconds": _seconds,
    "choice": _choice,
}

_DEFAULTS: Final[dict[str, Any]] = {option.field: option.unset for option in OPTIONS if option.field} | {
    option.field: option.value for option in OPTIONS if option.default
}
