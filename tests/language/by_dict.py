"""AR hits as the paper tells them, one token at a time, with dictionaries."""

from collections import Counter


def windows_of(length, context, stride):
    """(first token, predicted tokens) of each window of a document."""
    found, done, first = [], 1, 0
    while done < length:
        end = min(first + context + 1, length)
        found.append((first, range(done, end)))
        done, first = end, first + stride
    return found


def repeats(document, context, stride, n=2):
    """For each predicted token: (token, place in its context, distance or 0, its n-gram)."""
    rows = []
    for first, targets in windows_of(len(document), context, stride):
        for t in targets:
            seen = {}
            for s in range(first + n - 1, t):
                seen[tuple(document[s - n + 1 : s + 1])] = s
            ngram = tuple(document[t - n + 1 : t + 1]) if t - n + 1 >= first else None
            distance = t - seen[ngram] if ngram in seen else 0
            rows.append((t, t - first, distance, ngram))
    return rows


def train_counts(documents, n=2):
    """How often each n-gram occurs within a document."""
    return Counter(
        tuple(document[i : i + n]) for document in documents for i in range(len(document) - n + 1)
    )
