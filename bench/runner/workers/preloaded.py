"""What the server of fresh processes imports, once, so that no process has to: torch, our packages, slow libraries.

Importing runs nothing: no operation, no CUDA. Warnings of other projects' imports are not ours to fix.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fvcore.nn
    import numpy.ma  # numpy's median imports it when first called
    import torch._dynamo  # torch's meta kernels ask for it at their first use, which takes two seconds
    import torch.fx.experimental.symbolic_shapes

    import bench.runner.workers.cells

__all__ = ["bench", "fvcore", "numpy", "torch"]
