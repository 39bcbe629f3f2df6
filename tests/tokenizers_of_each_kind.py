"""Small tokenizers of the kinds that models have, trained on a few sentences, and a token classifier with each."""

from __future__ import annotations

from pathlib import Path

SENTENCES = [
    "Marie Curie was born in Warsaw and worked in Paris.",
    "The Société Générale is a bank in Montréal and Zürich!",
    "Dr. O'Neill-Smith visited São Paulo, New York and 東京 in 2024.",
    "Ångström & Co. sold 3.5 million units for €12,000.",
    "Microsoft and Hewlett-Packard are companies; Ελλάδα is a country.",
]
LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "LOC"]
KINDS = ["wordpiece", "byte-level", "metaspace"]


def write_tagger(folder: Path, kind: str) -> Path:
    """A token classifier with random weights and a tokenizer of that kind."""
    import torch
    from transformers import BertConfig, BertForTokenClassification

    tokens = _write_tokenizer(folder, kind)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=tokens,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.6,  # so that labels differ from token to token
        id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
    )
    BertForTokenClassification(config).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, kind: str) -> int:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special)
    elif kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="[UNK]")
    tokenizer.train_from_iterator(SENTENCES, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **names).save_pretrained(folder)
    return tokenizer.get_vocab_size()
