"""Model specs to Workloads, lazily: `my_net@classes=10` comes in, a `Workload` goes out.

A spec is `reference[@key=value[,key=value]...]`, where the reference is

- the name of a reference model or of a plugin (entry points in the group `bench.models`): options set its Config;
- `torchvision:NAME`, a classification model with random weights: options go to its builder, `num_classes=10`;
- `transformers:TYPE`, a Hugging Face model built from its config class, `transformers:gpt2@n_layer=2`: options are
  fields of that class;
- `timm:NAME`, a model of timm with random weights: options go to its builder, `img_size=384`;
- `package.module:callable` or `path/file.py:callable`, found from the working directory: it is a Workload, an
  `nn.Module`, a class of them, or a function that returns either; options become keyword arguments;
- `path/file.py` alone, if the file has the five names that every file of `bench.models` has.

A bare `nn.Module` needs `input_shape`, the shape of one example or all inputs. What is wrong with a spec is a
ModelError of one line. `check` finds what can be found without importing torch or the model.

The environment variable STEPBENCH_MODELS may name a folder of model files; they are found by name before the entry
points. It serves whoever keeps a folder of models, and `bench ab`, which gives each side its own.

torch is imported inside functions only. Called by `run`, `counters`' callers and the command line.
"""

from bench.registry.catalog import ModelInfo, Option, describe, names, source_place, torchvision_sources
from bench.registry.optimizers import OPTIMIZERS, make_optimizer
from bench.registry.resolve import check, needs_import, resolve
from bench.registry.timm import timm_sources
from bench.registry.torchvision import torchvision_names
from bench.registry.transformers import transformers_tasks

__all__ = [
    "OPTIMIZERS",
    "ModelInfo",
    "Option",
    "check",
    "describe",
    "make_optimizer",
    "names",
    "needs_import",
    "resolve",
    "source_place",
    "timm_sources",
    "torchvision_names",
    "torchvision_sources",
    "transformers_tasks",
]
