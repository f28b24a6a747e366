"""Invented names: brands, models, small second lines."""

from __future__ import annotations

import numpy as np

_ONSETS = (
    "Bal", "Cor", "Dra", "Fel", "Gri", "Hal", "Jov", "Kel", "Lor", "Mar", "Nov", "Or", "Pel", "Quin", "Ros", "Sal",
    "Tav", "Ul", "Ver", "Wil", "Yor", "Zel", "Ast", "Bre", "Cav", "Est", "Vio", "Mont", "Alb", "Ner",
)  # fmt: skip
_MIDDLES = (
    "a", "e", "i", "o", "an", "el", "er", "in", "or", "ett", "and", "ur",
)  # fmt: skip
_CODAS = (
    "", "ra", "ne", "ti", "lo", "mont", "ve", "do", "lle", "sca", "gne", "x", "ri", "th",
)  # fmt: skip
_MODELS = (
    "Anse", "Bay", "Cleo", "Dune", "Echo", "Fleur", "Gala", "Halo", "Isla", "Joy", "Kite", "Luna", "Mira", "Nord",
    "Opal", "Pia", "Quay", "Rue", "Siena", "Tess", "Uma", "Vela", "Wren", "Xenia", "Yves", "Zoe",
)  # fmt: skip
_CITIES = (
    "MADE IN LIRONA", "ATELIER BRISSAC", "HANDMADE", "MAISON DE CUIR", "FABRICA VELHA", "NORDHAVN", "VERA PELLE",
)  # fmt: skip


def one_of(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def draw_names(rng: np.random.Generator) -> tuple[str, str]:
    """A brand of four to seven letters and one of its models."""
    brand = ""
    while not 4 <= len(brand) <= 7:
        brand = "".join(one_of(rng, parts) for parts in (_ONSETS, _MIDDLES, _CODAS))
    return brand, f"{one_of(rng, _MODELS)} {int(rng.integers(18, 42))}"


def draw_subtitle(rng: np.random.Generator) -> str:
    return one_of(rng, _CITIES)
