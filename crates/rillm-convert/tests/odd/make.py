"""Asks transformers, tokenizers and llama.cpp what they make of the rows' checkpoints, and writes goldens.json.

    pip install -r ../../../../models/requirements.txt gguf==0.19.0 jinja2==3.1.6 xllamacpp==2026.10.11549 && python make.py

The rows are in rows/; `cargo test`, which this runs, writes their checkpoints, so that the table's test and this see the
same bytes. A row's `instead` replaces what a reference says, its `same_as` takes what was said of an earlier row, and its
`because` says why.

Two differences hold for all rows. A prompt does not end the text: tokens that a tokenizer puts after a text are left out.
And where transformers 5 has a class that makes a pipeline of its own, whatever tokenizer.json says, tokenizer.json is
read with the class that takes it as it is: models were trained with the file's pipeline, which transformers 4 used.
"""

import json
import multiprocessing
import os
import re
import subprocess
import tempfile
import urllib.request
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GGML_NO_BACKTRACE"] = "1"

import gguf
import tokenizers
import torch
import transformers
import xllamacpp
from transformers import AutoModelForCausalLM, AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
PROMPT = [1, 5, 9, 20, 33, 7]
TOP = 4
# What every row's tokenizer is asked.
PROBES = [
    "What is a rill? It's 1987,  café.", " two  spaces\n\n\tand <s>marks</s> <|im_end|>", "don't STOP 8½ 日本 🌲",
]
# System prompt and users' texts, with this answer between those.
CONVERSATIONS = [
    (None, ["What is a rill?"]),
    ("Be brief.", ["What is a rill?"]),
    (None, ["What is a rill?", "Where does it go?", "Why?"]),
]
ANSWER = "A small stream."

torch.set_num_threads(1)
warnings.simplefilter("ignore")
transformers.logging.set_verbosity(transformers.logging.CRITICAL)


def messages(system, users):
    turns = [{"role": "system", "content": system}] if system else []
    for n, user in enumerate(users):
        turns += [{"role": "assistant", "content": ANSWER}] if n else []
        turns.append({"role": "user", "content": user})
    return turns


def short(error):
    text = " ".join(f"{type(error).__name__}: {error}".split())
    # Without the folder, whose name changes.
    return re.sub(rf"{work}/\d+", "", text)[:160]


def without_end(whole, bare):
    """A text's tokens without those that are put after it; `bare` has none before it either."""
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[: start + len(bare)]
    raise ValueError("the post-processor changes the text's tokens")


def hugging_face_tokenizer(path):
    auto = AutoTokenizer.from_pretrained(path)
    if (path / "tokenizer.json").exists():
        if isinstance(auto, BertTokenizer):
            # Its flags go to the normalizer in both versions.
            return auto
        # Names that the class has by default count.
        return PreTrainedTokenizerFast.from_pretrained(path, **auto.special_tokens_map)
    # Of tokenizer.model transformers 4 makes this normalizer where `legacy` is not false, and 5 does not.
    config = path / "tokenizer_config.json"
    if not config.exists() or json.loads(config.read_text()).get("legacy") in (None, True):
        prepend = [{"type": "Prepend", "prepend": "▁"}] if auto.add_prefix_space is not False else []
        backend = json.loads(auto.backend_tokenizer.to_str())
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        backend |= {"normalizer": {"type": "Sequence", "normalizers": [*prepend, replace]}, "pre_tokenizer": None}
        for token in backend["added_tokens"]:
            # The converter adds sentencepiece's own marks as they are written, and what the file says of them comes late.
            token["normalized"] = token["normalized"] and token["content"] not in backend["model"]["vocab"]
        auto._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(backend))
    return auto


