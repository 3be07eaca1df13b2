"""Depo: recall over several hops (Allen-Zhu, 2025, Physics of Language Models 4.1, arXiv
2512.17351).

    ^ a>b d>c c>a b>d  2 a=d  1 c=a          the cycle a -> b -> d -> c -> a
                         d      a

From the code of the paper (facebookresearch/PhysicsLM4, `data-synthetic-pretrain/Depo/depo.py`).
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

MEASURED = 2000
"""Words, of several cycles, on which the level of guessing is measured."""
PRECISION = 10**6
"""Weights are whole numbers: this over what is proportional to their inverse."""


@register_task("depo")
class Depo(Task):
    """The k-th successor of a word in a cycle.

    The cycle has n words, and its edges are read in random order. An edge is two words. A question
    is the number of hops, a word, and the mark; its answer, a word, is given after it was asked
    (teacher forcing). min(n, `num_queries`) different words are asked about. In training n is drawn
    with probability proportional to 1 / (n + sqrt(max_nodes)) and hops uniformly; the published
    tests have the largest n alone and hops that are powers of two: `min_nodes=max_nodes,
    hops="powers"`.

    Words are drawn without repetition; their last letter is of a kind of its own. The published
    ones have 1 to 2 letters of 50 (Depo1, up to 225, 300 or 375 nodes and 8 hops) or 5 to 7 of 3
    (Depo2, up to 75, 100 or 125 nodes and 16 hops); here all have `word_len` letters, so that
    examples of as many nodes have one length. The mark, which the code predicts too, is no answer
    here. One order of n words in a cycle is log2 (n - 1)! bits.

    Attributes:
        min_nodes: the fewest words of a cycle; each number up to `max_nodes` is a component.
        max_nodes: the most.
        max_hops: the most hops of a question.
        hops: which there are: "all", from 1 on, or "powers" of two and `max_hops` itself.
        num_queries: the most questions of an example.
        num_letters: different letters at a place of a word.
        word_len: letters of a word.

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
        """`depo-3to75x8`, nodes by hops, with other settings that are not the defaults."""
        nodes = "to".join(map(str, dict.fromkeys((self.min_nodes, self.max_nodes))))
        letters = {"hops": "", "num_queries": "q", "num_letters": "a", "word_len": "w"}
        return short_label(self, f"{nodes}x{self.max_hops}", letters)

    @property
    def vocab_size(self) -> int:
        """Letters, numbers of hops, and two marks."""
        return len(self._tokens)

    @property
    def _questions(self) -> int:
        return min(self.max_nodes, self.num_queries)

    @property
    def _question_len(self) -> int:
        return 2 * self.word_len + 2

    @property
    def max_len(self) -> int:
        """The edges of the largest cycle, and its questions."""
        return 1 + 2 * self.max_nodes * self.word_len + self._questions * self._question_len

    @cached_property
    def chance(self) -> float:
        """Any word of the cycle, of which the letters so far are known; where a word has several,
        measured on `MEASURED` words."""
        if self.min_nodes < self.max_nodes:
            parts = zip(self.components, self.component_weights, strict=True)
            answers = [(part.chance, weight * part._questions) for part, weight in parts]
            return sum(c * count for c, count in answers) / sum(count for _, count in answers)
        if self.word_len == 1:
            return 1 / self.max_nodes
        cycles = self._draw_words(-(-MEASURED // self.max_nodes), generator(0)).tolist()
        return sum(map(_guess_letters, cycles)) / len(cycles)

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
        """Few nodes are more frequent."""
        if self.min_nodes == self.max_nodes:
            return (1,)
        sizes = range(self.min_nodes, self.max_nodes + 1)
        return tuple(round(PRECISION / (n + self.max_nodes**0.5)) for n in sizes)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples of one number of nodes; the same seed gives the same bytes."""
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
        """For each of `n` examples, different words."""
        numbers = distinct(n, self.max_nodes, self._words, source)
        place = self.num_letters ** torch.arange(self.word_len)
        words = numbers[:, :, None] // place % self.num_letters
        words[:, :, -1] += self._tokens["z"]
        return words

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """What each token is there for, as indices into `list(Role)`."""
        assert batch.positions is not None
        first_question = int(batch.positions[0, 0]) - self.word_len - 1
        roles = torch.full_like(batch.inputs, Role.QUERY.index)
        roles[:, :first_question] = Role.KEY.index
        roles[batch.inputs >= self._tokens["^"]] = Role.MARK.index
        return roles

    def spell(self, token: int) -> str:
        """`a3` for a letter, `z3` for a last one, `hop2`, or a mark."""
        return self._tokens.spell(token)


def _choose(rows: Int64[Tensor, "n N w"], which: Int64[Tensor, "n k"]) -> Int64[Tensor, "n k w"]:
    """Some entries of each row."""
    return rows.gather(1, which[:, :, None].expand(-1, -1, rows.shape[2]))


def _guess_letters(words: list[list[int]]) -> float:
    """How often the likeliest letter is right, of a word that is any of these and whose letters so
    far are known."""
    right = 0
    for place in range(len(words[0])):
        counts = Counter(tuple(word[: place + 1]) for word in words)
        best: dict[tuple[int, ...], int] = {}
        for letters, count in counts.items():
            best[letters[:-1]] = max(count, best.get(letters[:-1], 0))
        right += sum(best.values())
    return right / (len(words) * len(words[0]))
