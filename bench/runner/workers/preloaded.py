"""What the server of fresh processes imports, once, so that no process has to: torch, our packages, slow libraries.

Importing runs nothing: no operation, no CUDA. Warnings of other projects' imports are not ours to fix. The collector of
garbage is off while the server imports (a second of eight goes into its passes) and stays off in it: all that it does
is fork, and every process that it forks switches the collector on.
"""

import gc
import warnings

gc.disable()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fvcore.nn
    import numpy.ma  # numpy's median imports it when first called
    import psutil
    import torch._dynamo  # torch's meta kernels ask for it at their first use, which takes two seconds
    import torch._subclasses.schema_check_mode
    import torch.fx.experimental.symbolic_shapes

    import bench.runner.workers.cells

__all__ = ["bench", "fvcore", "numpy", "psutil", "torch"]
