"""Makes vocabularies.json: odd GGUF vocabularies, and what llama.cpp makes of them; and biases.json: what it computes of a
model with biases of attention.

    pip install xllamacpp==2026.10.11549 gguf==0.19.0 numpy
    python make.py

Each case is the keys of a file, and either the tokens that llama.cpp finds in texts, with marks and without, and the tokens
that end a text, or that llama.cpp refuses the file.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
TEXTS = [
    "",
    "ab abc  cab",
    "a<|im_end|>b",
    "<s>ab</s> a<unk>",
    "a <|eot_id|><end_of_turn> b<|endoftext|>\n<|end|>",
    "<EOT>a_<EOT>b[EOT] [PAD]c<|file_sep|>a<|fim_prefix|> b",
    "<|start|>a<|message|>b<|call|><|return|>a<tool>b<more> <|x|>",
    "é<0x41>\u2581a  \u2581\u2581b\t\n\n",
    "1234 a12b it's",
]
PLAIN = "a<|im_end|>b</s> ab<|eot_id|><tool>"

WORDS = ["ab", "\u2581a", "\u2581ab", "abc", "ca", "cab", "<|", "|>", "im", "_end", "<s"]
ASCII = [chr(c) for c in range(0x21, 0x7F)]
SPM = (
    [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    + [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    + [(piece, -float(rank), 1) for rank, piece in enumerate(WORDS)]
    + [(piece, -100.0 - rank, 1) for rank, piece in enumerate(["\u2581", *ASCII])]
)


def alphabet():
    """GPT-2's characters for bytes."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


MERGES = ["a b", "\u0120 a", "\u0120a b", "ab c", "c a", "\u0120 \u0120", "< |", "| >", "1 2", "3 4", "12 34", "i t"]
BPE = [(piece, 0.0, 1) for piece in alphabet()] + [(merge.replace(" ", ""), 0.0, 1) for merge in MERGES]


def keys(model, added=(), change=None, pre="gpt-2"):
    """The keys of a file as (type, value), with tokens added and keys changed; None removes a key."""
    tokens = [*(SPM if model == "llama" else BPE), *added]
    texts, scores, types = map(list, zip(*tokens))
    found = {
        "tokenizer.ggml.model": ("text", model),
        "tokenizer.ggml.tokens": ("texts", texts),
        "tokenizer.ggml.token_type": ("i32s", types),
    }
    if model == "llama":
        found["tokenizer.ggml.scores"] = ("f32s", scores)
    else:
        found["tokenizer.ggml.pre"] = ("text", pre)
        found["tokenizer.ggml.merges"] = ("texts", MERGES)
    for key, value in (change or {}).items():
        found[f"tokenizer.ggml.{key}"] = value
    return {key: value for key, value in found.items() if value is not None}


def tokens(*texts, kind=1, score=-1000.0):
    return [(text, score, kind) for text in texts]


def numbered(model, text, added):
    """The number of an added token."""
    return len(SPM if model == "llama" else BPE) + [token[0] for token in added].index(text)


