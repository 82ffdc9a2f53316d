"""What tokens cost: of the vendor that serves them, unknown on one's own machines, and as the user spells it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtune.errors import RecipeError
from seqtune.llm.budget import Price
from seqtune.llm.prices import find_price, parse_price

prices = st.floats(0, 1e6, allow_nan=False)


@pytest.fixture
def no_network(monkeypatch):
    def connect(*_):
        raise AssertionError("a price was looked up in the network")

    monkeypatch.setattr("socket.socket.connect", connect)


@pytest.mark.parametrize("url", ["", "https://api.openai.com/v1"])
def test_a_known_model_has_a_price_without_a_network(no_network, url):
    price = find_price("gpt-4o-mini", url)
    assert price
    assert 0 < price.input_usd < price.output_usd < 10


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:8000/v1",
        "http://[::1]:8000/v1",
        "http://10.1.2.3/v1",
        "http://192.168.0.7:11434/v1",
        "http://gpu-box:8000/v1",
        "http://gpu.lan/v1",
    ],
)
def test_a_server_of_ones_own_has_no_known_price_whatever_its_model_is_called(url):
    assert find_price("gpt-4o-mini", url) is None


@pytest.mark.parametrize(
    ("model", "url"),
    [("no-such-model-at-all", ""), ("gpt-4o", "https://llm.example.com/v1"), ("nonesuch", "https://api.openai.com/v1")],
)
def test_what_the_table_does_not_know_has_no_price(model, url):
    assert find_price(model, url) is None


@given(prices, prices)
def test_a_price_is_read_as_it_is_written(read, written):
    assert parse_price(f"{read},{written}") == parse_price(f" {read} , {written} ") == Price(read, written)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "-1,2", "nan,1", "1,inf", "1;2"])
def test_what_is_no_price_says_how_to_write_one(text):
    with pytest.raises(RecipeError, match=r"0\.15,0\.60"):
        parse_price(text)
