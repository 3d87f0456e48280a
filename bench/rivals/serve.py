"""Runs rivals for the bench: one JSON message a line on standard input, one answer a line on standard output.

Versions: requirements.txt. The number of threads is set by the environment before this starts.

    {"do": "load", "module": "class_moments", "parameters": {...}}           -> {"ok": true}
    {"do": "run", "task": "masks", "parameters": {...}, "save": "out.npy"}   -> {"ok": true, "seconds": 0.1, "peakBytes": 1}
    {"do": "run", "task": "limits", "parameters": {...}, "answer": true}     -> the same, with "result"

The time is that of the task alone, before anything is saved. With --cuda it says which GPU PyTorch computes on.
A module has `load(parameters)`, whose result is passed on, and `TASKS`, a dict of functions of (loaded, parameters).
"""

import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time
import traceback
import warnings

warnings.filterwarnings("ignore")
PACKAGES = ["numpy", "scipy", "scikit-learn", "torch", "transformers", "tokenizers", "transformer-lens", "jaxtyping", "threadpoolctl"]


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cuda_device():
    try:
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    except ImportError:
        return None


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak_bytes():
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def save(result, path):
    if path.endswith(".json"):
        with open(path, "w") as file:
            json.dump(result, file)
    else:
        import numpy

        numpy.save(path, result)


def main():
    # Libraries print to standard output: keep it for answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    versions = {name: version(name) for name in PACKAGES} | {"python": sys.version.split()[0]}
    if "--cuda" in sys.argv:
        versions["CUDA"] = cuda_device()
    print(json.dumps({"ok": True, "versions": versions}), file=answers, flush=True)
    module = loaded = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            answer = {"ok": True}
            if message["do"] == "load":
                loaded = None
                module = importlib.import_module(message["module"])
                loaded = module.load(message["parameters"])
            else:
                task = module.TASKS[message["task"]]
                forget_peak()
                start = time.perf_counter()
                result = task(loaded, message["parameters"])
                answer |= {"seconds": time.perf_counter() - start, "peakBytes": peak_bytes()}
                if message.get("save"):
                    save(result, message["save"])
                if message.get("answer"):
                    answer["result"] = result
        except Exception:
            answer = {"ok": False, "error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


main()
