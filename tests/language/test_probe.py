"""Prompts, where their answers are, and what is made of a model's answers."""

import math
import re
from collections import Counter

import numpy as np
import pytest
import tokenizers
import torch
from made_models import ByRule, by_rule, guesses, knows, last_example, worded, words
from made_tokenizers import (
    LETTERS,
    between_spaces,
    bytewise,
    characters,
    of_letters,
    whole_words,
    word_pieces,
)
from scipy.stats import chisquare
from tokenizers.processors import ByteLevel, TemplateProcessing

from recollect.errors import UserError
from recollect.language import probe as probe_module
from recollect.language.lost import lost_in
from recollect.language.probe import Sampling, as_example, probe
from recollect.language.probe_frames import copy_frame, distance_frame, mqar_frame
from recollect.language.prompts import Copying, Recall
from recollect.language.tokenizer import Cut, Tokenizer
from recollect.language.words import COMMON, choose_words, words_of

CPU = torch.device("cpu")
ANSWERS = {
    Recall(pairs=2): 1,
    Recall(pairs=5, distance=7): 2,
    Recall(pairs=1): 1,
    Copying(words=6): 6,
}


def prompts(question, examples=5, shots=2, seed=0):
    sampling = Sampling(examples=examples, shots=shots, seed=seed)
    return list(sampling.prompts(question, words()))


def asked(model, questions, *, examples=20, shots=1, seed=0, using=None):
    sampling = Sampling(examples=examples, shots=shots, seed=seed)
    return probe(model, using or words(), questions, sampling, device=CPU)


def test_words_are_one_token():
    assert len(words()) == len(set(words())) >= 100
    assert words() == sorted(words())
    for word in words():
        assert re.fullmatch("[a-z]{3,}", word)
        both, alone = worded().encode([f"- {word}", "-"])
        assert len(both) - len(alone) == 1


def test_a_prompt_reads_as_it_says():
    (prompt,) = prompts(Recall(pairs=5, distance=2), examples=1, shots=1)
    line = r"- (\w+): (\w+)\n"
    form = rf"Pairs:\n{line * 2}Questions:\n{line}\n"
    form += rf"Pairs:\n{line * 5}Other words: (\w+) (\w+)\nQuestions:\n{line * 2}\n"
    assert re.fullmatch(form, prompt.text)
    (prompt,) = prompts(Copying(words=3), examples=1, shots=1)
    found = re.fullmatch(r"Words:(.*)\nAgain:(.*)\n\nWords:(.*)\nAgain:(.*)\n\n", prompt.text)
    assert found[1] == found[2]
    assert found[3] == found[4]
    assert [len(found[i].split()) for i in (1, 3)] == [4, 3]


@pytest.mark.parametrize("question", ANSWERS)
def test_answers_are_what_was_shown_and_no_word_is_used_twice(question):
    for prompt in prompts(question):
        answers, given = last_example(prompt.text)
        spelled = [prompt.text[slice(*answer.asked)] for answer in prompt.answers]
        assert spelled == [prompt.text[slice(*answer.shown)] for answer in prompt.answers]
        assert spelled == given
        assert len(spelled) == len(set(spelled)) == ANSWERS[question]
        assert set(spelled) <= set(answers.values())
        assert all(answer.shown.last <= answer.asked.first for answer in prompt.answers)
        once = re.sub("Questions:.*?\n\n|Again:.*?\n\n", "", prompt.text, flags=re.DOTALL)
        others = re.findall("Other words: (.*)", once)
        symbols = re.findall(r" ([a-z]+)", re.sub("Other words.*", "", once))
        assert len(symbols) == len(set(symbols))
        assert not set(symbols) & set(" ".join(others).split())
        assert len(" ".join(others).split()) == getattr(question, "distance", 0)


def test_questions_come_in_any_order():
    """Two of five pairs, any of them first and any other second."""
    seen = Counter()
    for prompt in prompts(Recall(pairs=5), examples=240, shots=0):
        answers, given = last_example(prompt.text)
        seen[tuple(list(answers.values()).index(word) for word in given)] += 1
    assert len(seen) == 20
    assert all(first != second for first, second in seen)
    assert chisquare(list(seen.values())).pvalue > 0.001


@pytest.mark.parametrize("question", ANSWERS)
def test_places_are_those_of_a_count_from_the_start(question):
    """The tokens of the text before an answer say where it begins."""
    for prompt in prompts(question):
        (cut,) = worded().cut([prompt.text])
        example = as_example(prompt, cut)
        starts = [answer.asked.first - 1 for answer in prompt.answers]
        expected = [len(worded().encode([prompt.text[:start]])[0]) for start in starts]
        assert example.places.tolist() == expected
        assert example.turn.tolist() == list(range(ANSWERS[question]))
        assert len(example.tokens) == expected[-1] + 1
        for answer, place, distance in zip(
            prompt.answers, example.places, example.distance, strict=True
        ):
            word = prompt.text[slice(*answer.asked)]
            assert worded().decode([int(example.tokens[place])]) == f" {word}"
            assert example.tokens[place - distance] == example.tokens[place]
            (before,) = worded().encode([prompt.text[: answer.shown.first - 1]])
            assert place - distance == len(before)


