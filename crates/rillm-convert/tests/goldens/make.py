"""Makes the tiny Llama models beside this file and the logits that transformers computes for them.

    pip install torch transformers
    python make.py

Each model is a random checkpoint in a directory of its own, `golden.json` in it holds the logits (float32, eager
attention, on the weights as stored).
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent

# Grouped-query attention; head_dim is not hidden_size / heads; untied; Llama 3.1's rope scaling with pairs in all three
# of its ranges.
LLAMA3 = dict(
    hidden_size=32, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=12, vocab_size=64, max_position_embeddings=256, tie_word_embeddings=False, rms_norm_eps=1e-5,
    rope_parameters=dict(
        rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64,
    ),
    bos_token_id=1, eos_token_id=[2, 3],
)
# Multi-query attention, tied, linear rope scaling.
LINEAR = dict(
    hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
    head_dim=16, vocab_size=64, max_position_embeddings=256, tie_word_embeddings=True, rms_norm_eps=1e-3,
    rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5),
)
# As many key and value heads as query heads, nothing scaled.
PLAIN = dict(
    hidden_size=24, intermediate_size=36, num_hidden_layers=1, num_attention_heads=3, num_key_value_heads=3,
    vocab_size=40, max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-6,
)

POSITIONS = 100


def make(name, dimensions, dtype, seed, **save):
    torch.manual_seed(seed)
    model = LlamaForCausalLM._from_config(LlamaConfig(**dimensions), attn_implementation="eager")
    # transformers' own initialisation gives nearly flat logits; these scales do not.
    for tensor_name, tensor in model.named_parameters():
        with torch.no_grad():
            if tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)
            else:
                gain = 2.5 if "embed" in tensor_name or "head" in tensor_name else 1.5
                tensor.normal_(0.0, gain / tensor.shape[1] ** 0.5)
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    model.to(dtype).save_pretrained(directory, **save)

    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    ids = torch.randint(0, dimensions["vocab_size"], (1, POSITIONS))
    with torch.no_grad():
        logits = model(ids).logits[0]
    golden = {
        "transformers": transformers.__version__,
        "ids": ids[0].tolist(),
        "argmax_every_position": logits.argmax(-1).tolist(),
        "last_logits": [round(value, 6) for value in logits[-1].tolist()],
    }
    (directory / "golden.json").write_text(json.dumps(golden) + "\n")


make("llama3-f16", LLAMA3, torch.float16, 1)
make("linear-bf16-sharded", LINEAR, torch.bfloat16, 2, max_shard_size="12KB")
make("plain-f32", PLAIN, torch.float32, 3)
