"""The grammar of specs: tokens, and the tree of names and options that a text stands for.

Knows text only; spec.py says what the names mean. Text never reaches eval, exec or sympify.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from integrator_analysis.catalogue import SCHEMES
from integrator_analysis.inputs import NUMBER, InputError, as_float
from integrator_analysis.methods.splitting.words import WORD

MAX_LENGTH = 200

NAME = r"[A-Za-z_][A-Za-z0-9_+-]*"

TOKEN = re.compile(rf"\s*(?:(?P<number>{NUMBER}(?![A-Za-z0-9_.]))|(?P<name>{NAME})|(?P<mark>[/(),=*+]))")


@dataclass(frozen=True)
class Part:
    """One part of a spec: a name, what its parentheses hold, and whether the name is a splitting ``word``."""

    name: str
    options: Mapping[str, str]
    flags: tuple[str, ...]
    word: bool


def check_text(text: object) -> None:
    """Raise InputError for what is no text, or text too long to be a spec."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        got = f"{text[:40]!r}..." if isinstance(text, str) else type(text).__name__
        raise InputError(f"a spec is text of at most {MAX_LENGTH} characters such as 'psld/RVV', got {got}")


def read_number(name: str, text: str) -> float:
    """The number that ``text`` spells. Raises InputError, with ``name``, for anything else."""
    if not re.fullmatch(NUMBER, text):
        raise InputError(f"{name} = {text!r} is not a number")
    return as_float(float(text), name)


class Parser:
    """Recursive descent over the tokens of one spec, a method for each rule of the grammar in spec.py."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, position = text, [], 0
        while position < len(text.rstrip()):
            match = self.word(position) or TOKEN.match(text, position)
            if not match:
                raise self.error(position, "a name, a number or one of / ( ) , = * +")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup or 0), match.start(match.lastgroup or 0)))
            position = match.end()
        self.next = 0

    def word(self, position: int) -> re.Match[str] | None:
        """The splitting word that begins here, where a scheme is named and this is no scheme's name."""
        found = WORD.match(self.text, position) if self.tokens and self.tokens[-1][1] in ("/", "+") else None
        return found if found and found["word"] not in SCHEMES else None

    def error(self, position: int, accepted: str) -> InputError:
        """The error that at ``position`` something else was ``accepted``."""
        found = repr(self.text[position]) if position < len(self.text) else "its end"
        return InputError(f"spec {self.text!r}: at {found} (character {position + 1}) expected {accepted}")

    def peek(self) -> tuple[str | None, str, int]:
        """The kind, the text and the position of the next token."""
        return self.tokens[self.next] if self.next < len(self.tokens) else (None, "", len(self.text))

    def take(self, kinds: tuple[str, ...], accepted: str, value: str | None = None) -> str:
        """Go past the next token, which has to be of one of the kinds and, if given, of this value; return its text."""
        kind, text, position = self.peek()
        if kind not in kinds or (value is not None and text != value):
            raise self.error(position, accepted)
        self.next += 1
        return text

    def spec(self) -> tuple[Part, Part, Part | None]:
        """The whole spec: its process, its scheme, and the word after a "+"."""
        left = self.part("a process name")
        self.take(("mark",), "'/' between process and scheme", "/")
        right, split = self.part("a scheme name"), None
        if self.peek()[1] == "+":
            self.next += 1
            split = self.part("a splitting word")
        if self.next < len(self.tokens):
            raise self.error(self.peek()[2], "the end of the spec")
        return left, right, split

    def part(self, what: str) -> Part:
        """A name or a word, with its options in parentheses if there are any."""
        word = self.peek()[0] == "word"
        name = self.take(("name", "word"), what)
        options: dict[str, str] = {}
        flags: list[str] = []
        if self.peek()[1] == "(":
            self.next += 1
            while True:
                key = self.take(("name",), "an option name")
                if key in options or key in flags:
                    raise InputError(f"spec {self.text!r}: option {key} is given twice")
                if self.peek()[1] == "=":
                    self.next += 1
                    options[key] = self.value()
                else:
                    flags.append(key)
                if self.take(("mark",), "',' or ')'") == ")":
                    break
                if self.tokens[self.next - 1][1] != ",":
                    raise self.error(self.tokens[self.next - 1][2], "',' or ')'")
        return Part(name, options, tuple(flags), word)

    def value(self) -> str:
        """The value of an option: a product, written without spaces."""
        out = self.atom("a value")
        while self.peek()[1] == "*":
            self.next += 1
            out += "*" + self.atom("a factor")
        return out

    def atom(self, what: str) -> str:
        """A number, a name or a call, whose numbers are written as they read back."""
        name = self.take(("name", "number"), what)
        if self.tokens[self.next - 1][0] == "number" or self.peek()[1] != "(":
            return name
        numbers: list[str] = []
        while not numbers or self.peek()[1] == ",":
            self.next += 1
            numbers.append(repr(read_number(name, self.take(("number",), "a number"))))
        self.take(("mark",), "',' or ')'", ")")
        return f"{name}({', '.join(numbers)})"
