"""Associative treecall: recall the head of a token's constituent in sentences of a grammar (Arora
et al., 2025, arXiv 2505.15105; aryamanarora/tinylang, `tinylang/language/pcfg.py`).

    ^ t3 t1 t4 t2 t4 t0 $ t2        t0 is the head of t2, that is, of its constituent
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
"""Number of examples on which the chance level is measured."""
ATTEMPTS = 1000
"""Most sentences drawn for an example before sampling fails."""
DRAWS = 2**12
"""Random numbers drawn at a time."""

OPEN, CLOSE = -1, -2
"""Markers in a sentence where a constituent begins and ends."""
Uniform = Callable[[], float]


@dataclass(frozen=True)
class Grammar:
    """A probabilistic context-free grammar whose constituents have a head.

    Attributes:
        rules: right sides of the rules of each nonterminal; numbers below `terminals` are
            terminals, others nonterminals.
        rule_shares: cumulative probabilities of the rules of each nonterminal.
        head_shares: cumulative probabilities of the terminals as head of each nonterminal.
        terminals: number of terminals.
    """

    rules: Sequence[Sequence[Sequence[int]]]
    rule_shares: Sequence[Sequence[float]]
    head_shares: Sequence[Sequence[float]]
    terminals: int


@dataclass(frozen=True)
class Sentence:
    """A sentence of terminals, optionally with brackets.

    Attributes:
        tokens: terminals, `OPEN` and `CLOSE`.
        heads: index of the head of each token; -1 for brackets and for the root.
    """

    tokens: Sequence[int]
    heads: Sequence[int]

    def questions(self) -> dict[int, list[int]]:
        """Return the tokens that can ask for each head, all by index.

        A token can ask if the same terminal does not occur again later in the sentence.
        """
        last = {token: place for place, token in enumerate(self.tokens)}
        found: dict[int, list[int]] = {}
        for place, head in enumerate(self.heads):
            if head >= 0 and last[self.tokens[place]] == place:
                found.setdefault(head, []).append(place)
        return found


@register_task("tree-recall")
class TreeRecall(Task):
    """Recall the head of the constituent that a token belongs to.

    A constituent is the expanded right side of a rule, with a head at its end. This is the head of
    its terminals and of the heads of its inner constituents. The question at the end is a token; it
    stands for its last occurrence in the sentence, and the answer is the head of that occurrence.
    First a head is drawn, uniformly among those that can be asked for, then a token that asks for
    it.

    The grammar is random and fixed by its seed. Each nonterminal has a uniform depth of up to
    `max_depth`; its rules use only nonterminals of larger depth. Rules have 1 to `max_rhs_len - 1`
    parts, uniform among these nonterminals and the terminals. Rules and heads have Dirichlet
    probabilities. Brackets are not part of the input by default. They follow from the grammar, but
    it can be ambiguous, so no program is always correct. With `brackets` they are part of the
    input. The public code allows 1,024 tokens; here sentences longer than `max_tokens` are drawn
    again.

    Attributes:
        num_terminals: number of terminals.
        num_nonterminals: number of nonterminals.
        max_rhs_len: one more than the longest right side; 5 and 10 in the paper.
        max_rules: largest number of rules of a nonterminal.
        max_depth: depth of the grammar.
        max_tokens: length of the longest sentence, in tokens.
        grammar_seed: seed of the grammar.
        brackets: whether brackets around constituents are part of the input.
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
        """A label like `tree-recall-20`: number of terminals, and settings not at defaults."""
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
        """Number of token ids: terminals and five marks."""
        return len(self._tokens)

    @property
    def max_len(self) -> int:
        """Length of the longest sentence, two marks and the question; shorter ones are padded."""
        return self.max_tokens + 3

    @property
    def filler_token(self) -> int | None:
        """Token 0, which pads examples after the question."""
        return 0

    @cached_property
    def chance(self) -> float:
        """Accuracy of the likeliest head of a sentence; measured on `MEASURED` examples."""
        draw, shares = _uniform(0), []
        for _ in range(MEASURED):
            sentence = self._sentence(draw)
            heads = Counter(sentence.tokens[head] for head in sentence.questions())
            shares.append(max(heads.values()) / sum(heads.values()))
        return sum(shares) / MEASURED

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
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
        """Draw a sentence of valid length that has questions."""
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
            " tokens: use a larger max_tokens, or another grammar_seed"
        )

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        assert batch.positions is not None
        roles = torch.full_like(batch.inputs, Role.VALUE.index)
        roles[batch.inputs < self._tokens["t"]] = Role.MARK.index
        roles[batch.inputs == 0] = Role.FILLER.index
        return roles.scatter_(1, batch.positions, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """Return `t3` for a terminal, or a mark."""
        return self._tokens.spell(token)


@cache
def make_grammar(
    terminals: int, nonterminals: int, max_rhs_len: int, max_rules: int, max_depth: int, seed: int
) -> Grammar:
    """Return the grammar of a seed, drawn with numpy's legacy generator, whose stream is frozen."""
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
    """Writes one sentence of at most `room` tokens."""

    def __init__(self, grammar: Grammar, room: int, brackets: bool, draw: Uniform) -> None:
        self._grammar, self._room, self._brackets, self._draw = grammar, room, brackets, draw
        self._tokens: list[int] = []
        self._heads: list[int] = []

    def sentence(self) -> Sentence | None:
        """Return the sentence; None if it is too long or has fewer than three terminals."""
        try:
            self._constituent(int(self._draw() * len(self._grammar.rules)))
        except _TooLong:
            return None
        terminals = sum(token >= 0 for token in self._tokens)
        return Sentence(self._tokens, self._heads) if terminals >= 3 else None

    def _constituent(self, which: int) -> int:
        """Write the expansion of a nonterminal, and return the index of its head."""
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
    """Draw an index by cumulative probabilities."""
    at = draw()
    return next((i for i, reached in enumerate(shares) if at < reached), len(shares) - 1)


def _uniform(seed: int) -> Uniform:
    """A function that draws the next uniform number from [0, 1)."""
    source = generator(seed)
    left: list[float] = []

    def draw() -> float:
        if not left:
            left.extend(torch.rand(DRAWS, dtype=torch.float64, generator=source).tolist())
        return left.pop()

    return draw