class HuggingFace:
    """A directory: transformers, and `tokenizers` where the row says so."""

    def __init__(self, path):
        self.path = path
        self.auto = None

    def tokenizer(self):
        if self.auto is None:
            self.auto = hugging_face_tokenizer(self.path)
        return self.auto

    def tokens(self, probes):
        return [[text, self.encode(text)] for text in probes]

    def encode(self, text):
        encode = self.tokenizer()
        return without_end(encode(text)["input_ids"], encode(text, add_special_tokens=False)["input_ids"])

    def texts(self, tokens):
        return [
            self.tokenizer().decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for _, ids in tokens
        ]

    def chat(self):
        tokenizer = self.tokenizer()
        if not tokenizer.chat_template:
            raise ValueError("no chat template")
        made = []
        for system, users in CONVERSATIONS:
            try:
                tokens = tokenizer.apply_chat_template(
                    messages(system, users), add_generation_prompt=True, tokenize=True, return_dict=False
                )
            except Exception as error:
                if system is None:
                    raise
                tokens = None
            made.append({"system": system, "users": users, "tokens": tokens})
        return made

    def model(self):
        model, info = AutoModelForCausalLM.from_pretrained(
            self.path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        odd = {key: sorted(map(str, value)) for key, value in info.items() if value and key != "error_msgs"}
        missing = odd.get("missing_keys") or odd.get("mismatched_keys")
        if missing:
            raise ValueError(f"weights made up: {missing[:3]}")
        return model, odd.get("unexpected_keys")

    def ends(self):
        model, _ = self.model()
        ends = model.generation_config.eos_token_id
        return sorted(set(ends if isinstance(ends, list) else [] if ends is None else [ends]))

    def logits(self):
        model, _ = self.model()
        with torch.no_grad():
            logits = model(torch.tensor([PROMPT])).logits[0, -1]
        if not torch.isfinite(logits).all():
            raise ValueError("logits that are not finite")
        values, places = logits.topk(TOP)
        return {
            "prompt": PROMPT, "normalised": False,
            "top": [[place, round(value, 5)] for place, value in zip(places.tolist(), values.tolist())],
        }


class LlamaCpp:
    """A GGUF file: llama.cpp, asked over HTTP."""

    def __init__(self, path):
        params = xllamacpp.CommonParams()
        params.model.path = str(path / "model.gguf")
        params.n_ctx = 256
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.cpuparams.n_threads = 1
        params.verbosity = -1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.port = 0
        self.server = xllamacpp.Server(params)
        self.keys = gguf.GGUFReader(params.model.path).fields

    def post(self, path, **body):
        request = urllib.request.Request(
            self.server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            return json.loads(urllib.request.urlopen(request, timeout=30).read())
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()[:120]) from None

    def encode(self, text, special):
        return self.post("/tokenize", content=text, add_special=special, parse_special=True)["tokens"]

    def tokens(self, probes):
        return [[text, without_end(self.encode(text, True), self.encode(text, False))] for text in probes]

    def texts(self, tokens):
        return [self.post("/detokenize", tokens=ids)["content"] for _, ids in tokens]

    def key(self, name):
        field = self.keys.get(name)
        return field and field.contents()

    def chat(self):
        """The template as transformers runs it; llama.cpp itself would put the first token before it in any case."""
        template = self.key("tokenizer.chat_template")
        if not template:
            raise ValueError("no chat template")
        special = {}
        for name in ("bos", "eos", "unknown", "padding"):
            id = self.key(f"tokenizer.ggml.{name}_token_id")
            if id is not None:
                special[{"unknown": "unk", "padding": "pad"}.get(name, name) + "_token"] = self.key("tokenizer.ggml.tokens")[id]
        made = []
        for system, users in CONVERSATIONS:
            try:
                [[text], _] = render_jinja_template(
                    [messages(system, users)], chat_template=template, add_generation_prompt=True, **special
                )
                tokens = self.encode(text, False)
            except Exception:
                if system is None:
                    raise
                tokens = None
            made.append({"system": system, "users": users, "tokens": tokens})
        return made

    def ends(self):
        """The tokens that llama.cpp ends an answer at when it is made to choose them."""
        tokens = self.key("tokenizer.ggml.tokens")
        marks = [id for id, token in enumerate(tokens) if len(token) > 4 and token[0] == "<" and token[-1] == ">" or token == "</s>"]
        ends = []
        for id in (id for id in marks if not tokens[id].startswith("<0x")):
            answer = self.post("/completion", prompt=PROMPT, n_predict=2, temperature=0.0, logit_bias=[[id, 1000.0]])
            if answer.get("stop_type") == "eos":
                ends.append(id)
        return ends

    def logits(self):
        # Of a prompt that is answered by an end token llama.cpp gives no probabilities.
        for prompt in (PROMPT, PROMPT[:-1], PROMPT[:-2], PROMPT[1:], PROMPT[2:]):
            answer = self.post(
                "/completion", prompt=prompt, n_predict=1, n_probs=TOP, temperature=0.0, cache_prompt=False
            )
            if "completion_probabilities" in answer:
                top = answer["completion_probabilities"][0]["top_logprobs"]
                top = [[token["id"], round(token["logprob"], 5)] for token in top]
                return {"prompt": prompt, "normalised": True, "top": top}
        raise ValueError("every prompt is answered by an end token")


def ask(row, look, path):
    golden, troubles = {}, {}
    try:
        reference = LlamaCpp(path) if "gguf" in row else HuggingFace(path)
    except Exception as error:
        return expected(row, look, {}, {what: short(error) for what in look})
    for what in look:
        try:
            if what == "tokens":
                golden[what] = reference.tokens(PROBES + row.get("probes", []))
            elif what == "texts":
                golden[what] = reference.texts(golden["tokens"])
            else:
                golden[what] = getattr(reference, what)()
        except Exception as error:
            troubles[what] = short(error)
    return expected(row, look, golden, troubles)


def expected(row, look, golden, troubles):
    """What of the reference's answers the row makes its own."""
    if "refused" in row:
        # What is refused is not compared; what the reference does of it is worth knowing.
        return {"reference": troubles or "loads it"}
    if "same_as" in row:
        golden = {what: value for what, value in goldens[row["same_as"]].items() if what in look}
    golden |= row.get("instead", {})
    return golden | ({"reference": troubles} if troubles else {})


def ask_alone(row, look, path):
    """The same in a process of its own, as llama.cpp ends the process that it does not like the file of."""

    def child(answers):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        answers.send(ask(row, look, path))

    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(sender,))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return expected(row, look, {}, {what: "llama.cpp aborts" for what in look})
    finally:
        process.kill()
        process.join()


