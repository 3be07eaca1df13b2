"""Makes shards slowly, in a process of its own: shard_script.py FOLDER."""

import sys
import time
from pathlib import Path

from small_texts import corpus, texts, tokenizer

from recollect.language.shards import make_shards


def main(folder: str) -> None:
    make_shards(
        corpus(texts(200)),
        tokenizer(),
        Path(folder),
        lambda *_: time.sleep(0.005),
        shard_tokens=300,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
