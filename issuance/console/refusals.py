"""What a page says about a refusal: what happened, why, what to do now, and which fields are wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from cardlib.failures import FailureCode, describe
from issuance.console.words import Language
from issuance.input_rules import FieldError
from issuance.problems import ProblemError, code_of


@dataclass(frozen=True, slots=True)
class WrongField:
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """In one language. `fields` by the name of the form's field: where in the request, without `body.`; `all` of them,
    where one field is wrong in several ways.
    """

    code: FailureCode
    status: int
    title: str
    cause: str
    remedy: str
    detail: str = ""
    fields: dict[str, WrongField] = field(default_factory=dict)
    all: tuple[WrongField, ...] = ()


def refusal_of(error: Exception, language: Language) -> Refusal:
    """Raises the error again when it is a fault of ours and no refusal."""
    code = code_of(error)
    if code is FailureCode.INTERNAL:
        raise error
    return refusal(error, language)


def refusal(error: Exception, language: Language) -> Refusal:
    """The words of any exception; one that names no failure of its own shows nothing of itself."""
    code = code_of(error)
    text = describe(code)
    is_problem = isinstance(error, ProblemError)
    fields = error.fields if isinstance(error, ProblemError) else ()
    status = (error.status if isinstance(error, ProblemError) else None) or text.http_status
    return Refusal(
        code=code,
        status=status,
        title=_of(text, "text", language),
        cause=_of(text, "cause", language),
        remedy=_of(text, "remedy", language),
        detail=_spoken(error.detail, language) if is_problem and not fields else "",  # type: ignore[attr-defined]
        fields={_name(wrong): _wrong(wrong, language) for wrong in reversed(fields)},
        all=tuple(_wrong(wrong, language) for wrong in fields),
    )


def _of(words: object, part: str, language: Language) -> str:
    return str(getattr(words, f"{part}_{language}"))


def _wrong(error: FieldError, language: Language) -> WrongField:
    return WrongField(_of(error, "text", language), _of(error, "remedy", language))


def _name(error: FieldError) -> str:
    return error.location.removeprefix("body.")


def _spoken(detail: str, language: Language) -> str:
    """Details for people are written `中文 / English`; others are for the log."""
    chinese, slash, english = detail.partition(" / ")
    if not slash or chinese.isascii():
        return ""
    return chinese if language == "zh" else english
