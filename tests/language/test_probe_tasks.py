"""Repetition, the phone book and needles: what is asked, and programs that answer."""

import hashlib
import random
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_models import ByRule, by_rule, worded, words
from made_tokenizers import bytewise, of_letters, whole_words
from scipy import stats

from recollect.errors import UserError
from recollect.language.corpus import Corpus, numbered
from recollect.language.filler import made_text, text_from
from recollect.language.needles import KINDS, NOISE, Needle
from recollect.language.phonebook import Phonebook
from recollect.language.probe import Sampling, probe
from recollect.language.probe_frames import needle_frame, phonebook_frame, repetition_frame
from recollect.language.prompts import Repetition
from recollect.language.reading import Reading

NEEDLE = re.compile(r"One secret (?:number|uuid) that is kept for (\S+) is: (\S+)\.")
ASKS = {
    "repetition": r"\w+(?: \w+)*?( \w*)?",
    "phonebook": r"[A-Z]\w+ [A-Z]\w+:( \d*)?",
    "niah": r"Which secret .* text gave for \S+ is( [\w-]*)?",
}


def prompts(question, examples=4, shots=2, seed=0):
    sampling = Sampling(examples=examples, shots=shots, seed=seed)
    return list(sampling.prompts(question, words()))


def asked(rule, question, *, examples=3, max_len=None):
    model = by_rule(rule, asks=ASKS[question.task], max_len=max_len)
    sampling = Sampling(examples=examples)
    return probe(model, words(), [question], sampling, device=torch.device("cpu"))


def entries(text):
    return dict(re.findall(r"(.+): (\d+)", text.split("\n\n")[0]))


def knows(text):
    """What stands behind the same name, key or word further up."""
    if "Which secret" in text:
        key = re.findall(r"gave for (\S+) is", text)[-1]
        return dict(NEEDLE.findall(text))[key]
    if ":" in text:
        return entries(text).get(text.rpartition("\n")[2][:-1], "")
    read = text.split()
    before = read.index(read[-1]) if read else 0
    return read[before + 1] if before + 1 < len(read) else ""


def guesses(text):
    """Anything that may be the answer."""
    draw = random.Random(text)
    if "Which secret" in text:
        values = [value for _, value in NEEDLE.findall(text)]
        return draw.choice(values) if len(values) > 1 else str(draw.randrange(10**6, 10**7))
    if ":" in text:
        book, _, solved = text.partition("\n\n")
        return draw.choice([each for each in entries(book).values() if each not in solved] or [""])
    once = Counter(text.split())
    left = [word for word, times in once.items() if times == 1][1:]
    return draw.choice(left) if left else ""


def test_repetition_reads_as_it_says():
    for prompt in prompts(Repetition(length=5)):
        front, *read = prompt.text.split()
        assert read[:5] == read[5:]
        assert len({front, *read}) == 6
        assert [prompt.text[slice(*each.asked)] for each in prompt.answers] == read[6:]
        assert [prompt.text[slice(*each.shown)] for each in prompt.answers] == read[1:5]
        assert prompt.chances == [1 / 4, 1 / 3, 1 / 2, 1]


def test_a_phone_book_reads_as_it_says():
    line = r"[A-Z]\w+ [A-Z]\w+: [6-9]\d{9}\n"
    places = Counter()
    for prompt in prompts(Phonebook(entries=6), examples=200):
        assert re.fullmatch(rf"({line}){{6}}\n({line}){{2}}\n{line}", prompt.text)
        book, solved, last = (part.splitlines() for part in prompt.text[:-1].split("\n\n"))
        assert len(set(book)) == 6
        assert {*solved, *last} <= {*book}
        assert len({*solved, *last}) == 3
        (answer,) = prompt.answers
        assert prompt.text[slice(*answer.asked)] == prompt.text[slice(*answer.shown)]
        assert prompt.text[slice(*answer.asked)] == last[0].split(": ")[1]
        assert answer.shown.last < len("\n".join(book)) + 1 < answer.asked.first
        assert prompt.chances == [1 / 4]
        places[book.index(last[0])] += 1
    assert stats.chisquare([places[i] for i in range(6)]).pvalue > 0.001
    assert prompts(Phonebook(entries=2), shots=0)[0].text.count("\n\n") == 1
    with pytest.raises(UserError, match="entries=2: expected more than the 2 solved examples"):
        prompts(Phonebook(entries=2))


