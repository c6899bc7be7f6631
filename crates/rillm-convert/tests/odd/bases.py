"""Makes bases/: small checkpoints that the rows change. The same bytes each time.

    pip install -r ../../../../models/requirements.txt protobuf==7.36.2 && python bases.py
"""

import json
import shutil
from collections import Counter
from pathlib import Path

import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

HERE = Path(__file__).parent / "bases"

TEXT = """A rill is a small stream. Once upon a time there was a little rill that ran down a hill to the sea. It said hello
to the trees, to the stones and to the birds, and it was happy when the rain came. "Where does the water go?" asked the
children. "It goes to the river, and the river goes to the sea," said their mother. They walked along the rill until they
could not see the house, and in the evening they came home again. What is 7 times 8? It is 56, and 1987 is a year. I'm
sure you'll see what they've done; we don't know who'd do it. The user asks, the assistant answers, the system is quiet.
"""

# GPT-2's alphabet for bytes.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
ALPHABET = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(OTHERS)}


def train(words, count):
    """Byte-pair encoding: the most frequent pair first, of equal ones the first in the alphabet."""
    words = Counter(tuple(word) for word in words)
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = Counter()
        for word, times in words.items():
            out = []
            for symbol in word:
                if out and (out[-1], symbol) == best:
                    out[-1] += symbol
                else:
                    out.append(symbol)
            merged[tuple(out)] += times
        words = merged
    return merges


def added(id, content, **flags):
    plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {"id": id, "content": content} | plain | flags


def template(bos, id, end=None):
    special = {bos: {"id": bos, "ids": [id], "tokens": [bos]}}
    single = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    if end:
        special[end[0]] = {"id": end[0], "ids": [end[1]], "tokens": [end[0]]}
        single.append({"SpecialToken": {"id": end[0], "type_id": 0}})
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def tokenizer_json(model, tokens, **parts):
    head = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens}
    empty = dict(normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None)
    return head | empty | parts | {"model": model}


def bpe(vocab, merges, **fields):
    usual = dict(
        type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
        byte_fallback=False, ignore_merges=False,
    )
    return usual | fields | {"vocab": vocab, "merges": merges}


def byte_level():
    """The vocabulary and merges of a tokenizer over bytes."""
    words = ["".join(ALPHABET[byte] for byte in word.encode()) for word in TEXT.replace("\n", " ").replace(" ", "\n ").split("\n")]
    merges = train(words, 90)
    pieces = sorted(ALPHABET.values()) + ["".join(pair) for pair in merges]
    return {piece: id for id, piece in enumerate(pieces)}, merges


def save(name, classes, tokenizer, tokenizer_config, seed, **dimensions):
    config_class, model_class = classes
    torch.manual_seed(seed)
    # A few rows more than the tokenizer has tokens, as many models have them.
    tokens = len(tokenizer["model"]["vocab"].keys() | {token["content"] for token in tokenizer["added_tokens"]})
    shape = dict(
        vocab_size=tokens + 5, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, rms_norm_eps=1e-5,
    )
    model = model_class._from_config(config_class(**(shape | dimensions)))
    # transformers' own initialisation gives nearly flat logits; these scales do not.
    for tensor_name, tensor in model.named_parameters():
        with torch.no_grad():
            if tensor_name.endswith(".bias"):
                tensor.normal_(0.0, 0.5)
            elif tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)
            else:
                gain = 0.5 if "embed" in tensor_name else 1.5
                tensor.normal_(0.0, gain / tensor.shape[1] ** 0.5)
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(directory)
    (directory / "generation_config.json").unlink()
    # The form of the years in which most checkpoints were made.
    path = directory / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config.pop("transformers_version")
    config["torch_dtype"] = config.pop("dtype")
    config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None}
    write(path, config)
    write(directory / "tokenizer_config.json", tokenizer_config)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    return directory


def write(path, json_value):
    path.write_text(json.dumps(json_value, indent=1, ensure_ascii=False) + "\n")


LLAMA = LlamaConfig, LlamaForCausalLM


