"""The document's head. Gradio's template describes Gradio, so its tags are replaced by the page's; and the scripts are
named there, since Gradio adds what `launch(head=…)` is given only once its own scripts have run.
"""

from __future__ import annotations

import re
from html import escape

from gradio.routes import templates
from jinja2 import ChoiceLoader, DictLoader

from app.gradio_ext.static_files import PREVIEW, base_url, page_head

WRITTEN_FOR = "6.31"
TEMPLATE = "frontend/index.html"
CHARSET = '<meta charset="utf-8" />'
END = "</head>"
DESCRIPTION = (
    "See which visual tokens of a picture a vision-language model needs for your question, drop the rest, and compare "
    "the answers."
)
_GRADIOS = re.compile(r'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*/>')


def fill_head(title: str) -> None:
    """Put the page's own title, description, preview picture and scripts into Gradio's template. The picture's
    address is absolute, under the root at which the page was opened: sites do not resolve relative ones.
    """
    environment = templates.env
    if isinstance(environment.loader, ChoiceLoader) or environment.loader is None:
        return
    source = environment.loader.get_source(environment, TEMPLATE)[0]
    own = tags(title)
    page = _GRADIOS.sub("", source).replace(CHARSET, CHARSET + own, 1).replace(END, page_head() + END, 1)
    environment.loader = ChoiceLoader([DictLoader({TEMPLATE: page}), environment.loader])


def tags(title: str) -> str:
    """The tags, as text of the template."""
    picture = "{{ config.get('root', '') }}/" + base_url() + PREVIEW
    texts = {"title": escape(title), "description": escape(DESCRIPTION), "image": picture}
    graph = {"type": "website", **texts}
    return "".join(
        [
            f'<meta name="description" content="{texts["description"]}" />',
            *(f'<meta property="og:{name}" content="{text}" />' for name, text in graph.items()),
            '<meta name="twitter:card" content="summary_large_image" />',
            *(f'<meta name="twitter:{name}" content="{text}" />' for name, text in texts.items()),
        ]
    )
