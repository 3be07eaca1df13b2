"""Associative treecall: recall of the head that a token hangs on, in sentences of a grammar (Arora
et al., 2025, arXiv 2505.15105; aryamanarora/tinylang, `tinylang/language/pcfg.py`).

    ^ t3 t1 t4 t2 t4 t0 $ t2        t2 hangs on t0, the head of its constituent
                          t0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

MEASURED = 256
"""Examples on which the level of guessing is measured."""
ATTEMPTS = 1000
"""Sentences that are drawn for an example before it is said that none fits."""
DRAWS = 2**12
"""Random numbers are made so many at a time."""

OPEN, CLOSE = -1, -2
"""In a sentence, where a constituent begins and ends."""
Uniform = Callable[[], float]


@dataclass(frozen=True)
class Grammar:
    """A probabilistic context-free grammar whose constituents have a head.

    Attributes:
        rules: of each nonterminal, the right sides; numbers below `terminals` are terminals, others
            nonterminals.
        rule_shares: of each nonterminal, the cumulated probabilities of its rules.
        head_shares: of each nonterminal, those of the terminals as its head.
        terminals: how many there are.
    """

    rules: Sequence[Sequence[Sequence[int]]]
    rule_shares: Sequence[Sequence[float]]
    head_shares: Sequence[Sequence[float]]
    terminals: int


@dataclass(frozen=True)
class Sentence:
    """Terminals with brackets among them.

    Attributes:
        tokens: the terminals, `OPEN` and `CLOSE`.
        heads: for each token the place of the head that it hangs on; -1 for brackets, and for the
            head of all.
    """

    tokens: Sequence[int]
    heads: Sequence[int]

    def questions(self) -> dict[int, list[int]]:
        """For each place of a head, the places from which it can be asked: those of tokens of which
        the sentence has no other one further right."""
        last = {token: place for place, token in enumerate(self.tokens)}
        found: dict[int, list[int]] = {}
        for place, head in enumerate(self.heads):
            if head >= 0 and last[self.tokens[place]] == place:
                found.setdefault(head, []).append(place)
        return found


@register_task("tree-recall")
class TreeRecall(Task):
    """The head of the constituent that a token belongs to.

    A constituent is the right side of a rule, its nonterminals expanded, with a head at its end. A
    terminal, or the head of a constituent within, hangs on it. At the end a token is given, of
    which the last in the sentence counts, and the head on which it hangs is asked for: first a head
    is drawn, uniformly among those that can be asked for, then the token.

    The grammar is random and fixed by its seed. Each nonterminal has a depth, uniform up to
    `max_depth`, and its rules use those of a larger depth alone; rules have from one to
    `max_rhs_len - 1` parts, any of these nonterminals and of the terminals; rules and heads have
    Dirichlet probabilities. The brackets are not read: they must be guessed from the grammar, where
    it is ambiguous in vain, so that no program is always right. With `brackets` they are read. The
    public code allows 1,024 tokens; longer sentences than `max_tokens` are drawn again.

    Attributes:
        num_terminals: how many terminals there are.
        num_nonterminals: how many nonterminals.
        max_rhs_len: one more than the longest right side; 5 and 10 in the paper.
        max_rules: the most rules of a nonterminal.
        max_depth: how deep the grammar is.
        max_tokens: the longest sentence, in tokens.
        grammar_seed: which grammar it is.
        brackets: whether constituents are shown.
    """

    num_terminals: int = Field(default=20, gt=1)
    num_nonterminals: int = Field(default=40, gt=0)
    max_rhs_len: int = Field(default=5, gt=1)
    max_rules: int = Field(default=5, gt=0)
    max_depth: int = Field(default=10, gt=0)
    max_tokens: int = Field(default=64, gt=2)
    grammar_seed: int = Field(default=0, ge=0, lt=2**32)
    brackets: bool = False

    @property
    def _tokens(self) -> Vocabulary:
        marks = {".": 1, "^": 1, "$": 1, "(": 1, ")": 1}
        return Vocabulary({**marks, "t": self.num_terminals})

    @property
    def label(self) -> str:
        """`tree-recall-20`, the number of terminals, with other settings that are not the
        defaults."""
        letters = {
            "num_nonterminals": "n",
            "max_rhs_len": "w",
            "max_rules": "r",
            "max_depth": "d",
            "max_tokens": "l",
            "grammar_seed": "g",
            "brackets": "brackets=",
        }
        return short_label(self, str(self.num_terminals), letters)

    @property
    def vocab_size(self) -> int:
        """Terminals and five marks."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """The longest sentence, two marks and the question; shorter ones are filled up."""
        return self.max_tokens + 3

    @property
    def filler_token(self) -> int | None:
        """Token 0, behind the question."""
        return 0

    @cached_property
    def chance(self) -> float:
        """The likeliest head of the sentence; measured on `MEASURED` examples."""
        draw, shares = _uniform(0), []
        for _ in range(MEASURED):
            sentence = self._sentence(draw)
            heads = Counter(sentence.tokens[head] for head in sentence.questions())
            shares.append(max(heads.values()) / sum(heads.values()))
        return sum(shares) / MEASURED

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples; the same seed gives the same bytes."""
        draw, tokens = _uniform(seed), self._tokens
        token_of = {OPEN: tokens["("], CLOSE: tokens[")"]}
        inputs = torch.zeros(n, self.max_len, dtype=torch.int64)
        positions, targets = torch.empty(n, 1, dtype=torch.int64), torch.empty_like(inputs[:, :1])
        for row in range(n):
            sentence = self._sentence(draw)
            read = [token_of.get(each, tokens["t"] + each) for each in sentence.tokens]
            questions = sentence.questions()
            head = sorted(questions)[int(draw() * len(questions))]
            asked = questions[head][int(draw() * len(questions[head]))]
            text = torch.tensor([tokens["^"], *read, tokens["$"], read[asked]])
            inputs[row, : len(text)] = text
            positions[row], targets[row] = len(text) - 1, read[head]
        return Batch(inputs, positions, targets)

    def _sentence(self, draw: Uniform) -> Sentence:
        """One that fits, and has something to ask for."""
        grammar = make_grammar(
            self.num_terminals,
            self.num_nonterminals,
            self.max_rhs_len,
            self.max_rules,
            self.max_depth,
            self.grammar_seed,
        )
        for _ in range(ATTEMPTS):
            sentence = _Writer(grammar, self.max_tokens, self.brackets, draw).sentence()
            if sentence is not None and sentence.questions():
                return sentence
        raise UserError(
            f"{self.label}: none of {ATTEMPTS} sentences has from 3 to max_tokens={self.max_tokens}"
            " tokens: use a larger number, or another grammar_seed"
        )

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """What each token is there for, as indices into `list(Role)`."""
        assert batch.positions is not None
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[batch.inputs < self._tokens["t"]] = Role.MARK.index
        roles[batch.inputs == 0] = Role.FILLER.index
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """`t3` for a terminal, or a mark."""
        return self._tokens.spell(token)


