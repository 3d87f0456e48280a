"""TransformerLens' `fit_sparse_probe` on given columns. Versions: requirements.txt.

The module is loaded without the package around it, whose import wants a transformers release that the other rivals do not
have; the probe itself needs torch and jaxtyping only.
"""

import importlib
import importlib.util
import os
import sys
import types

import numpy as np


def sparse_probing():
    if "transformer_lens" not in sys.modules:
        root = importlib.util.find_spec("transformer_lens").submodule_search_locations[0]
        for name in ("transformer_lens", "transformer_lens.tools", "transformer_lens.tools.analysis"):
            package = types.ModuleType(name)
            package.__path__ = [os.path.join(root, *name.split(".")[1:])]
            sys.modules[name] = package
    return importlib.import_module("transformer_lens.tools.analysis.sparse_probing")


def fit_supports(loaded, items, k):
    """Rows (w, b, rows held out): it always holds out a row of each class at least, and reorders the columns by rank."""
    import torch

    fit_sparse_probe = sparse_probing().fit_sparse_probe
    n = len(loaded["y"])
    labels = torch.from_numpy(loaded["y"])
    out = []
    for support in loaded["supports"][:items, :k]:
        features = torch.from_numpy(np.ascontiguousarray(loaded["x64"][:, support]))
        # Its penalty is on the mean loss: 1/n is C = 1. A decrement of 1e-10, as ours and in the same units.
        fit = fit_sparse_probe(
            features, labels, k=k, test_fraction=1e-9, l2_strength=1 / (n - 2), decrement_tolerance=1e-10
        )
        coefficients = np.empty(k)
        coefficients[fit.selected_features.numpy()] = fit.coefficients.numpy()
        held = fit.test_indices.numpy()
        assert len(held) == 2
        out.append(np.concatenate([coefficients, [float(fit.intercept)], held]))
    return np.stack(out)