def cases():
    ends = tokens("<|im_start|>", "<|im_end|>")
    kinds = {"undefined": 0, "normal": 1, "unknown": 2, "control": 3, "user-defined": 4, "unused": 5, "odd": 99}
    for model in ["llama", "gpt2"]:
        for name, kind in kinds.items():
            yield f"{model}: im_end {name}", keys(model, tokens("<|im_start|>", "<|im_end|>", "<tool>", kind=kind))
        for names in [
            ["<|eot_id|>", "<|eom_id|>"],
            ["<end_of_turn>", "<eos>"],
            ["<|end|>", "<|endoftext|>"],
            ["<EOT>", "_<EOT>", "[EOT]", "[EOS]"],
            ["<|end_of_text|>", "<end_of_utterance>"],
            ["<|end|>", "<|return|>", "<|call|>"],
            ["<|end|>", "<|flush|>", "<|calls|>"],
            ["<|end|>", "<|call|>"],
            ["<|tool_response>", "<turn|>"],
            ["<\uff5cend\u2581of\u2581sentence\uff5c>"],
            ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
            ["<|fim_pad|>"],
            ["<|repo_name|>", "<|file_sep|>"],
            ["[PAD]"],
            ["<|start|>", "<|message|>", "<|channel|>"],
            ["<more>", "<|x|>"],
        ]:
            yield f"{model}: normal {' '.join(names)}", keys(model, tokens(*names))
        yield f"{model}: shown ones control", keys(model, tokens("<|start|>", "<|message|>", kind=3))
        added = tokens("<|x|>", "<more>", "<tool>")
        for key in ["bos", "eos", "eot", "eom", "unk", "pad", "sep", "mask", "fim_pre", "fim_pad", "fim_rep", "fim_sep"]:
            named = {f"{key}_token_id": ("u32", numbered(model, "<|x|>", added))}
            yield f"{model}: {key} by key", keys(model, added, named)
        for key in ["bos", "eos", "eot", "fim_pad"]:
            yield f"{model}: {key} out of range", keys(model, ends, {f"{key}_token_id": ("u32", 2**32 - 1)})
        pad = tokens("[PAD]", "<|x|>")
        named = {"fim_pad_token_id": ("u32", numbered(model, "<|x|>", pad))}
        yield f"{model}: fim_pad by key beside [PAD]", keys(model, pad, named)
        yield f"{model}: no types", keys(model, ends, {"token_type": None})
        yield f"{model}: more types than tokens", keys(model, [], {"token_type": ("i32s", [1] * 700)})
        yield f"{model}: fewer types than tokens", keys(model, [], {"token_type": ("i32s", [1] * 100)})
        for add in [True, False]:
            yield f"{model}: add_bos_token {add}", keys(model, [], {"add_bos_token": ("bool", add)})
            yield f"{model}: add_space_prefix {add}", keys(model, [], {"add_space_prefix": ("bool", add)})
        yield f"{model}: no tokens", keys(model, [], {"tokens": None})
        yield f"{model}: no model", keys(model, [], {"model": None})
    yield "llama: no scores", keys("llama", ends, {"scores": None})
    yield "llama: no scores, no types", keys("llama", ends, {"scores": None, "token_type": None})
    yield "llama: whole scores", keys("llama", ends, {"scores": ("i32s", [int(s) for _, s, _ in SPM + ends])})
    yield "llama: equal scores", keys("llama", [], {"scores": ("f32s", [1.0] * len(SPM))})
    yield "llama: more scores than tokens", keys("llama", [], {"scores": ("f32s", [float(-i) for i in range(700)])})
    yield "llama: fewer scores than tokens", keys("llama", [], {"scores": ("f32s", [0.0] * 100)})
    spaces = tokens("\u2581\u2581", "\u2581\u2581b", "\n\n", kind=4, score=5.0)
    yield "llama: spaces user-defined", keys("llama", spaces)
    yield "llama: spaces unused", keys("llama", tokens("\u2581\u2581", "aba", kind=5, score=5.0))
    yield "llama: remove_extra_whitespaces", keys("llama", [], {"remove_extra_whitespaces": ("bool", True)})
    yield "gpt2: no merges", keys("gpt2", [], {"merges": None})
    yield "gpt2: scores", keys("gpt2", [], {"scores": ("f32s", [0.0] * len(BPE))})
    yield "gpt2: a merge twice", keys("gpt2", [], {"merges": ("texts", [*MERGES, "c a", "a b"])})
    for pre in ["phi-2", "smollm", "starcoder", "command-r", "llama-bpe", "llama3", "falcon3", "pixtral", "lfm2", "dbrx"]:
        yield f"gpt2: pre {pre}", keys("gpt2", tokens("\u0120it's"), pre=pre)
    for pre in ["smaug-bpe", "qwen2", "megrez", "stablelm2", "hunyuan", "trillion", "olmo", "mpt", "exaone", "exaone4"]:
        yield f"gpt2: pre {pre}", keys("gpt2", tokens("\u0120it's"), pre=pre)


def number(tensor, index):
    """A number of a tensor of the models, the same in `llama_cpp.rs`."""
    mixed = (index * 2654435761 + tensor * 97531) % 2**32
    mixed = (mixed ^ mixed >> 15) * 2246822519 % 2**32
    return ((mixed >> 12) % 4001 - 2000) / 4096


