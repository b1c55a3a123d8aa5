"""Tab completion: the command that prints a shell's script, and what is proposed for arguments."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from minisim.compiler.transformers import TRANSFORMERS
from minisim.compiler.zoo import NETWORKS
from minisim.hwmodel.config import keys, presets

VARIABLE = "_MINISIM_COMPLETE"
"""Where the shell's script asks the command for proposals, as click has it for a program of this name."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, models, presets and keys.

    For bash: add eval "$(minisim completion bash)" to ~/.bashrc; for zsh the same to ~/.zshrc; for fish
    minisim completion fish > ~/.config/fish/completions/minisim.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "minisim", VARIABLE).source())


def _or_file(names: list[str], incomplete: str) -> list[CompletionItem]:
    """Those of the names that begin so; then the shell's own files."""
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*found, CompletionItem(incomplete, type="file")]


def machines(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Presets, or a machine file."""
    return _or_file(presets(), incomplete)


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Networks and transformers by name, or a file."""
    return _or_file([*NETWORKS, *TRANSFORMERS], incomplete)


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``KEY=``, of every key of a machine."""
    return [CompletionItem(f"{key}=") for key in keys() if key.startswith(incomplete)]
