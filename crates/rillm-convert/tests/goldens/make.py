"""Makes the tiny models of Llama's family beside this file and the logits that transformers computes for them.

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
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

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

# Biases of queries, keys and values.
QWEN2 = dict(
    hidden_size=36, intermediate_size=28, num_hidden_layers=2, num_attention_heads=9, num_key_value_heads=3,
    vocab_size=64, max_position_embeddings=256, tie_word_embeddings=True, rms_norm_eps=1e-6,
    rope_parameters=dict(rope_type="default", rope_theta=1000000.0), bos_token_id=1, eos_token_id=2,
)
# Norms of the heads of queries and keys, heads wider than hidden_size / heads.
QWEN3 = dict(
    hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=16, vocab_size=64, max_position_embeddings=256, tie_word_embeddings=False, rms_norm_eps=1e-6,
    rope_parameters=dict(rope_type="default", rope_theta=1000000.0), bos_token_id=1, eos_token_id=[2, 3],
)
# The same with a bias on all four projections, which no Qwen3 that was published has.
QWEN3_BIAS = dict(QWEN3, attention_bias=True, num_hidden_layers=1)
# SmolLM2: nine query heads for three of keys and values, tied.
SMOLLM2 = dict(
    hidden_size=36, intermediate_size=96, num_hidden_layers=2, num_attention_heads=9, num_key_value_heads=3,
    vocab_size=96, max_position_embeddings=512, tie_word_embeddings=True, rms_norm_eps=1e-5,
    rope_parameters=dict(rope_type="default", rope_theta=100000.0), bos_token_id=1, eos_token_id=2,
)
# Llama-3.2-1B: tied, its rope scaling with an original context that is short enough for these positions.
LLAMA32 = dict(
    hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2,
    head_dim=8, vocab_size=96, max_position_embeddings=512, tie_word_embeddings=True, rms_norm_eps=1e-5,
    rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=128,
    ),
    bos_token_id=1, eos_token_id=[2, 3, 4],
)

LLAMA_CLASSES = LlamaConfig, LlamaForCausalLM
QWEN2_CLASSES = Qwen2Config, Qwen2ForCausalLM
QWEN3_CLASSES = Qwen3Config, Qwen3ForCausalLM

POSITIONS = 100


def make(name, classes, dimensions, dtype, seed, **save):
    config_class, model_class = classes
    torch.manual_seed(seed)
    model = model_class._from_config(config_class(**dimensions), attn_implementation="eager")
    # transformers' own initialisation gives nearly flat logits; these scales do not.
    for tensor_name, tensor in model.named_parameters():
        with torch.no_grad():
            if tensor_name.endswith(".bias"):
                tensor.normal_(0.0, 0.5)
            elif tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)
            else:
                gain = 2.5 if "embed" in tensor_name or "head" in tensor_name else 1.5
                tensor.normal_(0.0, gain / tensor.shape[1] ** 0.5)
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    model.to(dtype).save_pretrained(directory, **save)

    model = model_class.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
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


make("llama3-f16", LLAMA_CLASSES, LLAMA3, torch.float16, 1)
make("linear-bf16-sharded", LLAMA_CLASSES, LINEAR, torch.bfloat16, 2, max_shard_size="12KB")
make("plain-f32", LLAMA_CLASSES, PLAIN, torch.float32, 3)
make("qwen2", QWEN2_CLASSES, QWEN2, torch.bfloat16, 4)
make("qwen3", QWEN3_CLASSES, QWEN3, torch.bfloat16, 5)
make("qwen3-bias", QWEN3_CLASSES, QWEN3_BIAS, torch.bfloat16, 6)
make("smollm2", LLAMA_CLASSES, SMOLLM2, torch.bfloat16, 7)
make("llama-3.2", LLAMA_CLASSES, LLAMA32, torch.bfloat16, 8)
