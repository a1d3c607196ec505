from tasks.evaluation.provenance import Made, arms_text, choices, trace

ARMS = ("source", "adapted", "control")
CHAIN = {
    "s/model": ("model", {"bits": 4}, ["s/lock"]),
    "s/lock": ("model_lock", {"bits": 4}, []),
    "s/new": ("tokens", {}, ["s/model", "s/gone"]),
    "s/old": ("tokens", {}, ["s/model"]),
    "s/trained": ("pretraining", {"epochs": 1}, ["s/new"]),
    "s/control": ("pretraining", {"epochs": 2}, ["s/old"]),
}


def record(uri: str) -> dict[str, str]:
    stage = CHAIN[uri][0] if uri in CHAIN else "corpus"
    return {"stage": stage, "digest": uri[2:] * 8, "uri": uri}


def read(uri: str) -> dict | None:
    if uri not in CHAIN:
        return None
    _, config, inputs = CHAIN[uri]
    return {"config": config, "inputs": [record(below) for below in inputs]}


def traced() -> list[Made]:
    ends = {"source": "s/model", "adapted": "s/trained", "control": "s/control"}
    return trace({arm: [record(uri)] for arm, uri in ends.items()}, read)


def test_inputs_stand_before_what_is_made_of_them_and_each_once():
    assert [made.uri for made in traced()] == [
        "s/lock", "s/model", "s/gone", "s/new", "s/trained", "s/old", "s/control",
    ]  # fmt: skip


def test_each_artifact_says_whose_it_is():
    whose = {made.uri: arms_text(made, ARMS) for made in traced()}
    assert whose["s/lock"] == whose["s/model"] == "all"
    assert (whose["s/new"], whose["s/old"]) == ("adapted", "control")


def test_what_the_store_has_no_longer_is_still_listed():
    (gone,) = [made for made in traced() if made.uri == "s/gone"]
    assert gone.manifest is None
    assert (gone.stage, gone.digest) == ("corpus", "gone" * 8)


def test_choices_of_one_stage_stand_apart_only_where_they_differ():
    assert choices(traced(), ARMS) == {
        "model": {"bits": 4},
        "tokens (adapted, control)": {},
        "pretraining (adapted)": {"epochs": 1},
        "pretraining (control)": {"epochs": 2},
    }


def test_two_choices_of_one_model_both_stand():
    both = [
        Made("tokens", digest * 8, digest, ("adapted",), {"config": {"part": digest}})
        for digest in ("aa", "bb")
    ]
    assert list(choices(both, ARMS)) == ["tokens (adapted)", "tokens (adapted) bbbbbbbb"]
