"""A program: `recollect` with one more reproduction, whose trials take a blink."""

import recollect as rc
from recollect.cli.main import main
from recollect.papers.claims import Claim
from recollect.papers.measures import ACCURACY
from recollect.papers.parts import Part
from recollect.papers.predicates import recalls_one_pair, solves
from recollect.papers.reproduction import Published, Reproduction, register_reproduction


def tiny(scale: str) -> rc.Study:
    return rc.Study(
        "tiny",
        title="A tiny figure",
        tasks=[rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)],
        models=rc.models_grid(["attention", "base-conv"], d_model=[8], n_layers=[1]),
        train=rc.TrainConfig(
            steps=4, batch_size=8, eval_every=2, valid_examples=16, test_examples=16
        ),
        search=rc.FixedGrid(rates=[1e-3, 1e-2]),
        seeds=[1, 2],
    )


register_reproduction(
    Reproduction(
        name="tiny",
        title="A tiny table",
        paper="Nobody, 2025, arXiv 2500.00000",
        place="table 1",
        functions=(tiny,),
        differs="All is tiny in place of large.",
        figure="rows",
        published=(
            Published({"mixer.name": "attention"}, 0.5, "share of pairs", "a | b", "table 1"),
        ),
        claims=(
            Claim(
                "solves",
                "Attention solves it.",
                "section 1",
                (solves({"mixer.name": "attention"}),),
            ),
            Claim("lacks", "Mamba solves it.", "section 1", (solves({"mixer.name": "mamba"}),)),
            Claim(
                "some",
                "Attention has some accuracy.",
                "section 1",
                (
                    Part(
                        cells={"mixer.name": "attention"},
                        measure=ACCURACY,
                        at_least=-1.0,
                        why="any accuracy is above",
                    ),
                ),
            ),
            Claim(
                "pair",
                "None recalls.",
                "section 1",
                (recalls_one_pair({"mixer.name": "base-conv"}),),
            ),
        ),
    )
)

if __name__ == "__main__":
    main()