@pytest.mark.parametrize("kind", KINDS)
def test_needles_are_hidden_as_the_task_says(kind):
    hay = KINDS[kind]
    one = hay.value
    seen = set()
    for prompt in prompts(Needle(kind=kind, filler=60), examples=24):
        head, *lines, last = prompt.text.split("\n")
        assert head == (
            f"The text below tells a secret {one}. Keep it in mind: at the end you are asked for"
            f" the {one}."
        )
        shown = dict(NEEDLE.findall("\n".join(lines)))
        count = {"mk-niah-1": 4, "mk-niah-2": 7, "mk-niah-3": 7}.get(kind, 1)
        assert len(shown) == len(set(shown.values())) == count
        key, value = re.fullmatch(
            rf"Which secret {one} did the text give for (\S+)\?"
            rf" The secret {one} that the text gave for \1 is (\S+)\.",
            last,
        ).groups()
        assert shown[key] == value
        (answer,) = prompt.answers
        assert prompt.text[slice(*answer.asked)] == prompt.text[slice(*answer.shown)] == value
        assert re.fullmatch(r"[1-9]\d{6}" if one == "number" else r"[0-9a-f-]{36}", value)
        assert prompt.chances[0] == pytest.approx(1 / count if count > 1 else 0, abs=2e-7)
        rest = NEEDLE.sub("", "\n".join(lines))
        if hay.filler == "noise":
            assert rest.split("\n").count(NOISE) == 3
            seen.add(lines.index(NEEDLE.search(prompt.text)[0]))
        elif hay.filler == "needles":
            assert not rest.strip()
            seen.add([*shown].index(key))
        else:
            assert rest.split() == made_text(60).split()
            for found in NEEDLE.finditer(lines[0]):
                before, behind = lines[0][: found.start()], lines[0][found.end() :]
                assert before[-2:] in ("", ". ") or not NEEDLE.sub("", behind).strip()
    assert hay.filler == "text" or len(lines) - 1 in seen, "the last line may have it"


def test_prompts_are_the_same_on_every_machine():
    questions = [Phonebook(entries=9), *(Needle(kind=kind, filler=150) for kind in KINDS)]
    texts = [prompt.text for question in questions for prompt in prompts(question, 2)]
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] == "f67b811c8c98bdaa"
    assert prompts(questions[0], 2) == prompts(questions[0], 5)[:2]
    assert prompts(questions[0], seed=1) != prompts(questions[0])
    assert prompts(questions[1], shots=0) == prompts(questions[1], shots=2)


def test_a_text_of_the_user_is_the_haystack():
    documents = ["One.  Two\nthree!", "Four?", "Five. Six."]
    corpus = Corpus("mine", "", 3, lambda: numbered(documents), Reading({}))
    assert text_from(corpus, 4) == "One. Two three! Four?"
    with pytest.raises(UserError, match="mine has 6 words, but filler=7"):
        text_from(corpus, 7)
    with pytest.raises(UserError, match="filler=20, but the text has 5 words"):
        Needle(kind="s-niah-2", filler=20, text=text_from(corpus, 5))
    some = Corpus("many", "", 9, lambda: numbered([*documents * 3, "A b."]), Reading({}))
    question = Needle(kind="s-niah-2", filler=20, text=text_from(some, 20))
    found = {prompt.text.split("\n")[1] for prompt in prompts(question, 100)}
    shorn = {NEEDLE.sub("@", each) for each in found}
    parts = ["One.", "Two three!", "Four?", "Five.", "Six."] * 3 + ["A b."]
    assert shorn == {" ".join([*parts[:i], "@", *parts[i:]]) for i in range(len(parts) + 1)}
    assert "text" not in question.model_dump()


SMALL = [
    Repetition(length=4),
    Phonebook(entries=4),
    *(Needle(kind=kind, filler=30) for kind in KINDS),
]
FRAMES = {"repetition": repetition_frame, "phonebook": phonebook_frame, "niah": needle_frame}


