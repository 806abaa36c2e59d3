"""Mutants of C functions, made mechanically: one step of a function is left out, done in the wrong order, or its check is not made.

It reads the C of this repository, whose layout the tidy rules keep: functions begin and end at the first column, bodies of conditions are in braces.
"""

import hashlib
import re

# Left alone: what only tells people something, what only gives memory back, and locks, which a simulation in one thread cannot miss.
ASIDE = re.compile(r"^(\(void\)\w+;|\(void\)snprintf\(|\(void\)weir_error_|weir_log\(|weir_log_\w+\(|weir_(free|assert)\(|WEIR_FAILPOINT\(|"
                   r"weir_mutex_|err->text|[^=(]* = NULL;$|"
                   r"\w*(_fini|_destroy|_free|free_\w+)\(|(\w+(->|\.))*view(->|\.)\w+(->\w+)? ?(=|\+|-)|[\w>.-]*(began|ended|modified|latest_ack)_(wall_)?ms = )")
ALLOCATES = re.compile(r"\bweir_(strdup|strfmt|calloc|malloc|arena_\w+|vec_grow|slice\w*)\(")
DECLARES = re.compile(r"^(static|const|struct|enum|union|unsigned|signed|bool|char|int|double|size_t|ssize_t|void \*|u?int\d+_t|Weir__\w+)\b")
WORDS = {"drop": "a statement left out", "swap": "two statements in the wrong order", "never": "a condition that never holds",
         "part": "a part of a condition left out", "bound": "a comparison off by one", "leave": "returns at once"}
KINDS = list(WORDS)


class Stale(Exception):
    """The sources are not what the table says."""


class Mutant:
    def __init__(self, path, function, kind, start, end, old, new, line):
        self.path, self.function, self.kind = path, function, kind
        self.start, self.end, self.old, self.new, self.line = start, end, old, new, line
        self.id = None  # set by name_all

    def apply(self, text):
        if text[self.start:self.end] != self.old:
            raise Stale(f"{self.id}: {self.path} has changed")
        return text[:self.start] + self.new + text[self.end:]

    def __str__(self):
        return f"{self.path}:{self.line}: {self.function}: {WORDS[self.kind]}: {flat(self.old)} -> {flat(self.new)}"


def flat(text):
    return re.sub(r"\s+", " ", text).strip() or ";"


def blank(text):
    """The same text, as long, with comments and literals blanked out."""
    def fill(match):
        return re.sub(r"[^\n]", lambda _: "_" if match.group(0)[0] in "\"'" else " ", match.group(0))
    return re.sub(r"/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", fill, text, flags=re.S)


def body_of(path, text, function):
    """The span of a function's body, without its braces, and the text of what it returns."""
    found = [m for m in re.finditer(rf"^([a-z][^\n;{{}}]*?)\b{function}\([^;{{}}]*\)\n\{{\n", text, flags=re.M)]
    if len(found) != 1:
        raise Stale(f"{path} has {len(found)} functions {function}")
    return found[0].end(), text.index("\n}\n", found[0].end()) + 1, found[0].group(1)


def close_of(text, at):
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i + 1
    raise Stale("a bracket is not closed")


def matters(first, second):
    """Whether the order of two statements can: not of two assignments of which neither reads what the other sets, and that call nobody."""
    def sets(text):
        match = re.match(r"([^=(]*?)\s*(?:[-+|&]?=(?!=)|\+\+|--)", text)
        return match and match.group(1).strip("* ")
    def calls(text):
        return re.search(r"\b(?!sizeof|if)\w+\(", ALLOCATES.sub("", text)) is not None
    if calls(first) or calls(second):
        return True
    a, b = sets(first), sets(second)
    return not a or not b or a in second or b in first


