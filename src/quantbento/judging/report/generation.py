"""Tables of language models with LoRA adapters, and of engines that guess tokens or keep prefixes."""

from __future__ import annotations

import json

from quantbento.judging.report.document import Document
from quantbento.judging.report.table import Table, number, percent, ratio, text, words


def adapters(document: Document) -> Table | None:
    """Every variant with each of its adapters, against full precision with the same adapter."""
    rows = []
    metric = document.primary
    for variant in document.variants:
        for name, found in (variant.get("adapters") or {}).items():
            kl = found.get("kl") or {}
            own, base = ((found.get(part) or {}).get(metric) for part in ("metrics", "baseline"))
            kept = percent((found.get("recovery") or {}).get(metric))
            cells = [number(base, 5), number(own, 5), kept, number(kl.get("mean"), 4), percent(kl.get("same_top"))]
            rows.append([text(variant["name"]), text(name), *cells])
    quality = words(metric) or "quality"
    columns = [
        "variant",
        "adapter",
        f"{quality} in full precision",
        quality,
        "recovery",
        "KL divergence",
        "same top token",
    ]
    note = "Full precision with an adapter is compared with the variant with the same adapter; the worst decides."
    return Table("adapters", "With each adapter", columns, rows, note) if rows else None


def decoding(document: Document) -> Table | None:
    """Every engine with speculative decoding or prefix caching, beside the same model in a plain engine."""
    rows = []
    for variant in document.variants:
        if found := variant.get("decoding"):
            plain = found.get("plain") or {}
            rows.append(
                [
                    text(variant["name"]),
                    text(json.dumps(found.get("settings")), "code"),
                    percent(found.get("same_texts")),
                    number(found.get("tokens_per_s"), 3),
                    number(plain.get("tokens_per_s"), 3),
                    ratio(found.get("speedup")),
                    number(found.get("first_token_ms"), 3),
                    number(plain.get("first_token_ms"), 3),
                    percent(found.get("acceptance_rate")),
                    number(found.get("tokens_per_pass"), 3),
                    percent(found.get("prefix_hit_rate")),
                ]
            )
    columns = ["variant", "settings", "same greedy texts", "tokens/s", "plain tokens/s", "speedup (p10-p90)"]
    columns += ["first token ms", "plain first token ms", "guesses accepted", "tokens per pass", "prefix hits"]
    note = "The plain engine runs the same model. First tokens are of prompts that were asked before."
    return Table("decoding", "Speculative decoding and prefix caching", columns, rows, note) if rows else None