@pytest.mark.parametrize(
    "after",
    [
        TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]),
        ByteLevel(trim_offsets=True),
    ],
)
def test_a_template_moves_no_answer(after):
    """What stands in front of a prompt is put there as it is read (`Pretrained.load`)."""
    other = Tokenizer(tokenizers.Tokenizer.from_str(worded().backend.to_str()))
    other.backend.post_processor = after
    assert words_of(other) == words()
    (prompt,) = prompts(Recall(pairs=5, distance=7), examples=1)
    plain, example = (as_example(prompt, t.cut([prompt.text])[0]) for t in (worded(), other))
    assert example.tokens.tolist() == plain.tokens.tolist()
    assert example.places.tolist() == plain.places.tolist()
    assert example.distance.tolist() == plain.distance.tolist()


def test_an_answer_within_one_token_with_what_was_read_is_refused():
    """It has no token before it from which a model could predict it."""
    (prompt,) = prompts(Recall(pairs=1), examples=1, shots=0)
    whole = Cut([7, 8], [(0, len(prompt.text) - 1), (len(prompt.text) - 1, len(prompt.text))])
    with pytest.raises(UserError, match="into one token with the same word before it"):
        as_example(prompt, whole)


def test_an_answer_that_a_tokenizer_misplaces_is_refused():
    """Without `P`, all later characters seem to begin one place earlier."""
    cutter = of_letters(LETTERS.replace("P", ""))
    (cut,) = cutter.cut(["Pairs:"])
    assert cut.spans[0] == (0, 1)
    with pytest.raises(UserError, match=r"places the tokens '.*' where a prompt has the answer"):
        asked(by_rule(knows, cutter=cutter), [Recall(pairs=3)], shots=0, using=COMMON.split())


def test_prompts_depend_on_their_seed_alone():
    question = Recall(pairs=4, distance=3)
    few, many = prompts(question, 2), prompts(question, 4)
    assert few == many[:2]
    assert len({prompt.text for prompt in many}) == 4
    assert prompts(question, 2, seed=1) != few


def test_who_knows_is_right_and_a_guess_is_as_good_as_chance():
    questions = [Recall(pairs=3), Recall(pairs=6, distance=5), Copying(words=3)]
    answers = asked(by_rule(knows), questions)
    assert answers["right"].all()
    assert len(answers) == 20 * (1 + 2 + 3)
    copied = copy_frame(answers).loc[0]
    assert (copied["accuracy"], copied["strings"]) == (1, 1)
    assert copied["chance"] == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
    assert copied["strings_chance"] == pytest.approx(1 / 6)
    assert mqar_frame(answers)["chance"].tolist() == pytest.approx([1 / 3, (1 / 6 + 1 / 5) / 2])
    answers = asked(by_rule(guesses(0)), questions, examples=60)
    frames = [mqar_frame(answers), distance_frame(answers), copy_frame(answers)]
    for frame in frames:
        assert frame["chance"].between(frame["accuracy_low"], frame["accuracy_high"]).all()
    copied = frames[2].loc[0]
    assert copied["strings_low"] < copied["strings_chance"] < copied["strings_high"]


def test_frames_are_those_of_a_loop():
    """A model that knows the first answer, and says nothing else."""
    questions = [Recall(pairs=p, distance=d) for p in (2, 6) for d in (0, 9)]
    questions += [Copying(words=1), Copying(words=4)]
    first = by_rule(lambda text: "" if last_example(text)[1] else knows(text))
    answers = asked(first, questions, examples=7)
    assert answers["right"].tolist() == (answers["turn"] == 0).tolist()
    for row in mqar_frame(answers).itertuples():
        assert (row.accuracy, row.answers) == {2: (1, 7), 6: (0.5, 14)}[row.pairs]
        assert row.prompts == 7
    assert copy_frame(answers)["strings"].tolist() == [1, 0]
    assert copy_frame(answers)["accuracy"].tolist() == [1, 0.25]
    frame = distance_frame(answers)
    assert frame["answers"].sum() == 2 * 7 * (1 + 2)
    for row in frame.itertuples():
        assert math.log2(row.low).is_integer()
        assert row.high == 2 * row.low - 1
        of_row = [
            (a.right, a.prompt)
            for a in answers.itertuples()
            if a.pairs == row.pairs and row.low <= a.distance_tokens <= row.high
        ]
        assert row.accuracy == pytest.approx(np.mean([right for right, _ in of_row]))
        assert (row.answers, row.prompts) == (len(of_row), len({p for _, p in of_row}))


