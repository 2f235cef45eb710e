"""The models that can be asked here, and the change from one to another: for the page's menu and for the API."""

from __future__ import annotations

from dataclasses import dataclass

from adafv_core.errors import AdaFVError, InputError, ModelError
from adafv_core.loading.download import folder_here
from adafv_core.loading.known_models import KNOWN_MODELS, KnownModel, find_known
from app.serving.first_model import POCKET
from app.serving.jobs import Engine
from app.serving.model_load import Load
from app.serving.models import Garage
from app.serving.sessions import Visit
from app.settings import Settings
from app.wire.parse import shortened


@dataclass(frozen=True)
class ModelHere:
    """One model of the list. download_bytes, licence: None where they are not known. on_disk: no download is needed.
    loaded: it answers at once. answers: it is the one that answers this visitor."""

    name: str
    title: str
    download_bytes: int | None
    licence: str | None
    on_disk: bool
    loaded: bool
    answers: bool


def models_here(garage: Garage, settings: Settings, visit: Visit) -> list[ModelHere]:
    """What this visitor can ask: the model the app started with, and, where others may be loaded, the known ones and
    the one that the visitor loaded."""
    names = [garage.first]
    if settings.model_menu:
        names += [known.model_id for known in others(garage.first)]
    names += [visit.model] if visit.model not in names else []
    loaded = garage.loaded()
    return [_model_here(name, name in loaded, name == visit.model) for name in names]


def others(first: str) -> list[KnownModel]:
    """The known models beside the one the app started with."""
    return [known for known in KNOWN_MODELS if known.model_id != first]


def on_disk(known: KnownModel) -> bool:
    """Whether a known model needs no download any more."""
    return folder_here(known.model_id, known.revision) is not None


def read_model(value: object, settings: Settings) -> str:
    """The name of a model to load: a hub id or a folder. Raises InputError, also where none may be loaded."""
    if not settings.model_menu:
        raise InputError(f"Other models cannot be loaded here: {settings.model} answers every question.")
    name = value.strip() if isinstance(value, str) else ""
    if not name:
        raise InputError(f"Name a model to load: a hub id, a folder, or {settings.model}; got {shortened(value)}.")
    return name


def taken_over(visit: Visit, coming: Load) -> Engine:
    """Wait for a model and let it answer this visitor. Raises ModelError where it cannot; nothing has changed then."""
    try:
        engine = coming.engine()
    except AdaFVError:
        raise
    except Exception as error:
        raise ModelError(f"{coming.name} could not be loaded ({type(error).__name__}).") from error
    visit.change_model(coming.name)
    return engine


def _model_here(name: str, loaded: bool, answers: bool) -> ModelHere:
    known = find_known(name)
    if known is not None:
        return ModelHere(name, known.title, known.download_bytes, known.licence, on_disk(known), loaded, answers)
    if name == POCKET:
        return ModelHere(name, "Pocket model, bundled", 0, "Apache-2.0", True, loaded, answers)
    return ModelHere(name, name, None, None, True, loaded, answers)
