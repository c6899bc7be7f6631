"""Write golden.json: what transformers computes for a model, in float32 on the CPU.

For each prompt: token ids (BOS first), the 20 largest logits at the last
position, the argmax at every position, and a greedy continuation of 64 tokens
(going on past the end-of-text token) with the margin between the two best
logits at every step.  A greedy text is worth comparing only while the margin
is larger than the tolerance of the comparison.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

PROMPTS = ["Once upon a time", "The little fox", "One rainy day, Anna found a key"]
TEXTS = [
    "Once upon a time",
    "Hello world",
    "One day, a little boy named Tom found a shiny key in 1987.",
    "",
    "three   sp    four",
    "a\tb\nc 12345",
    "I'm don't we'll",
    '"Thank you," said the fox. "Zoë, café?"',
    "日本語 🦊",
    "x" * 40,
]
GREEDY = 64


@torch.no_grad()
def prompt_record(model: LlamaForCausalLM, tok: Tokenizer, text: str) -> dict:
    ids = tok.encode(text).ids
    logits = model(torch.tensor([ids])).logits[0]
    last = logits[-1]
    top = last.topk(20)
    seq, margins = list(ids), []
    for _ in range(GREEDY):
        best = model(torch.tensor([seq])).logits[0, -1].topk(2)
        seq.append(best.indices[0].item())
        margins.append(round((best.values[0] - best.values[1]).item(), 5))
    greedy = seq[len(ids) :]
    return {
        "text": text,
        "ids": ids,
        "last_pos_top20": [[i, v] for i, v in zip(top.indices.tolist(), top.values.tolist())],
        "last_pos_stats": {
            "mean": last.mean().item(),
            "std": last.std().item(),
            "min": last.min().item(),
            "max": last.max().item(),
            "l2": last.norm().item(),
        },
        "argmax_every_position": logits.argmax(-1).tolist(),
        "greedy64_ids": greedy,
        "greedy64_text": tok.decode(greedy),
        "greedy64_top1_top2_margin": margins,
        "greedy_ignores_eos": True,
    }


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model-dir", type=Path, required=True)
    args = ap.parse_args()
    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(
        args.model_dir, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tok = Tokenizer.from_file(str(args.model_dir / "tokenizer.json"))
    config = json.loads((args.model_dir / "config.json").read_text())
    golden = {
        "model": args.model_dir.name,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "compute": "fp32 CPU eager",
        "rms_norm_eps": config["rms_norm_eps"],
        "rope": {"rope_theta": config["rope_theta"], "rope_type": "default"},
        "bos_prepended": True,
        "prompts": [prompt_record(model, tok, text) for text in PROMPTS],
        "tokenization": [
            {"text": t, "ids": (ids := tok.encode(t).ids), "decoded_hf": tok.decode(ids[1:])}
            for t in TEXTS
        ],
        "special_note": "tokenization = tokenizers library on tokenizer.json (equals sentencepiece)",
    }
    (args.model_dir / "golden.json").write_text(
        json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
