"""A request's key: equal requests have equal keys, different ones do not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from seqtune.llm.request import Request, body_of, json_schema, key_of, recorded, user

CHANGES = {
    "model": ["m", "n"],
    "messages": [(user("a"),), (user("b"),), (user("a"), user("a")), (user("a", "data:image/png;base64,AA"),)],
    "temperature": [None, 0.0, 0.5],
    "top_p": [None, 1.0, 0.9],
    "top_k": [None, 1, 40],
    "max_tokens": [None, 1, 10],
    "seed": [None, 0, 1],
    "stop": [None, ("a",), ("a", "b"), ("ab",)],
    "response_format": [None, json_schema({"type": "object"}), json_schema({"type": "array"})],
    "attempt": [0, 1, 2],
    "cut_ok": [False, True],
}
requests = st.builds(Request, **{name: st.sampled_from(values) for name, values in CHANGES.items()})


def test_every_field_is_among_the_changes():
    assert set(CHANGES) == set(Request.__struct_fields__)


def test_the_order_of_a_schemas_properties_matters_as_servers_write_in_it():
    ab, ba = (
        Request(
            model="m",
            messages=(user("a"),),
            response_format=json_schema({"type": "object", "properties": {name: {"type": "string"} for name in names}}),
        )
        for names in ("ab", "ba")
    )
    assert key_of(ab) != key_of(ba)
    assert body_of(ab) != body_of(ba)


@given(requests, requests)
def test_requests_have_the_same_key_only_if_they_are_equal(one, other):
    assert (key_of(one) == key_of(other)) == (one == other)
    assert key_of(one) == key_of(one, body_of(one))


def test_a_key_stays_what_it_was_for_replies_that_were_paid_for_long_ago():
    plain = Request(model="m", messages=(user("Hi"),))
    schema = json_schema({"type": "object"})
    given = {"temperature": 0.5, "top_k": 5, "max_tokens": 9, "seed": 1, "stop": ("x",), "response_format": schema}
    assert key_of(plain) == "ad1ef3f9a18731f0e6e935b645e8e719"
    assert key_of(structs.replace(plain, **given, attempt=2, cut_ok=True)) == "feff44e8cd3335ccbfaf2267355a77c0"


@given(requests)
def test_what_is_our_own_is_not_sent(request):
    sent = msgspec.json.decode(body_of(request))
    assert not {"attempt", "cut_ok"} & set(sent)
    assert all(value is not None for value in sent.values())


@pytest.mark.parametrize("field", ["temperature", "top_p"])
def test_a_whole_number_is_the_same_as_its_float(field):
    request = Request(model="m", messages=(user("a"),))
    assert key_of(structs.replace(request, **{field: 1})) == key_of(structs.replace(request, **{field: 1.0}))


def test_the_record_names_an_image_by_its_hash_and_keeps_the_rest():
    request = Request(model="m", messages=(user("see", "data:image/png;base64," + "A" * 1000, "http://host/a.png"),))
    text = recorded(request, body_of(request))
    assert "AAAA" not in text
    assert "blake2b:" in text
    assert "http://host/a.png" in text
    assert "A" * 1000 in body_of(request).decode()
