"""Write a tiny Llama that real vLLM serves: two layers of random weights, a byte-level tokenizer, a chat template.

It needs the standard library only and imports nothing of drillbook, so that the vLLM environment's own Python can run
it by path (``python tiny_model.py DIR``) in under a second, without importing torch.

A random model emits control bytes and ends when it pleases. This one does neither: residual channel 0 carries a
constant that no layer writes to, so the output head's column 0 acts as a bias per token. It keeps every token but
printable ones (end of sequence included) out of reach, and gives letters about the frequencies of English. A stream
therefore runs to ``max_tokens``, and its text can be read in a terminal.
"""

from __future__ import annotations

import array
import json
import math
import random
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HIDDEN, HEADS, HEAD_SIZE, INTERMEDIATE, LAYERS = 128, 2, 64, 256, 2
VOCABULARY = 320
"""256 bytes, the special tokens, and unused rows up to a multiple of 64 (vLLM pads to that anyway)."""

SPECIAL = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
BIAS_CHANNEL = 4.0
"""What channel 0 of the residual stream holds; about 3.5 after the final RMS norm, as the other channels are near 1."""

LETTERS = " " * 19 + "e" * 10 + "taoinshr" * 6 + "dlu" * 3 + "cmfwygpb" * 2 + "vkxqjz.,"
CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself where it prints, else the next free character from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def tokenizer() -> dict[str, object]:
    """``tokenizer.json`` for a byte-level BPE without merges: one token a byte."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": 256 + index,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, token in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {symbol: byte for byte, symbol in enumerate(byte_symbols())},
            "merges": [],
        },
    }


def config(max_position: int) -> dict[str, object]:
    """``config.json`` of the Llama."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_SIZE,
        "hidden_act": "silu",
        "max_position_embeddings": max_position,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": VOCABULARY,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "torch_dtype": "float32",
    }


def head_bias(token: int) -> float:
    """The output head's weight on channel 0: a letter's log frequency, and out of reach for all that does not print."""
    count = LETTERS.count(chr(token)) if token < 128 else 0
    return math.log(count / len(LETTERS)) / 3.5 if count else -20.0


def tensors(seed: int) -> Iterator[tuple[str, tuple[int, ...], array.array[float]]]:
    """Each weight as name, shape and float32 values, in the order in which they are written."""
    draw = random.Random(seed).gauss  # noqa: S311 -- weights, not secrets

    def normal(rows: int, columns: int, deviation: float) -> array.array[float]:
        return array.array("f", (draw(0.0, deviation) for _ in range(rows * columns)))

    def with_column_zero(values: array.array[float], column: Sequence[float]) -> array.array[float]:
        for row, value in enumerate(column):
            values[row * HIDDEN] = value
        return values

    def silent_row_zero(values: array.array[float], columns: int) -> array.array[float]:
        values[:columns] = array.array("f", bytes(4 * columns))
        return values

    ones = array.array("f", [1.0] * HIDDEN)
    shape = (VOCABULARY, HIDDEN)
    yield "model.embed_tokens.weight", shape, with_column_zero(normal(*shape, 1.0), [BIAS_CHANNEL] * VOCABULARY)
    projected = HEADS * HEAD_SIZE
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        yield f"{stem}.input_layernorm.weight", (HIDDEN,), ones
        yield f"{stem}.post_attention_layernorm.weight", (HIDDEN,), ones
        for part in "qkv":
            yield f"{stem}.self_attn.{part}_proj.weight", (projected, HIDDEN), normal(projected, HIDDEN, 0.08)
        attention = silent_row_zero(normal(HIDDEN, projected, 0.08), projected)
        yield f"{stem}.self_attn.o_proj.weight", (HIDDEN, projected), attention
        for part in ("gate", "up"):
            yield f"{stem}.mlp.{part}_proj.weight", (INTERMEDIATE, HIDDEN), normal(INTERMEDIATE, HIDDEN, 0.08)
        feed_forward = silent_row_zero(normal(HIDDEN, INTERMEDIATE, 0.06), INTERMEDIATE)
        yield f"{stem}.mlp.down_proj.weight", (HIDDEN, INTERMEDIATE), feed_forward
    yield "model.norm.weight", (HIDDEN,), ones
    yield (
        "lm_head.weight",
        shape,
        with_column_zero(normal(*shape, 0.12), [head_bias(token) for token in range(VOCABULARY)]),
    )


def write_weights(path: Path, seed: int) -> None:
    """Write one safetensors file: the header's length (8 bytes), the header as JSON, the tensors in its order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body: list[bytes] = []
    offset = 0
    for name, shape, values in tensors(seed):
        data = values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        body.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body))


def write(folder: Path, *, seed: int = 7, max_position: int = 8192) -> Path:
    """Write the model to ``folder`` (made if missing) and return it.

    :raises OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, object] = {
        "config.json": config(max_position),
        "generation_config.json": {"bos_token_id": 256, "eos_token_id": 257},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL[0],
            "eos_token": SPECIAL[1],
            "model_max_length": max_position,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    write_weights(folder / "model.safetensors", seed)
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tiny_model.py FOLDER")
    write(Path(sys.argv[1]))
