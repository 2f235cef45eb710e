"""Inputs whose values are checked by the page itself: uploaded files and values that Gradio would convert or refuse.

Each class overrides methods that Gradio calls but does not document, as of the version below;
`tests/app/test_gradio_ext.py` fails if another version calls something else. `is_template` makes the browser draw a
subclass as the component that it extends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.blocks import Block
from gradio.data_classes import FileData, ImageData, ListFiles
from gradio.processing_utils import save_base64_to_cache
from gradio.utils import get_upload_folder, is_in_or_equal

WRITTEN_FOR = "6.31"
_SERVED = "/gradio_api/file="
_MARK = {"type": "object", "properties": {"_type": {"const": "gradio.FileData", "type": "string"}}}
_FILE = {
    "type": "object",
    "title": "FileData",
    "properties": {"path": {"type": "string"}, "meta": _MARK},
    "required": ["path"],
}


class CheckedImage(gr.Image):
    """An image input that passes on the path of the uploaded file, so that it can be checked before it is decoded."""

    is_template = True

    def __init__(self, value: Any = None, **options: Any) -> None:
        super().__init__(value, type="filepath", image_mode=None, **options)

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The browser's properties, which Gradio reads off the signature of a constructor: that of gr.Image."""
        return super().get_config(cls or gr.Image)

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path of the upload. Raises gr.Error for anything that was not uploaded here."""
        return uploaded_path(payload, "picture")

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Gradio's step before `preprocess`: it would download a web address; see `served_path`."""
        own = served_path(url_or_file_path, "picture")
        return own or await super().async_move_resource_to_block_cache(url_or_file_path)


class CheckedImages(gr.File):
    """An input of several images that passes on the paths of the uploaded files."""

    is_template = True

    def __init__(self, value: list[str] | None = None, **options: Any) -> None:
        super().__init__(value or [], type="filepath", file_count="multiple", **options)

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The browser's properties, which Gradio reads off the signature of a constructor: that of gr.File."""
        return super().get_config(cls or gr.File)

    def preprocess(self, payload: ListFiles | None) -> list[str]:  # type: ignore[override]
        """The paths of the uploads. Raises gr.Error for anything that was not uploaded here."""
        return [path for file in payload or () if (path := uploaded_path(file, "picture"))]

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Gradio's step before `preprocess`: it would download a web address; see `served_path`."""
        own = served_path(url_or_file_path, "picture")
        return own or await super().async_move_resource_to_block_cache(url_or_file_path)

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of a value, without references: MCP clients look those up outside the argument's schema."""
        return {"type": "array", "items": _FILE}

    def files_of(self, value: Any) -> Any:
        """The value of a call with its texts as files: Gradio's MCP server makes files only of those outside lists."""
        return [_file_of(one) for one in value] if isinstance(value, list) else value


class CheckedFile(gr.File):
    """A file input that passes on the path of the uploaded file."""

    is_template = True

    def __init__(self, value: Any = None, **options: Any) -> None:
        super().__init__(value, type="filepath", **options)

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The browser's properties, which Gradio reads off the signature of a constructor: that of gr.File."""
        return super().get_config(cls or gr.File)

    def preprocess(self, payload: FileData | None) -> str | None:  # type: ignore[override]
        """The path of the upload. Raises gr.Error for anything that was not uploaded here."""
        return uploaded_path(payload, "file")

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Gradio's step before `preprocess`: it would download a web address; see `served_path`."""
        own = served_path(url_or_file_path, "file")
        return own or await super().async_move_resource_to_block_cache(url_or_file_path)


class JsonList(gr.JSON):
    """A list in the API. items: the JSON-schema type of its entries (string, number, integer)."""

    is_template = True

    def __init__(self, value: list[Any], *, items: str, **options: Any) -> None:
        self.items = items
        super().__init__(value, **options)

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The browser's properties, which Gradio reads off the signature of a constructor: that of gr.JSON."""
        return super().get_config(cls or gr.JSON)

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of a value."""
        return {"type": "array", "items": {"type": self.items}}

    def example_payload(self) -> Any:
        """An example for the API documentation: the default."""
        return self.value


class JsonObject(gr.JSON):
    """An object of named values in the API."""

    is_template = True

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The browser's properties, which Gradio reads off the signature of a constructor: that of gr.JSON."""
        return super().get_config(cls or gr.JSON)

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of a value."""
        return {"type": "object"}

    def example_payload(self) -> Any:
        """An example for the API documentation: the default."""
        return self.value


class AnyNumber(gr.Number):
    """A number checked by the function that receives it, so that every caller gets the same error sentence."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The value as it came."""
        return payload


class AnyChoice(gr.Radio):
    """One of a few names, checked by the function that receives it."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The value as it came."""
        return payload


def uploaded_path(payload: ImageData | FileData | None, noun: str) -> str | None:
    """The path of an uploaded file. Raises gr.Error for inline data and for any other file of the server.

    noun: what the error sentences call it.
    """
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        raise gr.Error(f"Send the {noun} as a file.", print_exception=False)
    if payload.path and not is_in_or_equal(payload.path, get_upload_folder()):
        refused = f"Upload the {noun} first: only files that were sent to this page are read."
        raise gr.Error(refused, print_exception=False)
    return payload.path


def _file_of(value: Any) -> Any:
    """A `data:` URL or a web address as the file that Gradio would make of it; anything else as it is."""
    if isinstance(value, str) and value.startswith("data:"):
        value = save_base64_to_cache(value, get_upload_folder())
    elif not isinstance(value, str) or not value.startswith(("http://", "https://")):
        return value
    return {"path": value, "meta": {"_type": "gradio.FileData"}}


def served_path(path_or_url: str | Path | None, noun: str) -> str | None:
    """The uploaded file behind a web address of this page; None for a path.

    The server downloads nothing: raises gr.Error for every other web address.
    """
    if not str(path_or_url).lower().startswith(("http://", "https://")):
        return None
    _, found, name = urlsplit(str(path_or_url)).path.partition(_SERVED)
    path = unquote(name)
    if found and is_in_or_equal(path, get_upload_folder()) and Path(path).is_file():
        return path
    raise gr.Error(f"Send the {noun} itself, not its address.", print_exception=False)
