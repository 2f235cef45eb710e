"""The page's theme: Gradio's bundled fonts, neutral grays and one accent color, in light and dark."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import fonts

SANS = (fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif")
MONO = (fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace")


def make_theme() -> gr.themes.Base:
    """The theme; sizes and details are in the style sheet."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_sm,
        text_size=gr.themes.sizes.text_sm,
        font=SANS,
        font_mono=MONO,
    )
    return theme.set(
        body_background_fill="#f7f7f5",
        body_background_fill_dark="#14171b",
        body_text_color="#1b2026",
        body_text_color_dark="#e6e8ea",
        body_text_color_subdued="#565e67",
        body_text_color_subdued_dark="#a2abb4",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1b1f24",
        background_fill_secondary="#f1f1ee",
        background_fill_secondary_dark="#22272d",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1b1f24",
        block_border_color="#dddcd6",
        block_border_color_dark="#333a42",
        border_color_primary="#dddcd6",
        border_color_primary_dark="#333a42",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="#565e67",
        block_label_text_color_dark="#a2abb4",
        block_title_text_color="#565e67",
        block_title_text_color_dark="#a2abb4",
        block_title_text_weight="400",
        button_large_text_weight="700",
        button_medium_text_weight="700",
        input_background_fill="#ffffff",
        input_background_fill_dark="#15191d",
        input_border_color="#8d8f90",
        input_border_color_dark="#6b747d",
        input_border_color_focus="#1f5fbf",
        input_border_color_focus_dark="#7db2ff",
        color_accent="#1f5fbf",
        color_accent_soft="#e4edfa",
        color_accent_soft_dark="#1d2f49",
        button_primary_background_fill="#1f5fbf",
        button_primary_background_fill_hover="#184d9c",
        button_primary_background_fill_dark="#3b7ddd",
        button_primary_background_fill_hover_dark="#5c97ec",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0c1116",
        button_secondary_background_fill="#ecebe6",
        button_secondary_background_fill_hover="#e1e0da",
        button_secondary_background_fill_dark="#2a3037",
        button_secondary_background_fill_hover_dark="#343b44",
        button_secondary_text_color="#1b2026",
        button_secondary_text_color_dark="#e6e8ea",
        slider_color="#1f5fbf",
        slider_color_dark="#7db2ff",
    )
