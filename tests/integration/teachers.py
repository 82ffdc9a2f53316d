"""Scripted teachers that tests name as `scripted:teachers:NAME`."""

from seqtune.building.rehearsal import rehearse
from seqtune.llm.reply import Failed
from seqtune.llm.request import Message

obedient = rehearse


def refusing(request):
    """Refuses every third row of the tests' rows, for its text."""
    text = request.messages[0].content
    return Failed("refused", "not this one", status=422) if "tools of a carpenter" in text else rehearse(request)


def mumbling(request):
    """Keeps to the form only once it is told."""
    told = any(isinstance(message, Message) and message.role == "assistant" for message in request.messages)
    asks_for_form = request.response_format is not None
    return "Well, let me see." if asks_for_form and not told else rehearse(request)


def stubborn(request):
    """Keeps to the form only when it is asked for the third time, and says the same until then."""
    asks_for_form = request.response_format is not None
    return "Well, let me see." if asks_for_form and request.attempt < 2 else rehearse(request)


def parroting(request):
    """Says its prompt again."""
    return request.messages[0].content


def english(request):
    """Answers everything with one English sentence."""
    return "This is what I have to say about the text that was given to me, and it is all that there is."
