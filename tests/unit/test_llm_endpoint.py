"""How an address is spelled, and which key goes to which host."""

import pytest

from seqtune.errors import TeacherError
from seqtune.llm.endpoint import Endpoint, find_key, parse_endpoints

SECRET = "sk-planted-0123456789"


@pytest.mark.parametrize(
    "spec", ["http://a:1/v1#m", "http://a:1/v1/#m", "http://a:1/v1/chat/completions#m", " http://a:1/v1#m "]
)
def test_spellings_of_one_address(spec):
    assert parse_endpoints(spec) == (Endpoint("http://a:1/v1", "m"),)


def test_several_addresses_share_one_model():
    assert (
        len(parse_endpoints("http://a/v1#m,http://b/v1#m")) == len(parse_endpoints(["http://a#m", "http://b#m"])) == 2
    )
    with pytest.raises(TeacherError, match="'m', 'n'"):
        parse_endpoints("http://a/v1#m,http://b/v1#n")


@pytest.mark.parametrize(
    ("spec", "said"), [("http://a/v1", "names no model"), ("ftp://a#m", "no http address"), ("http://#m", "no http")]
)
def test_a_mistake_says_how_to_spell_it(spec, said):
    with pytest.raises(TeacherError, match=said) as caught:
        parse_endpoints(spec)
    assert "http://127.0.0.1:8000/v1#MODEL" in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(TeacherError) as caught:
        parse_endpoints(f"http://user:{SECRET}@host/v1#m")
    assert SECRET not in str(caught.value)


def test_a_vendors_key_goes_to_the_vendor_only():
    environment = {"OPENAI_API_KEY": SECRET}
    assert find_key("https://api.openai.com/v1", environment=environment) == SECRET
    assert find_key("https://api.openai.com.evil.example/v1", environment=environment) is None
    assert find_key("http://127.0.0.1:8000/v1", environment=environment) is None
    assert find_key("http://127.0.0.1:8000/v1", environment={"SEQTUNE_API_KEY": "mine"}) == "mine"


def test_a_key_file_holds_one_word_and_its_content_is_not_shown(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    assert find_key("http://a", key_file=path) == SECRET
    path.write_text(f"key = {SECRET}")
    with pytest.raises(TeacherError, match="one word") as caught:
        find_key("http://a", key_file=path)
    assert SECRET not in str(caught.value)
    with pytest.raises(TeacherError, match="No such file"):
        find_key("http://a", key_file=tmp_path / "gone")
