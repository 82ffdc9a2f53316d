"""Operations on the sentences of a paragraph."""

from __future__ import annotations

from seqtune.building.bank.parts import Parts, is_long, on, remembered, sentences_in
from seqtune.building.gold import Skip, operation, same_number


@remembered
def _short_sentences_in(text: str) -> Parts | Skip:
    return Skip("too long to rewrite") if is_long(text) else sentences_in(text)


@operation(
    "count the sentences in {it}",
    "say how many sentences {it} has",
    "give the number of sentences in {it}",
    label="Sentence count",
    gives="number",
    same=same_number,
)
@on(sentences_in, most=20)
def count_sentences(sentences: Parts) -> str:
    """Counts the sentences."""
    return str(len(sentences))


@operation(
    "write the first sentence of {it}",
    "copy the first sentence of {it}",
    "repeat the sentence that {it} begins with",
    label="First sentence",
)
@on(sentences_in, least=2)
def first_sentence(sentences: Parts) -> str:
    """Gives the first sentence."""
    return sentences[0]


@operation(
    "write the last sentence of {it}",
    "copy the last sentence of {it}",
    "repeat the sentence that {it} ends with",
    label="Last sentence",
)
@on(sentences_in, least=2)
def last_sentence(sentences: Parts) -> str:
    """Gives the last sentence."""
    return sentences[-1]


@operation(
    "drop the first sentence of {it}",
    "write {it} without its first sentence",
    "leave out the first sentence of {it}",
    label="Without the first sentence",
)
@on(_short_sentences_in, least=2)
def drop_first_sentence(sentences: Parts) -> str:
    """Drops the first sentence."""
    return " ".join(sentences[1:])


@operation(
    "write the sentences of {it} in reverse order",
    "reverse the order of the sentences in {it}",
    "put the sentences of {it} in the opposite order",
    label="Reversed sentences",
)
@on(_short_sentences_in, least=2)
def reverse_sentences(sentences: Parts) -> str:
    """Puts the sentences in reverse order."""
    return " ".join(reversed(sentences))


@operation(
    "write each sentence of {it} on a line of its own",
    "put every sentence of {it} on a separate line",
    "split {it} into its sentences with one on each line",
    label="Sentences",
    gives="lines",
)
@on(_short_sentences_in, least=2)
def sentences_to_lines(sentences: Parts) -> str:
    """Writes each sentence on a line of its own."""
    return "\n".join(sentences)


@operation(
    "copy every sentence of {it} that ends with a question mark onto a line of its own",
    "write out the questions in {it} with one on each line",
    "list the sentences of {it} that end with a question mark",
    label="Questions",
    gives="lines",
)
@on(sentences_in, least=2)
def extract_questions(sentences: Parts) -> str:
    """Lists the sentences that end with a question mark."""
    return "\n".join(sentence for sentence in sentences if sentence.endswith("?"))
