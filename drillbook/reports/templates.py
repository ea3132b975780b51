"""Templates: where they are found, and the two environments that fill them in.

Both are sandboxed (a user's own templates see data and nothing else) and strict (an undefined name is an error, never
an empty place in a report). HTML is autoescaped by Jinja2; in Markdown every value is escaped as it is put in, unless a
filter has already made it safe (``code``, ``fence``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from drillbook import catalog
from drillbook.errors import InvalidFileError, Problem, UsageError
from drillbook.reports import text
from drillbook.reports.charts.frame import ago

_MISTAKES = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
"""What a template's own expressions raise: adding a text to a number, formatting what is no number."""


class Safe(str):
    """Markdown that is not to be escaped again."""

    __slots__ = ()


class _Catalog(BaseLoader):
    """Finds templates by name in the ``reports`` folders: the user's own first, then drillbook's."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        try:
            path = catalog.find("reports", template)
        except UsageError as error:
            raise TemplateNotFound(template, error.message) from error
        return path.read_text(encoding="utf-8"), str(path), lambda: True


def render(name: str, **values: Any) -> str:
    """Fill in ``<name>`` (``report.html.j2``): by its second suffix as HTML or as Markdown.

    Raises:
        InvalidFileError: the template is wrong or uses a name that does not exist; says where.

    """
    html = name.endswith(".html.j2")
    environment = _html() if html else _markdown()
    try:
        return environment.get_template(name).render(**values)
    except TemplateSyntaxError as error:
        place = error.filename or name
        raise _invalid(place, error.lineno, f"the template cannot be read: {error.message}") from error
    except TemplateNotFound as error:
        raise _invalid(
            name, 0, f"no template is called {error.name!r}", "`drillbook list reports` shows all"
        ) from error
    except (TemplateError, *_MISTAKES) as error:
        line, place = _where(error, name)
        hint = "a report's template sees one value, `facts`; `report.json` shows all of its names"
        raise _invalid(place, line, f"the template cannot be filled in: {error}", hint) from error


def _invalid(place: str, line: int, message: str, hint: str = "") -> InvalidFileError:
    return InvalidFileError.of(place, [Problem(place, line, 1 if line else 0, message, hint)])


def _where(error: Exception, name: str) -> tuple[int, str]:
    """Line and file of the innermost template in the traceback: Jinja2 rewrites frames to the template's own lines."""
    line, place, trace = 0, name, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.endswith((".j2", ".css")):
            line, place = trace.tb_lineno, file
        trace = trace.tb_next
    return line, place


def _environment(**options: Any) -> Environment:
    environment = ImmutableSandboxedEnvironment(
        loader=_Catalog(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters |= {
        "duration": text.duration,
        "share": text.share,
        "signed": text.signed,
        "sentence": text.sentence,
        "ago": ago,
        "measured": text.measured,
        "quantity": text.quantity,
        "bitrate": text.bitrate,
    }
    return environment


def _html() -> Environment:
    return _environment(autoescape=True, finalize=lambda value: text.clean(value) if type(value) is str else value)


def _markdown() -> Environment:
    environment = _environment(
        autoescape=False, finalize=lambda value: value if isinstance(value, Safe) else text.markdown(value)
    )
    environment.filters |= {"code": _code, "fence": _fence}
    return environment


def _code(value: object) -> Safe:
    return Safe(text.code(value))


def _fence(value: object, language: str = "") -> Safe:
    return Safe(text.fence(value, language))
