"""Writes renderings.json: what `transformers` makes of the templates beside this file.

    pip install transformers jinja2 && python make.py
"""

import json
import pathlib

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = pathlib.Path(__file__).parent
TURNS = [
    ("user", "What is a rill?"),
    ("assistant", "A small stream."),
    ("user", "Where does it go?"),
    ("assistant", "To the sea."),
    ("user", "Why?\n"),
]

renderings = {}
for path in sorted(HERE.glob("*.jinja")):
    template = _compile_jinja_template(path.read_text())
    for name, system in [("plain", []), ("system", [("system", "Be brief.")])]:
        messages = [{"role": role, "content": content} for role, content in system + TURNS]
        try:
            text = template.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=True,
                bos_token="<s>", eos_token="</s>",
            )
        except TemplateError:
            text = None
        renderings[f"{path.stem} {name}"] = text
(HERE / "renderings.json").write_text(json.dumps(renderings, indent=1) + "\n")
