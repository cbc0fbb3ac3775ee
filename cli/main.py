"""Entry."""

import typer

app = typer.Typer()
