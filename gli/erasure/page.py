"""The certificate as a page: page 1 for a privacy officer, page 2 for an auditor. Every value is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Certificate of {{ c.batch }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 60rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: .9rem; } th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem;
  text-align: left; vertical-align: top; overflow-wrap: anywhere; }
.pass { color: #17803d; } .fail { color: #c0271d; } .cannot-tell { color: #a15c00; }
code { font-size: .85em; overflow-wrap: anywhere; } section { break-after: page; }
</style></head><body>
<section>
<h1>Erasure of {{ c.requests | length }} {{ 'request' if c.requests | length == 1 else 'requests' }}: {{ c.batch }}</h1>
<p>Verdict: <b class="{{ c.verdict.answer | replace(' ', '-') }}">{{ c.verdict.answer }}</b>. {{ c.created }}</p>
{% if c.accepted_risk is not none %}<p><b>Risk accepted:</b> {{ c.accepted_risk }}</p>{% endif %}
<h2>What was asked</h2>
<table><tr><th>request</th><th>received</th><th>due</th><th>photographs</th></tr>
{% for each in c.requests %}<tr><td>{{ each.request }}</td><td>{{ each.received }}</td><td>{{ each.due }}</td>
<td>{{ each.photographs }}</td></tr>{% endfor %}</table>
<h2>What was done</h2>
<p>{% if c.route == 'retrain' %}The classifier was trained again from scratch without these photographs.
{% else %}The classifier was changed by the method {{ c.method.name }}{% if c.method.found is defined %}; its settings
were {{ c.method.found }}{% endif %}.{% endif %}
{{ c.purge.files }} files with traces of the people were removed or rewritten; nothing was found by the search after
it.</p>
<h2>What was found</h2>
<ul>{% for each in c.findings if each.decides %}
<li><b class="{{ each.answer | replace(' ', '-') }}">{{ each.answer }}</b>
{{ each.name }}: {{ each.sentence }}</li>{% endfor %}</ul>
<h2>What was not tested, and what this does not prove</h2>
<ul>{% for each in c.not_tested %}<li>{{ each }}</li>{% endfor %}
{% for each in c.limits %}<li>{{ each }}</li>{% endfor %}</ul>
<h2>What you have to look after</h2>
<ul>{% for each in c.purge.exceptions %}<li>{{ each }}</li>{% endfor %}</ul>
</section>
<section>
<h1>For the auditor</h1>
<h2>Findings</h2>
<table><tr><th>tested</th><th>answer</th><th>value</th><th>95 % interval</th><th>margin</th><th>people</th>
<th>images</th></tr>
{% for each in c.findings %}<tr><td>{{ each.name }}</td><td>{{ each.answer }}</td><td>{{ each.value | number }}</td>
<td>{{ each.low | number }} to {{ each.high | number }}</td><td>{{ each.margin | number }}</td>
<td>{{ each.people }}</td><td>{{ each.images }}</td></tr>{% endfor %}</table>
{% for heading, section in sections.items() %}<h2>{{ heading }}</h2>
<table>{% for name, value in section.items() %}<tr><th>{{ name }}</th><td><code>{{ value }}</code></td></tr>
{% endfor %}</table>{% endfor %}
<p>Digest of this certificate: <code>{{ c.digest }}</code>. Hash of the ledger's line before the release:
<code>{{ c.previous }}</code>. {% if c.signed_by is none %}Not signed.{% else %}Signed by the Ed25519 key
<code>{{ c.signed_by }}</code>.{% endif %}</p>
</section></body></html>
"""

CARD = """# Model card: {{ c.batch }}

An image classifier that was changed to honour erasure requests, by gli {{ c.versions.gli }}.

| | |
|---|---|
| network | {{ c.method.backbone }}, images of {{ c.method.image_size }} x {{ c.method.image_size }} pixels in [0, 1] |
| outputs | {{ outputs | join(', ') }} |
| how | {{ 'trained from scratch without the erased photographs' if c.route == 'retrain' else c.method.name }} |
| training images | {{ c.manifest.images_after }} (before: {{ c.manifest.images_before }}) |
| verdict | {{ c.verdict.answer }} |

{% for each in c.findings if each.decides %}- {{ each.name }}: {{ each.answer }}. {{ each.sentence }}
{% endfor %}
{% for each in c.limits %}- {{ each }}
{% endfor %}
"""


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _environment(escape: bool) -> Environment:
    environment = Environment(autoescape=escape, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["number"] = _number
    return environment


def certificate_page(certificate: Mapping[str, Any]) -> str:
    """Return the certificate as an HTML page that needs no other file."""
    names = {
        "Weights (SHA-256)": "weights",
        "Files of the release (SHA-256)": "files",
        "Training images": "manifest",
        "Method": "method",
        "Versions": "versions",
    }
    sections = {heading: dict(certificate[name]) for heading, name in names.items()}
    sections["Hardware"] = {"hardware": certificate["hardware"]}
    return _environment(True).from_string(PAGE).render(c=certificate, sections=sections)


def model_card(contents: Mapping[str, Any], outputs: list[str]) -> str:
    """Return the model card of a release as Markdown.

    Args:
        contents: The fields of the certificate that are known before it is sealed.
        outputs: Names of the classifier's outputs.
    """
    return _environment(False).from_string(CARD).render(c=contents, outputs=outputs)
