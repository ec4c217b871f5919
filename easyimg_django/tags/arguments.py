"""What a tag was given: constants are checked when the template is read, variables when it is rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from django.template import TemplateSyntaxError, Variable
from django.template.base import FilterExpression
from django.utils.functional import Promise

from easyimg.bound import check_choice
from easyimg.checks import check_format
from easyimg.current import current_app
from easyimg.errors import ConfigError, SpecError
from easyimg.img import Img, preset
from easyimg.options import check_option, check_option_name
from easyimg.texts import from_text

_NAMED: Final = re.compile(r"([A-Za-z_][\w:.-]*)=(.*)", re.DOTALL)
_CONSTANTS: Final = {"True": True, "False": False, "None": None}


class Arguments(NamedTuple):
    """The arguments of one tag.

    Args:
        where: the tag and its line, for messages.
        source: what is shown.
        start: a preset or an Img; None for none.
        constants: options by name, as values.
        variables: options by name, to be resolved.
        alt: None where it was not given.
        target: the variable that the result is put into; None for none.
    """

    where: str
    source: FilterExpression
    start: FilterExpression | None
    constants: dict[str, Any]
    variables: dict[str, FilterExpression]
    alt: FilterExpression | None
    target: str | None

    @property
    def constant_start(self) -> str | None:
        """The name of the preset, where it is written in the tag."""
        is_constant, value = (False, None) if self.start is None else constant(self.start)
        return value if is_constant else None

    def values(self, context: Any) -> dict[str, Any]:
        """Return all options; undefined ones as Django shows them (``""``), which few options allow."""
        values = dict(self.constants)
        for name, expression in self.variables.items():
            values[name] = plain(name, expression.resolve(context))
        return values

    def right_values(self, context: Any) -> dict[str, Any]:
        """Return the options without those that are not allowed, each looked at by itself."""
        return {name: value for name, value in self.values(context).items() if _is_right(name, value)}


def parse(parser: Any, token: Any, own: Collection[str] = (), *, needs_alt: bool = False) -> Arguments:
    """Return a tag's arguments, its constants checked.

    Args:
        parser, token: as Django gives them.
        own: names that the tag takes besides the options of Img.
        needs_alt: whether ``alt`` must be given, or come from a preset or an Img.

    Raises:
        TemplateSyntaxError: something is missing, or not allowed.
    """
    name, *bits = token.split_contents()
    where = f"{{% {name} %}} on line {token.lineno}"
    target = None
    if bits and bits[-1] == "as":
        raise TemplateSyntaxError(f"{where}: 'as' needs the name of a variable behind it")
    if len(bits) >= 2 and bits[-2] == "as":
        target = bits[-1]
        bits = bits[:-2]
    positional, named = _sorted(where, bits)
    if not 1 <= len(positional) <= 2:
        got = f"got {len(positional)}: {' '.join(positional)}" if positional else "got none"
        raise TemplateSyntaxError(f"{where} takes a source and, if need be, a preset or an Img; {got}")
    expressions = {name: parser.compile_filter(text) for name, text in named.items()}
    alt = expressions.pop("alt", None)
    constants, variables = _by_kind(expressions)
    source, start = [parser.compile_filter(text) for text in positional] + [None] * (2 - len(positional))
    arguments = Arguments(where, source, start, constants, variables, alt, target)
    try:
        _check(arguments, own, needs_alt)
    except SpecError as exc:
        raise TemplateSyntaxError(f"{where}: {exc}") from exc
    return arguments


def constant(expression: FilterExpression) -> tuple[bool, Any]:
    """Return whether an expression always has the same value, and that value."""
    found = expression.var
    if expression.filters or isinstance(found, Promise):
        return False, None
    if not isinstance(found, Variable):
        return True, str.__str__(found)
    if found.literal is not None:
        return True, found.literal
    return found.var in _CONSTANTS, _CONSTANTS.get(found.var)


def plain(name: str, value: Any) -> Any:
    """Return a value as Img takes it: translated, and no text where it needs numbers or lists."""
    return from_text(name, str(value) if isinstance(value, Promise) else value)


def _sorted(where: str, bits: list[str]) -> tuple[list[str], dict[str, str]]:
    positional: list[str] = []
    named: dict[str, str] = {}
    for bit in bits:
        match = _NAMED.fullmatch(bit)
        if match is None:
            positional.append(bit)
            continue
        name, text = match.groups()
        if name in named:
            raise TemplateSyntaxError(f"{where}: {name} is given twice")
        if not name.isidentifier():
            written = re.sub(r"\W", "_", name.removeprefix("img_").removeprefix("img-"))
            raise TemplateSyntaxError(f"{where}: {name!r} is no option; write img_{written} for an attribute")
        named[name] = text
    return positional, named


def _by_kind(expressions: Mapping[str, FilterExpression]) -> tuple[dict[str, Any], dict[str, FilterExpression]]:
    constants: dict[str, Any] = {}
    variables: dict[str, FilterExpression] = {}
    for name, expression in expressions.items():
        is_constant, value = constant(expression)
        if is_constant:
            constants[name] = plain(name, value)
        else:
            variables[name] = expression
    return constants, variables


def _check(arguments: Arguments, own: Collection[str], needs_alt: bool) -> None:
    """Refuse what can be known to be wrong before the variables are known."""
    for name in (*arguments.constants, *arguments.variables):
        if name not in own:
            _check_name(name)
    for name in own:
        if name in arguments.constants:
            _OWN[name](arguments.constants[name])
    options = {name: value for name, value in arguments.constants.items() if name not in own}
    start = arguments.constant_start
    if start is not None or (arguments.start is None and not arguments.variables):
        # What is left may complete the constants: the width that a layout needs.
        img = _made(start, {} if arguments.variables else options)
        if needs_alt and arguments.alt is None and img is not None and img.options.alt is None:
            raise SpecError('alt is missing; write alt="what the picture shows", or alt="" for decoration')
    elif needs_alt and arguments.alt is None and arguments.start is None:
        raise SpecError('alt is missing; write alt="what the picture shows", or alt="" for decoration')
    for name, value in options.items():
        check_option(name, value)
    if arguments.alt is not None and constant(arguments.alt) == (True, None):
        raise SpecError('alt: None is not a string; write alt="" for decoration')


def _check_name(name: str) -> None:
    try:
        check_option_name(name)
    except SpecError as exc:
        if "did you mean" in str(exc) or name.startswith("img_"):
            raise
        raise SpecError(f"{exc}; an attribute of the tag begins with img_, as img_{name}") from exc


def _made(start: str | None, options: Mapping[str, Any]) -> Img | None:
    """Return the Img of constant options; None where a preset is meant, and the settings are not there."""
    if start is None:
        return Img(**options)
    try:
        app = current_app()
    except ConfigError:  # a check of templates, or a test, without settings
        return None
    return preset(start, app, **options)


def _is_right(name: str, value: Any) -> bool:
    try:
        if name in _OWN:
            _OWN[name](value)
        else:
            check_option(name, value)
    except SpecError:
        return False
    return True


def _boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise SpecError(f"immediate: {value!r} is not True or False")


_OWN: Final[dict[str, Callable[[Any], object]]] = {
    "build": check_choice,
    "immediate": _boolean,
    "format": lambda value: check_format("format", value),
    "root": Img().url_tag,
}
"""How arguments that are no options are checked."""