@pytest.mark.parametrize("question", SMALL, ids=lambda question: question.label)
def test_who_knows_is_right_and_a_longer_prompt_than_it_reads_is_refused(question):
    answers = asked(knows, question)
    assert answers["right"].all()
    (row,) = FRAMES[question.task](answers).itertuples()
    assert (row.accuracy, row.accuracy_high, row.prompts) == (1, 1, 3)
    longest = int(answers["prompt_tokens"].max())
    with pytest.raises(UserError, match=rf"{question.label}.*has {longest} tokens, but the model"):
        asked(knows, question, max_len=longest - 1)


@pytest.mark.parametrize("question", [*SMALL[:3], SMALL[5], SMALL[6]], ids=lambda each: each.label)
def test_a_guess_is_as_good_as_chance(question):
    (row,) = FRAMES[question.task](asked(guesses, question, examples=60)).itertuples()
    assert row.accuracy_low <= row.chance <= row.accuracy_high
    assert row.accuracy_high - row.accuracy_low < 0.25


@pytest.mark.parametrize(
    ("cutter", "message"),
    [
        (whole_words(), r"does not know '\d{10}', the answer of a prompt"),
        (of_letters("abc :\n-"), "splits an answer differently"),
    ],
    ids=["unknown", "nothing"],
)
def test_an_answer_that_the_tokenizer_does_not_know_is_refused(cutter, message):
    model = by_rule(knows, cutter=cutter)
    with pytest.raises(UserError, match=message):
        probe(model, [], [Phonebook(entries=4)], Sampling(), device=torch.device("cpu"))


def test_no_words_are_needed_but_by_repetition():
    model = by_rule(knows, cutter=bytewise(), asks=ASKS["phonebook"])
    sampling = Sampling(examples=1)
    assert sampling.words_needed([Phonebook(entries=4), Needle(kind="s-niah-1", filler=20)]) == 0
    assert sampling.words_needed([Repetition(length=4)]) == 5
    read = probe(model, [], [Phonebook(entries=4)], sampling, device=torch.device("cpu"))
    assert read["right"].all()


def test_too_many_keys():
    with pytest.raises(UserError, match="filler=87220: needs 8,723 different keys, but there are"):
        prompts(Needle(kind="mk-niah-2", filler=87220))
    with pytest.raises(UserError, match="filler=19"):
        Needle(kind="s-niah-1", filler=19)


def test_without_memory_nothing_is_easier_the_second_time(monkeypatch):
    """Logits that depend on the last token alone, against a count by hand."""
    size = worded().vocab_size
    table = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(ByRule, "load", lambda *_: lambda inputs: table[inputs])
    answers = asked(knows, Repetition(length=5), examples=6)
    losses = -table.log_softmax(-1)
    by_hand = []
    for prompt in prompts(Repetition(length=5), 6):
        (tokens,) = worded().encode([prompt.text])
        by_hand += [float(losses[pair]) for pair in pairwise(tokens[-6:-1])]
    assert answers["first_loss"].tolist() == pytest.approx(by_hand, rel=1e-5)
    assert answers["loss"].tolist() == pytest.approx(by_hand, rel=1e-5)
    (row,) = repetition_frame(answers).itertuples()
    assert row.score == pytest.approx(0, abs=1e-5)


def test_the_score_has_students_interval():
    answers = asked(knows, Repetition(length=4), examples=5)
    (row,) = repetition_frame(answers).itertuples()
    assert row.score == pytest.approx(1), "of logits 0 and 1, for a word of one token"
    rng = np.random.default_rng(0)
    answers = answers.assign(first_loss=rng.random(len(answers)) + 1)
    (row,) = repetition_frame(answers).itertuples()
    each = (answers["first_loss"] - answers["loss"]).groupby(answers["prompt"]).mean()
    low, high = stats.t.interval(0.95, 4, each.mean(), stats.sem(each))
    assert (row.score_low, row.score, row.score_high) == pytest.approx((low, each.mean(), high))
    one = repetition_frame(answers[answers["prompt"] == 0]).loc[0]
    assert np.isnan(one["score_low"])
