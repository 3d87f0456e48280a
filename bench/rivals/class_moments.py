"""J1 and J1b: class means and variances of every column. Versions: requirements.txt.

Results: means as [2F, d] (negative, positive class of each feature); with variances [4F, d], the centred sums of squares
below the means, or [3F, d] where they are those of both classes together.
"""

import numpy as np

BLOCK = 512


TENSORS = {}


def load(parameters):
    TENSORS.clear()
    x = np.load(parameters["x"])
    y = np.load(parameters["labels"])
    code = [np.load(parameters[name]) for name in ("scale", "offset")] if "scale" in parameters else None
    return x, y, code


def blocks(loaded, size=BLOCK):
    """Row blocks as float32, so that no whole copy of a float16 or uint8 matrix is made."""
    x, _, _ = loaded
    for start in range(0, len(x), size):
        yield start, x[start : start + size].astype(np.float32, copy=False)


def decode(loaded, means, squares=None):
    """Means and sums of squares of affine codes, in units of the values."""
    code = loaded[2]
    if code is None:
        return means if squares is None else np.concatenate([means, squares])
    scale, offset = code
    means = means * scale + offset
    return means if squares is None else np.concatenate([means, squares * scale * scale])


def masks(loaded, parameters):
    """What most people write."""
    x, y, _ = loaded
    y = y[0]
    means = [x[y == c].mean(0, dtype=np.float32) for c in (0, 1)]
    return decode(loaded, np.stack(means))


def masks_moments(loaded, parameters):
    x, y, _ = loaded
    y = y[0]
    means, squares = [], []
    for c in (0, 1):
        part = x[y == c]
        means.append(part.mean(0, dtype=np.float32))
        squares.append(part.var(0, dtype=np.float32) * len(part))
    return decode(loaded, np.stack(means), np.stack(squares))


def class_weights(y):
    """[2F, n]: 1/n_class for the class's rows."""
    y = y.astype(bool)
    both = np.stack([~y, y], 1).reshape(-1, y.shape[1]).astype(np.float32)
    return both / both.sum(1, keepdims=True)


def product(loaded, parameters):
    """One product with BLAS: gemv-like for one feature, gemm for many. Only positives and the total are multiplied."""
    x, y, _ = loaded
    y = y[: parameters["features"]].astype(np.float32)
    n1 = y.sum(1, keepdims=True)
    weights = np.concatenate([y, np.ones((1, len(x)), np.float32)])
    if x.dtype == np.float32:
        sums = weights @ x
    else:
        sums = 0
        for start, block in blocks(loaded):
            sums = sums + weights[:, start : start + BLOCK] @ block
    positive = sums[:-1] / n1
    negative = (sums[-1:] - sums[:-1]) / (len(x) - n1)
    return decode(loaded, np.stack([negative, positive], 1).reshape(-1, x.shape[1]))


def difference_product(loaded, parameters):
    """The leanest: one gemv with ±1/n weights. Gives the mean difference only, [1, d]."""
    x, y, _ = loaded
    y = y[0]
    n1 = int(y.sum())
    weights = np.where(y == 1, 1 / n1, -1 / (len(y) - n1)).astype(np.float32)
    if x.dtype == np.float32:
        result = weights @ x
    else:
        result = np.zeros(x.shape[1], np.float32)
        for start, block in blocks(loaded):
            result += weights[start : start + BLOCK] @ block
    if loaded[2] is not None:
        result = result * loaded[2][0]
    return result[None]


def product_moments(loaded, parameters):
    """Two products per block of rows, of values and of squares, accumulated in float64."""
    x, y, _ = loaded
    y = y[: parameters["features"]].astype(np.float32)
    n1 = y.sum(1, keepdims=True).astype(np.float64)
    weights = np.concatenate([y, np.ones((1, len(x)), np.float32)])
    pilot = x[:64].mean(0, dtype=np.float32)
    shape = (len(weights), x.shape[1])
    sums, squares = np.zeros(shape), np.zeros(shape)
    for start, block in blocks(loaded):
        block = block - pilot
        w = weights[:, start : start + BLOCK]
        sums += w @ block
        block *= block
        squares += w @ block
    counts = np.stack([len(x) - n1, n1], 1).reshape(-1, 1)
    s = np.stack([sums[-1:] - sums[:-1], sums[:-1]], 1).reshape(-1, x.shape[1])
    q = np.stack([squares[-1:] - squares[:-1], squares[:-1]], 1).reshape(-1, x.shape[1])
    return decode(loaded, s / counts + pilot, q - s * s / counts)


