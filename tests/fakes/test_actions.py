from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.actions import rehearse

ACTION = """
inputs:
  name: { default: world }
  token: { default: "${{ github.token }}" }
runs:
  using: composite
  steps:
    - name: greet
      id: greet
      shell: bash
      env: { NAME: "${{ inputs.name }}" }
      run: |
        echo "hello $NAME from ${{ github.repository }}"
        echo "said=$NAME" >> "$GITHUB_OUTPUT"
        echo "# $NAME" >> "$GITHUB_STEP_SUMMARY"
    - name: only for you
      if: inputs.name == 'you' && github.event.pull_request.number != ''
      shell: bash
      run: echo "number ${{ github.event.pull_request.number }}"
    - name: keep
      uses: actions/upload-artifact@v4
      with: { path: "${{ steps.greet.outputs.said }}" }
    - name: fail
      shell: bash
      run: |
        false | cat
        echo never
    - name: after
      shell: bash
      run: echo after
"""


def run(tmp_path: Path, text: str = ACTION, **inputs: str):
    (tmp_path / "action.yml").write_text(text)
    github = {"repository": "me/mine", "event.pull_request.number": "7"}
    return rehearse(tmp_path / "action.yml", inputs, workspace=tmp_path, scratch=tmp_path / "runner", github=github)


def test_steps_run_in_order_until_one_fails_as_a_runner_does(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert (done.exit_code, done.ran) == (1, ("greet", "keep", "fail"))  # pipefail is on
    assert done.output == "hello world from me/mine\n"
    assert done.summary == "# world\n"
    assert done.outputs == {"greet": {"said": "world"}}
    assert done.used == {"keep": {"path": "world"}}


def test_conditions_and_inputs_are_filled_in(tmp_path: Path) -> None:
    done = run(tmp_path, name="you")
    assert "only for you" in done.ran
    assert "number 7" in done.output


@pytest.mark.parametrize("expression", ["format('{0}', inputs.name)", "inputs.nmae"])
def test_what_it_does_not_understand_is_an_error(tmp_path: Path, expression: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        run(tmp_path, ACTION.replace("echo after", "echo ${{ " + expression + " }}").replace("false | cat", "true"))