with tempfile.TemporaryDirectory() as work:
    environment = os.environ | {"RILLM_ODD": work}
    command = ["cargo", "test", "--quiet", "--package", "rillm-convert", "--test", "odd", "--", "--ignored", "write_the_checkpoints"]
    subprocess.run(command, cwd=HERE, env=environment, check=True, stdout=subprocess.DEVNULL)
    goldens = {}
    place = 0
    for file in sorted((HERE / "rows").glob("*.json")):
        rows = json.loads(file.read_text())
        for row in rows["rows"]:
            path = Path(work) / str(place)
            golden = (ask_alone if "gguf" in row else ask)(row, row.get("look") or rows["look"], path)
            goldens[row["row"]] = golden
            place += 1
            if golden.get("reference") == "loads it" and "because" not in row:
                print(f"{row['row']}: the reference loads it; the row needs `because`")
            if "refused" not in row and "because" not in row and "no_chat" not in row:
                for what, trouble in golden.get("reference", {}).items():
                    print(f"{row['row']}: {what}: {trouble}")

versions = {module.__name__: module.__version__ for module in (transformers, tokenizers, torch)}
versions["xllamacpp"] = xllamacpp.__version__
lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(golden, ensure_ascii=False)}" for name, golden in goldens.items())
text = f'{{"versions": {json.dumps(versions)},\n"rows": {{\n{lines}\n}}}}\n'
(HERE / "goldens.json").write_text(text)
