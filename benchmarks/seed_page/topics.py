"""Everything that the seed page names, row by row: what it says, the suite that measures it, the test that holds it.

A test checks that every row has a suite, a test and a section in docs/walkthrough.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One row of what the seed page names.

    Attributes:
        name: Heading of its section.
        says: What the page says, in our words.
        suites: Built-in suites that measure it.
        tests: `file::function` of tests that hold it.
        claims: Beginnings of the ids of claims about it.
        figures: Further columns of its table: keys of `benchmarks.seed_page.page.FIGURES`.
        commands: What else measures it.
    """

    name: str
    says: str
    suites: tuple[str, ...]
    tests: tuple[str, ...]
    claims: tuple[str, ...] = ()
    figures: tuple[str, ...] = ("flops", "examples")
    commands: tuple[str, ...] = ()


TOPICS = (
    Topic(
        name="Layers",
        says="Neurons in an input layer, hidden layers and an output layer.",
        suites=("scaling_depth", "scaling_width"),
        tests=("tests/models/test_mlp.py::test_the_network_is_z_equals_wx_plus_b_and_the_named_activation",),
        figures=("flops", "parameters"),
    ),
    Topic(
        name="Activations",
        says="Sigmoid, ReLU, tanh or softmax of z = w x + b.",
        suites=("activation",),
        tests=("tests/models/test_mlp.py::test_there_is_a_reference_for_every_activation",),
        claims=("activation.",),
        figures=("forward", "backward", "flops"),
    ),
    Topic(
        name="Losses",
        says="Cross entropy for many classes, BCE with logits for yes or no, MSE for regression.",
        suites=("loss",),
        tests=("tests/models/test_mlp.py::test_the_loss_follows_the_targets",),
        claims=("loss.",),
        figures=("loss", "flops"),
    ),
    Topic(
        name="Optimizers",
        says="Adam, SGD and RMSprop update the weights; we add AdamW, foreach and fused.",
        suites=("optimizer",),
        tests=("tests/registry/test_optimizers.py::test_every_listed_optimizer_is_of_its_class_and_takes_a_step",),
        claims=("optimizer.",),
        figures=("optimizer", "state"),
    ),
    Topic(
        name="Convolution and pooling",
        says="Parameters grow with each layer; pooling cuts maps and computation; convolution shares weights.",
        suites=("convolution", "pooling"),
        tests=("tests/models/test_cnns.py::test_a_dense_first_layer_has_the_output_of_the_convolution",),
        claims=("convolution.", "pooling."),
        figures=("flops", "parameters"),
        commands=("bench count my_net --layers",),
    ),
    Topic(
        name="Dropout, train and eval modes",
        says="Some layers behave differently while training.",
        suites=("dropout", "modes"),
        tests=("tests/models/test_cnns.py::test_dropout_acts_in_train_mode_only_and_at_the_documented_probability",),
        claims=("dropout.", "modes."),
        figures=("flops", "saved"),
    ),
    Topic(
        name="RNN",
        says="A next-word language model with a hidden state per time step.",
        suites=("gates", "recurrent", "scaling_length"),
        tests=("tests/models/test_recurrent.py::test_the_model_equals_the_equations_of_its_cell",),
        figures=("tokens", "flops", "parameters"),
    ),
    Topic(
        name="LSTM",
        says="Three gates (input, forget, output) and a cell state.",
        suites=("gates",),
        tests=("tests/models/test_recurrent.py::test_the_three_files_differ_only_in_their_cell",),
        claims=("lstm.",),
        figures=("tokens", "flops", "parameters"),
    ),
    Topic(
        name="GRU",
        says='One gate fewer than the LSTM, and "computationally more efficient".',
        suites=("gates",),
        tests=("tests/models/test_recurrent.py::test_a_gru_has_three_quarters_of_an_lstms_parameters_and_flops",),
        claims=("gru.", "recurrent.", "train.", "infer."),
        figures=("tokens", "flops", "parameters"),
        commands=("bench check --time",),
    ),
    Topic(
        name="Transformer",
        says="Encoder and decoder, self-attention in several heads, positional encoding.",
        suites=("translation",),
        tests=("tests/models/test_transformer.py::test_the_model_equals_the_equations_of_the_paper",),
        figures=("tokens", "flops"),
    ),
    Topic(
        name="Large language models",
        says="Trained on text, they generate text.",
        suites=("language", "scaling_batch"),
        tests=("tests/models/test_decoder_lm.py::test_attention_equals_torch_s_multihead_attention",),
        figures=("tokens", "flops"),
        commands=("bench generate decoder_lm",),
    ),
    Topic(
        name="Diffusion",
        says="Noise is added by a schedule, and a network learns to remove it, step by step, guided by a text.",
        suites=("denoising",),
        tests=("tests/models/test_diffusion.py::test_training_mixes_image_and_noise_by_the_schedule",),
        figures=("flops", "parameters"),
        commands=("bench images diffusion",),
    ),
)
"""Every row, in the page's order."""
