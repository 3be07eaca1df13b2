"""Depo: recall over several hops (Allen-Zhu, 2025, Physics of Language Models 4.1, arXiv
2512.17351).

    ^ a>b d>c c>a b>d  2 a=d  1 c=a          the cycle a -> b -> d -> c -> a
                         d      a

It follows the paper's code (facebookresearch/PhysicsLM4, `data-synthetic-pretrain/Depo/depo.py`).
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Generator, Tensor

from recollect.errors import UserError
from recollect.tasks._label import short_label
from recollect.tasks._sampling import distinct, generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task

MEASURED = 200
"""Number of words, from several cycles, on which the chance level is measured."""
PRECISION = 10**6
"""Scale of component weights, which are rounded to integers."""


@register_task("depo")
class Depo(Task):
    """Find the k-th successor of a word in a cycle.

    The cycle has n words. Its edges, two words each, are in the input in random order. A question
    consists of the number of hops, a word, and a mark; its answer, a word, follows in the input
    (teacher forcing). Questions are about min(n, `num_queries`) different words. In training n is
    drawn with probability proportional to 1 / (n + sqrt(max_nodes)), and hops uniformly. The
    paper's tests use only the largest n, and hops that are powers of two: `min_nodes=max_nodes,
    hops="powers"`.

    Words are drawn without repetition; their last letter is from a separate alphabet. In the paper
    words have 1 to 2 letters out of 50 (Depo1: up to 225, 300 or 375 nodes and 8 hops), or 5 to 7
    out of 3 (Depo2: up to 75, 100 or 125 nodes and 16 hops). Here all words have `word_len`
    letters, so examples with equal n have one length. The paper's code also predicts the mark;
    here the mark is not an answer. The order of n words in a cycle has log2 (n - 1)! bits.

    Attributes:
        min_nodes: smallest number of words in a cycle; each number up to `max_nodes` is a
            component.
        max_nodes: largest number of words in a cycle.
        max_hops: largest number of hops in a question.
        hops: the numbers of hops: "all" from 1 on, or "powers" of two and `max_hops` itself.
        num_queries: largest number of questions in an example.
        num_letters: number of different letters at each place of a word.
        word_len: number of letters in a word.

    Raises:
        UserError: if the range is empty, or there are fewer words than nodes.
    """

    min_nodes: int = Field(default=3, gt=1)
    max_nodes: int = Field(default=75, gt=1)
    max_hops: int = Field(default=8, gt=0)
    hops: Literal["all", "powers"] = "all"
    num_queries: int = Field(default=10, gt=0)
    num_letters: int = Field(default=50, gt=1)
    word_len: int = Field(default=2, gt=0)

    @model_validator(mode="after")
    def _has_words(self) -> Depo:
        if self.min_nodes > self.max_nodes:
            raise UserError(
                f"min_nodes={self.min_nodes} exceeds max_nodes={self.max_nodes}: expected"
                " min_nodes <= max_nodes, equal for one size"
            )
        if self._words < self.max_nodes:
            raise UserError(
                f"num_letters={self.num_letters} and word_len={self.word_len} give {self._words}"
                f" words for max_nodes={self.max_nodes}: use more letters or longer words"
            )
        return self

    @property
    def _words(self) -> int:
        return self.num_letters**self.word_len

    @property
    def _tokens(self) -> Vocabulary:
        letters = {"a": self.num_letters, "z": self.num_letters}
        return Vocabulary({**letters, "hop": self.max_hops + 1, "^": 1, "=": 1})

    @property
    def label(self) -> str:
        """A label like `depo-3to75x8`, nodes by hops, with settings not at their defaults."""
        nodes = "to".join(map(str, dict.fromkeys((self.min_nodes, self.max_nodes))))
        letters = {"hops": "", "num_queries": "q", "num_letters": "a", "word_len": "w"}
        return short_label(self, f"{nodes}x{self.max_hops}", letters)

    @property
    def vocab_size(self) -> int:
        """Number of token ids: letters, numbers of hops, and two marks."""
        return len(self._tokens)

    @property
    def _questions(self) -> int:
        return min(self.max_nodes, self.num_queries)

    @property
    def _question_len(self) -> int:
        return 2 * self.word_len + 2

    @property
    def max_len(self) -> int:
        """Length of the edges of the largest cycle and its questions."""
        return 1 + 2 * self.max_nodes * self.word_len + self._questions * self._question_len

    @cached_property
    def chance(self) -> float:
        """Accuracy of the most frequent answer to the questions that are still possible, given the
        letters of the answer so far.

        No word is asked twice, and each question follows from its answer. Measured on `MEASURED`
        words.
        """
        if self.min_nodes < self.max_nodes:
            parts = zip(self.components, self.component_weights, strict=True)
            answers = [(part.chance, weight * part._questions) for part, weight in parts]
            return sum(c * count for c, count in answers) / sum(count for _, count in answers)
        source, nodes = generator(0), self.max_nodes
        cycles = self._draw_words(-(-MEASURED // nodes), source).tolist()
        orders = distinct(len(cycles), self._questions, nodes, source).tolist()
        hops, shares = self._allowed_hops().tolist(), []
        for words, order in zip(cycles, orders, strict=True):
            left = set(range(nodes))
            for asked in order:
                shares.append(_guess_letters([words[(u + h) % nodes] for u in left for h in hops]))
                left.remove(asked)
        return sum(shares) / len(shares)

    @property
    def components(self) -> tuple[Depo, ...]:
        """One task for each number of nodes."""
        return (self,) if self.min_nodes == self.max_nodes else self._each_size

    @cached_property
    def _each_size(self) -> tuple[Depo, ...]:
        sizes = range(self.min_nodes, self.max_nodes + 1)
        return tuple(self.replace(min_nodes=n, max_nodes=n) for n in sizes)

    @property
    def component_weights(self) -> tuple[int, ...]:
        """Integer weights of the components, proportional to 1 / (n + sqrt(max_nodes))."""
        if self.min_nodes == self.max_nodes:
            return (1,)
        sizes = range(self.min_nodes, self.max_nodes + 1)
        return tuple(round(PRECISION / (n + self.max_nodes**0.5)) for n in sizes)

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples with equal numbers of nodes; equal seeds give equal bytes."""
        if self.min_nodes < self.max_nodes:
            return self.component(seed).sample(n, seed)
        source, tokens, nodes = generator(seed), self._tokens, self.max_nodes
        words = self._draw_words(n, source)  # in the order of the cycle
        edges = torch.cat([words, words.roll(-1, dims=1)], dim=2)
        edges = _choose(edges, distinct(n, nodes, nodes, source)).flatten(1)
        asked = distinct(n, self._questions, nodes, source)
        hops = self._allowed_hops()
        hops = hops[torch.randint(len(hops), asked.shape, generator=source)]
        answers = _choose(words, (asked + hops) % nodes)
        number, mark = (
            (tokens["hop"] + hops)[:, :, None],
            torch.full((*asked.shape, 1), tokens["="]),
        )
        questions = torch.cat([number, _choose(words, asked), mark, answers], dim=2)
        begin = torch.full((n, 1), tokens["^"])
        inputs = torch.cat([begin, edges, questions.flatten(1)], dim=1)
        first = torch.arange(1 + edges.shape[1], inputs.shape[1], self._question_len)
        places = first[:, None] + self.word_len + 1 + torch.arange(self.word_len)
        return Batch(inputs, places.flatten().repeat(n, 1), answers.flatten(1))

    def _allowed_hops(self) -> Int64[Tensor, " H"]:
        if self.hops == "all":
            return torch.arange(1, self.max_hops + 1)
        powers = {2**i for i in range(self.max_hops.bit_length())}
        return torch.tensor(sorted(powers | {self.max_hops}))

    def _draw_words(self, n: int, source: Generator) -> Int64[Tensor, "{n} N w"]:
        """Draw different words for each of `n` examples."""
        numbers = distinct(n, self.max_nodes, self._words, source)
        place = self.num_letters ** torch.arange(self.word_len)
        words = numbers[:, :, None] // place % self.num_letters
        words[:, :, -1] += self._tokens["z"]
        return words

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        assert batch.positions is not None
        first_question = int(batch.positions[0, 0]) - self.word_len - 1
        roles = torch.full_like(batch.inputs, Role.QUERY.index)
        roles[:, :first_question] = Role.KEY.index
        roles[batch.inputs >= self._tokens["^"]] = Role.MARK.index
        return roles

    def spell(self, token: int) -> str:
        """Return `a3` for a letter, `z3` for a last letter, `hop2`, or a mark."""
        return self._tokens.spell(token)


def _choose(rows: Int64[Tensor, "n N w"], which: Int64[Tensor, "n k"]) -> Int64[Tensor, "n k w"]:
    """Select the entries `which` of each row."""
    return rows.gather(1, which[:, :, None].expand(-1, -1, rows.shape[2]))


def _guess_letters(words: list[list[int]]) -> float:
    """The accuracy of the most frequent next letter, for a uniformly drawn word of these."""
    right = 0
    for place in range(len(words[0])):
        counts = Counter(tuple(word[: place + 1]) for word in words)
        best: dict[tuple[int, ...], int] = {}
        for letters, count in counts.items():
            best[letters[:-1]] = max(count, best.get(letters[:-1], 0))
        right += sum(best.values())
    return right / (len(words) * len(words[0]))
