"""Train the bundled story model and export it as a Hugging Face directory.

The network is a plain Llama written out in PyTorch.  Its parameter names are
the Hugging Face ones, so the export is a cast to float16 and nothing else; the
script ends by loading the export with transformers and comparing logits.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

BOS, EOS = 1, 2


@dataclass(frozen=True)
class Shape:
    """The architecture; every number ends up in config.json."""

    vocab: int = 2048
    hidden: int = 128
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    ffn: int = 352
    context: int = 512
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    init_std: float = 0.02


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_tables(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [context, head_dim], in the rotate-half layout."""
    freqs = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.outer(torch.arange(shape.context).float(), freqs)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.o_proj = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, _ = x.shape
        s = self.s
        q = self.q_proj(x).view(b, t, s.heads, s.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, t, s.kv_heads, s.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(b, t, s.kv_heads, s.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = s.heads // s.kv_heads
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class Mlp(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.ffn, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.ffn, bias=False)
        self.down_proj = nn.Linear(s.ffn, s.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.input_layernorm = RMSNorm(s.hidden, s.norm_eps)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = RMSNorm(s.hidden, s.norm_eps)
        self.mlp = Mlp(s)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(s.vocab, s.hidden)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.norm = RMSNorm(s.hidden, s.norm_eps)
        cos, sin = rope_tables(s)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        t = ids.shape[1]
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos[:t], self.sin[:t])
        return self.norm(x)


class Llama(nn.Module):
    """A Llama with tied embeddings; state_dict keys match Hugging Face."""

    def __init__(self, s: Shape):
        super().__init__()
        self.model = Body(s)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = s.init_std / math.sqrt(2 * s.layers) if residual else s.init_std
                nn.init.normal_(p, std=std)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.model(ids), self.model.embed_tokens.weight)

    def loss(self, rows: Tensor) -> Tensor:
        """Mean next-token cross-entropy (nats) over rows of context + 1 ids."""
        logits = self(rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def pack(path: Path, tokenizer: Tokenizer, row: int) -> np.ndarray:
    """Rows of whole tales, `<s> tale </s>`; only the last tale of a row is cut."""
    tales = path.read_text(encoding="utf-8").splitlines()
    rows: list[np.ndarray] = []
    current: list[int] = []
    for start in range(0, len(tales), 4096):
        for enc in tokenizer.encode_batch(tales[start : start + 4096]):
            current += enc.ids + [EOS]
            if len(current) >= row:
                rows.append(np.array(current[:row], dtype=np.int16))
                current = []
    return np.stack(rows)


def learning_rate(peak: float, progress: float, step: int, warmup: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth of the peak."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / warmup) * cosine


@torch.no_grad()
def evaluate(model: Llama, rows: np.ndarray, batch: int) -> float:
    losses = [
        model.loss(torch.from_numpy(rows[i : i + batch]).long()).item()
        for i in range(0, len(rows) - batch + 1, batch)
    ]
    return sum(losses) / len(losses)


def hf_config(s: Shape) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "head_dim": s.head_dim,
        "hidden_act": "silu",
        "hidden_size": s.hidden,
        "initializer_range": s.init_std,
        "intermediate_size": s.ffn,
        "max_position_embeddings": s.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": s.heads,
        "num_hidden_layers": s.layers,
        "num_key_value_heads": s.kv_heads,
        "rms_norm_eps": s.norm_eps,
        "rope_scaling": None,
        "rope_theta": s.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": s.vocab,
    }


def export(model: Llama, shape: Shape, out: Path) -> None:
    """Write config.json and a float16 model.safetensors next to the tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(hf_config(shape), indent=2) + "\n")
    tensors = {k: v.detach().half().contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})


@torch.no_grad()
def check_export(model: Llama, out: Path, rows: np.ndarray) -> None:
    """Compare our float32 logits with transformers on the exported weights."""
    from transformers import LlamaForCausalLM

    ids = torch.from_numpy(rows[:4, :-1]).long()
    trained = model(ids)
    hf = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager")
    theirs = hf.eval()(ids).logits
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    ours = model(ids)
    top = (trained.argmax(-1) == ours.argmax(-1)).float().mean().item()
    print(f"export: max |ours - transformers| {(ours - theirs).abs().max():.2e}", flush=True)
    print(
        f"export: max |float32 - float16| {(trained - ours).abs().max():.2e}, "
        f"same argmax {100 * top:.2f} %",
        flush=True,
    )


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--train", type=Path, required=True, help="training tales, one a line")
    ap.add_argument("--heldout", type=Path, required=True, help="held-out tales, one a line")
    ap.add_argument(
        "--model-dir",
        type=Path,
        required=True,
        help="holds tokenizer.json; receives config.json and model.safetensors",
    )
    ap.add_argument("--checkpoint", type=Path, required=True, help="float32 checkpoint file")
    ap.add_argument("--steps", type=int, required=True)
    ap.add_argument(
        "--max-minutes",
        type=float,
        default=math.inf,
        help="anneal faster where the steps would take longer than this",
    )
    ap.add_argument("--batch", type=int, default=8, help="rows of 512 tokens a step")
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--bf16", action="store_true", help="autocast matrix products to bfloat16")
    ap.add_argument("--compile", action="store_true", help="use torch.compile")
    args = ap.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    shape = Shape()
    tokenizer = Tokenizer.from_file(str(args.model_dir / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == shape.vocab
    train = pack(args.train, tokenizer, shape.context + 1)
    heldout = pack(args.heldout, tokenizer, shape.context + 1)
    model = Llama(shape)
    print(
        f"{sum(p.numel() for p in model.parameters())} parameters, {len(train)} training rows, "
        f"{len(heldout)} held-out rows",
        flush=True,
    )

    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.95),
        eps=1e-8,
        fused=True,
    )
    loss_fn = torch.compile(model.loss) if args.compile else model.loss
    order = np.random.default_rng(args.seed)
    queue = np.empty(0, dtype=np.int64)
    warmup, smooth, begin = 100, None, time.monotonic()
    step, progress = 0, 0.0
    while progress < 1.0:
        if len(queue) < args.batch:
            queue = np.concatenate((queue, order.permutation(len(train))))
        rows = torch.from_numpy(train[queue[: args.batch]]).long()
        queue = queue[args.batch :]
        lr = learning_rate(args.lr, progress, step, warmup)
        for group in optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = loss_fn(rows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        seconds = time.monotonic() - begin
        progress = max(step / args.steps, seconds / (60 * args.max_minutes))
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 25 == 0:
            tokens = step * args.batch * shape.context
            print(
                f"step {step} tokens {tokens} loss {smooth:.4f} lr {lr:.2e} "
                f"seconds {seconds:.0f} tok/s {tokens / seconds:.0f}",
                flush=True,
            )
        if step % 250 == 0 or progress >= 1.0:
            torch.save(model.state_dict(), args.checkpoint)
            print(f"step {step} held-out loss {evaluate(model, heldout[:32], 8):.4f}", flush=True)

    export(model, shape, args.model_dir)
    print(
        f"final: steps {step}, tokens {step * args.batch * shape.context}, "
        f"train loss {smooth:.4f}, held-out loss {evaluate(model, heldout, 8):.4f}",
        flush=True,
    )
    check_export(model, args.model_dir, heldout)


if __name__ == "__main__":
    main()
