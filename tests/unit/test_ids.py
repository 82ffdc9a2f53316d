"""The set of ids knows what it has seen, at a few bytes an id."""

from hypothesis import given
from hypothesis import strategies as st

from seqtune.data.ids import IdSet

ids = st.text("0123456789abcdef", min_size=16, max_size=24)


@given(st.lists(ids, max_size=200))
def test_it_says_what_a_set_would_say(given_ids):
    ours, plain = IdSet(), set()
    for row_id in given_ids:
        assert ours.add(row_id) == (row_id[:16] not in plain)
        plain.add(row_id[:16])
    assert len(ours) == len(plain)


def test_it_grows_and_forgets_nothing(monkeypatch):
    monkeypatch.setattr("seqtune.data.ids._FIRST_SLOTS", 8)
    ours = IdSet()
    made = [f"{i * 0x9E3779B97F4A7C15 % (1 << 64):016x}" for i in range(1, 5000)]
    assert all(ours.add(row_id) for row_id in made)
    assert not any(ours.add(row_id) for row_id in made)