@cache
def make_grammar(
    terminals: int, nonterminals: int, max_rhs_len: int, max_rules: int, max_depth: int, seed: int
) -> Grammar:
    """The grammar of this seed; numpy's old generator, which stays as it is."""
    random = np.random.RandomState(seed)
    depths = random.randint(1, max_depth + 1, size=nonterminals)
    rules, rule_shares, head_shares = [], [], []
    for depth in depths:
        deeper = [terminals + int(i) for i in np.flatnonzero(depths > depth)]
        parts = np.array([*deeper, *range(terminals)])
        count = random.randint(1, max_rules + 1)
        lengths = random.randint(1, max_rhs_len, size=count)
        rules.append([random.choice(parts, size=length).tolist() for length in lengths])
        rule_shares.append(list(accumulate(random.dirichlet(np.ones(count)).tolist())))
        head_shares.append(list(accumulate(random.dirichlet(np.ones(terminals)).tolist())))
    return Grammar(rules, rule_shares, head_shares, terminals)


class _TooLong(Exception):
    pass


class _Writer:
    """Writes one sentence, of at most `room` tokens."""

    def __init__(self, grammar: Grammar, room: int, brackets: bool, draw: Uniform) -> None:
        self._grammar, self._room, self._brackets, self._draw = grammar, room, brackets, draw
        self._tokens: list[int] = []
        self._heads: list[int] = []

    def sentence(self) -> Sentence | None:
        """None if it has fewer than three terminals, or no room."""
        try:
            self._constituent(int(self._draw() * len(self._grammar.rules)))
        except _TooLong:
            return None
        terminals = sum(token >= 0 for token in self._tokens)
        return Sentence(self._tokens, self._heads) if terminals >= 3 else None

    def _constituent(self, which: int) -> int:
        """Write what a nonterminal becomes; returns the place of its head."""
        if self._brackets:
            self._write(OPEN)
        grammar = self._grammar
        rule = grammar.rules[which][_pick(grammar.rule_shares[which], self._draw)]
        hang = [
            self._write(part)
            if part < grammar.terminals
            else self._constituent(part - grammar.terminals)
            for part in rule
        ]
        head = self._write(_pick(grammar.head_shares[which], self._draw))
        for place in hang:
            self._heads[place] = head
        if self._brackets:
            self._write(CLOSE)
        return head

    def _write(self, token: int) -> int:
        if len(self._tokens) == self._room:
            raise _TooLong
        self._tokens.append(token)
        self._heads.append(-1)
        return len(self._tokens) - 1


def _pick(shares: Sequence[float], draw: Uniform) -> int:
    """An index, by the cumulated probabilities."""
    at = draw()
    return next((i for i, reached in enumerate(shares) if at < reached), len(shares) - 1)


def _uniform(seed: int) -> Uniform:
    """Numbers from 0 to 1, as many as are asked for."""
    source = generator(seed)
    left: list[float] = []

    def draw() -> float:
        if not left:
            left.extend(torch.rand(DRAWS, dtype=torch.float64, generator=source).tolist())
        return left.pop()

    return draw