def product_pooled(loaded, parameters):
    """What t and F need at the least: one product, and the squares of all rows once for all features."""
    x, y, _ = loaded
    y = y[: parameters["features"]].astype(np.float32)
    n1 = y.sum(1, keepdims=True).astype(np.float64)
    weights = np.concatenate([y, np.ones((1, len(x)), np.float32)])
    pilot = x[:64].mean(0, dtype=np.float32)
    sums, squares = np.zeros((len(weights), x.shape[1])), np.zeros(x.shape[1])
    for start, block in blocks(loaded):
        block = block - pilot
        sums += weights[:, start : start + BLOCK] @ block
        squares += np.einsum("ij,ij->j", block, block)
    positive, negative = sums[:-1], sums[-1:] - sums[:-1]
    within = squares - positive**2 / n1 - negative**2 / (len(x) - n1)
    means = np.stack([negative / (len(x) - n1), positive / n1], 1).reshape(-1, x.shape[1])
    return np.concatenate([means + pilot, within])


def f_classif(loaded, parameters):
    from sklearn.feature_selection import f_classif as f_values

    x, y, _ = loaded
    return np.stack([f_values(x, y[f])[0] for f in range(parameters["items"])])


def tensors(loaded, device):
    """X and the labels as tensors; on the GPU they stay there, as ours do."""
    import torch

    if device not in TENSORS:
        torch.backends.cuda.matmul.allow_tf32 = False
        x, y, _ = loaded
        TENSORS[device] = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    return torch, *TENSORS[device]


def torch_product(loaded, parameters):
    torch, x, y = tensors(loaded, parameters["device"])
    y = y[: parameters["features"]].float()
    n1 = y.sum(1, keepdim=True)
    sums = torch.cat([y, torch.ones_like(y[:1])]) @ x
    means = torch.stack([(sums[-1:] - sums[:-1]) / (len(x) - n1), sums[:-1] / n1], 1)
    return means.reshape(-1, x.shape[1]).cpu().numpy()


def torch_difference(loaded, parameters):
    torch, x, y = tensors(loaded, parameters["device"])
    n1 = y[0].sum()
    weights = torch.where(y[0] == 1, 1 / n1, -1 / (len(x) - n1)).float()
    return (weights @ x)[None].cpu().numpy()


def torch_product_moments(loaded, parameters):
    """As product_moments: in blocks that stay in a CPU's cache, whole on a GPU."""
    torch, x, y = tensors(loaded, parameters["device"])
    size = BLOCK if parameters["device"] == "cpu" else len(x)
    y = y[: parameters["features"]].float()
    n1 = y.sum(1, keepdim=True).double()
    weights = torch.cat([y, torch.ones_like(y[:1])])
    pilot = x[:64].mean(0)
    sums = torch.zeros((len(weights), x.shape[1]), dtype=torch.float64, device=x.device)
    squares = torch.zeros_like(sums)
    for start in range(0, len(x), size):
        block = x[start : start + size] - pilot
        w = weights[:, start : start + size]
        sums += w @ block
        squares += w @ block.square_()
    counts = torch.stack([len(x) - n1, n1], 1).reshape(-1, 1)
    s = torch.stack([sums[-1:] - sums[:-1], sums[:-1]], 1).reshape(-1, x.shape[1])
    q = torch.stack([squares[-1:] - squares[:-1], squares[:-1]], 1).reshape(-1, x.shape[1])
    return torch.cat([s / counts + pilot, q - s * s / counts]).cpu().numpy()


TASKS = {
    "masks": masks,
    "masks_moments": masks_moments,
    "product": product,
    "difference_product": difference_product,
    "product_moments": product_moments,
    "product_pooled": product_pooled,
    "f_classif": f_classif,
    "torch_product": torch_product,
    "torch_difference": torch_difference,
    "torch_product_moments": torch_product_moments,
}
