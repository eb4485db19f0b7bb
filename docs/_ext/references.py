"""Links of names in docstrings to the site and, by intersphinx, other projects; signatures."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

from docutils import nodes
from sphinx.util.inspect import signature, stringify_signature

PACKAGE = Path(__file__).parents[2] / 'cnnlstm_mm'


@cache
def defined() -> set[str]:
    """Names of the classes, functions and attributes that the package defines."""
    pattern = re.compile(r'^\s*(?:class|def) (\w+)|self\.(\w+)(?:, self\.\w+)* =', re.M)
    found = (pattern.findall(path.read_text('utf-8')) for path in PACKAGE.rglob('*.py'))
    return {name for names in found for pair in names for name in pair if name}


def public(target: str, known: dict) -> str:
    """The dotted name by which an inventory knows a class of another package.

    ``mmengine.hooks.hook.Hook`` is ``mmengine.hooks.Hook`` on the pages of MMEngine.
    """
    parts = target.split('.')
    for count in range(1, len(parts)):
        name = '.'.join([*parts[:count], parts[-1]])
        if name in known and _get(name) is _get(target):
            return name
    return target


def _get(name: str):
    module, _, name = name.rpartition('.')
    return getattr(import_module(module), name)


def resolve(app, env, node, contnode):
    """Link a short name where one page has it; print a private name of the package as it is.

    Other names are left to intersphinx, and after it are a warning: docs/inventories is what it
    knows.
    """
    if node.get('refdomain') != 'py':
        return None
    target = node['reftarget']
    name = target.rpartition('.')[2]
    if target.startswith('cnnlstm_mm.') or '.' not in target or target[0].isupper():
        domain = env.get_domain('py')
        found = [full for full in domain.objects if f'.{full}'.endswith(f'.{target}')]
        found = found or [full for full in domain.objects if full.rpartition('.')[2] == name]
        if len(found) == 1 and name == found[0].rpartition('.')[2]:
            return domain.resolve_xref(
                env, node['refdoc'], app.builder, node['reftype'], found[0], node, contnode
            )
        return contnode if name in defined() else None
    known = env.intersphinx_inventory.get(f'py:{node["reftype"]}', {})
    node['reftarget'] = public(target, known)
    return None


def draw_dashes(app, doctree) -> None:
    """Put a dash before the meaning of a parameter: smartquotes leaves two hyphens alone."""
    for text in [*doctree.findall(nodes.Text)]:
        if text == ' -- ':
            text.parent.replace(text, nodes.Text(' \u2013 '))


def show_init(app, what, name, obj, options, arguments, returns):
    """The arguments of ``__init__`` for a class whose ``__new__`` takes any, as the necks' does."""
    if what == 'class' and arguments == '(*args, **kwargs)':
        found = signature(obj.__init__, bound_method=True)
        return stringify_signature(found, show_annotation=False), returns
    return None


def setup(app) -> dict:
    """Connect to Sphinx, before intersphinx."""
    app.setup_extension('sphinx.ext.autodoc')
    app.connect('autodoc-process-signature', show_init)
    app.connect('doctree-read', draw_dashes)
    app.connect('missing-reference', resolve, priority=400)
    return dict(parallel_read_safe=True)
