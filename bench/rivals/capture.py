"""J7: MLP activations of every layer and token through transformers, by forward hooks. Versions: requirements.txt.

No logits are computed, and nothing behind the last hook: it raises. Texts go in batches of about as many tokens each, sorted by
length. Padding stands behind a text, where causal attention never looks, so that no mask is needed and PyTorch takes its fastest
path. The activations end as they do on our side: in host memory, in the order of the texts, without padding.
"""

import json
import time

import numpy as np
import torch
from transformers import GPTNeoXModel

# Padded tokens of a batch that are tried: fewer and more were slower on every machine so far.
BATCH_TOKENS = [512, 1024, 2048, 4096]
# Sides of the products that show what the processor can do for this library.
LIMIT = 2048


class Done(Exception):
    pass


def load(parameters):
    torch.set_num_threads(parameters["threads"])
    torch.backends.cuda.matmul.allow_tf32 = False
    with open(parameters["texts"]) as file:
        texts = json.load(file)
    model = GPTNeoXModel.from_pretrained(parameters["model"], dtype=torch.float32, attn_implementation="sdpa")
    return {"texts": texts, "model": model.eval(), "batch": {}}


def batches(texts, tokens):
    """Texts of similar length whose padded tokens are at most so many, unless a single one has more."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(texts[order[end]]) <= tokens:
            end += 1
        yield order[start:end]
        start = end


def forward(loaded, device, batch_tokens):
    """[layers] of [tokens, neurons]"""
    texts, model = loaded["texts"], loaded["model"].to(device)
    first = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    layers = model.layers
    shape = (int(first[-1]), model.config.intermediate_size)
    out = [torch.empty(shape, dtype=torch.float32) for _ in layers]
    seen = {}

    def hook(at):
        def keep(_module, _input, output):
            seen[at] = output
            if at == len(layers) - 1:
                raise Done

        return keep

    hooks = [layer.mlp.act.register_forward_hook(hook(at)) for at, layer in enumerate(layers)]
    try:
        with torch.inference_mode():
            for rows in batches(texts, batch_tokens):
                longest = max(len(texts[i]) for i in rows)
                tokens = torch.zeros((len(rows), longest), dtype=torch.long)
                for r, i in enumerate(rows):
                    tokens[r, : len(texts[i])] = torch.tensor(texts[i])
                try:
                    model(input_ids=tokens.to(device), use_cache=False)
                except Done:
                    pass
                for at, target in enumerate(out):
                    values = seen[at].cpu()
                    for r, i in enumerate(rows):
                        target[first[i] : first[i + 1]] = values[r, : len(texts[i])]
    finally:
        for handle in hooks:
            handle.remove()
    return out


def fastest(loaded, parameters):
    """The tokens of a batch that take the least time; the first run warms up."""
    device = parameters["device"]
    if device not in loaded["batch"]:
        seconds = {}
        for tokens in [BATCH_TOKENS[0], *BATCH_TOKENS]:
            start = time.perf_counter()
            forward(loaded, device, tokens)
            seconds[tokens] = time.perf_counter() - start
        loaded["batch"][device] = min(seconds, key=seconds.get)
    return loaded["batch"][device]


def capture(loaded, parameters):
    return forward(loaded, parameters["device"], loaded["batch"][parameters["device"]])


def some_rows(loaded, parameters):
    """[layers, rows, neurons] of the rows asked for"""
    rows = torch.tensor(parameters["rows"])
    return torch.stack([values[rows] for values in capture(loaded, parameters)]).numpy()


def limit(loaded, parameters):
    """GFLOP/s of a float32 product, best of 5"""
    a = torch.randn(LIMIT, LIMIT)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * LIMIT**3 / best / 1e9


TASKS = {"fastest": fastest, "capture": capture, "some_rows": some_rows, "limit": limit}
