"""Reference models, one readable file each; torch only. Shipped as `bench.models`, reached through `bench.registry`.

Every file has the same five names, so that a reader who knows one knows all:

- `Config`: a frozen dataclass; every field can be set from a model spec, `my_net@classes=10`.
- `build_model(config)`: the `nn.Module`, random weights, train mode.
- `make_batch(config, batch_size, device)`: `(inputs, targets)`, `inputs` a tuple; works on meta and fake tensors.
- `loss(outputs, targets)`: a scalar tensor.
- `make_optimizer(parameters)`: the optimizer that the source names.

and, where there is a formula, `forward_flops(config, batch_size)` (1 MAC = 2) and `tokens_per_example(config)`.

A model that generates text (`bench generate`) has `make_prompt(config, batch_size, length, device)` in its file, and
the methods `prefill(tokens, capacity)` and `decode(token, cache)`; optional are `cache_bytes`, `attention_width` and
`context_limit`. One that samples images (`bench images`) has `make_noise(config, batch_size, device)` and the methods
`encode(tokens, guidance)` and `denoising(text, noise, steps, guidance, sampler)`; optional are `decode_images(x)` and
`parts(*inputs)`. What each takes and returns: `TextGenerator` and `ImageSampler` in bench/core/workload.py.
Beside it, `<name>.toml` holds what documents say of the model.
"""
