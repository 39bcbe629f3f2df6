"""Variants in the BentoML model store."""

from quantbento.store.models import StoredModel, delete, find, load, models, models_folder, save

__all__ = ["StoredModel", "delete", "find", "load", "models", "models_folder", "save"]