def sentencepiece():
    """As Llama 2: byte-pair encoding over characters with byte fallback; tokenizer.json and tokenizer.model agree."""
    words = ["▁" + word for word in TEXT.split()]
    merges = train(words, 80)
    specials = ["<unk>", "<s>", "</s>"]
    # Those with the best scores first, as sentencepiece has it: merges, then characters.
    pieces = ["".join(pair) for pair in merges] + sorted({c for word in words for c in word})
    all_pieces = specials + [f"<0x{byte:02X}>" for byte in range(256)] + pieces
    vocab = {piece: id for id, piece in enumerate(all_pieces)}
    decoders = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    tokenizer = tokenizer_json(
        bpe(vocab, [" ".join(pair) for pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        [added(id, content) for id, content in enumerate(specials)],
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        post_processor=template("<s>", 1),
        decoder={"type": "Sequence", "decoders": decoders},
    )
    config = {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "pad_token": None, "legacy": True, "model_max_length": 256, "tokenizer_class": "LlamaTokenizer",
        "clean_up_tokenization_spaces": False, "sp_model_kwargs": {},
        "added_tokens_decoder": {
            str(id): {key: value for key, value in added(id, content).items() if key != "id"}
            for id, content in enumerate(specials)
        },
        "chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    }
    directory = save("llama", LLAMA, tokenizer, config, 1, bos_token_id=1, eos_token_id=2)

    proto = sentencepiece_model_pb2.ModelProto()
    for id, piece in enumerate(all_pieces):
        rank = id - len(all_pieces) + len(pieces)
        kind = 2 if id == 0 else 3 if id < 3 else 6 if rank < 0 else 1
        proto.pieces.add(piece=piece, score=-rank if rank >= 0 else 0, type=kind)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.vocab_size = len(all_pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.remove_extra_whitespaces = False
    (directory / "tokenizer.model").write_bytes(proto.SerializeToString(deterministic=True))


LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = LLAMA3_PATTERN.replace("{1,3}", "")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def split(pattern):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ]}


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def llama3():
    """As Llama 3: over bytes, special tokens after the vocabulary; those of ChatML and of thoughts beside Llama's own."""
    vocab, merges = byte_level()
    specials = [
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
        "<|im_start|>", "<|im_end|>",
    ]
    tokens = [added(len(vocab) + n, content) for n, content in enumerate(specials)]
    tokens += [added(len(vocab) + len(specials) + n, content, special=False) for n, content in enumerate(["<think>", "</think>"])]
    bos = len(vocab)
    tokenizer = tokenizer_json(
        bpe(vocab, [" ".join(pair) for pair in merges], ignore_merges=True), tokens,
        pre_tokenizer=split(LLAMA3_PATTERN),
        post_processor={"type": "Sequence", "processors": [BYTES, template("<|begin_of_text|>", bos)]},
        decoder=BYTES,
    )
    config = {
        "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": True,
        "model_max_length": 256, "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {str(t["id"]): {key: value for key, value in t.items() if key != "id"} for t in tokens},
        "chat_template": "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
        "+ m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    }
    save(
        "llama3", LLAMA, tokenizer, config, 2, bos_token_id=bos, eos_token_id=[bos + 1, bos + 4],
        tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=500000.0),
    )


def qwen2():
    """As Qwen2: no token starts a text, text is normalised, the system prompt has a default."""
    vocab, merges = byte_level()
    tokens = [added(len(vocab) + n, content) for n, content in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])]
    end = len(vocab)
    tokenizer = tokenizer_json(
        bpe(vocab, [" ".join(pair) for pair in merges]), tokens, normalizer={"type": "NFC"}, pre_tokenizer=split(QWEN2_PATTERN),
        post_processor=BYTES | {"add_prefix_space": False, "use_regex": False}, decoder=BYTES,
    )
    config = {
        "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None,
        "errors": "replace", "model_max_length": 256, "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer",
        "clean_up_tokenization_spaces": False, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "added_tokens_decoder": {str(t["id"]): {key: value for key, value in t.items() if key != "id"} for t in tokens},
        "chat_template": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}" + CHATML,
    }
    save(
        "qwen2", (Qwen2Config, Qwen2ForCausalLM), tokenizer, config, 3, bos_token_id=end,
        eos_token_id=end + 2, tie_word_embeddings=True,
    )


def word_piece():
    """Words in pieces, as BERT has them, of a Llama model."""
    words = sorted({word.strip('.,?;"') for word in TEXT.lower().split()})
    letters = sorted({c for word in words for c in word if c.isalpha()})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *'.,?;":|<>\'', *"0123456789", *letters]
    pieces += [f"##{c}" for c in [*"0123456789", *letters]] + [word for word in words if word.isalpha() and len(word) > 3]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    assert len(vocab) == len(pieces)
    tokenizer = tokenizer_json(
        {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
        [added(id, content) for id, content in enumerate(pieces[:5])],
        normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        pre_tokenizer={"type": "BertPreTokenizer"}, post_processor=template("[CLS]", 2, ("[SEP]", 3)),
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )
    config = {
        "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]",
        "do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None, "model_max_length": 256,
        "tokenizer_class": "BertTokenizer", "clean_up_tokenization_spaces": True,
        "chat_template": "[CLS]{% for m in messages %}{{ m['role'] + ' : ' + m['content'] + '[SEP]' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant :' }}{% endif %}",
    }
    save("wordpiece", LLAMA, tokenizer, config, 4, bos_token_id=2, eos_token_id=3, tie_word_embeddings=True)


sentencepiece()
llama3()
qwen2()
word_piece()