def test_an_answer_of_several_tokens_is_right_as_a_whole():
    some = [f"{a}q{b}x" for a in "abcdefgh" for b in "jkz"]
    assert min(map(len, worded().encode([f" {word}" for word in some]))) > 2
    right = asked(by_rule(knows), [Recall(pairs=3)], using=some)
    assert right["right"].all()
    nearly = asked(by_rule(lambda text: knows(text)[:-1] + "y"), [Recall(pairs=3)], using=some)
    assert not nearly["right"].any()


def test_how_many_are_read_together_makes_no_difference(monkeypatch):
    def last(text):
        answers, _ = last_example(text)
        return list(answers.values())[-1] if answers else ""

    model = by_rule(last)
    shapes, found = [], []
    length = 46

    def logits(inputs):
        shapes.append(inputs.shape)
        return model.logits(inputs)

    monkeypatch.setattr(ByRule, "load", lambda *_: logits)
    for at_once in (1, 4 * length * model.vocab_size, 2**26):
        monkeypatch.setattr(probe_module, "LOGITS_AT_ONCE", at_once)
        found.append(asked(model, [Recall(pairs=3)], examples=6))
    assert {read for _, read in shapes} == {length}
    assert [n for n, _ in shapes] == [1] * 6 + [4, 2] + [6]
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    assert found[0]["right"].mean() == pytest.approx(1 / 3)


def test_a_model_is_asked_no_longer_than_it_can_read():
    question = Recall(pairs=3)
    tokens = int(asked(by_rule(knows), [question])["prompt_tokens"].max())
    assert asked(by_rule(knows, max_len=tokens), [question])["right"].all()
    with pytest.raises(
        UserError, match=rf"pairs=3.*has {tokens} tokens.*at most {tokens - 1} tokens"
    ):
        asked(by_rule(knows, max_len=tokens - 1), [question])


def test_too_few_words():
    some = [f"word{letter}" for letter in "abcdefghij"]
    exact = asked(by_rule(knows), [Recall(pairs=3)], using=some, shots=1)
    assert exact["right"].all()
    with pytest.raises(UserError, match=r"pairs=3, distance=1, shots=1: needs 11 .* has 10"):
        asked(by_rule(knows), [Recall(pairs=3, distance=1)], using=some, shots=1)


def test_a_model_that_gives_no_numbers(monkeypatch):
    model = by_rule(knows)
    monkeypatch.setattr(ByRule, "load", lambda *_: lambda inputs: model.logits(inputs) * math.nan)
    with pytest.raises(UserError, match="made gives NaN as logits"):
        asked(model, [Recall(pairs=2)])


KINDS = {
    "characters": (characters(), 4, []),
    "bytes": (bytewise(), 4, []),
    "whole words": (whole_words(), 1, []),
    "word pieces": (word_pieces(), 1, ["line ends", "capital letters"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_are_never_one_token_with_their_space(kind):
    cutter, tokens, lost = KINDS[kind]
    sampling, questions = Sampling(examples=4, shots=1), [Recall(pairs=4), Copying(words=5)]
    chosen = choose_words(cutter, sampling.words_needed(questions))
    assert chosen.tokens == tokens
    assert len(chosen.words) == len({tuple(cutter.encode([f" {w}"])[0]) for w in chosen.words})
    texts = [next(sampling.prompts(question, chosen.words)).text for question in questions]
    assert lost_in(cutter, "".join(texts)) == lost
    if kind == "word pieces":
        return  # its tokens do not spell the prompt that a made model answers
    answers = asked(by_rule(knows, cutter=cutter), questions, examples=4, using=chosen.words)
    assert answers["right"].all()
    nobody = asked(by_rule(lambda _: "nothing", cutter=cutter), questions, using=chosen.words)
    assert not nobody["right"].any()


def test_words_of_one_token_are_taken_if_there_are_enough():
    assert choose_words(worded(), 20) == (words(), 1)
    more = choose_words(worded(), len(words()) + 1)
    assert len(more.words) > len(words())
    most = choose_words(characters(), 10**6)
    assert (len(most.words), most.tokens) == (len(set(COMMON.split())), 4)


def test_what_a_tokenizer_loses_is_reported():
    prompt = "Pairs:\n- able: acid\nWords: able acid\n"
    assert lost_in(worded(), prompt) == []
    six = ["bad", "bed", "red", "sad", "lad", "led"]
    deaf = of_letters("PWairsobled: \n")
    assert lost_in(deaf, prompt) == ["characters ('-', 'c')"]
    with pytest.raises(UserError, match="splits an answer differently"):
        asked(by_rule(knows, cutter=deaf), [Recall(pairs=1)], using=six)
    *known, unknown = lost_in(between_spaces(), prompt)
    assert known == ["line ends", "capital letters"]
    assert unknown == "characters ('P', 'a', 'i', 'r', 's', ...)"