def write(path, keys, biases=()):
    """A model of one layer with these keys, and biases of attention that are named."""
    import gguf
    import numpy

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    kinds = {"text": (gguf.GGUFValueType.STRING, None), "u32": (gguf.GGUFValueType.UINT32, None)}
    kinds["bool"] = (gguf.GGUFValueType.BOOL, None)
    for name, element in [("texts", "STRING"), ("i32s", "INT32"), ("f32s", "FLOAT32")]:
        kinds[name] = (gguf.GGUFValueType.ARRAY, gguf.GGUFValueType[element])
    for key, (kind, value) in keys.items():
        writer.add_key_value(key, value, kinds[kind][0], sub_type=kinds[kind][1])
    count = len(keys["tokenizer.ggml.tokens"][1]) if "tokenizer.ggml.tokens" in keys else 100
    tensors = [("token_embd.weight", (count, 32)), ("output_norm.weight", (32,))]
    tensors += [(f"blk.0.{name}.weight", (32,)) for name in ["attn_norm", "ffn_norm"]]
    names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    tensors += [(f"blk.0.{name}.weight", (32, 32)) for name in names]
    tensors += [(f"blk.0.{name}.bias", (32,)) for name in biases]
    for tensor, (name, shape) in enumerate(tensors):
        numbers = [number(tensor, index) for index in range(numpy.prod(shape))]
        writer.add_tensor(name, numpy.array(numbers, numpy.float32).reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ask(path, prompt):
    """What llama.cpp finds, or computes after a prompt, as a line of JSON: run as a process of its own, whose output says what ends a text."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 64
    params.warmup = False
    params.verbosity = 5
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)

    def post(path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.listening_address}/{path}", json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request))

    def tokenize(text, special):
        return post("tokenize", {"content": text, "add_special": True, "parse_special": special})["tokens"]

    if prompt:
        # The token 97 is a whole character, without which there is no answer; the logarithms are those before this.
        options = {"n_predict": 1, "temperature": 0, "n_probs": 40, "logit_bias": [[97, 1000]]}
        answer = post("completion", {"prompt": prompt, **options})
        top = answer["completion_probabilities"][0]["top_logprobs"]
        found = [[token["id"], token["logprob"]] for token in top]
    else:
        found = {"tokens": [tokenize(text, True) for text in TEXTS], "plain": tokenize(PLAIN, False)}
    print("\nFOUND " + json.dumps(found), flush=True)


def run(keys, biases=(), prompt=()):
    """What llama.cpp finds, and all that it says."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/model.gguf"
        write(path, keys, biases)
        command = [sys.executable, __file__, path, json.dumps(prompt)]
        done = subprocess.run(command, capture_output=True)
    out = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
    lines = [line for line in out.splitlines() if line.startswith("FOUND ")]
    return (json.loads(lines[0].removeprefix("FOUND ")), out) if lines else (None, out)


def golden(keys):
    found, out = run(keys)
    if found is None:
        return None
    ends = {int(line.split("=")[1].split()[0]) for line in out.splitlines() if "EOG token  " in line}
    return found | {"ends": sorted(ends)}


def biases():
    """The 40 likeliest tokens after a prompt and their logarithms, of models with several biases."""
    prompt = [40, 200, 7, 99, 180]
    sets = [[], ["attn_q", "attn_k", "attn_v", "attn_output"], ["attn_q", "attn_k", "attn_v"], ["attn_k"], ["attn_output"]]
    models = [{"biases": names, "top": run(keys("gpt2"), names, prompt)[0]} for names in sets]
    lines = ",\n".join(json.dumps(model) for model in models)
    (HERE / "biases.json").write_text(f'{{"prompt": {prompt}, "tokens": {len(BPE)}, "models": [\n{lines}\n]}}\n')


def main():
    biases()
    found = [{"name": name, "keys": keys, "expected": golden(keys)} for name, keys in cases()]
    # The lists that most cases share are written once.
    shared = {"texts": TEXTS, "plain": PLAIN, "llama": keys("llama"), "gpt2": keys("gpt2")}
    for case in found:
        for key, value in case["keys"].items():
            for base in ["llama", "gpt2"]:
                usual = shared[base].get(key)
                if usual and value[0] == usual[0] and isinstance(value[1], list):
                    length = len(usual[1])
                    if list(value[1][:length]) == list(usual[1]):
                        case["keys"][key] = (value[0], {"base": base, "then": value[1][length:]})
                        break
    lines = [json.dumps(case, ensure_ascii=False) for case in found]
    head = json.dumps(shared, ensure_ascii=False)
    (HERE / "vocabularies.json").write_text(f'{{"shared": {head},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{len(found)} cases, {sum(case['expected'] is None for case in found)} of them refused")


if __name__ == "__main__":
    ask(sys.argv[1], json.loads(sys.argv[2])) if len(sys.argv) > 1 else main()
