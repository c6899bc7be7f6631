"""Writes renderings.json: what Jinja2 makes of the templates beside this file, with the settings of `transformers`.

    pip install jinja2 && python make.py
"""

import json
import pathlib

from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
TURNS = [
    ("user", "What is a rill?"),
    ("assistant", "A small stream."),
    ("user", "Where does it go?"),
    ("assistant", "To the sea."),
    ("user", "Why?\n"),
]


def raise_exception(message):
    raise ValueError(message)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
environment.globals["raise_exception"] = raise_exception
renderings = {}
for path in sorted(HERE.glob("*.jinja")):
    template = environment.from_string(path.read_text())
    for name, system in [("plain", []), ("system", [("system", "Be brief.")])]:
        messages = [{"role": role, "content": content} for role, content in system + TURNS]
        try:
            text = template.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=True,
                bos_token="<s>", eos_token="</s>",
            )
        except ValueError:
            text = None
        renderings[f"{path.stem} {name}"] = text
(HERE / "renderings.json").write_text(json.dumps(renderings, indent=1) + "\n")
