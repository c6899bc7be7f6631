"""Train a Llama-2 style tokenizer and write it as tokenizer.json.

SentencePiece learns a BPE vocabulary with byte fallback; its pieces and merges
are then written in the form that Hugging Face `tokenizers` reads, and the two
are compared on the corpus.
"""

import argparse
import io
import itertools
import json
import string
from pathlib import Path

import sentencepiece as spm
from tokenizers import Tokenizer

SPACE = "\u2581"
SPECIALS = ("<unk>", "<s>", "</s>")


def train(lines: list[str], vocab_size: int) -> spm.SentencePieceProcessor:
    """BPE over the lines; every printable ASCII character gets a piece."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        character_coverage=1.0,
        required_chars=string.ascii_letters + string.digits + string.punctuation,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=1,
    )
    return spm.SentencePieceProcessor(model_proto=model.getvalue())


def merges(sp: spm.SentencePieceProcessor, vocab: dict[str, int]) -> list[list[str]]:
    """Every pair of pieces that joins to a piece, in the order of learning."""
    pairs = []
    for piece, index in vocab.items():
        if sp.is_control(index) or sp.is_byte(index) or sp.is_unknown(index):
            continue
        splits = ((piece[:i], piece[i:]) for i in range(1, len(piece)))
        known = [(a, b) for a, b in splits if a in vocab and b in vocab]
        known.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        pairs += [(sp.get_score(index), pair) for pair in known]
    pairs.sort(key=lambda entry: -entry[0])
    return [list(pair) for _, pair in pairs]


def tokenizer_json(sp: spm.SentencePieceProcessor) -> dict:
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    bos_b = {"SpecialToken": {"id": "<s>", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": t,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": True,
                "special": True,
            }
            for i, t in enumerate(SPECIALS)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                bos,
                {"Sequence": {"id": "A", "type_id": 0}},
                bos_b,
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges(sp, vocab),
        },
    }


def tokenizer_config() -> dict:
    entry = {
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": True,
        "added_tokens_decoder": {str(i): {"content": t, **entry} for i, t in enumerate(SPECIALS)},
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": True,
        "model_max_length": 512,
        "pad_token": None,
        "spaces_between_special_tokens": False,
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }


def check(tok: Tokenizer, sp: spm.SentencePieceProcessor, lines: list[str]) -> None:
    """The pieces, the byte fallback, the round trip, and equality with SentencePiece."""
    for piece in tok.get_vocab():
        assert SPACE not in piece.lstrip(SPACE), piece
    odd = [
        "Zoë's café: 5 € — ok?",
        "日本語 🦊",
        "two  spaces",
        " lead",
        "tab\tnew\nline",
        "x=1;{a}[b]",
    ]
    for text in odd + lines:
        ids = tok.encode(text).ids
        assert tok.decode(ids[1:]) == text, text
        assert ids[0] == 1 and 0 not in ids, text
        assert ids[1:] == sp.encode(text), text
    count = sum(len(e.ids) for e in tok.encode_batch(lines))
    print(
        f"{tok.get_vocab_size()} pieces; {len(lines)} tales agree with sentencepiece; "
        f"{count / len(lines):.1f} tokens a tale"
    )


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--corpus", type=Path, required=True, help="tales, one a line")
    ap.add_argument("--tales", type=int, default=20000, help="use the first so many")
    ap.add_argument("--vocab", type=int, default=2048)
    ap.add_argument("--model-dir", type=Path, required=True)
    args = ap.parse_args()
    with args.corpus.open(encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in itertools.islice(file, args.tales)]
    sp = train(lines, args.vocab)
    args.model_dir.mkdir(parents=True, exist_ok=True)
    write_json(args.model_dir / "tokenizer.json", tokenizer_json(sp))
    write_json(args.model_dir / "tokenizer_config.json", tokenizer_config())
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(args.model_dir / "special_tokens_map.json", names)
    check(Tokenizer.from_file(str(args.model_dir / "tokenizer.json")), sp, lines[:2000])


if __name__ == "__main__":
    main()
