"""Print tales that a model directory writes, in float32 on the CPU.

At temperature 0 the most likely token is taken; otherwise tokens are drawn
from the smallest set whose probability reaches top-p.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

EOS = 2


def draw(logits: torch.Tensor, temperature: float, top_p: float, rng: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    probs, ids = torch.softmax(logits / temperature, -1).sort(descending=True)
    probs = probs * (probs.cumsum(-1) - probs < top_p)
    return int(ids[torch.multinomial(probs, 1, generator=rng)])


@torch.no_grad()
def write(
    model: LlamaForCausalLM,
    tok: Tokenizer,
    prompt: str,
    args: argparse.Namespace,
    rng: torch.Generator,
) -> str:
    ids = tok.encode(prompt).ids
    step, cache = ids, None
    while len(ids) < args.max_tokens:
        out = model(torch.tensor([step]), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        token = draw(out.logits[0, -1], args.temperature, args.top_p, rng)
        if token == EOS:
            return tok.decode(ids[1:])
        ids.append(token)
        step = [token]
    return tok.decode(ids[1:]) + " ..."


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model-dir", type=Path, required=True)
    ap.add_argument("--temperature", type=float, default=0.8)
    ap.add_argument("--top-p", type=float, default=0.95)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--max-tokens", type=int, default=400)
    ap.add_argument("prompts", nargs="+")
    args = ap.parse_args()
    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(args.model_dir, dtype=torch.float32).eval()
    tok = Tokenizer.from_file(str(args.model_dir / "tokenizer.json"))
    rng = torch.Generator().manual_seed(args.seed)
    for prompt in args.prompts:
        print(write(model, tok, prompt, args, rng) + "\n")


if __name__ == "__main__":
    main()
