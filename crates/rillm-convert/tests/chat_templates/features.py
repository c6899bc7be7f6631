"""Writes features.json: what `transformers` makes of small templates that use what Jinja offers, for one conversation. null
stands where it refuses the template.

    pip install transformers jinja2 && python features.py
"""

import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a rill?"},
    {"role": "assistant", "content": "A small stream."},
    {"role": "user", "content": " Why?\n"},
]
EACH = "{% for m in messages %}"
END = "{% endfor %}"
T = "messages[0].content"

TEMPLATES = [
    # Line breaks and white space.
    "a\r\nb\rc\nd", "a\n", "a\n\n", "a\r\n", "a\r\n\r\n", "\r\n", "{{ 'a\r\nb' }}", "{{ 'a\\r\\nb' }}", "{{ \"a\\tb\\x41\\u00e9\\101\" }}",
    "{{ 'a\\d' }}", "a{% if true %}\r\nb\r\n{% endif %}\r\nc", "a  {% if true %}\n  b\n  {% endif %}\n  c", "a\n  {% if true %}\n  b\n  {% endif %}\n  c",
    "a\n\t{% if true %}\n\n  b{% endif %}\n\nc", "  {%+ if true %}\n b\n  {%+ endif %}\n c", "  {% if true +%}\n b{% endif +%}\n c",
    "a {#- x -#} b", "a\n  {# x #}\n  b", "a\n  {# x #}  \n  b", "a {# x\n y #}\nb", "a\n  {{ 1 }}\n  b", "a {{- 1 -}} b", "a\n\n{%- if true -%}\n\nb\n\n{%- endif -%}\n\nc",
    "{% raw %}{{ x }}{% endraw %}\nb", "{%- raw -%} {{ x }} {%- endraw -%} b", "  {% raw %}\n x {% endraw %}\n b", "{{ '{%' }}a{{ '%}' }}", "{{ '\n' }}\n{{ 'a' }}\n",
    "{% set x %}\n a\n{% endset %}[{{ x }}]", "{%- set x = 'a' %}\n\n{{ x }}", "\ufeffa", "a\u2028b\u0085c", "a\x0bb\x0cc",
    # What `transformers` adds.
    EACH + "{% generation %}{{ m.content }}{% endgeneration %}" + END, EACH + "\n  {%- generation %}\n  {{ m.content }}\n  {%- endgeneration %}\n" + END,
    EACH + "{%- generation -%} {{ loop.index }} {%- endgeneration -%} " + END, "{%generation%}a{%endgeneration%}", "{%\ngeneration\n%}a{% endgeneration %}",
    "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "{% generation %}a", "{{ '{% generation %}' }}{{ \"\\\"{% endgeneration %}\" }}", "{# {% generation %} ' #}{% generation %}a{% endgeneration %}", "it's {% if '%}' %}{% generation %}a{% endgeneration %}{% endif %}", "{{ raise_exception('no') }}",
    EACH + "{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% if loop.index == 3 %}{% break %}{% endif %}" + END,
    "{{ 'é<\"\\n' | tojson }}", "{{ 1.5 | tojson }}{{ true | tojson }}{{ none | tojson }}", "{{ strftime_now is defined }}", "{{ raise_exception is defined }}",
    "{{ tools is none }}{{ documents is none }}{{ tools }}{{ not tools }}", "{{ add_generation_prompt }}", "{{ enable_thinking is defined }}",
    "{{ enable_thinking is not defined or enable_thinking }}", "{{ nothing }}a", "{{ nothing.at_all }}", "{{ nothing + 'a' }}", "{{ nothing | default('d') }}", "{{ nothing or 'x' }}",
    "{{ bos_token }}{{ eos_token }}{{ pad_token }}", "{% if pad_token %}a{% else %}b{% endif %}",
    # Loops, tests, operators.
    EACH + "{{ loop.index0 }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}" + END, EACH + "{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if loop.nextitem is defined }};" + END,
    EACH + "{{ loop.cycle('a', 'b') }}" + END, EACH + "{{ loop.changed(m.role) }}" + END, "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}" + END,
    "{% for m in [] %}x{% else %}none{% endfor %}", "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in messages[0] %}{{ k }};{% endfor %}",
    "{% for m in messages[1:] %}{{ m.role }}{% endfor %}", "{% for m in messages[::-1] %}{{ m.role }}{% endfor %}", "{% for m in messages | reverse %}{{ m.role }}{% endfor %}", "{{ messages[-1].role }}{{ messages[-1]['role'] }}",
    f"{{{{ {T}[2:] }}}}|{{{{ {T}[:-1] }}}}|{{{{ {T}[0] }}}}|{{{{ {T}[::2] }}}}|{{{{ {T}[::-1] }}}}", "{{ messages | length }}{{ messages | count }}" + "{{ (messages | first).role }}",
    "{{ 7 // 2 }} {{ 7 / 2 }} {{ 7 % 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} {{ 1.0 }} {{ 6 / 3 }}", "{{ 'a' ~ 1 ~ none ~ true }}", "{{ 'ab' * 2 }}", "{{ [1] + [2] }}", "{{ 'a' in 'cat' }}{{ 'role' in messages[0] }}{{ 1 not in [1] }}",
    "{{ 1 if false }}|{{ 1 if true else 2 }}", "{{ not '' and (0 or 'x') }}", "{{ 'a' if messages[0]['x'] is defined else 'b' }}", "{{ messages[0].get('tool_calls') }}{{ messages[0].get('x', 'y') }}",
    "{{ none is none }}{{ 'a' is string }}{{ 1 is number }}{{ {} is mapping }}{{ [] is iterable }}{{ 'a' is iterable }}{{ [] is sequence }}{{ 'a' is sequence }}{{ 1 is integer }}{{ 1.5 is float }}{{ true is boolean }}",
    "{{ 3 is odd }}{{ 3 is even }}{{ 6 is divisibleby(3) }}{{ 1 is eq 1 }}{{ 1 is sameas 1 }}{{ 2 is in [1, 2] }}{{ 'A' is upper }}{{ true is true }}{{ true is number }}", "{{ true }}{{ True }}{{ none }}{{ None }}{{ False }}",
    "{{ [1, 'a', none, true, 1.5] }}", "{{ {'a': 1, 'b': [2]} }}", "{{ (1, 2) }}", "{{ 1 == 1.0 }}{{ '1' == 1 }}{{ 1 < 2 < 3 }}{{ 'a' < 'b' }}", "{{ range(3) | list }}{% for i in range(1, 7, 2) %}{{ i }}{% endfor %}",
    # Scopes.
    "{% set ns = namespace(a=1, b='x') %}" + EACH + "{% set ns.a = ns.a + 1 %}" + END + "{{ ns.a }}{{ ns.b }}", "{% set x = 1 %}" + EACH + "{% set x = 2 %}" + END + "{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set x = 0 %}{% if true %}{% set x = 1 %}{% endif %}{{ x }}", "{% with a = 1 %}{{ a }}{% endwith %}{{ a }}", "{% macro f(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ f('y') }}{{ f(1, b=2) }}",
    "{% macro f(a) -%} <{{ a }}> {%- endmacro %}" + EACH + "{{ f(m.role) }}" + END, "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}a{% endcall %}", "{% filter upper %}a{% endfilter %}", "{% do 1 %}a",
    "{% set ns = namespace() %}{% set ns.x = 'a' %}{{ ns.x }}{{ ns.y is defined }}", "{% block a %}x{% endblock %}", "{% include 'x' %}", "{% set messages = messages[1:] %}{{ messages | length }}",
    "{% set d = dict(a=1) %}{{ d.a }}{{ d['a'] }}", "{% set l = [] %}{% set l = l + ['a'] %}{{ l | join }}", "{% set l = [] %}{{ l.append(1) }}",
    # Methods of texts.
    f"{{{{ {T}.strip('.') }}}}|{{{{ ' a '.lstrip() }}}}|{{{{ ' a '.rstrip() }}}}|{{{{ 'xxaxx'.strip('x') }}}}", f"{{{{ {T}.upper() }}}}{{{{ {T}.lower() }}}}{{{{ 'a b'.title() }}}}{{{{ 'aB'.capitalize() }}}}",
    "{{ 'a,b,c'.split(',') }}{{ 'a b  c'.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b'.split(',')[-1] }}", "{{ 'a\\nb'.splitlines() }}", "{{ 'abc'.replace('b', 'x') }}{{ 'aaa'.replace('a', 'b', 1) }}", "{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('c', 'd')) }}",
    "{{ 'abc'.find('c') }}{{ 'abc'.find('x') }}{{ 'abcabc'.rfind('a') }}{{ 'aXa'.count('a') }}", "{{ '-'.join(['a', 'b']) }}", "{{ '{} {}'.format(1, 'a') }}{{ '{a}'.format(a=2) }}", "{{ '%s-%d' % ('a', 1) }}", "{{ '1'.isdigit() }}{{ 'a'.isalpha() }}{{ ' '.isspace() }}{{ 'A'.isupper() }}{{ 'a'.islower() }}{{ 'a1'.isalnum() }}",
    "{{ '<think>a'.removeprefix('<think>') }}{{ 'a.txt'.removesuffix('.txt') }}", "{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}", "{{ 'a-b-c'.rsplit('-', 1) }}{{ 'a-b-c'.rsplit('-') }}{{ 'a-b-c'.rsplit('-', -1) }}", "{{ 'a=b'.partition('=') }}", "{{ 'a=b=c'.partition('=') | join('|') }}{{ 'a=b=c'.rpartition('=') | join('|') }}{{ 'a'.partition('=') | join('|') }}{{ 'a'.rpartition('=')[2] }}", "{{ '7'.zfill(3) }}{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3) }}|{{ 'a'.center(3) }}|",
    "{{ 'abc'.index('b') }}", "{{ 'aB'.swapcase() }}", "{{ messages[0].keys() | list }}{{ messages[0].values() | list }}", "{{ [1, 2, 1].count(1) }}", "{{ [1, 2].index(2) }}", "{{ messages[0].copy().role }}", "{{ 'é'.encode() }}", "{{ 'Ab'.casefold() }}", "{{ 'a\\tb'.expandtabs(2) }}", "{{ 'abc'.rindex('c') }}",
    # Filters.
    "{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}", "{{ 'a' | upper }}{{ 'A' | lower }}{{ 'a b' | title }}{{ 'a' | capitalize }}", "{{ ['a', 'b'] | join(', ') }}", "{{ 'abc' | replace('b', 'x') }}", "{{ [3, 1, 2] | sort | join }}{{ [1, 2] | sum }}{{ [1, 2] | max }}{{ [1, 2] | min }}",
    "{{ messages | map(attribute='role') | join(',') }}", "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='content') | join('|') }}", "{{ ['a', ''] | select | list }}", "{{ [1, 1, 2] | unique | list }}", "{{ 'abc' | list }}{{ 'abc' | length }}{{ 'abc' | reverse }}{{ 'abc' | first }}{{ 'abc' | last }}",
    "{{ '3' | int + 1 }}{{ '1.5' | float }}{{ 1 | string ~ 'a' }}{{ 1.6 | round }}{{ -1 | abs }}", "{{ {'b': 1, 'a': 2} | dictsort }}", "{{ {'b': 1} | items | list }}", "{{ 'a\\nb' | indent(2) }}{{ 'a\\nb' | indent(2, true) }}", "{{ '<a>' | e }}{{ '<a>' | escape }}{{ '<a>' | safe }}{{ '<a>' }}", "{{ messages | groupby('role') | length }}", "{{ [1, 2, 3] | batch(2) | list }}{{ [1, 2, 3] | slice(2) | list }}",
    "{{ 'a b c' | wordcount }}", "{{ 'abcdefghij' | truncate(6) }}", "{{ 'a b' | urlencode }}", "{{ '<b>a</b>' | striptags }}", "{{ 1000 | filesizeformat }}", "{{ '%s!' | format('a') }}", "{{ 'a' | attr('x') }}", "{{ 'a' | nothing }}", "{{ 'a' | center(5) }}|", "{{ 'aaa bbb' | wordwrap(3) }}", "{{ {'a': 1} | xmlattr }}", "{{ [1] | random }}", "{{ 1 is nothing }}", "{{ cycler('a', 'b').next() }}", "{{ joiner(',')() }}",
    "{{ 'a' | default('b', true) }}{{ '' | default('b', true) }}{{ '' | d('b') }}", "{{ messages[0]['content'] | trim | length }}", "{{ messages[0]['content'] is string }}", "{% if messages[0]['role'] == 'system' and messages[0].content %}a{% elif true %}b{% endif %}", "{{ (messages | selectattr('role', 'in', ['user']) | first).content }}", "{{ messages[0] | tojson | length > 5 }}",
    "{%- set text = messages[1]['content'] -%}{%- if text is string -%}{{ text }}{%- else -%}{{ text[0]['text'] }}{%- endif -%}", "{{ '' if not messages[9] else 'a' }}", "{{ messages[9] is defined }}", "{{ 'a' 'b' }}", "{{ \"it's\" }}{{ 'say \"x\"' }}", "{{ {'a': 1}.a }}{{ {'a': {'b': 2}}['a']['b'] }}", "{# a #}{{ 1 }}{# b #}", "{{ 1_000 }}{{ 0x10 }}{{ 1e3 }}", "{{ lipsum is defined }}", "{{ nothing is sequence }}{{ 1 is sequence }}{{ {} is sequence }}",
]
assert len(TEMPLATES) == len(set(TEMPLATES))

rows = []
for source in TEMPLATES:
    try:
        text = _compile_jinja_template(source).render(
            messages=MESSAGES, tools=None, documents=None, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
        )
    except Exception:
        text = None
    rows.append([source, text])
path = pathlib.Path(__file__).with_name("features.json")
path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
