"""Small tokenizers and models in the manner of known families, made here: no test needs a hub.

Each has what makes its family awkward: Llama-3 ends a turn with another token than a text, Qwen3 drops the thoughts of
earlier turns, Mistral's SentencePiece puts a blank before whatever it encodes, Gemma knows no system role.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "The ferry leaves at nine, and the café opens at ten.",
    "First count the words in the input, then reverse their order.",
    "One two three four five six seven eight nine ten, 12.50 € and 4711.",
    "Yes? No. Hello! Say hello, add the numbers, answer in a line.",
    "system user assistant model Instruction Response ### [INST] [/INST] : \n\n",
] * 3

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# A block of thoughts is kept in the last answer, which gets an empty one where it has none, and dropped from others.
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% set said = m['content'].split('</think>')[-1].lstrip('\n') %}"
    "{% if m['role'] == 'assistant' and loop.last %}"
    "{% set thought = m['content'].split('</think>')[0].split('<think>')[-1].strip() if '</think>' in m['content'] %}"
    "{{ '<think>\n' + (thought or '') + '\n</think>\n\n' + said }}"
    "{% else %}{{ said }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must take turns') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


# Newlines stay together and apart from what follows; in GPT-2's way the last one of several belongs to the next word.
LINES_KEPT = r"\s*[\r\n]+|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def llama3():
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    made = _begun_with(_byte_level(specials), specials[0])
    return _wrapped(made, LLAMA3, bos_token=specials[0], eos_token=specials[1])


def gpt2():
    made = _byte_level(["<|endoftext|>"], GPT2)
    return _wrapped(made, None, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def qwen3():
    made = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    made.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    return _wrapped(made, QWEN3, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def mistral(*, legacy=True):
    """Legacy tokenizers put a blank before every stretch between marks, newer ones before the first only."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if legacy:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return _wrapped(_sentencepiece(made, ["<unk>", "<s>", "</s>"], strip=1), MISTRAL, **_ANGLES)


def gemma():
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    made = _sentencepiece(made, specials, strip=0)
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return _wrapped(_begun_with(made, "<bos>"), GEMMA, **names)


_ANGLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

FAMILIES = {
    "llama3": (llama3, "<|eot_id|>"),
    "qwen3": (qwen3, "<|im_end|>"),
    "mistral": (mistral, "</s>"),
    "mistral_new": (lambda: mistral(legacy=False), "</s>"),
    "gemma": (gemma, "<end_of_turn>"),
}


def _byte_level(specials, split=LINES_KEPT):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def _sentencepiece(made, specials, strip):
    # No piece goes on beyond a blank, as in SentencePiece.
    as_used, made.pre_tokenizer = made.pre_tokenizer, pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=520, special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))], max_token_length=8
    )
    made.train_from_iterator(TEXTS, trainer)
    if as_used:
        made.pre_tokenizer = as_used
    # The bytes are plain tokens of the vocabulary, not marks: only the trainer had to be told to make them.
    state = json.loads(made.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in specials]
    state["pre_tokenizer"] = state["pre_tokenizer"] if as_used else None
    made = Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", strip, 0)] if strip else []),
        ]
    )
    return made


def _begun_with(made, bos):
    made.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))]
    )
    return made


def _wrapped(made, template, **names):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=made, chat_template=template, clean_up_tokenization_spaces=False, **names
    )


def small_model(tokenizer, family="llama", seed=0):
    """Random weights, a few thousand of them, in the architecture of a family."""
    import transformers

    transformers.set_seed(seed)
    configs = {
        "llama": transformers.LlamaConfig,
        "qwen3": transformers.Qwen3Config,
        "mistral": transformers.MistralConfig,
        "gemma": transformers.Gemma2Config,
    }
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"head_dim": 8} if family in ("qwen3", "gemma") else {}
    config = configs[family](
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
        **more,
    )
    return transformers.AutoModelForCausalLM.from_config(config)


def save_model(folder, tokenizer, family="llama", seed=0):
    small_model(tokenizer, family, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
