"""Writes rows.json: the tokens of texts, and the special tokens' names, as `transformers` has them for directories that differ
in what lies beside the tokenizer.

    pip install transformers==4.57.6 sentencepiece protobuf && python make.py
"""

import copy
import json
import pathlib
import shutil
import tempfile

from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
TEXTS = ["Hello", "<s>Hello</s>", "Hello x<extra>y z", "Hello <two words> b", " <s>x"]
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
MODELS = {name: json.loads((HERE / f"{name}.json").read_text()) for name in ["characters", "byte_level"]}
SIZES = {"characters": 512, "byte_level": 700, "model": 512}
IDS = {"characters": {"<s>": 1, "</s>": 2}, "byte_level": {"<s>": 0, "</s>": 1}}


def token(content, special=False, normalized=False):
    return {
        "content": content, "special": special, "normalized": normalized,
        "single_word": False, "lstrip": False, "rstrip": False,
    }


def special(name):
    return {"SpecialToken": {"id": name, "type_id": 0}}


def template(kind, before, after):
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [*map(special, before), text, *map(special, after)],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in IDS[kind].items()},
    }


rows = []


def row(name, tokenizer, post_processor=None, **files):
    """A directory with one of the tokenizers, perhaps with another post-processor, and files beside it."""
    files = {file.replace("__", "."): content for file, content in files.items()}
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "config.json").write_text(json.dumps(CONFIG))
        if tokenizer == "model":
            shutil.copy(HERE / "tokenizer.model", directory)
        else:
            model = copy.deepcopy(MODELS[tokenizer])
            model["post_processor"] = post_processor[0] if post_processor else model["post_processor"]
            (directory / "tokenizer.json").write_text(json.dumps(model))
        for file, content in files.items():
            (directory / file).write_text(json.dumps(content))
        loaded = AutoTokenizer.from_pretrained(directory)
        ids = [loaded(text)["input_ids"] for text in TEXTS]
        names = {key: text for key, text in loaded.special_tokens_map.items() if isinstance(text, str)}
    # A token at the end of a prompt would end the text: rillm leaves it out.
    ends = [loaded.eos_token_id, loaded.sep_token_id]
    plain = [loaded(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    ids = [found[:-1] if found[-1] in ends and found != text and found[-len(text):] != text else found
           for found, text in zip(ids, plain)]
    rows.append({
        "name": name, "tokenizer": tokenizer, "vocab_size": SIZES[tokenizer] + 8, "files": files,
        "post_processor": post_processor, "texts": TEXTS, "ids": ids, "names": names,
    })


FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
for kind in ["characters", "byte_level"]:
    size = SIZES[kind]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", IDS[kind]["</s>"]], "cls": ["<s>", IDS[kind]["<s>"]],
               "trim_offsets": True, "add_prefix_space": False}
    bert = {"type": "BertProcessing", "sep": ["</s>", IDS[kind]["</s>"]], "cls": ["<s>", IDS[kind]["<s>"]]}
    flags = {"bos_token": "<s>", "eos_token": "</s>"}
    for name, processor in {
        "none": None, "nothing": template(kind, [], []), "start": template(kind, ["<s>"], []), "both": template(kind, ["<s>"], ["</s>"]),
        "end": template(kind, [], ["</s>"]), "byte level": byte_level,
        "sequence": {"type": "Sequence", "processors": [byte_level, template(kind, ["<s>"], ["</s>"])]},
        "empty sequence": {"type": "Sequence", "processors": []}, "Roberta": roberta, "Bert": bert,
    }.items():
        row(f"post-processor: {name}", kind, [processor], tokenizer_config__json={**FAST, **flags})
        for more in [{"add_bos_token": True}, {"add_bos_token": True, "add_eos_token": True}, {"add_bos_token": False}]:
            row(f"post-processor: {name}, {', '.join(more)} {more['add_bos_token']}", kind, [processor],
                tokenizer_config__json={**FAST, **flags, **more})
    row("start, as LlamaTokenizer has it", kind, [template(kind, ["<s>"], [])],
        tokenizer_config__json={"tokenizer_class": "LlamaTokenizerFast", **flags, "add_bos_token": True})

    def beside(name, config=None, **files):
        row(name, kind, tokenizer_config__json={**FAST, **(config or {})}, **files)

    beside("nothing")
    beside("listed", {"added_tokens_decoder": {str(size): token("<extra>")}})
    beside("listed, special", {"added_tokens_decoder": {str(size): token("<extra>", special=True)}})
    beside("listed, normalized", {"added_tokens_decoder": {str(size): token("<extra>", normalized=True)}})
    beside("listed with another number", {"added_tokens_decoder": {str(size + 3): token("<extra>")}})
    beside("two listed, the later first", {"added_tokens_decoder": {str(size + 1): token("<extra>"), str(size): token("<two words>")}})
    beside("a piece listed", {"added_tokens_decoder": {"300": token([piece for piece, id in MODELS[kind]["model"]["vocab"].items() if id == 300][0])}})
    beside("named in the map", special_tokens_map__json={"bos_token": "<s>", "pad_token": "<extra>", "additional_special_tokens": ["<two words>"]})
    beside("named in the map as an object", special_tokens_map__json={"pad_token": token("<extra>", special=True)})
    beside("the map goes before the configuration", {"pad_token": "<two words>"}, special_tokens_map__json={"pad_token": "<extra>"})
    beside("the map is old", {"pad_token": "<extra>", "added_tokens_decoder": {}}, special_tokens_map__json={"pad_token": "<two words>"})
    beside("added_tokens.json", added_tokens__json={"<extra>": size, "<two words>": size + 1})
    beside("added_tokens.json, in another order", added_tokens__json={"<extra>": size + 1, "<two words>": size})
    beside("added_tokens.json, special", {"pad_token": "<extra>"}, added_tokens__json={"<extra>": size})
    beside("added_tokens.json is old", {"added_tokens_decoder": {}}, added_tokens__json={"<extra>": size})
    beside("named in the configuration", {"pad_token": "<extra>", "additional_special_tokens": ["<two words>"]})
    beside("named by an object", {"pad_token": {"__type": "AddedToken", **token("<extra>", special=True)}})
    beside("two names of one", {"pad_token": "<extra>", "mask_token": "<extra>", "bos_token": "<s>", "eos_token": "<s>"})
    beside("named by the tokenizer's class", {"tokenizer_class": "GPT2Tokenizer"} if kind == "byte_level" else {"tokenizer_class": "LlamaTokenizer"})
    beside("a dictionary of names", {"extra_special_tokens": {"image_token": "<extra>"}})
    beside("a start of text that is a piece", {"bos_token": "H" if kind == "byte_level" else "e"})

llama = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
for legacy in [{"legacy": True}, {"legacy": False}, {}]:
    for normalized in [False, True]:
        marks = {str(id): token(text, special=True, normalized=normalized) for id, text in enumerate(["<unk>", "<s>", "</s>"])}
        row(f"marks listed, {legacy} {normalized}", "model", tokenizer_config__json={**llama, **legacy, "added_tokens_decoder": marks})
    marks = {**marks, "512": token("<extra>"), "513": token("<two words>", special=True)}
    row(f"more listed, {legacy}", "model", tokenizer_config__json={**llama, **legacy, "added_tokens_decoder": marks})
row("alone", "model")
row("named in the map", "model", tokenizer_config__json=llama, special_tokens_map__json={"pad_token": "<extra>", "additional_special_tokens": ["<two words>"]})
row("added_tokens.json", "model", tokenizer_config__json={**llama, "additional_special_tokens": ["<extra>"]}, added_tokens__json={"<extra>": 512})
row("another start", "model", tokenizer_config__json={**llama, "bos_token": "</s>", "eos_token": "<s>"})
row("no start", "model", tokenizer_config__json={**llama, "add_bos_token": False})
row("a start and an end", "model", tokenizer_config__json={**llama, "add_eos_token": True})
row("no space before the text", "model", tokenizer_config__json={**llama, "add_prefix_space": False})
(HERE / "rows.json").write_text("[\n" + ",\n".join(json.dumps(row, sort_keys=True) for row in rows) + "\n]\n")
print(len(rows), "rows")