class Reader:
    """Goes through the statements of a body and collects mutants."""

    def __init__(self, path, function, text, returns):
        self.path, self.function, self.text, self.seen, self.returns = path, function, text, blank(text), returns
        self.found = []

    def add(self, kind, start, end, new):
        line = self.text.count("\n", 0, start) + 1
        self.found.append(Mutant(self.path, self.function, kind, start, end, self.text[start:end], new, line))

    def skip_space(self, at):
        while self.seen[at].isspace():
            at += 1
        return at

    def block(self, at, end):
        before = None  # the span of a statement right before this one that may change places with it
        at = self.skip_space(at) if self.seen[at:end].strip() else end
        while at < end:
            at, before = self.statement(at, before)
            at = self.skip_space(at) if self.seen[at:end].strip() else end

    def statement(self, at, before):
        word = re.match(r"\w*", self.seen[at:]).group(0)
        if word in ("if", "while", "for", "switch"):
            return self.branch(at, word), None
        if word == "else":
            at = self.skip_space(at + len("else"))
            return (at, None) if self.seen.startswith("if", at) else (self.braces(at), None)
        if word == "do" or self.seen[at] == "{":
            return self.braces(self.seen.index("{", at)), None
        if word in ("case", "default") or re.match(r"\w+:\n", self.seen[at:]):
            return self.seen.index(":", at) + 1, None
        return self.simple(at, word, before)

    def braces(self, at):
        end = close_of(self.seen, at)
        self.block(at + 1, end - 1)
        return end

    def branch(self, at, word):
        opens = self.seen.index("(", at)
        end = close_of(self.seen, opens)
        if word == "if":
            self.add("never", opens + 1, end - 1, f"false && ({self.text[opens + 1:end - 1]})")
        if word in ("if", "while"):
            self.condition(opens + 1, end - 1)
        at = self.skip_space(end)
        return self.braces(at) if self.seen[at] == "{" else self.statement(at, None)[0]

    def simple(self, at, word, before):
        end = at
        while self.seen[end] != ";":
            end = close_of(self.seen, end) if self.seen[end] in "([{" else end + 1
        end += 1
        text = self.text[at:end]
        if DECLARES.match(text) or word in ("return", "break", "continue", "goto"):
            self.value(at, end - 1, word == "return")
            return end, None
        if ASIDE.match(text):
            return end, None
        self.value(at, end - 1, False)
        self.add("drop", at, end, ";")
        if before is not None and matters(self.seen[before[0]:before[1]], self.seen[at:end]):
            first, gap = self.text[before[0]:before[1]], self.text[before[1]:at]
            self.add("swap", before[0], end, text + gap + first)
        return end, (at, end)

    def value(self, at, end, whole):
        """What a statement returns or assigns, as far as it is a condition."""
        begin = at + len("return") if whole else None
        for match in [] if whole else re.finditer(r"(?<![=!<>+*/&|-])=(?!=)", self.seen[at:end]):
            begin = begin or at + match.end()
        if begin is not None:
            self.condition(begin, end)

    def condition(self, start, end):
        """Of an expression: its operands of && and ||, and what compares numbers."""
        question = self.top(start, end, r"\?")
        end = question[0] if question else end
        for sign, neutral in (("||", "false"), ("&&", "true")):
            cuts = self.top(start, end, re.escape(sign))
            if not cuts:
                continue
            for a, b in zip([start] + [c + 2 for c in cuts], cuts + [end]):
                a, b = self.trim(a, b)
                self.add("part", a, b, neutral)
                self.operand(a, b)
            return
        self.operand(*self.trim(start, end))

    def operand(self, start, end):
        if start < end and self.seen[start] == "(" and close_of(self.seen, start) == end:
            self.condition(start + 1, end - 1)
            return
        for at in self.top(start, end, r" [<>]=? "):
            sign = self.seen[at + 1:at + 3].strip()
            other = sign[0] if len(sign) == 2 else sign + "="
            self.add("bound", start, end, self.text[start:at + 1] + other + self.text[at + 1 + len(sign):end])

    def trim(self, start, end):
        while start < end and self.seen[start].isspace():
            start += 1
        while start < end and self.seen[end - 1].isspace():
            end -= 1
        return start, end

    def top(self, start, end, pattern):
        """Where the pattern is, outside of brackets."""
        spots, at, sign = [], start, re.compile(pattern)
        while at < end:
            if self.seen[at] in "([{":
                at = close_of(self.seen, at)
            elif sign.match(self.seen, at, end):
                spots.append(at)
                at += 1
            else:
                at += 1
        return spots

    def leave(self, at):
        kind = self.returns.strip()
        answers = {"void": "", "static void": "", "enum weir_rc": " WEIR_OK", "static enum weir_rc": " WEIR_OK", "bool": " false", "static bool": " false"}
        if kind in answers:
            self.add("leave", at, at, f"    if (true) {{ return{answers[kind]}; }}\n")


def mutants_of(path, text, function):
    """All mutants of a function, in the order of the text."""
    start, end, returns = body_of(path, text, function)
    reader = Reader(path, function, text, returns)
    reader.leave(start)
    reader.block(start, end - 1)
    return name_all(reader.found)


def name_all(mutants):
    """Names that stay as long as the step stays, whatever changes around it."""
    used = {}
    for mutant in mutants:
        step = f"{mutant.path} {mutant.function} {mutant.kind} {flat(mutant.old)} {flat(mutant.new)}"
        used[step] = used.get(step, 0) + 1
        digest = hashlib.sha256(f"{step} {used[step]}".encode()).hexdigest()[:6]
        base = mutant.path.rsplit("/", 1)[1][:-2]
        mutant.id = f"{base}.{mutant.function}.{mutant.kind}.{digest}"
    return mutants
