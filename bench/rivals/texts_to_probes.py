"""J5: the whole study in transformers, torch and scikit-learn. Versions: requirements.txt.

Texts through the model, mean over tokens but the first of every MLP activation, the k neurons of largest mean difference on
training rows, a probe on each support, validation rows choose the layer, test rows report. With several threads, layers are
fitted in as many processes of one thread each: threads inside BLAS make problems of this size slower.
"""

import multiprocessing

import numpy as np

BATCH = 32
POOL = None


def one_thread():
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def load(parameters):
    global POOL
    import json

    import sklearn.linear_model
    import sklearn.metrics  # noqa: F401

    if parameters["threads"] > 1:
        # Forked before any library has started threads of its own.
        POOL = multiprocessing.get_context("fork").Pool(parameters["threads"], one_thread)

    import torch
    from tokenizers import Tokenizer
    from transformers import GPTNeoXForCausalLM

    torch.set_num_threads(parameters["threads"])
    with open(parameters["study"]) as file:
        study = json.load(file)
    folder = parameters["model"]
    model = GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32).gpt_neox.eval()
    return study, Tokenizer.from_file(folder + "/tokenizer.json"), model


def capture(texts, tokenizer, model):
    """[layers][texts, neurons]"""
    import torch

    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    layers = len(model.layers)
    out = [np.zeros((len(ids), model.config.intermediate_size), np.float32) for _ in range(layers)]
    seen = {}
    hooks = [
        layer.mlp.act.register_forward_hook(lambda _module, _input, output, at=at: seen.__setitem__(at, output))
        for at, layer in enumerate(model.layers)
    ]
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            longest = max(len(ids[i]) for i in rows)
            tokens = torch.zeros((len(rows), longest), dtype=torch.long)
            mask = torch.zeros((len(rows), longest), dtype=torch.long)
            for r, i in enumerate(rows):
                tokens[r, : len(ids[i])] = torch.tensor(ids[i])
                mask[r, : len(ids[i])] = 1
            model(input_ids=tokens, attention_mask=mask, use_cache=False)
            mask[:, 0] = 0
            weight = (mask / mask.sum(1, keepdim=True)).to(torch.float32)
            for at in range(layers):
                out[at][rows] = torch.einsum("rt,rtn->rn", weight, seen[at]).numpy()
    for hook in hooks:
        hook.remove()
    return out


def fit_layer(arguments):
    """Of one layer: supports, scores on validation and test rows, by "feature k"."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, log_loss

    x, labels, ks, (train, validation, test) = arguments
    out = {}
    mean, sd = x[train].mean(0, dtype=np.float64), x[train].std(0, dtype=np.float64)
    sd[sd == 0] = 1
    for feature, y in labels.items():
        positive = train[y[train] == 1]
        negative = train[y[train] == 0]
        difference = x[positive].mean(0, dtype=np.float64) - x[negative].mean(0, dtype=np.float64)
        ranked = np.argsort(-np.abs(difference), kind="stable")
        for k in ks:
            s = ranked[:k]
            z = (x[:, s] - mean[s]) / sd[s]
            # Best of its solvers for these sizes: Newton for few columns, L-BFGS where the Hessian is large.
            solver = "newton-cholesky" if k <= 64 else "lbfgs"
            fit = LogisticRegression(class_weight="balanced", solver=solver, max_iter=1000).fit(z[train], y[train])
            score = f1_score(y[validation], fit.predict(z[validation]))
            loss = log_loss(y[validation], fit.predict_proba(z[validation])[:, 1])
            out[f"{feature} {k}"] = s.tolist(), (score, -loss), f1_score(y[test], fit.predict(z[test]))
    return out


def study(loaded, parameters):
    setup, tokenizer, model = loaded
    labels = {feature: np.array(values) for feature, values in setup["labels"].items()}
    parts = tuple(np.array(setup["split"][part]) for part in ("train", "validation", "test"))
    work = [(x, labels, setup["ks"], parts) for x in capture(setup["texts"], tokenizer, model)]
    layers = map(fit_layer, work) if POOL is None else POOL.imap(fit_layer, work)
    supports, chosen = {}, {}
    for layer, results in enumerate(layers):
        for key, (support, by, f1) in results.items():
            supports[f"{key} {layer}"] = support
            if key not in chosen or by > chosen[key]["by"]:
                chosen[key] = {"by": by, "layer": layer, "f1": f1}
    return {"supports": supports, "chosen": chosen}


TASKS = {"study": study}
