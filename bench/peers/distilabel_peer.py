"""The work through distilabel: a pipeline of three `TextGeneration` steps.

Each step is a process of its own that sends a batch and waits for the whole of it. Batches of 128 put up to three
times as many calls in flight as the other clients have; batches of 43, which would be as many, take longer.
"""

# mypy: ignore-errors

from __future__ import annotations

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

from bench.peers.work import (
    CALLS,
    IN_FLIGHT,
    MAX_TOKENS,
    MODEL,
    TIMEOUT_S,
    TRIES,
    Task,
    first_text,
    open_results,
    prompt,
    told,
)


def asking(task: Task, step: int) -> TextGeneration:
    """One call for each row: `text0` is the first text, `text3` the last reply."""
    settings = {"max_retries": TRIES, "timeout": TIMEOUT_S} if task.tuned else {}
    llm = OpenAILLM(
        model=MODEL,
        base_url=task.url,
        api_key="none",
        generation_kwargs={"temperature": 0.0, "max_new_tokens": MAX_TOKENS},
        **settings,
    )
    return TextGeneration(
        name=f"step_{step}",
        llm=llm,
        template=prompt(step, "{{ text%d }}" % step),  # noqa: UP031
        columns=[f"text{step}"],
        output_mappings={"generation": f"text{step + 1}", "model_name": f"model{step}"},
        input_batch_size=IN_FLIGHT,
    )


def work(task: Task) -> None:
    """All rows, batch after batch."""
    with Pipeline(name="bench", cache_dir=task.folder / "cache") as pipeline:
        rows = [{"row": row, "text0": first_text(row)} for row in range(task.rows)]
        last = LoadDataFromDicts(data=rows, batch_size=IN_FLIGHT)
        for step in range(CALLS):
            following = asking(task, step)
            last.connect(following)
            last = following
    distiset = pipeline.run(use_cache=False)
    with open_results(task.folder) as keep:
        for row in distiset["default"]["train"]:
            keep(row["row"], row[f"text{CALLS}"])


if __name__ == "__main__":
    work(told())
