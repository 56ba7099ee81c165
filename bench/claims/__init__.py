"""Documented values and their check: what a document says of a model, against what was counted.

Enters: claim files (TOML), torchvision's metadata as plain data, `Counters` that other packages filled. Leaves:
`CheckedClaim`. Reads files, runs nothing, knows no torch. Any package above may call it.

A claim file:

    [document]
    title = "Deep Learning, a primer"       # required
    place = "section CNN"                   # optional; title and place are the source of every claim without its own
    model = "my_net"                        # optional; the model of every claim without its own

    [[claim]]
    id = "conv1.parameters"                 # required, unique in the file
    layer = "conv1"                         # dotted module path; without it, the whole model
    quantity = "parameters"                 # required, one of QUANTITIES
    value = 896                             # required; a shape is ["B", 32, 48, 48], B standing for the batch
    tolerance = 0.0                         # relative; or `rounded_to = 1e8`, the unit of the last printed digit
    input_shape = [3, 224, 224]             # one example's, where the value depends on it
    relative_to = "lstm"                    # then `value` is a ratio to that model's quantity
    relative_layer = "lstm"                 # of this layer, where it is not `layer`
    scope = "weights and biases"
    source = "..."                          # instead of the document's
    erratum = { measured = 897, reason = "..." }    # the document is known to be wrong

    [[ratio]]                               # between two cells: their models, modes, batches, optimizers
    id = "gru.step_seconds"                 # required, unique among the ratios of the file
    quantity = "step_seconds"               # required, one of RATIO_QUANTITIES
    subject = "gru"                         # a model, or { model = "gru", mode = "infer", optimizer = "sgd" }
    reference = "lstm"
    below = 1                               # or above = 1, or documented = "3/4"
    batch_size = 8                          # of both sides; also mode, optimizer
    layer, reference_layer, reference_quantity, tolerance, scope, source
"""
